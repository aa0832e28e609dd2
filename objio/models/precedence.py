"""Which settings are in force after a load: those given in memory, those saved, or the defaults of today."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pydantic

from objio.errors import ConfigConflict
from objio.models.config import Config
from objio.models.record import Record
from objio.models.settings import is_mutable, json_values, mark

Saved = Literal['no', 'given', 'default']


class Outcome(NamedTuple):
    """What a load makes of one setting.

    Attributes:
        value: whose value is in force: that in memory, the saved one, or none, because they conflict.
        given: whether the next save keeps it as one that was given.
        warns: whether `ConfigDefaultChanged` tells of it.
    """

    value: Literal['memory', 'saved', 'conflict']
    given: bool
    warns: bool


@dataclass(frozen=True)
class Rule:
    """One rule of the table; None stands for either.

    Attributes:
        given: whether the value in memory was given; otherwise it is the default of today.
        saved: whether the setting was saved, and as what.
        differs: whether the saved value is another than that in memory.
        mutable: whether the setting is mutable.
        outcome: what comes of it.
    """

    given: bool
    saved: Saved
    differs: bool | None
    mutable: bool | None
    outcome: Outcome


RULES = (
    Rule(True, 'no', None, None, Outcome('memory', True, False)),
    Rule(False, 'no', None, None, Outcome('memory', False, True)),
    Rule(True, 'given', False, None, Outcome('memory', True, False)),
    Rule(True, 'default', False, None, Outcome('memory', True, False)),
    Rule(True, 'given', True, True, Outcome('memory', True, False)),
    Rule(True, 'default', True, True, Outcome('memory', True, False)),
    Rule(True, 'given', True, False, Outcome('conflict', True, False)),
    Rule(True, 'default', True, False, Outcome('conflict', True, False)),
    Rule(False, 'given', None, None, Outcome('saved', True, False)),
    Rule(False, 'default', False, None, Outcome('saved', False, False)),
    Rule(False, 'default', True, None, Outcome('saved', False, True)),
)
"""The whole table; each case meets exactly one rule."""


def decide(*, given: bool, saved: Saved, differs: bool, mutable: bool) -> Outcome:
    """What a load makes of one setting."""
    return next(
        rule.outcome
        for rule in RULES
        if (rule.given, rule.saved) == (given, saved)
        and rule.differs in (None, differs)
        and rule.mutable in (None, mutable)
    )


class Merged(NamedTuple):
    """What comes of a load.

    Attributes:
        config: the settings in force.
        notes: what `ConfigDefaultChanged` has to tell.
    """

    config: Config
    notes: list[str]


def merge(config: Config, record: Record, model: type, name: str, *, built: bool = False) -> Merged:
    """The settings in force once those saved and those in memory have met.

    Args:
        config: the settings in memory; they are not changed.
        record: the settings saved.
        model: the class of the model.
        name: that of the file, for messages.
        built: whether the model exists already; then its immutable settings count as given, whoever gave them.

    Raises:
        ConfigConflict: immutable settings differ, or saved ones are no longer valid; the message lists all of them.
    """
    merging = _Merging(config, record, model, built=built)
    merging.walk(config, record.values, '')
    return merging.finish(name)


class _Merging:
    """The walk over two trees of settings, and what it finds."""

    def __init__(self, config: Config, record: Record, model: type, *, built: bool) -> None:
        self._config = config
        self._record = record
        self._today = Record.of(model, config)
        self._built = built
        self._given: set[str] = set()
        self._taken: dict[str, Any] = {}
        self._conflicts: list[str] = []
        self._notes: list[str] = []

    def walk(self, config: Config, saved: Mapping[str, Any], prefix: str) -> None:
        memory = json_values(config)
        for name, field in type(config).model_fields.items():
            path, value = f'{prefix}{name}', getattr(config, name)
            if isinstance(value, Config) and isinstance(saved.get(name, {}), Mapping):
                self.walk(value, saved.get(name, {}), f'{path}.')
                continue
            given = _among(path, self._config.given)
            as_what: Saved = 'no' if name not in saved else 'given' if _among(path, self._record.given) else 'default'
            differs = as_what != 'no' and not _same(saved[name], memory[name])
            mutable = is_mutable(field)
            outcome = decide(
                given=given or (self._built and not mutable), saved=as_what, differs=differs, mutable=mutable
            )
            if outcome.given and (given or as_what == 'given'):
                self._given.add(path)
            if outcome.value == 'saved':
                self._taken[path] = saved[name]
            elif outcome.value == 'conflict':
                self._conflicts.append(f'  {path}: {memory[name]!r} here, {saved[name]!r} saved')
            if outcome.warns:
                self._notes.append(self._note(path, memory[name], as_what, saved.get(name)))
        for name in saved:
            if name not in type(config).model_fields:
                self._notes.append(
                    f'{prefix}{name} was saved as {saved[name]!r} by {_who(self._record)}, '
                    f'and {_who(self._today)} has no such setting: it is dropped'
                )

    def finish(self, name: str) -> Merged:
        values = self._config.to_dict()
        for path, value in self._taken.items():
            *above, last = path.split('.')
            owner = values
            for step in above:
                owner = owner[step]
            owner[last] = value
        try:
            checked = type(self._config).model_validate(values, strict=False)
        except pydantic.ValidationError as error:
            self._conflicts += [
                f'  {".".join(map(str, found["loc"]))}: {found["input"]!r} saved, no longer valid: {found["msg"]}'
                for found in error.errors()
            ]
        if self._conflicts:
            raise ConfigConflict(
                f'{name} was saved with other settings; nothing was loaded.\n' + '\n'.join(self._conflicts) + '\n'
                'Leave the setting out to go on with the saved one, or give the new model another directory.'
            )
        merged = self._config.model_copy(deep=True)
        for path in self._taken:
            *above, last = path.split('.')
            into, source = merged, checked
            for step in above:
                into, source = getattr(into, step), getattr(source, step)
            into.__dict__[last] = source.__dict__[last]
        mark(merged, frozenset(self._given))
        return Merged(merged, self._notes)

    def _note(self, path: str, now: Any, as_what: Saved, saved: Any) -> str:
        if as_what == 'no':
            return f'{path} is new in {_who(self._today)}: it is {now!r}, the default; {_who(self._record)} saved none'
        return (
            f'{path} stays {saved!r}, the default of {_who(self._record)} that was saved; '
            f'the default of {_who(self._today)} is {now!r}'
        )


def _among(path: str, given: frozenset[str]) -> bool:
    return path in given or any(other.startswith(f'{path}.') for other in given)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b)


def _who(record: Record) -> str:
    return f'{record.package} {record.version}' if record.package else f'the script that defines {record.cls}'

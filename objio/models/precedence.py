"""Which settings are in force after a load: those given in memory, those saved, or the defaults of today."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pydantic

from objio.errors import ConfigConflict, ConfigDefaultChanged
from objio.models.config import Config
from objio.models.record import Record
from objio.models.settings import Settings, fields_of, is_mutable, json_values, mark

_MISSING: Any = object()
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
    merging = _Merging(config, record, Record.of(model, config), built=built)
    merging.walk(config, record.values, '')
    checked = merging.checked()
    if merging.conflicts:
        cure = (
            'This model exists already: make another one for that save.'
            if built
            else 'Leave a setting out to go on with the saved one, or use another directory for a new model.'
        )
        listed = '\n'.join(f'  {conflict}' for conflict in merging.conflicts)
        raise ConfigConflict(
            f'{name} and the settings of this model do not agree; nothing was loaded.\n{listed}\n{cure}'
        )
    merged = config.model_copy(deep=True)
    for path in merging.taken:
        into, source = merged, checked
        *above, last = path.split('.')
        for step in above:
            into, source = getattr(into, step), getattr(source, step)
        into.__dict__[last] = source.__dict__[last]
    mark(merged, config.given | record.given)
    return Merged(merged, merging.notes)


def tell(notes: list[str]) -> None:
    """Warns of what `ConfigDefaultChanged` is for, as if the line outside objio had done it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get('__name__', '').partition('.')[0] == 'objio':
        frame, level = frame.f_back, level + 1
    for note in notes:
        warnings.warn(note, ConfigDefaultChanged, stacklevel=level)


class _Merging:
    """A walk over the settings in memory and those saved, side by side.

    Attributes:
        taken: the saved values that are to be in force, by dotted name.
        conflicts: what does not agree, a line each.
        notes: what is told of defaults.
    """

    def __init__(self, config: Config, record: Record, today: Record, *, built: bool) -> None:
        self.taken: dict[str, Any] = {}
        self.conflicts: list[str] = []
        self.notes: list[str] = []
        self._config = config
        self._given = config.given
        self._record = record
        self._today = today
        self._built = built

    def walk(self, config: Settings, saved: Mapping[str, Any], prefix: str) -> None:
        """Decides on each setting of a config, and of those nested in it."""
        memory = json_values(config)
        for name, field, value in fields_of(config):
            path = f'{prefix}{name}'
            if isinstance(value, Settings) and isinstance(saved.get(name, {}), Mapping):
                self.walk(value, saved.get(name, {}), f'{path}.')
            else:
                self._decide(path, memory[name], saved.get(name, _MISSING), mutable=is_mutable(field))
        for name in saved:
            if name not in type(config).model_fields:
                self.notes.append(
                    f'{prefix}{name} = {saved[name]!r} was saved{_by(self._record)} and is no setting any more'
                    f'{_in(self._today)}; the next save drops it'
                )

    def checked(self) -> Config:
        """The settings in memory with the saved ones in their places, as they are once they were checked."""
        values = self._config.to_dict()
        for path, value in self.taken.items():
            *above, last = path.split('.')
            owner = values
            for step in above:
                owner = owner[step]
            owner[last] = value
        try:
            return type(self._config).model_validate(values, strict=False)
        except pydantic.ValidationError as error:
            for found in error.errors():
                path = '.'.join(map(str, found['loc'])) or 'all settings together'
                self.conflicts.append(
                    f'{path}: {found["input"]!r} was saved{_by(self._record)}, but today: {found["msg"]}'
                )
        return self._config

    def _decide(self, path: str, memory: Any, saved: Any, *, mutable: bool) -> None:
        differs = saved is not _MISSING and saved != memory
        was: Saved = 'no' if saved is _MISSING else 'given' if _among(path, self._record.given) else 'default'
        given = _among(path, self._given)
        in_force = self._built and not mutable and differs
        outcome = decide(given=given or in_force, saved=was, differs=differs, mutable=mutable)
        if outcome.value == 'conflict':
            here = 'given' if given else 'in force'
            self.conflicts.append(
                f'{path} is immutable: {memory!r} is {here}, {saved!r} was saved{" as a default" * (was == "default")}'
            )
        elif outcome.value == 'saved':
            self.taken[path] = saved
        if outcome.warns and was == 'no':
            self.notes.append(
                f'{path} is a new setting{_in(self._today)}, which the save{_by(self._record)} does not have: '
                f'it gets its default, {memory!r}'
            )
        elif outcome.warns:
            cure = f'; give it to use another: {path}={memory!r}' if mutable else ''
            self.notes.append(
                f'the default of {path} was {saved!r} when this was saved{_by(self._record)} and is {memory!r} now'
                f'{_in(self._today)}: the saved one stays in force{cure}'
            )


def _among(path: str, given: frozenset[str]) -> bool:
    return path in given or any(other.startswith(f'{path}.') for other in given)


def _by(record: Record) -> str:
    return f' by {record.package} {record.version}' if record.package else ''


def _in(record: Record) -> str:
    return f' in {record.package} {record.version}' if record.package else ''

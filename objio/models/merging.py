"""The settings in memory and those of a save, put together by the table of precedence."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import pydantic

from objio.errors import ConfigConflict
from objio.models.config import Config
from objio.models.precedence import Saved, decide
from objio.models.record import Record
from objio.models.saveable import guard
from objio.models.settings import Settings, before_loads, fields_of, is_mutable, json_values, mark, take

_MISSING: Any = object()


class Merged(NamedTuple):
    """What comes of a load.

    Attributes:
        config: the settings in force.
        notes: what `ConfigDefaultChanged` has to tell.
    """

    config: Config
    notes: list[str]


def begin(cls: type[Config], given: Mapping[str, Any], record: Record, name: str) -> Config:
    """The settings in memory; those without a default that are not given are the saved ones.

    Args:
        cls: the class of the settings.
        given: those that are given.
        record: those saved.
        name: that of the file, for messages.

    Raises:
        ValueError: a setting is wrong, or is neither given nor saved and has no default; pydantic's `ValidationError`.
        ConfigConflict: one that is saved alone is no longer valid.
    """
    try:
        return cls(**given)
    except pydantic.ValidationError as error:
        missing = ['.'.join(map(str, found['loc'])) for found in error.errors() if found['type'] == 'missing']
        values = dict(given)
        if len(missing) < error.error_count() or not all(_fill(values, path, record.values) for path in missing):
            raise
    try:
        config = cls.model_validate(values, strict=False)
    except pydantic.ValidationError as error:
        listed = '\n'.join(f'  {complaint}' for complaint in _complaints(error, record))
        raise ConfigConflict(f'{name} was saved with settings that do not fit; nothing was loaded.\n{listed}') from None
    mark(config, frozenset(path for path in config.given if not _below(path, missing)))
    return config


def _fill(values: dict[str, Any], path: str, saved: Mapping[str, Any]) -> bool:
    """Puts a saved value in its place among those given; False where there is none."""
    first, _, rest = path.partition('.')
    if not isinstance(saved, Mapping) or first not in saved:
        return False
    if not rest:
        values[first] = saved[first]
        return True
    values[first] = dict(values[first])
    return _fill(values[first], rest, saved[first])


def merge(config: Config, record: Record, model: type, name: str, *, built: bool = False) -> Merged:
    """The settings in force once those saved and those in memory have met.

    Args:
        config: the settings in memory; they are not changed. What an earlier load took from a save counts as not given.
        record: the settings saved.
        model: the class of the model.
        name: that of the file, for messages.
        built: whether the model exists already; then its immutable settings count as given, whoever gave them.

    Raises:
        ConfigConflict: immutable settings differ, or saved ones are no longer valid; the message lists all of them.
    """
    config = cast(Config, before_loads(config))
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
        take(merged, path, checked)
    mark(merged, config.given | record.given)
    guard(merged)
    return Merged(merged, merging.notes)


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
            self.conflicts += _complaints(error, self._record)
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


def _complaints(error: pydantic.ValidationError, record: Record) -> list[str]:
    return [
        f'{".".join(map(str, found["loc"])) or "all settings together"}: '
        f'{found["input"]!r} was saved{_by(record)}, but today: {found["msg"]}'
        for found in error.errors()
    ]


def _below(path: str, others: list[str]) -> bool:
    return any(path == other or path.startswith(f'{other}.') for other in others)


def _among(path: str, given: frozenset[str]) -> bool:
    return path in given or any(other.startswith(f'{path}.') for other in given)


def _by(record: Record) -> str:
    return f' by {record.package} {record.version}' if record.package else ''


def _in(record: Record) -> str:
    return f' in {record.package} {record.version}' if record.package else ''

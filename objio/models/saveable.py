"""Whether the settings of a model come back from a save as they are: asked when they are given, before any training."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from objio.errors import UnsaveableError
from objio.formats.manifest import check_metadata
from objio.models.settings import Settings, fields_of, json_values, leaves, pydantic, title

_OTHERWISE = 'Use numbers, str, bool, None, lists or dicts of these, or a nested objio.Config'
_LEVELS = 2  # of the metadata of a save, above the settings
_LONGEST = 100  # letters of a value in a message


def check_saveable(settings: Settings) -> None:
    """Writes the settings as a save does, reads them as a load does, and compares: values and types must be the same.

    Raises:
        UnsaveableError: a setting cannot be written, or would come back as another value or type; the message gives
            its path, the value and the cure.

    Example:
        >>> import typing, objio
        >>> class Settings(objio.Config):
        ...     shape: typing.Any = (1, 2)
        >>> check_saveable(Settings())
        >>> check_saveable(Settings(shape=1j))
        Traceback (most recent call last):
        ...
        objio.errors.UnsaveableError: Settings.shape = 1j would come back from a save as '1j' of type str; ...
    """
    written = _written(settings, title(type(settings)))
    try:
        back = type(settings).model_validate(json.loads(json.dumps(written)), strict=False)
    except pydantic.ValidationError as error:
        found = error.errors()[0]
        path = '.'.join([title(type(settings)), *(str(step) for step in found['loc'] if step != '[key]')])
        raise UnsaveableError(
            f'{path} cannot be saved: a save would hold {_short(found["input"])}, which a load refuses '
            f'({found["msg"]}). {_OTHERWISE}'
        ) from error
    for name, _, value in fields_of(settings):
        path = f'{title(type(settings))}.{name}'
        for where, here, there in _differences(value, back.__dict__[name], path):
            raise UnsaveableError(_changed(where, here, there))


def guard(settings: Settings) -> None:
    """Checks settings, and from now on also each value that is assigned to one of them.

    Raises:
        UnsaveableError: as for `check_saveable`.
    """
    check_saveable(settings)
    for owner in [settings, *(owner for _, owner, _ in leaves(settings))]:
        owner._guarded = True  # noqa: SLF001  # a friend


def _written(settings: Settings, path: str) -> dict[str, Any]:
    """The settings as the metadata of a save, once it is known that these can hold them."""
    written = {}
    for name, _, value in fields_of(settings):
        where = f'{path}.{name}'
        if isinstance(value, Settings):
            written[name] = _written(value, where)
            continue
        try:
            written |= json_values(settings, only=name)
            check_metadata(written[name], where, _LEVELS + 1)
        except UnsaveableError as error:
            where, culprit = next(_unwritable(value, where), (where, value))
            raise UnsaveableError(
                f'{where} = {_short(culprit)} cannot be saved: JSON has no such value. {_cure(where, culprit)}'
            ) from error
        except TypeError as error:
            raise UnsaveableError(f'{error}; no save can hold it') from error
    return written


def _unwritable(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What in a value no JSON can hold, with its path."""
    for where, item in _items(value, path):
        yield from _unwritable(item, where)
    try:
        # Sets have no order, so that their items are asked for one by one.
        pydantic.TypeAdapter(Any).dump_python(value, mode='json')
    except ValueError:
        yield path, value


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    """What is in a container, with the path of each; nothing in what is none."""
    if isinstance(value, Settings | pydantic.BaseModel):
        return [(f'{path}.{name}', value.__dict__[name]) for name in type(value).model_fields]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f'{path}.{field.name}', getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple | frozenset):
        return [(f'{path}[{index}]', item) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return [(f'{path}[{key!r}]', item) for key, item in value.items()]
    return []


def _differences(value: Any, back: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Where a value that came back is another one or of another type: the path, what was there, what is there."""
    items = [] if isinstance(value, frozenset) else _items(value, path)
    if type(value) is not type(back) or _kinds(value) != _kinds(back):
        yield path, value, back
    elif items:
        for (where, item), (_, other) in zip(items, _items(back, path), strict=True):
            yield from _differences(item, other, where)
    elif not _is_same(value, back):
        yield path, value, back


def _kinds(value: Any) -> Any:
    """What of a container its items do not tell: the keys of a dict, the types in a set, the length of a tuple."""
    if isinstance(value, dict):
        return [(type(key), key) for key in value]
    if isinstance(value, frozenset):
        return {type(item) for item in value}
    return len(value) if isinstance(value, tuple) else None


def _is_same(value: Any, back: Any) -> bool:
    """Whether two values of one type are equal, NaN being equal to itself."""
    try:
        return bool(value == back) or bool(value != value and back != back)  # noqa: PLR0124
    except Exception:  # noqa: BLE001  # whatever a type of the user's does in place of comparing
        return False


def _changed(path: str, value: Any, back: Any) -> str:
    said = f'{path} = {_short(value)} would come back from a save as {_short(back)} of type {type(back).__name__}; '
    if type(value) is type(back) and not isinstance(value, dict):
        return said + 'a validator of this Config must leave a value as it is that it has made or let pass before'
    return said + f'declare the type {_type_of(value)} alone, which a load then makes of it again. {_OTHERWISE}'


def _type_of(value: Any) -> str:
    """The name of a type as an annotation has it."""
    if isinstance(value, dict):
        kinds = sorted({type(key).__name__ for key in value})
        return f'dict[{" | ".join(kinds) or "str"}, ...]'
    if isinstance(value, frozenset):
        return 'set'
    if isinstance(value, Path):
        return 'Path'
    return type(value).__name__


def _cure(path: str, value: Any) -> str:
    """What to do with a value that no JSON can hold."""
    name = path.rpartition('.')[2].partition('[')[0]
    if dtype := _dtype_name(value):
        return f'Keep the name of the dtype, {name}: str = {dtype!r}, and use jnp.dtype(self.config.{name}) in build'
    if isinstance(value, np.generic):
        return 'Give the number of Python: value.item()'
    if isinstance(value, bytes):
        return 'Bytes that are no UTF-8 text go as a str: value.hex(), and bytes.fromhex(text) in build'
    if callable(value):
        known = getattr(value, '__name__', '')
        example = f', as in {name}: str = {known!r},' if known.isidentifier() else ','
        return f'Keep its name{example} and look it up in build'
    return _OTHERWISE


def _dtype_name(value: Any) -> str:
    """The name of a dtype, be it one of NumPy or the class of a scalar; '' for anything else."""
    if isinstance(value, type):
        # The classes of scalars that JAX has know their dtype themselves.
        value = np.dtype(value) if issubclass(value, np.generic) else getattr(value, 'dtype', None)
    return value.name if isinstance(value, np.dtype) else ''


def _short(value: Any) -> str:
    """A value in a message; an int may be too long to be printed at all."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # the message is to be given all the same
        text = f'a value of type {type(value).__name__}'
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'

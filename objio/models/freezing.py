"""Values that nobody changes in place: what the settings of a model are made of, all the way down."""

import collections
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

import numpy as np

_UNIONS = (Union, types.UnionType)
_LISTS = (list, Sequence, collections.abc.MutableSequence)
_SETS = (set, Set, collections.abc.MutableSet)


class FrozenDict(dict[Any, Any]):
    """A dict that refuses to be changed; equal to any dict of the same content, and what JSON and pickle take as one.

    Example:
        >>> settings = FrozenDict(a=1)
        >>> settings == {'a': 1}
        True
        >>> settings | {'b': 2}
        {'a': 1, 'b': 2}
    """

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError('a dict among the settings of a model cannot be changed in place; assign a new one, whole')

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(self) | dict(other)


def freeze(value: Any, seal: Callable[[Any], Any]) -> Any:
    """The value in a form that cannot be changed in place: lists as tuples, sets as frozensets, dicts read-only.

    Args:
        value: anything.
        seal: called with everything that is no container; gives what stands in its place.

    Raises:
        TypeError: it holds an object that can be changed in place.
    """
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(freeze(item, seal) for item in value))
    if isinstance(value, list | tuple):
        return tuple(freeze(item, seal) for item in value)
    if isinstance(value, set | frozenset):
        return frozenset(freeze(item, seal) for item in value)
    if isinstance(value, dict):
        return FrozenDict({key: freeze(item, seal) for key, item in value.items()})
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, np.generic) and isinstance(value, float | complex | str | bytes):
        return value.item()  # no file tells NumPy's kind of a float from Python's
    return seal(value)


def thaw(value: Any, annotation: Any) -> Any:
    """The value as its annotation says: a list where a list is annotated and a frozen one is given, and so on.

    Returns:
        the very value, where nothing in it is frozen.
    """
    origin = get_origin(annotation) or annotation
    arguments = get_args(annotation)
    if origin is Annotated:
        return thaw(value, arguments[0])
    if isinstance(annotation, typing.TypeVar):
        return value
    if origin in _UNIONS:
        return next((new for kind in arguments if (new := thaw(value, kind)) is not value), value)
    if isinstance(value, tuple):
        kinds = _kinds(origin, arguments, len(value))
        items = [thaw(item, kind) for item, kind in zip(value, kinds, strict=False)]
        if origin in _LISTS:
            return items
        return tuple(items) if _changed(items, value) else value
    if isinstance(value, frozenset) and origin in _SETS:
        return set(value)
    if isinstance(value, FrozenDict) and origin is not FrozenDict:
        of = arguments[1] if len(arguments) == 2 else Any
        return {key: thaw(item, of) for key, item in value.items()}
    return value


def _kinds(origin: Any, arguments: tuple[Any, ...], length: int) -> Iterator[Any]:
    """The annotation of each item of a sequence."""
    if origin is tuple and arguments[1:] != (...,) and len(arguments) == length:
        return iter(arguments)
    return iter([arguments[0] if arguments else Any] * length)


def _changed(new: Sequence[Any], old: Sequence[Any]) -> bool:
    return any(a is not b for a, b in zip(new, old, strict=True))

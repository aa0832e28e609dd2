"""Containers that JAX does not know as trees: taken apart into their items, and put together again around new ones."""

import collections
import copy
import dataclasses
import operator
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

RANDOM = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)
"""NumPy's sources of random numbers, whose state goes on with every number."""

_WORD = 64  # bits
_slots: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


class Container(NamedTuple):
    """A container that was taken apart.

    Attributes:
        keys: for each item the part of a path that leads to it, as JAX spells paths.
        items: what it holds, in its own order.
        rebuild: makes a container of the same type of as many items; it holds none of the old ones.
    """

    keys: tuple[Any, ...]
    items: list[Any]
    rebuild: Callable[[Sequence[Any]], Any]

    def others(self, thing: Any) -> dict[str, Any]:
        """The attributes that the container keeps beside its items: those that a subclass of dict was given, say."""
        own = {id(item) for item in self.items}
        return {name: value for name, value in attributes_of(thing) if name != 'data' and id(value) not in own}


def take_apart(thing: Any) -> Container | None:
    """The items of a container that JAX takes for a leaf, and how to make it anew.

    Known are dataclasses, `SimpleNamespace`, `deque`, `UserDict`, `UserList`,
    `MappingProxyType`, subclasses of dict, list and tuple, and NumPy's random generators.

    Returns:
        None for anything else, and for what does not come back as it was when it is put together again.

    Example:
        >>> from collections import deque
        >>> found = take_apart(deque([1, 2], maxlen=3))
        >>> found.items, found.rebuild([5, 6])
        ([1, 2], deque([5, 6], maxlen=3))
    """
    kind = _kind_of(thing)
    if kind is None:
        return None
    try:
        keys, items = kind.take(thing)
        empty = kind.fill(copy.copy(thing) if kind.in_place else thing, keys, [None] * len(items))
        rebuild = _Rebuild(kind, empty, keys)
        again = rebuild(items)
        same_keys, same_items = kind.take(again)
    except Exception:  # noqa: BLE001  # the code of a foreign class: what it cannot do, it cannot do
        return None
    whole = type(again) is type(thing) and same_keys == keys and all(map(kind.same, items, same_items))
    return Container(tuple(map(kind.entry, keys)), items, rebuild) if whole else None


def attributes_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object keeps itself, in slots or in its `__dict__`."""
    for member in _slots_of(type(thing)):
        if hasattr(thing, member):
            yield member, getattr(thing, member)
    yield from getattr(thing, '__dict__', {}).items()


def _slots_of(cls: type) -> tuple[str, ...]:
    """The attributes that a class and its bases have slots for; they never change."""
    if cls not in _slots:
        found = []
        for base in reversed(cls.__mro__):
            slots = base.__dict__.get('__slots__', ())
            for name in (slots,) if isinstance(slots, str) else slots:
                private = name.startswith('__') and not name.endswith('__')
                if name not in ('__dict__', '__weakref__'):
                    found.append(f'_{base.__name__.lstrip("_")}{name}' if private else name)
        _slots[cls] = tuple(found)
    return _slots[cls]


class _Kind(NamedTuple):
    """How the containers of one kind are read and filled."""

    entry: Callable[[Any], Any]  # makes a part of one of JAX's paths of a key
    take: Callable[[Any], tuple[list[Any], list[Any]]]  # gives keys and items
    fill: Callable[[Any, list[Any], Sequence[Any]], Any]  # called with a container, keys and items; gives a container
    in_place: bool = True  # whether `fill` changes the container that it is given
    same: Callable[[Any, Any], bool] = operator.is_  # whether two items are the same


class _Rebuild:
    """Makes a container anew. An object, not a closure, so that it can be pickled and copied with its tree."""

    def __init__(self, kind: _Kind, empty: Any, keys: list[Any]) -> None:
        self._kind, self._empty, self._keys = kind, empty, keys

    def __call__(self, items: Sequence[Any]) -> Any:
        empty = copy.copy(self._empty) if self._kind.in_place else self._empty
        return self._kind.fill(empty, self._keys, items)

    def __reduce__(self) -> tuple[Any, ...]:
        # A `MappingProxyType` cannot be pickled, and its keys say all.
        return _rebuild_of, (None if self._kind is _PROXY else self._empty, self._keys)


def _rebuild_of(empty: Any, keys: list[Any]) -> _Rebuild:
    return _Rebuild(_kind_of(empty) or _PROXY, empty, keys)


def _kind_of(thing: Any) -> _Kind | None:
    if isinstance(thing, type):
        return None
    if isinstance(thing, types.MappingProxyType):
        return _PROXY
    if isinstance(thing, (collections.UserDict, dict)):
        return _MAPPING
    if isinstance(thing, tuple):
        return _TUPLE
    if isinstance(thing, (list, collections.UserList, collections.deque)):
        return _SEQUENCE
    if isinstance(thing, types.SimpleNamespace) or dataclasses.is_dataclass(thing):
        return _RECORD
    return _GENERATOR if isinstance(thing, RANDOM) else None


def _take_mapping(thing: Mapping[Any, Any]) -> tuple[list[Any], list[Any]]:
    return list(thing), list(thing.values())


def _fill_mapping(thing: Any, keys: list[Any], items: Sequence[Any]) -> Any:
    content = dict(zip(keys, items, strict=True))
    if isinstance(thing, collections.UserDict):
        thing.data = content
    else:
        dict.update(thing, content)
    return thing


def _fill_proxy(_: Any, keys: list[Any], items: Sequence[Any]) -> Any:
    return types.MappingProxyType(dict(zip(keys, items, strict=True)))


def _take_sequence(thing: Any) -> tuple[list[Any], list[Any]]:
    return list(range(len(thing))), list(thing)


def _fill_sequence(thing: Any, _: list[Any], items: Sequence[Any]) -> Any:
    if isinstance(thing, collections.UserList):
        thing.data = list(items)
        return thing
    base: Any = list if isinstance(thing, list) else collections.deque
    base.clear(thing)
    base.extend(thing, items)
    return thing


def _fill_tuple(thing: Any, _: list[Any], items: Sequence[Any]) -> Any:
    new = tuple.__new__(type(thing), items)
    getattr(new, '__dict__', {}).update(getattr(thing, '__dict__', {}))
    return new


def _take_record(thing: Any) -> tuple[list[Any], list[Any]]:
    found = dict(attributes_of(thing))
    return list(found), list(found.values())


def _fill_record(thing: Any, keys: list[Any], items: Sequence[Any]) -> Any:
    for name, item in zip(keys, items, strict=True):
        object.__setattr__(thing, name, item)  # also where the class is frozen
    return thing


def _take_generator(thing: Any) -> tuple[list[Any], list[Any]]:
    """One item, called as the algorithm, so that the state of another algorithm is never taken for it."""
    state = _state_of(thing)
    return [state.pop('bit_generator')], [_encoded(state)]


def _fill_generator(thing: Any, keys: list[Any], items: Sequence[Any]) -> Any:
    new = copy.deepcopy(thing)
    if items[0] is not None:  # a generator without any state there is not
        state = {'bit_generator': keys[0], **_decoded(items[0], _state_of(thing))}
        if isinstance(new, np.random.RandomState):
            new.set_state(state)
        else:
            (new.bit_generator if isinstance(new, np.random.Generator) else new).state = state
    return new


def _state_of(thing: Any) -> dict[str, Any]:
    if isinstance(thing, np.random.RandomState):
        return dict(thing.get_state(legacy=False))
    return dict((thing.bit_generator if isinstance(thing, np.random.Generator) else thing).state)


def _encoded(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state in values that a file can hold: an int of the inner state may have 128 bits, and becomes two words."""
    inner = {
        key: np.array([value % 2**_WORD, value >> _WORD], np.uint64) if isinstance(value, int) else np.array(value)
        for key, value in state['state'].items()
    }
    return {key: np.array(value) if isinstance(value, np.ndarray) else value for key, value in state.items()} | {
        'state': inner
    }


def _decoded(state: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: int(value[0]) + (int(value[1]) << _WORD) if isinstance(like['state'][key], int) else np.asarray(value)
        for key, value in state['state'].items()
    }
    outer = {key: type(like[key])(value) for key, value in state.items() if isinstance(like[key], int | float)}
    return {**state, **outer, 'state': inner}


def _same_state(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(np.array_equal(value, new['state'][key]) for key, value in old['state'].items())


_MAPPING = _Kind(DictKey, _take_mapping, _fill_mapping)
_PROXY = _Kind(DictKey, _take_mapping, _fill_proxy, in_place=False)
_SEQUENCE = _Kind(SequenceKey, _take_sequence, _fill_sequence)
_TUPLE = _Kind(SequenceKey, _take_sequence, _fill_tuple, in_place=False)
_RECORD = _Kind(GetAttrKey, _take_record, _fill_record)
_GENERATOR = _Kind(DictKey, _take_generator, _fill_generator, in_place=False, same=_same_state)

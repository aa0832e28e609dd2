"""What holds data where no walk over variables or trees finds it, and so would silently not be saved."""

import array
import collections
import enum
import functools
import mmap
import numbers
import os
import re
import types
from collections.abc import Container, Iterator, Mapping, Set
from typing import Any, NamedTuple

import jax
import numpy as np

from objio.variables.containers import RANDOM, attributes_of
from objio.variables.values import describe, is_value
from objio.variables.variable import is_variable, target

# What says how something is done, and never holds what was learnt.
_STRUCTURE = (
    str,
    type,
    types.GenericAlias,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.NoneType,
    types.EllipsisType,
    types.NotImplementedType,
    np.dtype,
    os.PathLike,
    re.Pattern,
)
CONTAINERS = (list, tuple, Mapping, Set, collections.deque, collections.UserList)
"""What holds items and nothing else, as far as its class tells."""
_BYTES = (bytes, bytearray, memoryview, array.array, mmap.mmap)
_JAX = ('jax', 'jaxlib')  # whose objects say where and how, and are no data but for its arrays
_MOST = 10_000  # things that are looked at: an attribute may lead to a whole program


class Found(NamedTuple):
    """Data, and where it is.

    Attributes:
        path: from the thing that was searched, as Python spells it: `.mu[0]`.
        data: an array, a variable, a number, bytes, or an object that cannot be looked into.
    """

    path: str
    data: Any

    def __str__(self) -> str:
        kind = describe(self.data) if is_value(self.data) else type(self.data).__name__
        return f'{kind} at {self.path}' if self.path else kind


def find_data(thing: Any, *, arrays: bool = False, known: Container[int] = ()) -> Found | None:
    """The first data in a thing; None where there is none.

    Functions, classes, str and None are no data, nor is what JAX itself is made of (shardings, devices). Of what can
    be called, a partial function say, only arrays count: its numbers are settings.

    Args:
        thing: anything.
        arrays: whether only arrays, variables and random generators count.
        known: the `id` of things that do not count.

    Example:
        >>> from collections import deque
        >>> print(find_data({'name': 'adam', 'seen': {3.5}}))
        Python float at ['seen'][0]
        >>> print(find_data(deque(['a', None])))
        None
    """
    return next(_data_in(thing, arrays=arrays, known=known), None)


def _data_in(thing: Any, *, arrays: bool, known: Container[int]) -> Iterator[Found]:
    waiting: collections.deque[tuple[str, Any, bool]] = collections.deque([('', thing, arrays)])
    seen: dict[int, Any] = {}  # kept, so that no number is given again
    while waiting and len(seen) < _MOST:
        path, here, arrays = waiting.popleft()
        if isinstance(here, _STRUCTURE) or id(here) in seen or id(here) in known:
            continue
        seen[id(here)] = here
        if is_variable(here):
            if id(target(here)) not in known:  # a reference stands for what it refers to
                yield Found(path, here)
            continue
        if is_array(here) or isinstance(here, RANDOM):
            yield Found(path, here)
            continue
        if type(here).__module__.partition('.')[0] in _JAX and not isinstance(here, functools.partial):
            continue
        arrays = arrays or callable(here)
        if isinstance(here, (numbers.Number, np.generic, *_BYTES)):
            if not arrays:
                yield Found(path, here)
            continue
        if isinstance(here, enum.Enum):
            waiting.append((f'{path}.value', here.value, arrays))
            continue
        inner = list(items_of(here))
        waiting += [(f'{path}{key}', item, arrays) for key, item in inner]
        if not arrays and _is_opaque(here, seen_into=bool(inner)):
            yield Found(path, here)


def is_array(thing: Any) -> bool:
    """Whether a thing is an array, of whatever library; a scalar of NumPy is a number, a promise of JAX has no data."""
    if isinstance(thing, (np.ndarray, jax.Array)):
        return True
    # Of modules, numpy itself has a shape and a dtype.
    if isinstance(thing, (type, np.generic, np.dtype, jax.ShapeDtypeStruct, types.ModuleType)):
        return False
    # Asked of the class first: an attribute of an object may run any code.
    return all(hasattr(type(thing), name) or name in getattr(thing, '__dict__', ()) for name in ('shape', 'dtype'))


def items_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a container or an object holds, each with the part of a path that leads to it."""
    if isinstance(thing, functools.partial):
        yield from (('.func', thing.func), ('.args', thing.args), ('.keywords', thing.keywords))
    elif isinstance(thing, Mapping):
        yield from ((f'[{key!r}]', item) for key, item in list(thing.items()))
    elif isinstance(thing, CONTAINERS):
        yield from ((f'[{index}]', item) for index, item in enumerate(list(thing)))
    yield from ((f'.{name}', value) for name, value in list(attributes_of(thing)))


def _is_opaque(thing: Any, *, seen_into: bool) -> bool:
    """Whether a thing has a state that only a pickle shows, or nothing: a datetime, a generator, a lock.

    Args:
        thing: anything.
        seen_into: whether it has items or attributes.
    """
    cls: Any = type(thing)
    plain = cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__
    if isinstance(thing, CONTAINERS) or (plain and seen_into):
        return False
    try:
        reduced = thing.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  # the code of a foreign class: nobody knows what it holds
        return True
    # A str is the name of something that stands in a module.
    return not isinstance(reduced, str) and find_data(reduced[1:]) is not None

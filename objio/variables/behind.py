"""What belongs to a module and no attribute of it holds: variables of its class, or that a function of it refers to."""

import collections
import io
import random
import types
from collections.abc import Container, Iterator
from typing import Any

from objio.variables.collection import VarCollection
from objio.variables.module import Module
from objio.variables.variable import is_variable, target

_PLAIN = (list, tuple, dict)
_MOST = 1000  # things that are looked at: a function may refer to a whole program
_STATES = (('get_state', 'set_state'), ('state_dict', 'load_state_dict'))


def of_class(cls: type[Module]) -> dict[str, Any]:
    """The variables and modules among the attributes of a class of modules, which all its instances share.

    Example:
        >>> class Net(Module):
        ...     inner = Module()
        >>> list(of_class(Net))
        ['inner']
    """
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[: cls.__mro__.index(Module)]):
        found |= base.__dict__
    return {name: value for name, value in found.items() if any(map(_holds, (value, *_items(value))))}


def variable_behind(thing: Any, known: Container[int]) -> tuple[str, Any] | None:
    """The first variable that a function refers to: in what it encloses, or in the object that it is a method of.

    Args:
        thing: a function, a method, or what wraps one, as `jax.jit` does; None is given for anything else.
        known: the `id` of variables that do not count.

    Returns:
        the path to it and the variable, or None.

    Example:
        >>> from objio.variables.variable import StateVar
        >>> def outer(count):
        ...     return lambda: count.value
        >>> variable_behind(outer(StateVar(1)), ())[0]
        '.<count>'
    """
    waiting = collections.deque(_referred(thing))
    seen: dict[int, Any] = {}  # kept, so that no number is given again
    while waiting and len(seen) < _MOST:
        path, here = waiting.popleft()
        if id(here) in seen:
            continue
        seen[id(here)] = here
        if is_variable(here):
            if id(target(here)) not in known:
                return path, here
        elif isinstance(here, Module | VarCollection):
            vc = here if isinstance(here, VarCollection) else here.vars()
            waiting.extend((f'{path}.{name}', variable) for name, variable in vc.items())
        elif items := _items(here):
            waiting.extend((f'{path}[{index}]', item) for index, item in enumerate(items))
        else:
            waiting.extend((f'{path}{more}', item) for more, item in _referred(here))
    return None


def advances(thing: Any) -> bool:
    """Whether a thing goes on by itself, as an iterator does, a random generator of Python, or a loader of data.

    Example:
        >>> advances(iter([1, 2])), advances(enumerate('ab')), advances([1, 2])
        (True, True, False)
    """
    if isinstance(thing, type | io.IOBase | Module | types.FunctionType | types.MethodType):
        return False
    if isinstance(thing, random.Random | Iterator):
        return True
    return any(all(callable(getattr(type(thing), name, None)) for name in pair) for pair in _STATES)


def _holds(thing: Any) -> bool:
    return is_variable(thing) or isinstance(thing, Module)


def _items(thing: Any) -> list[Any]:
    if type(thing) not in _PLAIN:
        return []
    return list(thing.values()) if isinstance(thing, dict) else list(thing)


def _referred(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a function refers to, each with the part of a path that leads to it."""
    if isinstance(thing, types.MethodType):
        yield '.__self__', thing.__self__
        yield '', thing.__func__
    elif isinstance(thing, types.FunctionType):
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=False):
            try:
                yield f'.<{name}>', cell.cell_contents
            except ValueError:  # the variable of the outer function has no value yet
                continue
    elif callable(thing) and isinstance(wrapped := getattr(thing, '__wrapped__', None), types.FunctionType):
        yield '', wrapped

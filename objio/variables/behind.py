"""What belongs to a module and no attribute of it holds: variables of its class, or that a function leads to."""

import functools
import io
import random
import types
from collections.abc import Iterator
from typing import Any

from objio.variables.collection import VarCollection
from objio.variables.hidden import items_of
from objio.variables.module import Module, ModuleList
from objio.variables.variable import is_variable

_BASES = frozenset({*Module.__mro__, *ModuleList.__mro__})
_STATES = (('get_state', 'set_state'), ('state_dict', 'load_state_dict'))


def of_class(cls: type[Module]) -> dict[str, Any]:
    """The variables and modules among the attributes of a class of modules, which all its instances share.

    A class may keep a list of its own instances, which are no part of each other.

    Example:
        >>> class Net(Module):
        ...     inner = Module()
        >>> list(of_class(Net))
        ['inner']
    """
    found: dict[str, Any] = {}
    for base in reversed([base for base in cls.__mro__ if base not in _BASES]):
        own = list(vars(base).items())
        found |= {name: item for name, item in own if not any(isinstance(part, base) for part in _parts(item))}
    return {name: item for name, item in found.items() if any(map(_holds, _parts(item)))}


def given_by(module: Module) -> list[tuple[str, Any]]:
    """What a `vars` of a module's own gives, each with the end of its name."""
    try:
        return [(f'.{name}', variable) for name, variable in module.vars().items()]
    except Exception:  # noqa: BLE001  # the code of a foreign class, which nobody has asked so far
        return list(items_of(module))


def behind(thing: Any) -> list[tuple[str, Any]]:
    """The modules and variables that a function keeps for itself, each with the end of its name.

    A method has its module, a function what its body took from around it, a compiled one the function that was
    compiled, a partial one its arguments.

    Example:
        >>> from objio.variables.variable import StateVar
        >>> def outer(count):
        ...     return lambda: count.value
        >>> [name for name, _ in behind(outer(StateVar(1)))]
        ['.count']
    """
    if isinstance(thing, functools.partial):
        return list(items_of(thing))
    if isinstance(thing, types.MethodType):
        return [('.__self__', thing.__self__), ('', thing.__func__)]
    held: list[tuple[str, Any]] = []
    if isinstance(thing, types.FunctionType):
        names = thing.__code__.co_freevars
        held = [(f'.{name}', _content(cell)) for name, cell in zip(names, thing.__closure__ or (), strict=True)]
    held.append(('.__wrapped__', getattr(thing, '__dict__', {}).get('__wrapped__')))
    return [(key, item) for key, item in held if any(map(_leads, _parts(item)))]


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


def _parts(thing: Any) -> list[Any]:
    """The items of a plain container, or the thing alone."""
    if type(thing) is dict:
        return list(thing.values())
    return list(thing) if type(thing) in (list, tuple) else [thing]


def _holds(thing: Any) -> bool:
    return is_variable(thing) or isinstance(thing, Module)


def _leads(thing: Any) -> bool:
    return _holds(thing) or isinstance(thing, VarCollection | types.MethodType | types.FunctionType)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # what it is called was not assigned yet
        return None

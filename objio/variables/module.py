"""Modules: objects that hold variables and other modules, and name them all."""

import copy
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Self, SupportsIndex, cast, overload

from objio.variables.collection import VarCollection
from objio.variables.portable import Portable, freeze
from objio.variables.variable import BaseVar, target

_PLAIN = (list, tuple, dict)
_ADDRESS = re.compile(r' at 0x[0-9a-fA-F]+')  # of an object that is a key: another one in the next program
SETTINGS = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""The types of attributes that hold nothing to save, known at once."""


class _Walks(threading.local):
    """The modules whose `vars` runs in this thread: a container of theirs may lead back to them."""

    def __init__(self) -> None:
        self.modules: set[int] = set()


_walks = _Walks()


class Module(Portable):
    """An object whose attributes are variables, modules, and whatever else it needs.

    Variables and modules are found as attributes, and in lists, tuples and dicts among these. What stands in any
    other object is not found: use `ModuleList`, or write a `vars` of your own.

    Example:
        >>> import jax.numpy as jnp
        >>> from objio.variables.variable import TrainVar
        >>> class Scale(Module):
        ...     def __init__(self):
        ...         self.factor = TrainVar(jnp.ones(3))
        ...     def __call__(self, x):
        ...         return x * self.factor.value
        >>> class Net(Module):
        ...     def __init__(self):
        ...         self.scale = Scale()
        >>> list(Net().vars().keys())
        ['(Net).scale(Scale).factor']
    """

    def vars(self, scope: str = '') -> VarCollection:
        """Collects the variables of this module and of the modules in it.

        A variable's name is the path of attributes to it, with the class of each module on the way in parentheses.
        A module in the attribute `__wrapped__` takes the place of this one: the attribute is not part of the name.
        As in Objax, attributes come first. What only lists, tuples and dicts among the attributes hold comes after all
        of them, with a position or a key in brackets: `(Net).layers[0](Linear).w`, `(Net).heads['a'](Linear).w`.

        Args:
            scope: stands before every name.

        Returns:
            A new `VarCollection`.
        """
        return _collected(self, f'{scope}({type(self).__name__})', _attributes(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; a subclass defines it."""
        raise NotImplementedError(f'{type(self).__name__} defines no __call__')


class ModuleList(Module, list[Any]):
    """A list of modules and variables, and of anything else, that names what is in it by position.

    Example:
        >>> import jax.numpy as jnp
        >>> from objio.variables.variable import TrainVar
        >>> list(ModuleList([TrainVar(jnp.ones(3)), 'note', TrainVar(jnp.ones(2))]).vars('net').keys())
        ['net(ModuleList)[0]', 'net(ModuleList)[2]']
    """

    # As every module: lists of variables cannot be compared by value, and jax.jit keeps a table of its functions.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def vars(self, scope: str = '') -> VarCollection:
        """Collects the variables in the list and of the modules in it; see `Module.vars`.

        Attributes that the list was given are no part of Objax's walk, and come last.
        """
        items = ((f'[{index}]', item) for index, item in enumerate(self))
        return _collected(self, f'{scope}({type(self).__name__})', items, _attributes(self))

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> 'ModuleList': ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        items = list.__getitem__(self, key)
        return ModuleList(items) if isinstance(key, slice) else items

    def __repr__(self) -> str:
        lines = [f'  [{index}] {item!r}'.replace('\n', '\n  ') for index, item in enumerate(self)]
        return '\n'.join([f'{type(self).__name__}(', *lines, ')'])

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        made = list(cast('tuple[Any, ...]', super().__reduce_ex__(protocol)))
        made[3] = iter([freeze(item) for item in self])
        return tuple(made)

    def __copy__(self) -> Self:
        new = super().__copy__()
        new.extend(self)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = super().__deepcopy__(memo)
        new.extend(copy.deepcopy(item, memo) for item in self)
        return new


def _attributes(module: Module) -> Iterator[tuple[str, Any]]:
    """The attributes of a module that may hold variables, each with the end of its name."""
    for name, attribute in module.__dict__.items():
        if type(attribute) not in SETTINGS:
            yield ('' if name == '__wrapped__' and isinstance(attribute, Module) else f'.{name}'), attribute


def _collected(
    module: Module, here: str, things: Iterable[tuple[str, Any]], others: Iterable[tuple[str, Any]] = ()
) -> VarCollection:
    """The variables in what a module holds: first those that Objax's walk finds, then those in plain containers.

    Args:
        module: where the walk is.
        here: the name of the module.
        things: its variables and modules, each with the end of its name; and anything else.
        others: more of them, which Objax does not look at.
    """
    if id(module) in _walks.modules:
        return VarCollection()
    pairs: list[tuple[str, Any]] = []
    late: dict[str, Any] = {}
    _walks.modules.add(id(module))
    try:
        for name, thing in things:
            if isinstance(thing, BaseVar):
                pairs.append((here + name, thing))
            elif isinstance(thing, Module):
                found = thing.vars(here + name)
                behind = getattr(found, '_late', ())  # a vars of somebody else's may give any mapping
                pairs += (pair for pair in found.items() if pair[0] not in behind) if behind else found.items()
                late |= {key: found[key] for key in found.keys() if key in behind} if behind else {}  # noqa: SIM118  # iterates variables
            elif isinstance(thing, _PLAIN) and thing:
                late.update(_contained(thing, here + name, ()))
        for name, thing in others:
            late.update(_contained({here + name: thing}, None, ()))
    finally:
        _walks.modules.discard(id(module))
    vc = VarCollection(pairs)
    if late:
        known = {id(target(variable)) for variable in vc.values()}
        new = {name: variable for name, variable in late.items() if id(target(variable)) not in known}
        vc.update(new)
        vc._late = frozenset(new)  # noqa: SLF001
    return vc


def _contained(
    container: list[Any] | tuple[Any, ...] | dict[Any, Any], name: str | None, above: tuple[int, ...]
) -> Iterator[tuple[str, Any]]:
    """The variables in a plain container, by name.

    Args:
        container: a list, a tuple or a dict.
        name: that of the container; None for a dict whose keys are whole names.
        above: the containers on the way here: one of them may stand in itself.
    """
    if id(container) in above:
        return
    if isinstance(container, dict):
        keys = [_ADDRESS.sub('', repr(key)) for key in container] if name is not None else list(container)
        if len(set(keys)) < len(keys):  # different keys that are written alike
            keys = [f'{key}#{index}' for index, key in enumerate(keys)]
        pairs = zip(keys, list(container.values()), strict=True)
    else:
        pairs = zip(map(str, range(len(container))), container, strict=False)
    for key, item in pairs:
        if type(item) in SETTINGS:
            continue
        path = key if name is None else f'{name}[{key}]'
        if isinstance(item, BaseVar):
            yield path, item
        elif isinstance(item, Module):
            yield from item.vars(path).items()
        elif isinstance(item, _PLAIN):
            yield from _contained(item, path, (*above, id(container)))

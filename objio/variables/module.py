"""Modules: objects that hold variables and other modules, and name them all."""

import copy
from typing import Any, Self, SupportsIndex, cast, overload

from objio.variables.collection import VarCollection
from objio.variables.portable import Portable, freeze
from objio.variables.variable import BaseVar


class Module(Portable):
    """An object whose attributes are variables, modules, and whatever else it needs.

    What stands in a plain list or dict is not found: use `ModuleList`, or write a `vars` of your own.

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

        Args:
            scope: stands before every name.

        Returns:
            A new `VarCollection`.
        """
        vc = VarCollection()
        here = f'{scope}({type(self).__name__})'
        for name, attribute in self.__dict__.items():
            if isinstance(attribute, BaseVar):
                vc[f'{here}.{name}'] = attribute
            elif isinstance(attribute, Module):
                vc.update(attribute.vars(here if name == '__wrapped__' else f'{here}.{name}'))
        return vc

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
        """Collects the variables in the list and of the modules in it; see `Module.vars`."""
        vc = VarCollection()
        here = f'{scope}({type(self).__name__})'
        for index, item in enumerate(self):
            if isinstance(item, BaseVar):
                vc[f'{here}[{index}]'] = item
            elif isinstance(item, Module):
                vc.update(item.vars(f'{here}[{index}]'))
        return vc

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

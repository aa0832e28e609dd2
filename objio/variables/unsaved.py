"""What a module holds beside the variables that its `vars` finds: it is neither saved nor loaded, and a verb says so."""

import dataclasses
import types
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from objio.errors import UnsaveableError
from objio.messages import some, warn_user
from objio.variables.behind import advances, behind, given_by, of_class
from objio.variables.collection import VarCollection
from objio.variables.containers import RANDOM
from objio.variables.hidden import CONTAINERS, Found, find_data, is_array, items_of
from objio.variables.module import SETTINGS, Module, ModuleList
from objio.variables.name_filter import NameFilter
from objio.variables.variable import is_variable, target, targets_of, values_of

_OWN_WALKS = (Module.vars, ModuleList.vars)
_LABELS = 'USTO'  # kinds of arrays of NumPy: text says how, as a str does; of objects each is looked at

_warned: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()


class Unsaved(NamedTuple):
    """Something that no save of a module holds.

    Attributes:
        name: what it would be called in a collection.
        data: the array or the variable.
        certain: whether it is a variable that nothing but containers lead to, so that it belongs to the module.
        holder: the type of the object of another library, or of the program, that holds it; '' for none.
    """

    name: str
    data: Any
    certain: bool
    holder: str = ''

    @property
    def cure(self) -> str:
        """What to do, so that it is saved."""
        if is_variable(self.data):
            return 'Keep it, or the module that holds it, in an attribute, or in a list, a tuple or a dict'
        if isinstance(self.data, RANDOM):
            return 'Draw from an objio.random.Generator, or save it as a tree of its own: VarCollection.from_tree(...)'
        if advances(self.data):
            return 'Keep its position or its state in a StateVar, or save it as metadata='
        if self.holder:
            return f'Save the {self.holder} as a tree of its own: VarCollection.from_tree(...)'
        return 'Make it a StateVar or a TrainVar'

    def __str__(self) -> str:
        return str(Found(self.name, self.data))


def check_unsaved(module: Module, vc: VarCollection, ignored: NameFilter | None = None) -> list[str]:
    """Says what a module holds beside the variables that will be saved or loaded.

    A plain array among its attributes is a warning, one for each class and name. A variable in a container where
    `vars` does not look is an error, as is a module that has arrays but no variables at all.

    Args:
        module: the module.
        vc: its variables.
        ignored: the names that are left out on purpose.

    Returns:
        the names of all that was found.

    Raises:
        UnsaveableError: weights would be lost; the message names them, and says what to do.
    """
    every = list(_unsaved_in(module, vc))
    found = [one for one in every if ignored is None or not ignored(one.name)]
    kind = type(module).__name__
    certain = [str(one) for one in found if one.certain]
    if certain:
        if hasattr(type(module), 'state') and hasattr(type(module), 'checkpoint'):  # a Model, which is not known here
            raise UnsaveableError(
                f'{kind} is a Model and keeps more than its vars(), which would be neither saved nor loaded: '
                f'{some(certain)}. Pass its state(), which has all of it, or use its save(), load() and checkpoint(); '
                'for the others alone pass its vars(), or ignore= their names'
            )
        raise UnsaveableError(
            f'{kind} holds variables where its vars() does not look, which would be neither saved nor loaded: '
            f'{some(certain)}. Keep them in attributes of the instance (no __slots__), or in lists, tuples, dicts or a ModuleList '
            f'among these, or give {kind} a vars() of its own; for the others alone pass its vars(), or ignore= their names'
        )
    if found and not len(vc):
        raise UnsaveableError(
            f'{kind} has no variables, and what it holds would be neither saved nor loaded: {some(map(str, found))}. '
            'Make arrays variables (TrainVar, StateVar); of a module of another library make a collection: '
            'VarCollection.from_tree(...)'
        )
    told = _warned.setdefault(type(module), set())
    for one in found:
        if one.name not in told:
            told.add(one.name)
            warn_user(
                f'{one} is no variable of {kind}, so it is neither saved nor loaded. {one.cure}; '
                f'or leave it out and say so: ignore={one.name!r}'
            )
    return [one.name for one in every]


def _unsaved_in(module: Module, vc: VarCollection) -> Iterator[Unsaved]:
    variables = targets_of(vc.values())
    # An array that is at this moment the value of a variable is saved with it.
    known = {id(thing) for thing in (*variables, *values_of(variables))}
    seen: dict[int, Any] = {}  # kept, so that no number is given again
    shared: dict[type, dict[str, Any]] = {}  # a model has thousands of modules of a few classes
    told: set[str] = set()  # functions with something behind them: the first of it is told
    waiting: list[tuple[str, Any, str]] = [(f'({type(module).__name__})', module, '')]
    while waiting:
        name, thing, function = waiting.pop()
        if id(thing) in seen or function in told or type(thing) in weakref.ProxyTypes:
            continue
        seen[id(thing)] = thing
        inner: list[tuple[str, Any]] = []
        if isinstance(thing, Module):
            # A class with a `vars` of its own knows what it leaves out.
            if type(thing).vars in _OWN_WALKS or not len(vc):
                cls = type(thing)
                if cls not in shared:
                    shared[cls] = of_class(cls)
                inner = list(items_of(thing))
                inner += [(f'.{key}', item) for key, item in shared[cls].items() if key not in thing.__dict__]
            else:
                inner = given_by(thing)
        elif type(thing) in (list, tuple):
            inner = [(f'[{index}]', item) for index, item in enumerate(thing) if type(item) not in SETTINGS]
        elif type(thing) is dict:
            inner = [(f'[{key!r}]', item) for key, item in list(thing.items()) if type(item) not in SETTINGS]
        elif is_variable(thing):
            if id(target(thing)) not in known:
                yield Unsaved(name, thing, certain=not function)
                told.update([function] if function else ())
        elif isinstance(thing, np.ndarray) and thing.dtype.kind in _LABELS:
            inner = [(f'[{index}]', item) for index, item in enumerate(thing.flat)] if thing.dtype.hasobject else []
        elif is_array(thing) or isinstance(thing, RANDOM) or advances(thing):
            yield Unsaved(name, thing, certain=False)
        elif isinstance(thing, VarCollection):
            lost = [
                Unsaved(f'{name}.{key}', v, certain=not function and _is_state(thing))
                for key, v in thing.items()
                if id(target(v)) not in known
            ]
            yield from lost[:1]
        elif _is_container(thing):
            inner = list(items_of(thing))
        elif held := behind(thing):
            inner, function = held, function or name
        elif found := find_data(thing, arrays=True, known=known):
            yield Unsaved(f'{name}{found.path}', found.data, certain=False, holder=type(thing).__name__)
        for key, item in reversed(inner):
            if type(item) not in SETTINGS and id(item) not in known:
                kind = f'({type(item).__name__})' if isinstance(item, Module) else ''
                waiting.append((f'{name}{key}{kind}', item, function))


def _is_state(vc: VarCollection) -> bool:
    """Whether a collection holds the leaves of a tree; one of a module may be kept to look at that module."""
    return vc._tree is not None  # noqa: SLF001  # a friend


def _is_container(thing: Any) -> bool:
    if callable(thing) or isinstance(thing, type):
        return False
    return isinstance(thing, (*CONTAINERS, types.SimpleNamespace)) or dataclasses.is_dataclass(thing)

"""Variables of a module that only its class, its slots, its own items or a function leads to: none is lost unseen."""

import collections
import functools
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objio
from objio import Module, ModuleList, StateVar, TrainVar, UnsaveableError, VarCollection
from objio.nn import Linear


class Shared(Module):
    """A variable in the body of the class."""

    weight = TrainVar(jnp.ones(3))

    def __init__(self) -> None:
        self.own = StateVar(0)


class Heir(Shared):
    """The class above it has the variable."""


class Blocks(Module):
    """Layers in the body of the class."""

    layers = (Linear(1, 1), Linear(1, 1))
    by_name = {'act': jax.nn.relu}

    def __init__(self) -> None:
        self.own = StateVar(0)


class Slotted(Module):
    """A layer in a slot."""

    __slots__ = ('inner',)

    def __init__(self) -> None:
        self.own, self.inner = StateVar(0), Linear(1, 1)


class Named(Module, dict[str, Any]):
    """A module that is a dict."""

    def __init__(self) -> None:
        dict.__init__(self, head=Linear(1, 1))
        self.own = StateVar(0)


class Listed(Module, list[Any]):
    """A module that is a list."""

    def __init__(self) -> None:
        list.__init__(self, ['a', Linear(1, 1)])
        self.own = StateVar(0)


class Queued(Module):
    """A module with a `vars` of its own in a container."""

    def __init__(self) -> None:
        self.own, self.keys = StateVar(0), collections.deque([objio.random.Generator(0)])


class Failing(Module):
    """A `vars` that fails, in a container where nobody asks it."""

    def __init__(self) -> None:
        self.own, self.rest = StateVar(0), collections.deque([Broken()])


class Broken(Module):
    """A module with a `vars` that fails."""

    def __init__(self) -> None:
        self.w = StateVar(1)

    def vars(self, scope: str = '') -> VarCollection:
        raise KeyError(scope)


class Heads(Module):
    """A dict of modules among the items of a list that is a module."""

    def __init__(self) -> None:
        self.own, self.inner = StateVar(0), Named()


REFUSED: dict[type[Module], str] = {
    Shared: 'TrainVar at (Shared).weight',
    Heir: 'TrainVar at (Heir).weight',
    Blocks: 'TrainVar at (Blocks).layers[0](Linear).b',
    Slotted: 'TrainVar at (Slotted).inner(Linear).b',
    Named: "TrainVar at (Named)['head'](Linear).b",
    Listed: 'TrainVar at (Listed)[1](Linear).b',
    Queued: 'RandomState at (Queued).keys[0](Generator).(Generator)._key',
    Failing: 'StateVar at (Failing).rest[0](Broken).w',
    Heads: "TrainVar at (Heads).inner(Named)['head'](Linear).b",
}


def decorated(module: Module) -> Callable[[Any], Any]:
    """A function around a module, as a decorator makes it."""

    @functools.wraps(module.__call__)
    def call(x: Any) -> Any:
        return x

    return call


def around(module: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that uses a module."""

    def call(x: Any) -> Any:
        return module(x)

    return call


FUNCTIONS: dict[str, tuple[Callable[[Module], Any], str]] = {
    'method': (lambda lin: lin.__call__, '(Net).extra.__self__(Linear).b'),
    'closure': (around, '(Net).extra.module(Linear).b'),
    'closure of a closure': (lambda lin: around(around(lin)), '(Net).extra.module.module(Linear).b'),
    'compiled module': (jax.jit, '(Net).extra.__wrapped__(Linear).b'),
    'compiled closure': (lambda lin: jax.jit(around(lin)), '(Net).extra.__wrapped__.module(Linear).b'),
    'decorated method': (decorated, '(Net).extra.__wrapped__.__self__(Linear).b'),
    'partial method': (lambda lin: functools.partial(lin.__call__), '(Net).extra.func.__self__(Linear).b'),
    'partial closure': (lambda lin: functools.partial(around(lin), 1), '(Net).extra.func.module(Linear).b'),
    'argument': (lambda lin: functools.partial(len, around(lin)), '(Net).extra.args[0].module(Linear).b'),
    'list of functions': (lambda lin: [jax.nn.relu, around(lin)], '(Net).extra[1].module(Linear).b'),
}


def net(extra: Any) -> Any:
    """A module of a class of its own, so that no other test has heard its warnings."""
    made = type('Net', (Module,), {})()
    made.own, made.extra = StateVar(0), extra
    return made


@pytest.mark.parametrize('kind', REFUSED, ids=lambda kind: kind.__name__)
def test_variables_that_only_the_class_or_the_items_lead_to_are_refused(kind: type[Module], tmp_path: Any) -> None:
    """A save and a load name them; ignored, the others are saved."""
    with pytest.raises(UnsaveableError, match=re.escape(REFUSED[kind])):
        objio.save_var_collection(tmp_path / 'x.npz', kind())
    assert not (tmp_path / 'x.npz').exists()
    objio.save_var_collection(tmp_path / 'x.npz', kind(), ignore=lambda name: not name.endswith('own'))
    with pytest.raises(UnsaveableError, match=re.escape(REFUSED[kind])):
        objio.load_var_collection(tmp_path / 'x.npz', kind())


@pytest.mark.parametrize('kind', FUNCTIONS)
def test_variables_behind_a_function_are_told(kind: str, tmp_path: Any) -> None:
    """Nothing saves what only a function holds, so there is a warning that says what to do."""
    make, where = FUNCTIONS[kind]
    cure = r'Keep it, or the module that holds it, in an attribute'
    with pytest.warns(UserWarning, match=f'{re.escape(where)} is no variable of Net.*{cure}'):
        objio.save_var_collection(tmp_path / 'x.npz', net(make(Linear(1, 1))))
    objio.save_var_collection(tmp_path / 'x.npz', net(make(Linear(1, 1))), ignore='(Net).extra')


def test_functions_of_what_is_saved_are_not_told(tmp_path: Any) -> None:
    """A method, a closure or a compiled function of the module itself, or of a layer of its own, loses nothing."""
    module = net(Linear(1, 1))
    module.calls = [module.vars, module.extra.__call__, around(module.extra), jax.jit(around(module)), around]
    module.step = jax.jit(objio.pure(module.extra, module.extra.vars()))
    module.early = early()
    module.partials = [functools.partial(around(module.extra), 1), functools.partial(module.extra.__call__)]
    module.proxies = [weakref.proxy(module), weakref.proxy(module.extra)]
    objio.save_var_collection(tmp_path / 'x.npz', module)
    objio.load_var_collection(tmp_path / 'x.npz', module)


def early() -> Callable[[], Any]:
    """A function with a name that nothing was assigned to."""

    def call() -> Any:
        return later

    if not call:
        later = 1
    return call


class Known(Module):
    """A class that keeps a list of its own instances."""

    made: list[Module] = []

    def __init__(self) -> None:
        self.own = StateVar(0)
        self.numpy, self.made_of, self.takes = jnp, np, [jax.ShapeDtypeStruct((2,), jnp.float32)]
        Known.made.append(self)


def test_what_only_looks_like_variables_or_arrays_is_no_data(tmp_path: Any) -> None:
    """Other instances are no part of a module; numpy itself and a promise have a shape and a dtype, and no data."""
    Known()
    objio.save_var_collection(tmp_path / 'x.npz', Known())
    objio.load_var_collection(tmp_path / 'x.npz', Known())


class Constant(Module):
    """What stands in the body of a class and is no variable is a constant of the program."""

    mean = np.array([0.5, 0.25])
    classes = ['cat', 'dog']
    acts = {'relu': jax.nn.relu}
    own = StateVar(9)  # each instance has one of its own

    def __init__(self) -> None:
        self.own = StateVar(0)
        self.labels = np.array(['cat', 'dog'])
        self.devices = np.array(jax.devices())
        self.mixed = np.array([None, 'a', 3], object)


def test_constants_labels_and_devices_are_no_data(tmp_path: Any) -> None:
    """Arrays of text or of devices are settings as lists of them are, and so are arrays in the body of a class."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        objio.save_var_collection(tmp_path / 'x.npz', Constant())
        objio.load_var_collection(tmp_path / 'x.npz', Constant())


@pytest.mark.parametrize(
    ('extra', 'said'),
    [
        (np.random.default_rng(0), 'Draw from an objio.random.Generator'),
        (eqx.nn.Linear(1, 1, key=jax.random.key(0)), 'Save the Linear as a tree of its own: VarCollection.from_tree'),
        (Linear(1, 1).vars(), 'Keep it, or the module that holds it, in an attribute'),
        (
            np.array([None, jnp.ones(2)], object),
            'extra[1] is no variable of Net, so it is neither saved nor loaded. Make',
        ),
        (jnp.ones(2), 'Make it a StateVar or a TrainVar'),
    ],
    ids=['generator', 'another library', 'collection', 'array of objects', 'array'],
)
def test_the_warning_says_what_helps(extra: Any, said: str, tmp_path: Any) -> None:
    """A StateVar holds no generator and no module of another library, and a variable is one already."""
    with pytest.warns(UserWarning, match=re.escape(said)):
        objio.save_var_collection(tmp_path / 'x.npz', net(extra))


class Quantity(np.ndarray[Any, Any]):
    """An array with a unit."""

    unit: Any = None

    def __array_finalize__(self, obj: Any) -> None:
        self.unit = getattr(obj, 'unit', None)


def quantity(unit: Any) -> Quantity:
    """Ones with a unit, be it a text or numbers."""
    made = np.ones(3).view(Quantity)
    made.unit = unit
    return made


@pytest.mark.parametrize('unit', ['km', 3.5, {'m': 1}, np.ones(1)], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize('wrap', [lambda x: {'x': x}, lambda x: [1.0, {'x': [x]}]], ids=['dict', 'list'])
def test_an_array_that_is_more_than_an_array_is_refused(unit: Any, wrap: Callable[[Any], Any], tmp_path: Any) -> None:
    """A file has no place for a unit, and its loss would be silent."""
    with pytest.raises(UnsaveableError, match='a Quantity is more than an array, its unit would be lost'):
        objio.save_var_collection(tmp_path / 'x.npz', wrap(quantity(unit)))
    with pytest.raises(UnsaveableError, match='its unit would be lost'):
        objio.Checkpoint(tmp_path, verbose=False, background=True).save(wrap(quantity(unit)), 1)
    objio.save_var_collection(tmp_path / 'x.npz', wrap(quantity(None)))


def test_arrays_of_numpy_itself_are_plain(tmp_path: Any) -> None:
    """A mapped file has a name and a mode, which are no part of its numbers."""
    np.save(tmp_path / 'a.npy', np.arange(3.0))
    objio.save_var_collection(tmp_path / 'x.npz', {'x': np.load(tmp_path / 'a.npy', mmap_mode='r')})
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved['x'].tolist() == [0, 1, 2]


def test_an_attribute_of_a_module_list_and_its_items_are_saved(tmp_path: Any) -> None:
    """A ModuleList is the list whose items are found, so nothing is told of one."""
    module = net(ModuleList([Linear(1, 1)]))
    objio.save_var_collection(tmp_path / 'x.npz', module)
    assert VarCollection(module.vars()).keys() == module.vars().keys()
    with objio.open(tmp_path / 'x.npz') as saved:
        assert len(saved) == 3

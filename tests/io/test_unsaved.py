"""What a module holds beside its variables: no verb leaves it out without a word."""

import collections
import dataclasses
import functools
import logging
import re
import types
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import objio
from objio import Module, ModuleList, StateVar, TrainRef, TrainVar, UnsaveableError, VarCollection
from objio.nn import Linear


@dataclasses.dataclass
class Part:
    """A dataclass in an attribute."""

    inner: Any


class Bare:
    """A plain object in an attribute."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner


def net(attribute: Any, *, layers: bool = True, base: type[Module] = Module) -> Any:
    """A module of a class of its own, so that no other test has heard its warnings."""
    made = type('Net', (base,), {})()
    if layers:
        made.lin = Linear(1, 1)
    made.extra = attribute
    return made


ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    'array of JAX': (lambda: jnp.ones(3), 'float32[3] at (Net).extra'),
    'array of NumPy': (lambda: np.ones(3), 'float64[3] at (Net).extra'),
    'key': (lambda: jax.random.key(0), 'key<threefry2x32>[] at (Net).extra'),
    'list': (lambda: ['a', {'b': jnp.ones(3)}], "float32[3] at (Net).extra[1]['b']"),
    'Equinox': (lambda: eqx.nn.Linear(2, 2, key=jax.random.key(0)), 'float32[2,2] at (Net).extra.weight'),
    'Flax NNX': (lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0)), 'at (Net).extra.'),
    'Haiku parameters': (lambda: {'linear': {'w': jnp.ones((2, 2))}}, "float32[2,2] at (Net).extra['linear']['w']"),
    'optax state': (lambda: optax.adam(0.1).init(jnp.ones(2)), 'at (Net).extra[0]'),
    'object': (lambda: Bare([np.ones(2)]), 'float64[2] at (Net).extra.inner[0]'),
    'partial function': (lambda: functools.partial(len, jnp.ones(2)), 'float32[2] at (Net).extra.args[0]'),
    'random generator': (lambda: np.random.default_rng(0), 'Generator at (Net).extra'),
    'collection of another module': (lambda: Linear(1, 1).vars(), 'TrainVar at (Net).extra.(Linear).b'),
    'module in an object': (lambda: Bare(Linear(1, 1)), 'TrainVar at (Net).extra.inner.b'),
}
VARIABLES: dict[str, tuple[Callable[[], Any], str]] = {
    'set of modules': (lambda: {Linear(1, 1)}, 'TrainVar at (Net).extra[0](Linear).b'),
    'deque': (lambda: collections.deque([StateVar(0)]), 'StateVar at (Net).extra[0]'),
    'dataclass': (lambda: Part([TrainVar(jnp.ones(1))]), 'TrainVar at (Net).extra.inner[0]'),
    'SimpleNamespace': (lambda: types.SimpleNamespace(a=Linear(1, 1)), 'TrainVar at (Net).extra.a(Linear).b'),
    'MappingProxyType': (lambda: types.MappingProxyType({'a': StateVar(0)}), "StateVar at (Net).extra['a']"),
    'collection': (lambda: VarCollection.from_tree({'mu': jnp.ones(1)}), 'TreeVar at (Net).extra.mu'),
}
NOTHING: dict[str, Callable[[], Any]] = {
    'number': lambda: 3,
    'numbers': lambda: [1.5, (2, 3)],
    'scalar of NumPy': lambda: np.float32(1e-5),
    'function': lambda: jax.nn.relu,
    'class': lambda: Linear,
    'text': lambda: {'name': 'x'},
    'Linen module, which holds no arrays': lambda: linen.Dense(3),
    'optimizer': lambda: optax.adam(0.1),
    'logger': logging.getLogger,
    'mesh': lambda: jax.make_mesh((1,), ('x',)),
    'empty': list,
}


def saved(file: Any) -> list[str]:
    """The names in a file."""
    with objio.open(file) as content:
        return list(content)


@pytest.mark.parametrize('kind', ARRAYS)
def test_an_array_beside_the_variables_is_told_once(kind: str, tmp_path: Any) -> None:
    """By a warning with its name and the ways out, from the first verb that is given the module."""
    make, where = ARRAYS[kind]
    module = net(make())
    with pytest.warns(UserWarning, match=re.escape(where)) as told:
        objio.save_var_collection(tmp_path / 'x.npz', module)
    assert told[0].filename == __file__
    assert saved(tmp_path / 'x.npz') == ['(Net).lin(Linear).b', '(Net).lin(Linear).w']
    objio.save_var_collection(tmp_path / 'x.npz', module)  # a second warning would be an error here
    objio.load_var_collection(tmp_path / 'x.npz', module)
    objio.save_var_collection(tmp_path / 'x.npz', net(make()), ignore='(Net).extra')
    other = net(make())
    with pytest.warns(UserWarning, match='neither saved nor loaded'):
        objio.load_var_collection(tmp_path / 'x.npz', other)
    assert len(other.vars()) == 2  # `vars` itself says nothing


@pytest.mark.parametrize('kind', [*ARRAYS, *VARIABLES])
def test_a_save_of_nothing_by_what_holds_arrays_is_refused(kind: str, tmp_path: Any) -> None:
    """The error names where they are; nothing is written, neither by a verb nor by a checkpoint."""
    make, where = {**ARRAYS, **VARIABLES}[kind]
    module = net(make(), layers=False)
    with pytest.raises(UnsaveableError, match=re.escape(where)):
        objio.save_var_collection(tmp_path / 'x.npz', module)
    ckpt = objio.Checkpoint(tmp_path, verbose=False)
    with pytest.raises(UnsaveableError, match=re.escape(where)):
        ckpt.save(module, 1)
    assert ckpt.idxs() == []
    assert not (tmp_path / 'x.npz').exists()


@pytest.mark.parametrize('kind', VARIABLES)
def test_variables_where_vars_does_not_look_are_refused(kind: str, tmp_path: Any) -> None:
    """Also beside others; they can be left out by name, and then the others are saved."""
    make, where = VARIABLES[kind]
    module = net(make())
    with pytest.raises(UnsaveableError, match=re.escape(where)):
        objio.save_var_collection(tmp_path / 'x.npz', module)
    objio.save_var_collection(tmp_path / 'x.npz', module, ignore=['(Net).extra'])
    with pytest.raises(UnsaveableError, match=re.escape(where)):
        objio.load_var_collection(tmp_path / 'x.npz', module)
    objio.load_var_collection(tmp_path / 'x.npz', module.vars())
    assert saved(tmp_path / 'x.npz') == ['(Net).lin(Linear).b', '(Net).lin(Linear).w']


@pytest.mark.parametrize('kind', NOTHING)
def test_settings_are_no_data(kind: str, tmp_path: Any) -> None:
    """A module is saved without a word about them."""
    objio.save_var_collection(tmp_path / 'x.npz', net(NOTHING[kind]()))
    assert len(saved(tmp_path / 'x.npz')) == 2


def test_what_is_saved_elsewhere_in_the_module_is_not_told(tmp_path: Any) -> None:
    """A variable that an attribute leads to may stand in any container too, and its array in an attribute."""
    module = net(None)
    module.again = {module.lin}
    module.queue = collections.deque([module.lin.w, TrainRef(module.lin.b)])
    module.cached = module.lin.w.value
    module.back = Bare(module)
    module.collection = module.vars()
    objio.save_var_collection(tmp_path / 'x.npz', module)
    assert len(saved(tmp_path / 'x.npz')) == 2


def test_a_module_that_says_what_its_variables_are_is_believed(tmp_path: Any) -> None:
    """A `vars` of its own leaves out what it leaves out; where it gives nothing at all, arrays are told."""

    class Half(Module):
        def __init__(self) -> None:
            self.kept, self.left = StateVar(1), collections.deque([StateVar(2)])

        def vars(self, scope: str = '') -> VarCollection:
            return VarCollection({f'{scope}kept': self.kept} if self.kept is not None else {})

    half = Half()
    objio.save_var_collection(tmp_path / 'x.npz', net(half))
    objio.save_var_collection(tmp_path / 'x.npz', half)
    assert saved(tmp_path / 'x.npz') == ['kept']
    half.kept = None
    with pytest.raises(UnsaveableError, match='neither saved nor loaded'):
        objio.save_var_collection(tmp_path / 'x.npz', half)


def test_modules_in_lists_are_saved_and_restored(tmp_path: Any) -> None:
    """The values of layers in a list come back, through a verb and through a checkpoint."""
    module, other = net([Linear(2, 2), {'a': Linear(2, 2)}]), net([Linear(2, 2), {'a': Linear(2, 2)}])
    objio.save_var_collection(tmp_path / 'x.npz', module)
    objio.load_var_collection(tmp_path / 'x.npz', other)
    assert (other.extra[1]['a'].w.value == module.extra[1]['a'].w.value).all()
    ckpt = objio.Checkpoint(tmp_path, verbose=False)
    ckpt.save(module, 1)
    third = net([Linear(2, 2), {'a': Linear(2, 2)}])
    ckpt.restore(third)
    assert (third.extra[0].w.value == module.extra[0].w.value).all()


@pytest.mark.parametrize(
    'nothing',
    [{}, [], optax.EmptyState(), VarCollection(), ModuleList(), {'a': (None, {})}],
    ids=lambda x: type(x).__name__,
)
def test_a_save_of_truly_nothing_is_made_and_logged(nothing: Any, tmp_path: Any, caplog: Any) -> None:
    """An empty file, and a line that says so."""
    objio.save_var_collection(tmp_path / 'x.npz', nothing)
    assert saved(tmp_path / 'x.npz') == []
    assert 'holds no variables' in caplog.text


def test_a_tree_that_is_ignored_whole_is_an_empty_save(tmp_path: Any, caplog: Any) -> None:
    """It was asked for; the log says that nothing is in the file."""
    objio.save_var_collection(tmp_path / 'x.npz', {'a': 1.0, 'b': [2.0]}, ignore=['a', 'b'])
    assert saved(tmp_path / 'x.npz') == []
    assert 'holds no variables' in caplog.text


def test_names_that_are_ignored_are_left_out(tmp_path: Any) -> None:
    """Of modules, collections and checkpoints; a name that nothing has is refused."""
    module = net([1])
    objio.save_var_collection(tmp_path / 'x.npz', module, ignore=re.compile('b$'))
    assert saved(tmp_path / 'x.npz') == ['(Net).lin(Linear).w']
    objio.save_var_collection(tmp_path / 'x.npz', module.vars(), ignore='(Net).lin(Linear).w')
    assert saved(tmp_path / 'x.npz') == ['(Net).lin(Linear).b']
    with pytest.raises(ValueError, match=re.escape("did you mean '(Net).lin'?")):
        objio.Checkpoint(tmp_path, verbose=False).save(module, 1, ignore='(Net).lim')
    assert objio.Checkpoint(tmp_path).idxs() == []


class Settled(objio.Model):
    """A model that holds the module of another library."""

    def build(self) -> None:
        self.net = nnx.Linear(2, 2, rngs=nnx.Rngs(0))


class Mixed(objio.Model):
    """A model with a layer, an array, and the state of an optimizer as a collection."""

    def build(self) -> None:
        self.layer = Linear(1, 1)
        self.opt = VarCollection.from_tree({'mu': jnp.ones(2)})
        self.scale = jnp.ones(2)


def test_a_model_of_another_library_is_not_saved_empty(tmp_path: Any) -> None:
    """`save`, a checkpoint and a run refuse it, and nothing is written."""
    model = Settled(tmp_path / 'm')
    for save in (
        model.save,
        lambda: model.checkpoint().save(model, 1),
        objio.Saver(model, root=tmp_path / 'runs', run='a').save,
    ):
        with pytest.raises(UnsaveableError, match=r'Settled has no variables, .* at \(Settled\)\.net'):
            save()
    assert not (tmp_path / 'm').exists()
    assert not (tmp_path / 'runs/a/model.npz').exists()


def test_a_model_tells_of_arrays_and_saves_its_collections(tmp_path: Any) -> None:
    """The array is a warning, or ignored by name; the collection is part of the state."""
    model = Mixed(tmp_path / 'm')
    with pytest.warns(UserWarning, match=re.escape('float32[2] at (Mixed).scale')):
        model.save()
    assert saved(tmp_path / 'm/model.npz') == ['(Mixed).layer(Linear).b', '(Mixed).layer(Linear).w', '(Mixed).opt.mu']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.save(ignore=['(Mixed).scale', '(Mixed).opt'])
        model.checkpoint().save(model, 1, ignore='(Mixed).layer')
    assert saved(tmp_path / 'm/model.npz') == ['(Mixed).layer(Linear).b', '(Mixed).layer(Linear).w']
    assert saved(tmp_path / 'm/ckpt/0000000001.npz') == ['(Mixed).opt.mu']
    with pytest.raises(UnsaveableError, match=r'TreeVar at \(Mixed\)\.opt\.mu.* pass its vars\(\)'):
        objio.save_var_collection(tmp_path / 'x.npz', model)

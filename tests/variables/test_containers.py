"""What JAX takes for a leaf and holds data all the same: saved with its own type, or refused by name."""

import array
import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import itertools
import math
import pathlib
import pickle
import random
import re
import threading
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import objio
from objio import UnsaveableError, VarCollection


@dataclasses.dataclass
class Moments:
    """A dataclass that nobody registered with JAX."""

    mu: Any
    count: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """One that cannot be changed, and has no `__dict__`."""

    mu: Any
    name: str = 'adam'


class Layers(list):
    """A list with a class and an attribute of its own."""

    tag = 'mine'


class Pair(tuple):
    """A tuple with a class of its own."""

    __slots__ = ()


class Params(dict):
    """A dict with a class of its own."""


class Mode(enum.IntEnum):
    """A number with a name."""

    TRAIN = 1
    EVAL = 2


class Flags(enum.IntFlag):
    """Several numbers in one."""

    A = 1
    B = 2


class Seconds(float):
    """A float with a class of its own."""


class Named(NamedTuple):
    """A tuple that JAX knows, around one that it does not."""

    inner: Any


ONE = np.ones(2, np.float32)
SAVED: dict[str, tuple[Any, list[str]]] = {
    'dataclass': (Moments(ONE, 3), ['x.mu', 'x.count']),
    'frozen dataclass with slots': (Frozen(ONE), ['x.mu']),
    'deque': (collections.deque([ONE, 2], maxlen=3), ['x.0', 'x.1']),
    'SimpleNamespace': (types.SimpleNamespace(m=ONE, name='a'), ['x.m']),
    'UserDict': (collections.UserDict(m=ONE), ['x.m']),
    'UserList': (collections.UserList([ONE, 'a']), ['x.0']),
    'MappingProxyType': (types.MappingProxyType({'m': ONE}), ['x.m']),
    'Counter': (collections.Counter('aab'), ['x.a', 'x.b']),
    'subclass of dict': (Params(w=ONE), ['x.w']),
    'subclass of list': (Layers([ONE, [3]]), ['x.0', 'x.1.0']),
    'subclass of tuple': (Pair((ONE, 1.5)), ['x.0', 'x.1']),
    'IntEnum': (Mode.EVAL, ['x']),
    'IntFlag': (Flags.A | Flags.B, ['x']),
    'subclass of float': (Seconds(2.5), ['x']),
    'NaN of a subclass of float': (Seconds('nan'), ['x']),
    'nested': (Named([{'q': collections.deque([Moments((ONE, 1))])}]), ['x.inner.0.q.0.mu.0', 'x.inner.0.q.0.mu.1', 'x.inner.0.q.0.count']),
}  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Whether two things are alike all the way down, types and all."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and bool((a == b).all())
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, types.SimpleNamespace):
        return same(vars(a), vars(b))
    if isinstance(a, collections.abc.Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple, collections.UserList, collections.deque)):
        limits = getattr(a, 'maxlen', None) == getattr(b, 'maxlen', None)
        return limits and len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize('kind', SAVED)
def test_it_is_saved_and_comes_back_with_its_own_type(kind: str, tmp_path: Any) -> None:
    """Into a tree of other values, also from a pickled and from a copied collection."""
    value, names = SAVED[kind]
    objio.save_var_collection(tmp_path / 'x.npz', {'x': value})
    with objio.open(tmp_path / 'x.npz') as saved:
        assert sorted(saved) == sorted(names)
    other = jax.tree.map(lambda leaf: leaf * 0, ONE)
    vc = VarCollection.from_tree({'x': value})
    for target in (vc, copy.deepcopy(vc), pickle.loads(pickle.dumps(vc))):
        for variable in target:
            if isinstance(variable.value, np.ndarray):
                variable.assign(other)
        objio.load_var_collection(tmp_path / 'x.npz', target)
        assert same(target.to_tree(), {'x': value})


def test_the_tree_that_was_given_stays_as_it_is() -> None:
    """New values stand in containers of their own."""
    moments, queue = Moments(ONE), collections.deque([1])
    vc = VarCollection.from_tree({'m': moments, 'q': queue})
    before = vc.to_tree()
    vc.assign({'m.mu': ONE * 2, 'm.count': 5, 'q.0': 7})
    assert vc.to_tree()['q'] == collections.deque([7])
    assert (before['q'], before['m'].count) == (collections.deque([1]), 0)
    assert (vc.to_tree()['m'].mu.sum(), vc.to_tree()['m'].count) == (4, 5)
    assert (moments.mu.sum(), moments.count, queue) == (2, 0, collections.deque([1]))


def test_a_number_that_its_class_does_not_know_is_refused(tmp_path: Any) -> None:
    """A member that is no longer there; the model keeps what it had."""
    objio.save_var_collection(tmp_path / 'x.npz', {'mode': 7, 'w': ONE})
    vc = VarCollection.from_tree({'mode': Mode.TRAIN, 'w': ONE * 0})
    with pytest.raises(objio.MismatchError, match='7 is not a valid Mode'):
        objio.load_var_collection(tmp_path / 'x.npz', vc)
    assert same(vc.to_tree(), {'mode': Mode.TRAIN, 'w': ONE * 0})


def test_a_member_stays_a_member_when_it_is_assigned() -> None:
    """Also by its bare number, or by an array of JAX that a step gave."""
    vc = VarCollection.from_tree({'mode': Mode.TRAIN})
    for new in (2, np.int64(2), jnp.int32(2), Mode.EVAL):
        vc.assign({'mode': new})
        assert vc.to_tree()['mode'] is Mode.EVAL


@pytest.mark.parametrize(
    'kind', [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]
)
@pytest.mark.parametrize('wrap', [np.random.Generator, np.random.RandomState, lambda bits: bits])
def test_a_random_generator_goes_on_where_it_was(kind: Any, wrap: Any, tmp_path: Any) -> None:
    """The numbers after a load are those after the save, whatever was drawn meanwhile."""

    def draw(source: Any) -> Any:
        return (source if hasattr(source, 'normal') else np.random.Generator(source)).normal(size=5)

    source = wrap(kind(3))
    draw(source)
    objio.save_var_collection(tmp_path / 'x.npz', {'rng': source})
    expected = draw(source)
    vc = VarCollection.from_tree({'rng': wrap(kind(4))})
    objio.load_var_collection(tmp_path / 'x.npz', vc)
    loaded = vc.to_tree()['rng']
    assert type(loaded) is type(source)
    assert (draw(loaded) == expected).all()


def test_the_state_of_another_algorithm_is_never_taken(tmp_path: Any) -> None:
    """Its name is another, although its arrays have the same shapes."""
    objio.save_var_collection(tmp_path / 'x.npz', {'rng': np.random.Generator(np.random.PCG64(1))})
    vc = VarCollection.from_tree({'rng': np.random.Generator(np.random.PCG64DXSM(1))})
    with pytest.raises(objio.MismatchError, match='PCG64DXSM'):
        objio.load_var_collection(tmp_path / 'x.npz', vc)


class Plain:
    """An object with an array."""

    def __init__(self) -> None:
        self.w = ONE


class Slotted:
    """An array in a slot."""

    __slots__ = ('__w',)

    def __init__(self) -> None:
        self.__w = ONE


class Called(Plain):
    """A layer that somebody wrote by hand."""

    def __call__(self) -> None:
        pass


class Tagged(float):
    """A float that is more than its number."""

    def __new__(cls, value: float, unit: str = 'm') -> 'Tagged':
        new = super().__new__(cls, value)
        new.unit = unit
        return new


class Phase(enum.Enum):
    """Members that are no numbers to Python, with values that are."""

    WARM = 1


def circle() -> Any:
    """A namespace that holds itself."""
    namespace = types.SimpleNamespace(w=ONE)
    namespace.me = namespace
    return namespace


def with_attribute() -> Any:
    """A list that has an array beside its items."""
    layers = Layers([1])
    layers.cache = ONE
    return layers


REFUSED = {
    'set': {1.5},
    'frozenset': frozenset({1}),
    'object': Plain(),
    'object with slots': Slotted(),
    'object that can be called': Called(),
    'partial': functools.partial(len, ONE),
    'bytes': b'abc',
    'bytearray': bytearray(b'abc'),
    'array': array.array('d', [1.0]),
    'Decimal': decimal.Decimal('1.5'),
    'Fraction': fractions.Fraction(1, 2),
    'datetime': dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    'timedelta': dt.timedelta(1),
    'Random': random.Random(1),
    'range': range(3),
    'count': itertools.count(3),
    'lock': threading.Lock(),
    'ChainMap': collections.ChainMap({'a': ONE}),
    'number with more': Tagged(2, 'km'),
    'Enum': Phase.WARM,
    'circle': circle(),
    'attribute beside the items': with_attribute(),
    'deep': collections.deque([{'a': Plain()}]),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_cannot_be_saved_is_refused_by_name(kind: str, tmp_path: Any) -> None:
    """With its path, its type and the way out, which works; nothing is written."""
    tree = {'w': ONE, 'rest': REFUSED[kind]}
    path = tmp_path / 'x.npz'
    with pytest.raises(UnsaveableError, match=re.escape("from_tree: the leaf at ['rest']")) as caught:
        objio.save_var_collection(path, tree)
    assert not path.exists()
    where, _, cure = str(caught.value).partition(' To leave it out: ignore=')
    assert type(tree['rest']).__name__ in where or kind in ('circle', 'deep')
    objio.save_var_collection(path, tree, ignore=cure.strip("'"))
    ckpt = objio.Checkpoint(tmp_path, verbose=False)
    ckpt.save(tree, 1, ignore='rest')
    vc = VarCollection.from_tree(tree, ignore=['rest'])
    assert ckpt.restore(vc)[0] == 1
    assert vc.to_tree()['rest'] is tree['rest']


@pytest.mark.parametrize(
    'leaf',
    [
        'text',
        len,
        jax.nn.relu,
        jnp.sin,
        Plain().__init__,
        functools.partial(len, 3),
        optax.adam(0.1),
        np.dtype('f4'),
        jnp.bfloat16,
        Plain,
        list[int],
        types,
        pathlib.Path('x'),
        re.compile('x'),
        object(),
        set(),
        {'a'},
        types.SimpleNamespace(name='x', f=len),
        jax.lax.Precision.HIGH,
        jax.sharding.PartitionSpec('x'),
        jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    ],
)
def test_what_holds_no_data_stays_in_the_tree(leaf: Any) -> None:
    """Functions, classes, text, and what says where and how; the very object comes back."""
    vc = VarCollection.from_tree({'w': ONE, 'leaf': leaf})
    back = vc.to_tree()['leaf']
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b, back, leaf))
    assert list(vc.keys()) == ['w']


def test_values_can_be_ignored_too() -> None:
    """By name, by the prefix of names, by a pattern; they stay in the tree as they are."""
    tree = {'opt': [1, {'mu': 2}], 'w': 3, 'b': 4}
    for ignore, left in [
        ('opt', ['b', 'w']),
        (['opt.1', 'w'], ['b', 'opt.0']),
        (re.compile('^.$'), ['opt.0', 'opt.1.mu']),
    ]:
        vc = VarCollection.from_tree(tree, ignore=ignore)
        assert list(vc.keys()) == left
        assert vc.to_tree() == tree


def test_a_name_to_ignore_that_nothing_has_is_refused(tmp_path: Any) -> None:
    """With the nearest one; a pattern that fits nothing is a warning."""
    tree = {'opt': 1, 'w': 3}
    with pytest.raises(ValueError, match=re.escape("ignore='otp' (did you mean 'opt'?)")):
        VarCollection.from_tree(tree, ignore=['otp', 'w'])
    with pytest.raises(ValueError, match='nothing was saved'):
        objio.save_var_collection(tmp_path / 'x.npz', VarCollection.from_tree(tree), ignore='otp')
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning, match='ignores nothing'):
        VarCollection.from_tree(tree, ignore=re.compile('zzz'))

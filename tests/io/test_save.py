"""Saving: each array once, under every name it has; and one clear error, before anything is written, for the rest."""

import enum
import io
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import define_prng_impl
from support_verbs import held, same_objects, tree_vars

import objio
from objio import StateVar, TrainRef, TrainVar, VarCollection
from objio.variables import TreeVar


class Foreign:
    """A variable of another library."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def assign(self, tensor: Any) -> None:
        self.value = tensor


def contents(vc: Any, **options: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays and the aliases of the file that a collection makes."""
    file = io.BytesIO()
    objio.save_var_collection(file, vc, **options)
    with objio.open(file) as saved:
        return {name: saved[name].tolist() for name in saved if name not in saved.aliases}, dict(saved.aliases)


def test_a_variable_under_several_names_is_stored_once() -> None:
    """The first name in the collection's order has the array, the others are aliases of it."""
    w, b = TrainVar(jnp.arange(2.0)), StateVar(jnp.zeros(1))
    assert contents(VarCollection({'w': w, 'b': b, 'tied': w, 'again': w})) == (
        {'w': [0, 1], 'b': [0]},
        {'tied': 'w', 'again': 'w'},
    )


def test_a_reference_is_an_alias_of_its_variable() -> None:
    """The array stands under the variable's own name, even where the reference comes first."""
    w = TrainVar(jnp.arange(2.0))
    first = VarCollection({'opt.ref': TrainRef(w), 'w': w, 'ema.ref': TrainRef(TrainRef(w))})
    assert contents(first) == ({'w': [0, 1]}, {'opt.ref': 'w', 'ema.ref': 'w'})
    assert contents(VarCollection({'b': TrainRef(w), 'a': TrainRef(w)})) == ({'b': [0, 1]}, {'a': 'b'})


def test_a_reference_of_another_library_is_an_alias_too() -> None:
    """Any object with a `.ref` stands for the variable it refers to, as Objax's own TrainRef does."""
    w = Foreign(jnp.arange(2.0))
    ref = SimpleNamespace(ref=w, value=None, assign=w.assign)
    assert contents({'ref': ref, 'w': w}) == ({'w': [0, 1]}, {'ref': 'w'})


def test_one_array_in_two_variables_is_stored_once() -> None:
    """Two variables that hold the same jax.Array at the save share its bytes; equal arrays do not."""
    array, keys = jnp.arange(2.0), jax.random.key(0)
    vc = VarCollection({'a': TrainVar(array), 'k': TreeVar(keys), 'b': TrainVar(array), 'l': TreeVar(keys)})
    vc['c'] = TrainVar(jnp.arange(2.0))
    arrays, aliases = contents(vc)
    assert aliases == {'b': 'a', 'l': 'k'}
    assert list(arrays) == ['a', 'k', 'c']


def test_one_numpy_array_in_two_variables_is_stored_twice() -> None:
    """A NumPy array can change under one of its names, so the same object promises nothing."""
    array = np.arange(2.0)
    assert contents(tree_vars({'a': array, 'b': array})) == ({'a': [0, 1], 'b': [0, 1]}, {})


def test_members_stand_in_the_order_of_the_collection() -> None:
    """The order of the file is that of the canonical names in the collection."""
    w, b = TrainVar(jnp.ones(1)), TrainVar(jnp.ones(2))
    arrays, _ = contents(VarCollection({'ref': TrainRef(b), 'z': w, 'a': b, 'm': StateVar(jnp.ones(3))}))
    assert list(arrays) == ['z', 'a', 'm']


def test_what_counts_as_a_collection() -> None:
    """A module, its collection, a mapping of variables of any library, and any tree of arrays say the same."""
    net = objio.nn.Linear(2, 1)
    expected = contents(net.vars())
    assert contents(net) == expected
    assert contents(OrderedDict(net.vars().items())) == expected
    assert contents({name: Foreign(v.value) for name, v in net.vars().items()}) == expected
    assert contents({name: v.value for name, v in net.vars().items()}) == expected


def test_a_collection_whose_iterator_gives_variables() -> None:
    """Only `.items()` of a mapping is used: iterating a collection of Objax gives variables, not names."""

    class ObjaxLike(dict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(self.values())

    assert contents(ObjaxLike(w=Foreign(np.ones(1)))) == ({'w': [1]}, {})


def test_a_tree_is_saved_under_its_paths() -> None:
    """Nested containers become names with dots; leaves that are no arrays are left out."""
    state = namedtuple('State', 'count mu')(3, {'w': np.float32(2)})
    arrays, _ = contents({'opt': [state, None], 'name': 'adam'})
    assert arrays == {'opt.0.count': 3, 'opt.0.mu.w': 2}


@pytest.mark.parametrize('empty', [{}, [], VarCollection(), {'opt': [(), None]}])
def test_an_empty_collection_is_a_file(empty: Any) -> None:
    """A state without arrays, as some optimizers have, is saved and loaded like any other."""
    assert contents(empty) == ({}, {})


def test_metadata_comes_back_as_it_was() -> None:
    """Whatever JSON keeps is kept, to the last bit of a float."""
    metadata = {'a': [1, -(10**40), 0.1, -0.0, 5e-324, None, True, 'é\u2028\U0001f600\x00'], 'b': {'': {}}}
    file = io.BytesIO()
    objio.save_var_collection(file, {}, metadata=metadata)
    with objio.open(file) as saved:
        assert saved.metadata == metadata
        assert str(saved.metadata) == str(metadata)


def test_nothing_of_the_caller_changes(tmp_path: Path) -> None:
    """The collection, its dict, its arrays and the metadata are the same objects with the same contents."""
    jax_array, array = jnp.arange(3.0), np.arange(3.0)[::-1]
    variables = {'j': TreeVar(jax_array), 'n': TreeVar(array), 'p': TreeVar(2)}
    metadata: dict[str, Any] = {'a': [1]}
    for vc in [variables, VarCollection(variables), {'j': jax_array, 'n': array, 'p': 2}]:
        copy = dict(vc.items())
        objio.save_var_collection(tmp_path / 'a.npz', vc, metadata=metadata)
        assert all(vc[name] is value for name, value in copy.items())
        assert list(vc.keys()) == list(copy)
    assert same_objects(VarCollection(variables), [jax_array, array, 2])
    assert array.tolist() == [2, 1, 0]
    assert metadata == {'a': [1]}


def test_an_array_can_be_donated_after_its_save(tmp_path: Path) -> None:
    """A save leaves nothing behind that holds the array's memory: the next step reuses it."""
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    step(jnp.zeros(1 << 16))
    x = step(jnp.zeros(1 << 16))
    address = x.unsafe_buffer_pointer()
    objio.save_var_collection(tmp_path / 'a.npz', {'x': x}, durable=False)
    assert step(x).unsafe_buffer_pointer() == address


def deleted() -> jax.Array:
    """An array as it is after a donation."""
    array = jnp.ones(3)
    array.delete()
    return array


class Color(enum.Enum):
    """A member that is no number."""

    RED = 1


UNSAVEABLE: dict[str, tuple[Callable[[], Any], str]] = {
    'objects': (lambda: np.array([None, 1]), 'object'),
    'text': (lambda: np.array(['a']), '<U1'),
    'bytes': (lambda: np.array([b'a']), 'S1'),
    'dates': (lambda: np.array(['2020-01-01'], 'M8[s]'), 'datetime64'),
    'records': (lambda: np.zeros(2, [('a', 'f4')]), "('a', '<f4')"),
    'void': (lambda: np.zeros(2, 'V3'), 'V3'),
    'longdouble': (lambda: np.zeros(2, np.longdouble), 'float128'),
    'float0': (lambda: np.zeros(2, jax.dtypes.float0), 'float0'),
    'masked': (lambda: np.ma.masked_array([1.0, 2.0], [0, 1]), 'mask'),
    'deleted': (deleted, 'donated'),
    'deleted keys': (lambda: (key := jax.random.key(0), key.delete())[0], 'donated'),
    'promised': (lambda: jax.ShapeDtypeStruct((2,), jnp.float32), 'no value yet'),
    'a large int': (lambda: 10**5000, '64 bits'),
    'an enum': (lambda: Color.RED, 'Color'),
    'a list': (lambda: [1.0], 'list'),
    'None': (lambda: None, 'NoneType'),
}


@pytest.mark.parametrize('kind', UNSAVEABLE)
def test_a_value_that_no_file_can_hold_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """The error names the variable and what it holds; the old file stays, and no other is left behind."""
    make, words = UNSAVEABLE[kind]
    vc = VarCollection({'good': TreeVar(np.ones(2)), '(Net).bad': TreeVar(make())})
    objio.save_var_collection(tmp_path / 'a.npz', {'old': 1})
    old = (tmp_path / 'a.npz').read_bytes()
    before, file = held(vc), io.BytesIO(b'old')
    for target in [tmp_path / 'a.npz', tmp_path / 'b.npz', file]:
        with pytest.raises(objio.UnsaveableError) as info:
            objio.save_var_collection(target, vc)
        assert '(Net).bad' in str(info.value)
        assert words in str(info.value)
    assert [path.name for path in tmp_path.iterdir()] == ['a.npz']
    assert (tmp_path / 'a.npz').read_bytes() == old
    assert file.getvalue() == b'old'
    assert same_objects(vc, before)


def test_keys_of_a_custom_implementation_are_refused(tmp_path: Path) -> None:
    """Keys that no other process could make again are refused by name."""
    impl = define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: jnp.zeros(2, jnp.uint32),
        split=lambda key, shape: jnp.zeros((*shape, 2), jnp.uint32),
        random_bits=lambda key, width, shape: jnp.zeros(shape, jnp.uint32),
        fold_in=lambda key, data: key,
        name='mine',
    )
    with pytest.raises(objio.UnsaveableError, match=r'(?s)rng\.k.*key_data'):
        objio.save_var_collection(tmp_path / 'a.npz', {'rng': {'k': jax.random.key(0, impl=impl)}})
    assert not list(tmp_path.iterdir())


def test_a_save_inside_jit_is_refused(tmp_path: Path) -> None:
    """A tracer has no value; the error says where to save instead."""
    with pytest.raises(objio.UnsaveableError, match=r'(?s)^w: .*outside of jit'):
        jax.jit(lambda w: objio.save_var_collection(tmp_path / 'a.npz', {'w': w}))(jnp.ones(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['', 'a\0b', 'a\ud800', 'a' * 4092])
def test_a_name_that_no_file_can_hold_is_refused(name: str, tmp_path: Path) -> None:
    """Also where it is the name of an alias; nothing is written."""
    w = TrainVar(jnp.ones(2))
    for vc in [VarCollection({name: w}), VarCollection({'w': w, name: w})]:
        with pytest.raises(objio.UnsaveableError, match='name'):
            objio.save_var_collection(tmp_path / 'a.npz', vc)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('metadata', 'words'),
    [
        ({'a': (1, 2)}, r"metadata\['a'\].*tuple"),
        ({'a': [{'b': float('nan')}]}, r"metadata\['a'\]\[0\]\['b'\] is nan"),
        ({'a': {1: 2}}, r"metadata\['a'\] has the key 1"),
        ({'a': np.float32(1)}, r"metadata\['a'\].*float32"),
        ({'a': '\ud800'}, 'surrogate'),
        ([1], 'expected a dict, got list'),
    ],
)
def test_metadata_that_json_would_change_is_refused(metadata: Any, words: str, tmp_path: Path) -> None:
    """The error gives the path of what would not come back; nothing is written."""
    with pytest.raises(TypeError, match=words):
        objio.save_var_collection(tmp_path / 'a.npz', {'w': 1}, metadata=metadata)
    assert not list(tmp_path.iterdir())


def test_reserved_keys_of_the_metadata_are_refused(tmp_path: Path) -> None:
    """Keys that start with `objio.` are objio's own."""
    with pytest.raises(ValueError, match=r'objio\.mine.*reserved'):
        objio.save_var_collection(tmp_path / 'a.npz', {'w': 1}, metadata={'objio.mine': 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('subject', [objio.nn.Linear, 'net.npz', None, 7j.__add__, {'a': 'b'}, object()])
def test_what_holds_no_variables_is_refused(subject: Any, tmp_path: Path) -> None:
    """A class instead of an instance, a path in the wrong place, nothing at all: a TypeError, and no empty file."""
    with pytest.raises(TypeError, match=r'expected a module|class Linear.*instance'):
        objio.save_var_collection(tmp_path / 'a.npz', subject)
    assert not list(tmp_path.iterdir())


def test_a_module_inside_a_tree_is_refused(tmp_path: Path) -> None:
    """Its variables would silently be left out; the error says how to add them."""
    with pytest.raises(objio.UnsaveableError, match=r'vars\(\)'):
        objio.save_var_collection(tmp_path / 'a.npz', {'net': objio.nn.Linear(1, 1), 'x': 1})


def test_a_file_that_is_none_is_refused() -> None:
    """Neither a path nor a binary file object: a TypeError that says what to pass."""
    for file in [None, 3, objio.nn.Linear(1, 1), io.StringIO()]:
        with pytest.raises(TypeError, match=r'binary'):
            objio.save_var_collection(file, {'w': 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='NUL'):
        objio.save_var_collection('a\0.npz', {'w': 1})

"""Trees as collections and back: every leaf keeps its place, its kind and its type of tree."""

import copy
import re
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_trees import Layer, Moments, Pair, Slot, trees

from objio.errors import UnsaveableError
from objio.variables import Module, StateVar, TrainVar, TreeVar, VarCollection

LEAVES = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.just('text'),
    st.just(len),
    st.builds(np.arange, st.integers(0, 3)),
    st.sampled_from([np.float64(1.5), np.int8(3), np.bool_(True), ml_dtypes.bfloat16(2)]),
    st.builds(jnp.arange, st.integers(0, 3)),
    st.builds(jax.random.key, st.integers(0, 3)),
    st.just(jax.ShapeDtypeStruct((2,), jnp.bfloat16)),
)


def same(a: Any, b: Any) -> bool:
    """Whether two leaves are the same thing of the same type."""
    return a is b or (type(a) is type(b) and a == b)


@given(trees(LEAVES))
def test_every_tree_comes_back(tree: Any) -> None:
    """Structure, types and the very leaves; what is no value is listed and stays."""
    vc = VarCollection.from_tree(tree, scope='s.', separator='/')
    back = vc.to_tree()
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert all(map(same, jax.tree.leaves(back), jax.tree.leaves(tree)))
    unsaved = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, str) or callable(leaf)]
    assert len(vc) + len(unsaved) == len(jax.tree.leaves(tree))
    assert str(vc).count('not saved') == len(unsaved)
    assert all(name.startswith('s.') for name in list(vc.keys()))


def test_names_are_paths() -> None:
    """Keys, positions and attributes, joined by the separator, behind the scope."""
    tree = {'a': [1, (2,)], 'm': Moments(3, {'(x)/y': 4}), 'slot': Slot(5, '')}
    assert list(VarCollection.from_tree(tree).keys()) == ['a.0', 'a.1.0', 'm.count', 'm.mu.(x)/y', 'slot.array']
    others = {'by_number': {7: 1, -1: 2}, 'layer': Layer([1], None), 'pair': Pair(1, {'x': 2})}
    assert list(VarCollection.from_tree(others).keys()) == [
        'by_number.-1',
        'by_number.7',
        'layer.weights.0',
        'pair.0',
        'pair.1.x',
    ]
    assert list(VarCollection.from_tree(tree, 'opt', '::').keys())[1] == 'opta::1::0'
    assert list(VarCollection.from_tree(7, scope='step').keys()) == ['step']
    assert len(VarCollection.from_tree({})) == 0


def test_leaves_keep_their_kind() -> None:
    """NumPy stays NumPy with its 64 bits, numbers stay numbers, abstract arrays abstract, and no leaf is copied."""
    leaves = [
        np.arange(3.0),
        np.arange(3),
        np.float64(1),
        3,
        2.5,
        True,
        1j,
        jnp.ones(2),
        jax.random.key(0),
        jax.ShapeDtypeStruct((2,), jnp.float32),
        np.array(['a', None], dtype=object),
    ]
    vc = VarCollection.from_tree(leaves)
    assert all(value is leaf for value, leaf in zip(vc.tensors(), leaves, strict=True))
    assert all(type(var) is TreeVar and isinstance(var, StateVar) for var in vc)


def test_text_and_functions_stay_in_the_tree() -> None:
    """They are listed as what is not saved."""
    vc = VarCollection.from_tree({'name': 'adam', 'f': len, 'x': 1, 'none': None, 'kind': dict})
    assert list(vc.keys()) == ['x']
    assert str(vc).splitlines()[-3:] == [
        "not saved, part of the tree only: 'f': <built-in function len>",
        "not saved, part of the tree only: 'kind': <class 'dict'>",
        "not saved, part of the tree only: 'name': 'adam'",
    ]


def test_the_list_of_unsaved_leaves_goes_along() -> None:
    """Sums and renamed collections still show what is not saved."""
    vc = VarCollection.from_tree({'name': 'adam', 'x': 1})
    for whole in [
        VarCollection({'w': StateVar(0)}) + vc,
        vc + VarCollection(),
        VarCollection(vc),
        vc.rename({'x': 'y'}),
    ]:
        assert str(whole).endswith("not saved, part of the tree only: 'name': 'adam'")


def test_two_leaves_of_one_name_are_refused() -> None:
    """Both paths are given, and the ways out; a separator that tells them apart is one."""
    tree = {'a.b': 1, 'a': {'b': 2}}
    message = (
        "from_tree: the leaves at ['a']['b'] and ['a.b'] would both be called 's.a.b'; give another separator, "
        "as in from_tree(tree, separator='/'), or each part of the tree a scope of its own"
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        VarCollection.from_tree(tree, scope='s.')
    assert list(VarCollection.from_tree(tree, separator='/').keys()) == ['a/b', 'a.b']
    assert list(VarCollection.from_tree({'a.b': len, 'a': {'b': 2}}).keys()) == ['a.b']


def test_an_empty_name_is_refused() -> None:
    """A tree that is one leaf, or a key that is empty, needs a scope; a leaf that is no value needs no name."""
    with pytest.raises(ValueError, match=r'the tree is one leaf and has no name; give it a scope'):
        VarCollection.from_tree(jnp.ones(3))
    with pytest.raises(ValueError, match=re.escape("the leaf at [''] has an empty name; give it a scope")):
        VarCollection.from_tree({'': 1})
    assert VarCollection.from_tree({'': 'text', 'x': 1}).to_tree() == {'': 'text', 'x': 1}


def test_a_variable_or_a_module_in_a_tree_is_refused() -> None:
    """Its values would silently not be saved; the error says where it is and what to write."""

    class Net(Module):
        pass

    for leaf in [TrainVar(jnp.ones(3)), Net(), StateVar(0)]:
        with pytest.raises(UnsaveableError, match=re.escape(f"the leaf at ['net'] is a {type(leaf).__name__}")):
            VarCollection.from_tree({'net': leaf})


class Foreign:
    """What another library calls an array."""

    shape, dtype = (3,), 'float32'


def test_an_array_of_another_library_is_refused() -> None:
    """It would silently not be saved; a dtype or a class of arrays is none and stays in the tree."""
    for leaf, kind in [(Foreign(), 'Foreign'), (jax.new_ref(jnp.ones(3)), 'Ref')]:
        with pytest.raises(UnsaveableError, match=re.escape(f"['w'][0] is a {kind}, an array of neither JAX")):
            VarCollection.from_tree({'w': [leaf]})
    dtypes = [np.float32, jnp.bfloat16, np.dtype('int8'), Foreign]
    assert VarCollection.from_tree([*dtypes, 1]).to_tree() == [*dtypes, 1]


class Marker:
    """Something static that equals nothing but itself, as a function does."""


def test_a_copy_is_a_tree_of_its_own() -> None:
    """It has variables of its own and the very structure, so that JAX takes both trees together."""
    marker: Any = Marker()
    vc = VarCollection.from_tree({'w': np.zeros(2), 'layer': Layer(jnp.ones(2), 3, marker), 'f': len})
    new = copy.deepcopy(vc)
    new['w'].value = np.ones(2)
    assert jax.tree.structure(new.to_tree()) == jax.tree.structure(vc.to_tree())
    assert new.to_tree()['layer'].activation is marker
    assert (new.to_tree()['w'].sum(), vc.to_tree()['w'].sum()) == (2, 0)


def test_new_values_come_out_in_place() -> None:
    """What was assigned is in the tree, by position, in the tree's own types; the old tree is as it was."""
    tree = {'m': Moments(0, (np.zeros(2), jnp.zeros(2))), 'f': len}
    vc = VarCollection.from_tree(tree)
    vc.assign({'m.count': 1, 'm.mu.0': np.ones(2), 'm.mu.1': jnp.ones(2)})
    new = vc.to_tree()
    assert type(new['m']) is Moments
    assert (new['m'].count, new['f'], float(new['m'].mu[0].sum()), float(new['m'].mu[1].sum())) == (1, len, 2, 2)
    assert tree['m'].count == 0
    assert float(tree['m'].mu[0].sum()) == 0


def test_only_a_tree_gives_a_tree() -> None:
    """A sum or a subset is none; the error says which collection to keep."""
    vc = VarCollection.from_tree({'x': 1})
    for other in [vc + VarCollection(), vc.subset(StateVar), VarCollection()]:
        with pytest.raises(ValueError, match='was not made by from_tree; keep the one that was'):
            other.to_tree()


@jax.numpy_dtype_promotion('standard')  # Optax multiplies numbers of different kinds
def test_the_states_of_optimizers_come_back() -> None:
    """Named tuples, empty states, masked and chained ones, with their own types."""
    params = {'w': jnp.ones((3, 2)), 'b': jnp.zeros(2)}
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(optax.adamw(optax.cosine_decay_schedule(0.1, 10)), {'w': True, 'b': False}),
        optax.trace(0.9),
    )
    state = optimizer.init(params)
    vc = VarCollection.from_tree(state, scope='opt.')
    _, state = optimizer.update(params, vc.to_tree(), params)
    vc.assign(jax.tree.leaves(state))
    assert jax.tree.structure(vc.to_tree()) == jax.tree.structure(state)
    assert any(name.endswith('.count') and int(value) == 1 for name, value in vc.named_tensors().items())

"""Any tree of values is saved in one line and restored in two, in its own types."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_trees import Layer, Moments, check_same, emptied, restored, trees
from support_verbs import values, x64

import objio

LEAVES = st.one_of(values(), st.just('text'), st.just(len))


@given(data=st.data())
def test_a_tree_is_saved_and_restored(data: st.DataObject) -> None:
    """Whatever the nodes and the values, a file brings every bit back, into a tree of the same nodes."""
    with x64():
        tree = {'tree': data.draw(trees(LEAVES)), 'value': 1}
        file = io.BytesIO()
        objio.save_var_collection(file, tree)
        check_same(restored(partial(objio.load_var_collection, file), emptied(tree)), tree)


@pytest.mark.parametrize('background', [False, True])
def test_a_checkpoint_takes_trees(tmp_path: Path, background: bool) -> None:
    """`save` takes the tree itself, as it is at that moment; `restore` fills one of the same shape."""
    tree = {'m': Moments(1, (np.arange(3.0), jax.random.key(1))), 'layer': Layer(jnp.ones(2), None), 'name': 'adam'}
    old = jax.tree.map(lambda leaf: leaf if isinstance(leaf, str | int) else leaf.copy(), tree)
    with objio.Checkpoint(tmp_path, verbose=False, background=background) as ckpt:
        ckpt.save(tree, 1)
        tree['m'].mu[0][:] = 7
        tree['layer'].weights.delete()
        check_same(restored(ckpt.restore, emptied(old)), old)


def test_a_step_count_is_a_number_or_an_array() -> None:
    """A Python int before the first step and an int32 after it, either loads into the other and stays its kind."""
    for saved, fresh in [(7, jnp.int32(0)), (jnp.int32(7), 0)]:
        file = io.BytesIO()
        objio.save_var_collection(file, {'step': saved})
        new = restored(partial(objio.load_var_collection, file), {'step': fresh})
        assert type(new['step']) is type(fresh)
        assert new['step'] == 7


def test_abstract_leaves_become_arrays() -> None:
    """A tree that was only described, by `jax.eval_shape`, is restored without having been built."""

    def build(seed: int) -> Any:
        key = jax.random.key(seed)
        return Layer({'w': jax.random.normal(key, (3, 2), jnp.bfloat16), 'key': key}, jnp.zeros((), jnp.int32), len, 2)

    file = io.BytesIO()
    objio.save_var_collection(file, build(1))
    described = jax.eval_shape(build, 0)
    check_same(restored(partial(objio.load_var_collection, file), described), build(1))


def test_a_tree_to_load_into_is_refused_with_the_lines_to_write() -> None:
    """Its leaves could not be given new values; the message says what can."""
    file = io.BytesIO()
    objio.save_var_collection(file, {'w': np.ones(3)})
    with pytest.raises(
        TypeError, match=r'vc = VarCollection.from_tree\(tree\), load into vc, then tree = vc.to_tree\(\)'
    ):
        objio.load_var_collection(file, {'w': np.zeros(3)})


def test_what_holds_nothing_to_save_is_refused() -> None:
    """A function or a str alone would make an empty file."""
    for nothing in [len, 'text', {'f': len}]:
        with pytest.raises(TypeError, match='a tree of arrays, got'):
            objio.save_var_collection(io.BytesIO(), nothing)

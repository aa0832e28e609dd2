"""A snapshot: the same names, ties, classes and bytes, and nothing that happens later changes it."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import objio
from objio.errors import UnsaveableError
from objio.io.snapshot import snapshot
from objio.variables import TreeVar


def bytes_of(vc: objio.VarCollection) -> bytes:
    """The file that a collection makes."""
    file = io.BytesIO()
    objio.save_var_collection(file, vc)
    return file.getvalue()


def everything() -> objio.VarCollection:
    """Variables of every kind, with ties, references and shared arrays."""
    w = objio.TrainVar(jnp.arange(6.0).reshape(2, 3))
    shared = jnp.ones(4)
    keys = objio.RandomState(3)
    return objio.VarCollection(
        {
            'ref_first': objio.TrainRef(w),
            'w': w,
            'tied': w,
            'a': objio.StateVar(shared),
            'b': objio.StateVar(shared),
            'key': keys,
            'keys': objio.StateVar(jax.random.split(jax.random.key(1, impl='rbg'), 2)),
            'bf16': objio.StateVar(jnp.ones(3, jnp.bfloat16)),
            'int4': objio.StateVar(jnp.arange(3, dtype=jnp.int4)),
            'empty': objio.StateVar(jnp.zeros((0, 2))),
            'scalar': objio.StateVar(jnp.float32(2)),
            'numpy': TreeVar(np.arange(3.0)),
            'fp8': TreeVar(np.ones(2, ml_dtypes.float8_e4m3fn)),
            'int': TreeVar(7),
            'bool': TreeVar(True),
            'generic': TreeVar(np.float64(0.5)),
        }
    )


def test_a_snapshot_makes_the_same_file() -> None:
    """The bytes of a file do not tell whether it was written from the variables or from their snapshot."""
    vc = everything()
    assert bytes_of(snapshot(vc)) == bytes_of(vc)


def test_names_ties_and_classes_are_the_same() -> None:
    """Groups, canonical names and classes of the variables are those of the original; the variables are others."""
    vc = everything()
    frozen = snapshot(vc)
    for old, new in zip(vc.groups(), frozen.groups(), strict=True):
        assert (old.name, old.names, type(old.var)) == (new.name, new.names, type(new.var))
        assert old.var is not new.var
    (trained,) = frozen.subset(objio.TrainVar)
    assert trained is frozen['w']
    assert isinstance(frozen['ref_first'], objio.TrainRef)


def test_later_changes_do_not_reach_it() -> None:
    """Assigning, changing a NumPy array in place and splitting keys leave the snapshot as it was."""
    vc = everything()
    before = bytes_of(vc)
    frozen = snapshot(vc)
    vc['w'].assign(vc['w'].value + 1)
    vc['numpy'].value[...] = -1
    vc['key'].split(1)
    vc['int'].assign(8)
    assert bytes_of(frozen) == before
    assert bytes_of(vc) != before


def test_arrays_are_not_copied_on_the_cpu() -> None:
    """The snapshot of an array on the CPU is a read-only view of its memory."""
    vc = objio.VarCollection({'w': objio.TrainVar(jnp.arange(1024.0))})
    held = snapshot(vc)['w'].value
    assert held.ctypes.data == vc['w'].value.unsafe_buffer_pointer()
    assert not held.flags.writeable


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int4', 'bool', 'complex64', 'uint8'])
def test_donated_arrays_keep_their_values(dtype: str) -> None:
    """A step that donates the very arrays, and runs many times after, changes nothing of what was taken."""
    vc = objio.VarCollection({'w': objio.StateVar(jnp.ones((64, 8), dtype)), 'key': objio.RandomState(0)})
    before = bytes_of(vc)
    step = jax.jit(lambda w, key: (jnp.zeros_like(w), jax.random.split(key)[0]), donate_argnums=(0, 1))
    frozen = snapshot(vc)
    w, key = vc['w'].value, vc['key'].value
    for _ in range(5):
        w, key = step(w, key)
    jax.block_until_ready((w, key))
    assert bytes_of(frozen) == before


def test_a_custom_variable_is_not_reached_through_its_copy() -> None:
    """A variable that keeps its value elsewhere is not written to: its snapshot is a plain one."""

    class Elsewhere(objio.BaseState):
        def __init__(self, store: dict[str, Any]) -> None:
            self.store = store

        @property
        def value(self) -> Any:
            return self.store['value']

        @value.setter
        def value(self, tensor: Any) -> None:
            self.store['value'] = tensor

    vc = objio.VarCollection({'x': Elsewhere({'value': jnp.ones(2)})})
    frozen = snapshot(vc)
    assert type(frozen['x']) is TreeVar
    assert isinstance(vc['x'].value, jax.Array)
    assert bytes_of(frozen) == bytes_of(vc)


def test_what_is_not_there_is_refused_by_name() -> None:
    """A donated array, a bare shape and a tracer are refused with the name of their variable."""
    w = objio.TrainVar(jnp.ones(3))
    w.value.delete()
    with pytest.raises(UnsaveableError, match=r'layer\.w: its array was deleted'):
        snapshot(objio.VarCollection({'layer.w': w}))
    with pytest.raises(UnsaveableError, match='s: has a shape'):
        snapshot(objio.VarCollection({'s': TreeVar(jax.ShapeDtypeStruct((2,), 'float32'))}))
    with pytest.raises(UnsaveableError, match='t: is being traced'):
        jax.jit(lambda x: snapshot(objio.VarCollection({'t': TreeVar(x)})))(jnp.ones(2))


def test_numpy_arrays_that_are_one_stay_one() -> None:
    """Two variables that hold one NumPy array hold one in the snapshot: the function that saves sees what there is."""
    array = np.ones(3)
    frozen = snapshot(objio.VarCollection({'a': TreeVar(array), 'b': TreeVar(array)}))
    assert frozen['a'].value is frozen['b'].value
    assert frozen['a'].value is not array

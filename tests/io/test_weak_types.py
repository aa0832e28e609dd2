"""Weakly typed arrays of JAX: each load gives the kind that was saved, and says where the model's was another."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_checkpoint import with_functions
from support_verbs import tree_vars, x64

import objio
from objio import TrainRef, TrainVar, VarCollection
from objio.formats import npz
from objio.variables import TreeVar

KEY = 'objio.weak'
WEAK = 'weakly typed float32 -> float32'
STRONG = 'float32 -> weakly typed float32'


def arrays() -> dict[str, Any]:
    """Weak and strong arrays of several dtypes and shapes, and what is no array of JAX."""
    return {
        'w': jnp.ones(3),
        'scale': jnp.asarray(2.0),
        'count': jnp.asarray(7),
        'phase': jnp.asarray(1j),
        'flag': jnp.asarray(True),
        'row': jnp.full((2, 3), 0.5),
        'empty': jnp.full((0,), 0.5),
        'half': jnp.ones(2, jnp.bfloat16),
        'numpy': np.float32(3),
        'number': 1.5,
        'key': jax.random.key(0),
    }


NAMES = ['scale', 'count', 'phase', 'row', 'empty']  # those that are weak


def weak_in(vc: VarCollection) -> list[str]:
    """The names of the variables that hold weakly typed arrays."""
    return [name for name, variable in vc.items() if getattr(variable.value, 'weak_type', False)]


def strong(value: Any) -> Any:
    """A strongly typed array of JAX of zeros; what is none stays."""
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jnp.zeros(value.shape, value.dtype)
    return value


@pytest.mark.parametrize('suffix', ['.npz', '.safetensors', '.safetensors.index.json'])
@pytest.mark.parametrize('into_weak', [True, False])
def test_each_load_gives_the_saved_kind(tmp_path: Path, suffix: str, into_weak: bool) -> None:
    """Whatever the variables of the model were; where they were another kind, the report says so."""
    content = {name: value for name, value in arrays().items() if suffix == '.npz' or name != 'key'}
    path = tmp_path / f'net{suffix}'
    objio.save_var_collection(path, tree_vars(content))
    vc = tree_vars({name: value if into_weak else strong(value) for name, value in content.items()})
    report = objio.load_var_collection(path, vc)
    assert weak_in(vc) == NAMES
    for name, value in content.items():
        if name != 'key':
            np.testing.assert_array_equal(vc[name].value, value)
    changed = {name: f'{vc[name].value.dtype} -> weakly typed {vc[name].value.dtype}' for name in NAMES}
    assert report.converted == ({} if into_weak else changed)


def test_a_file_without_a_record_gives_strong_arrays(tmp_path: Path) -> None:
    """Files of other libraries, of formats that cannot hold the record, and those in which all was strong."""
    np.savez(tmp_path / 'numpy.npz', scale=np.float32(3))
    objio.save_var_collection(tmp_path / 'flax.msgpack', {'scale': jnp.asarray(3.0)})
    objio.save_var_collection(tmp_path / 'strong.npz', {'scale': jnp.float32(3)})
    for name in ('numpy.npz', 'flax.msgpack', 'strong.npz'):
        vc = tree_vars({'scale': jnp.asarray(2.0)})
        report = objio.load_var_collection(tmp_path / name, vc)
        assert (float(vc['scale'].value), weak_in(vc)) == (3, [])
        assert report.converted == {'scale': WEAK}
        assert WEAK in str(report)
    plan = objio.plan_load(tmp_path / 'strong.npz', tree_vars({'scale': jnp.asarray(2.0)}))
    assert WEAK in str(plan)
    assert 'scale' not in plan.weak


def test_the_record_stands_in_the_metadata_only_where_it_is_needed(tmp_path: Path) -> None:
    """In the order of the arrays, beside what the user gave; files without weakly typed arrays keep their bytes."""
    path = tmp_path / 'a.npz'
    objio.save_var_collection(path, tree_vars(arrays()), metadata={'epoch': 7})
    with objio.open(path) as saved:
        assert saved.metadata == {'epoch': 7, KEY: NAMES}
    objio.save_var_collection(path, tree_vars({'w': jnp.ones(3)}), metadata={'epoch': 7})
    with objio.open(path) as saved:
        assert saved.metadata == {'epoch': 7}
    with pytest.raises(ValueError, match='reserved'):
        objio.save_var_collection(path, {'w': jnp.ones(3)}, metadata={KEY: ['w']})
    objio.save_var_collection(tmp_path / 'a.safetensors', {'scale': jnp.asarray(2.0)})
    with objio.open(tmp_path / 'a.safetensors') as saved:
        assert json.loads(saved.metadata[KEY]) == ['scale']


def test_the_training_goes_on_in_the_same_dtypes(tmp_path: Path) -> None:
    """A weak scale that became strong stays strong after a resume, and a weak one stays weak."""
    for fresh, later in [(jnp.asarray(2.0), jnp.float32(2)), (jnp.float32(2), jnp.asarray(2.0))]:
        p = jnp.ones(2, jnp.bfloat16)
        ckpt = objio.Checkpoint(tmp_path / str(later.weak_type))
        ckpt.save({'p': p, 'scale': later}, 1)
        vc = VarCollection.from_tree({'p': p, 'scale': fresh})
        ckpt.restore(vc)
        tree = vc.to_tree()
        with jax.numpy_dtype_promotion('standard'):
            assert (tree['p'] * tree['scale']).dtype == (p * later).dtype
        assert ckpt.report is not None
        assert list(ckpt.report.converted) == ['scale']


def test_shared_arrays_and_references_keep_their_kind() -> None:
    """One weak array under several names, also of a variable with a reference; a name of its own has its own kind."""
    file = io.BytesIO()
    scale = TrainVar(jnp.ones(()))
    scale.assign(jnp.asarray(2.0))
    shared = jnp.asarray(3.0)
    saved = VarCollection({'a': TreeVar(shared), 'b': TreeVar(shared), 'ref': TrainRef(scale), 'own': scale})
    objio.save_var_collection(file, saved)
    with objio.open(file) as opened:
        assert opened.metadata[KEY] == ['a', 'own']
        assert opened.aliases == {'b': 'a', 'ref': 'own'}
    vc = tree_vars({name: jnp.float32(0) for name in ('b', 'ref', 'a')})
    objio.load_var_collection(file, vc)
    assert weak_in(vc) == ['b', 'ref', 'a']
    vc = tree_vars({'x': jnp.float32(0)})
    objio.load_var_collection(file, vc, {'ref': 'x'})
    assert weak_in(vc) == ['x']


@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('own', [True, False])
def test_checkpoints_keep_the_kind(tmp_path: Path, background: bool, own: bool) -> None:
    """Written at once or in the background, by objio or by a function of the user's that is given a snapshot."""

    def save(file: str, vc: Any) -> None:
        objio.save_var_collection(file, vc)

    kind = objio.Checkpoint if own else with_functions(save, objio.load_var_collection)
    ckpt = kind(tmp_path, background=background)
    ckpt.save(tree_vars(arrays()), 1)
    vc = tree_vars({name: strong(value) for name, value in arrays().items()})
    ckpt.restore(vc)
    assert weak_in(vc) == NAMES


@pytest.mark.parametrize('own', [True, False])
def test_a_mean_takes_the_kind_of_the_newest(tmp_path: Path, own: bool) -> None:
    """Also where the newest shares an array that the others do not, and through a function of the user's."""

    def load(file: str, vc: Any) -> None:
        objio.load_var_collection(file, vc)

    kind = objio.Checkpoint if own else with_functions(objio.save_var_collection, load)
    ckpt = kind(tmp_path)
    shared = jnp.asarray(3.0)
    ckpt.save(tree_vars({'a': jnp.float32(1), 'b': jnp.float32(2), 'c': jnp.asarray(1.0)}), 1)
    ckpt.save(tree_vars({'a': shared, 'b': shared, 'c': jnp.float32(1)}), 2)
    vc = tree_vars({name: jnp.float32(0) for name in 'abc'})
    ckpt.average(vc)
    assert [float(value) for value in vc.tensors()] == [2, 2.5, 1]
    assert weak_in(vc) == ['a', 'b']


@pytest.mark.parametrize('suffix', ['.npz', '.safetensors', '.safetensors.index.json'])
def test_a_converted_file_keeps_the_record(tmp_path: Path, suffix: str) -> None:
    """From one format to another and back, with other metadata too, and for each copy of a shared array."""
    shared = jnp.asarray(3.0)
    first, other, back = tmp_path / 'a.npz', tmp_path / f'b{suffix}', tmp_path / 'c.npz'
    objio.save_var_collection(first, tree_vars({'a': shared, 'b': shared, 'c': jnp.float32(1)}))
    objio.convert(first, other, copy_aliases=True, metadata={'note': 'x'})
    objio.convert(other, back)
    for path in (other, back):
        vc = tree_vars({name: jnp.float32(0) for name in 'abc'})
        objio.load_var_collection(path, vc)
        assert weak_in(vc) == ['a', 'b']
    with objio.open(back) as saved:
        assert saved.metadata['note'] == 'x'
        assert saved.metadata[KEY] == ['a', 'b']
    objio.convert(first, tmp_path / 'same.npz')
    assert (tmp_path / 'same.npz').read_bytes() == first.read_bytes()


def test_a_format_without_metadata_still_takes_weak_arrays(tmp_path: Path) -> None:
    """msgpack holds no record: it is written all the same, also from a file that has one."""
    objio.save_var_collection(tmp_path / 'a.npz', {'a': jnp.asarray(3.0)})
    objio.convert(tmp_path / 'a.npz', tmp_path / 'a.msgpack')
    with objio.open(tmp_path / 'a.msgpack') as saved:
        assert saved['a'] == 3


@pytest.mark.parametrize(
    'record', ['scale', 3, None, {'scale': 1}, [1, None, 'nothing', ['scale']], ['w', 'half', 'count'], '[[', '["w"']
)
def test_a_strange_record_does_no_harm(record: Any) -> None:
    """What is no list of names is passed over; a dtype that cannot be weak comes strong, and is reported."""
    content = {'w': np.ones(3), 'half': np.ones(2, jnp.bfloat16), 'count': np.uint8(3), 'scale': np.float32(2)}
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars(content))
    with objio.open(file) as saved:
        specs = {name: objio.formats.ArraySpec(saved.dtypes[name], saved.shapes[name]) for name in saved}
        blocks = {name: [saved[name].tobytes()] for name in saved}
    forged = io.BytesIO()
    npz.encode(specs, blocks.__getitem__, {}, {KEY: record}).write(forged)
    vc = tree_vars(
        {'half': jnp.zeros(2, jnp.bfloat16), 'count': jnp.uint8(0), 'scale': jnp.asarray(0.0), 'w': np.zeros(3)}
    )
    report = objio.load_var_collection(forged, vc)
    assert weak_in(vc) == []
    expected = {'scale': WEAK}
    if record == ['w', 'half', 'count']:
        expected |= {
            name: f'weakly typed {label} -> {label}' for name, label in [('half', 'bfloat16'), ('count', 'uint8')]
        }
    assert report.converted == expected


def test_a_cast_says_both() -> None:
    """Dtype and weakness are two changes, and each is reported."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'a': np.float64([1]), 'b': np.float64(1)}))
    vc = tree_vars({'a': jnp.full((1,), 2.0), 'b': jnp.asarray(2.0)})
    report = objio.load_var_collection(file, vc, cast=True)
    assert weak_in(vc) == []
    assert report.converted == dict.fromkeys('ab', f'float64 -> float32 (cast); {WEAK}')


def test_64_bits_on_one_side_alone() -> None:
    """A weak float64 becomes a weak float32 where JAX has no other; a weak float32 comes strong where it has float64."""
    wide, narrow = io.BytesIO(), io.BytesIO()
    objio.save_var_collection(narrow, tree_vars({'a': jnp.asarray(2.0)}))
    with x64():
        objio.save_var_collection(wide, tree_vars({'a': jnp.asarray(2.0)}))
        vc = tree_vars({'a': jnp.asarray(0.0)})
        objio.load_var_collection(wide, vc)
        assert (vc['a'].value.dtype, weak_in(vc)) == ('float64', ['a'])
        vc = tree_vars({'a': jnp.float32(0)})
        report = objio.load_var_collection(narrow, vc)
        assert (vc['a'].value.dtype, weak_in(vc)) == ('float32', [])
        assert report.converted == {'a': WEAK}
    vc = tree_vars({'a': jnp.asarray(0.0)})
    objio.load_var_collection(wide, vc)
    assert (vc['a'].value.dtype, weak_in(vc)) == ('float32', ['a'])


def test_a_model_and_a_module_keep_the_kind(tmp_path: Path) -> None:
    """Also in a pickle, whose arrays are NumPy's, and for shapes without a value."""

    class Scaled(objio.Module):
        def __init__(self) -> None:
            self.scale = TrainVar(jnp.ones(()))
            self.w = TrainVar(jnp.ones(2))

    net = Scaled()
    net.scale.assign(jnp.asarray(2.0))
    copied = pickle.loads(pickle.dumps(net.vars()))
    assert [value.weak_type for value in copied.tensors()] == [True, False]
    promised = pickle.loads(pickle.dumps(TreeVar(jax.eval_shape(lambda: jnp.asarray(2.0)))))
    assert promised.value.weak_type
    objio.save_var_collection(tmp_path / 'net.npz', net.vars())
    other = Scaled()
    objio.load_var_collection(tmp_path / 'net.npz', other.vars())
    assert [value.weak_type for value in other.vars().tensors()] == [True, False]


def test_many_small_weak_arrays_come_back() -> None:
    """Also among thousands of small arrays, which are put on the device together."""
    content = {f'{i}': jnp.asarray(float(i)) if i % 3 == 0 else jnp.float32(i) for i in range(3000)}
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars(content))
    vc = tree_vars({name: jnp.float32(0) for name in content})
    objio.load_var_collection(file, vc)
    assert weak_in(vc) == [f'{i}' for i in range(0, 3000, 3)]
    assert [float(value) for value in vc.tensors()] == [float(i) for i in range(3000)]

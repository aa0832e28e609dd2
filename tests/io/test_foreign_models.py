"""Files that other programs wrote, restored into models: np.savez, np.savez_compressed and Objax itself."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import bits, held, same_objects, tree_vars

import objio
from objio import Module, ModuleList, StateVar, TrainRef, TrainVar

DATA = Path(__file__).parents[1] / 'data'
OBJAX = json.loads((DATA / 'objax-1.8.0.json').read_text(encoding='utf-8'))


class Momentum(Module):
    """The variables of Objax's optimizer."""

    def __init__(self, vc: objio.VarCollection) -> None:
        self.train_vars = ModuleList(TrainRef(variable) for variable in vc.subset(TrainVar))
        self.m = ModuleList(StateVar(jnp.zeros_like(variable.value)) for variable in self.train_vars)


class ExponentialMovingAverage(Module):
    """The variables of Objax's average."""

    def __init__(self, vc: objio.VarCollection) -> None:
        self.step = StateVar(jnp.zeros((), jnp.uint32))
        states = list(vc.subset(is_not=TrainVar))
        self.refs = ModuleList([*states, *(TrainRef(variable) for variable in vc.subset(TrainVar))])
        self.m = ModuleList(StateVar(jnp.zeros_like(variable.value)) for variable in self.refs)


def build() -> tuple[objio.nn.Sequential, objio.VarCollection]:
    """The net of make_objax_golden.py with its optimizer, average and random key, in objio's modules."""
    twice = objio.nn.Linear(3, 3)
    relu, flatten = objio.functional.relu, objio.functional.flatten
    first = [objio.nn.Conv2D(1, 2, 3), objio.nn.BatchNorm2D(2), relu, flatten, objio.nn.Linear(32, 3)]
    net = objio.nn.Sequential([*first, twice, relu, twice])
    vc = net.vars()
    parts = [Momentum(vc).vars('opt'), ExponentialMovingAverage(vc).vars('ema'), objio.random.Generator(0).vars('rng')]
    return net, vc + parts[0] + parts[1] + parts[2]


@pytest.mark.parametrize('file', ['objax-1.8.0.npz', 'objax-seekable.npz'])
def test_a_file_of_objax_restores_into_modules_of_objio(file: str) -> None:
    """Weights, optimizer, average and random key of a run with Objax 1.8.0, by their own names; the net computes on."""
    net, vc = build()
    report = objio.load_var_collection(DATA / file, vc, allow_unused=False)
    assert list(vc.keys()) == list(OBJAX['variables'])
    for name, expected in OBJAX['variables'].items():
        value = vc[name].value
        if name == 'rng(Generator)._key':
            assert jax.random.key_data(value).tolist() == expected['values']
        else:
            assert (value.dtype.name, list(value.shape)) == (expected['dtype'], expected['shape'])
            assert value.reshape(-1).tolist() == expected['values']
    assert report.converted == {'rng(Generator)._key': 'uint32 -> key<threefry2x32> (key data, as keys)'}
    assert not report.missing
    assert net[5] is net[7]
    np.testing.assert_allclose(net(jnp.array(OBJAX['net']['x']), training=False), OBJAX['net']['y'], rtol=1e-5)


def test_the_net_alone_restores_from_a_file_of_objax() -> None:
    """What the model lacks is reported; what the file lacks is an error, as with any other file."""
    net, vc = build()
    report = objio.load_var_collection(DATA / 'objax-1.8.0.npz', net)
    assert len(report.matched) == 10
    assert len(report.unused) == 20
    before = held(vc)
    renamed = objio.Renamer({'(Linear)': '(Dense)'})
    with pytest.raises(
        objio.MismatchError, match=r'\(Linear\)\.w .* likely renamed; the renamer makes it .*\(Dense\)\.w'
    ):
        objio.load_var_collection(DATA / 'objax-1.8.0.npz', vc, renamed)
    assert same_objects(vc, before)


def test_a_file_of_objax_saved_again_keeps_its_sharing(tmp_path: Path) -> None:
    """Loaded and saved, it is a file of objio with the references and shared names as aliases."""
    _, vc = build()
    objio.load_var_collection(DATA / 'objax-1.8.0.npz', vc)
    objio.save_var_collection(tmp_path / 'x.npz', vc)
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved.aliases == {
            name: v['stored as'] for name, v in OBJAX['variables'].items() if v['stored as'] != name
        }


ARRAYS: dict[str, Any] = {
    'w': np.arange(6, dtype='f4').reshape(2, 3),
    'f': np.asfortranarray(np.arange(6, dtype='f8').reshape(2, 3)),
    'be': np.arange(4, dtype='>i4'),
    'n': np.int64(7),
    'empty': np.zeros((0, 3), 'c8'),
    'bf': np.arange(4).astype(jnp.bfloat16),
    'flag': np.array([True, False]),
}


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('mmap', [False, True])
def test_a_file_of_numpy_restores(save: Any, mmap: bool, tmp_path: Path) -> None:
    """Stored or compressed, of any byte order and layout; what cannot be mapped is read."""
    save(tmp_path / 'x.npz', **ARRAYS)
    native = {name: array.astype(array.dtype.newbyteorder('=')) for name, array in ARRAYS.items()}
    vc = tree_vars({name: np.ones(array.shape, array.dtype) for name, array in native.items()} | {'n': 0})
    report = objio.load_var_collection(tmp_path / 'x.npz', vc, mmap=mmap)
    for name, array in native.items():
        assert bits(vc[name].value) == bits(array)
    assert report.converted == {'bf': 'V2 -> bfloat16 (raw bits of the dtype)'}
    assert vc['n'].value == 7


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_damage_in_a_file_of_numpy_is_found(save: Any) -> None:
    """The checksums of zip are compared here too, and nothing is assigned."""
    file = io.BytesIO()
    save(file, a=np.zeros(3), w=np.random.default_rng(0).standard_normal(1000))
    data = bytearray(file.getvalue())
    data[len(data) // 2] ^= 1
    vc = tree_vars({'a': np.ones(3), 'w': np.ones(1000)})
    before = held(vc)
    with pytest.raises(objio.FormatError, match="'w'"):
        objio.load_var_collection(io.BytesIO(bytes(data)), vc)
    assert same_objects(vc, before)


def test_objects_in_a_file_of_numpy_are_never_loaded() -> None:
    """An array of pickled objects is an error where it is wanted, and ignored where it is not."""
    file = io.BytesIO()
    np.savez(file, w=np.ones(2), o=np.array([None]))
    vc = tree_vars({'w': np.zeros(2)})
    assert objio.load_var_collection(file, vc).unused == ('o',)
    with pytest.raises(objio.MismatchError, match='object'):
        objio.load_var_collection(file, tree_vars({'w': np.zeros(2), 'o': np.zeros(1)}))
    with objio.open(file) as saved, pytest.raises(objio.FormatError, match='objects'):
        _ = saved['o']


def test_what_the_model_accepts_may_be_compressed_as_it_likes() -> None:
    """Moments that are still zero shrink a thousandfold; a variable of their shape and dtype is reason to inflate them."""
    file = io.BytesIO()
    np.savez_compressed(file, w=np.zeros((5 << 20), 'f4'), bomb=np.zeros(5 << 20, 'f4'))
    with pytest.raises(objio.FormatError, match='max_bytes='):
        objio.open(file)
    vc = tree_vars({'w': np.ones(5 << 20, 'f4')})
    assert objio.load_var_collection(file, vc).unused == ('bomb',)
    assert not vc['w'].value.any()
    with objio.open(file, max_bytes=1 << 30) as saved:
        assert not saved['w'].any()


def test_names_are_not_inflated_without_end() -> None:
    """The table of names of an Objax file is no variable, so it keeps its bound."""
    file = io.BytesIO()
    np.savez_compressed(file, **{'names': np.array(['a' * (5 << 20)]), '0': np.zeros(3)})
    with pytest.raises(objio.FormatError, match='would inflate'):
        objio.load_var_collection(file, tree_vars({'a': np.zeros(3)}))

"""Pickles of variables and modules: NumPy inside, sharing kept, nothing of JAX, whatever pickles them."""

import copy
import io
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import dill
import jax
import jax.extend
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import objio.functional
from objio.errors import UnsaveableError
from objio.nn import BatchNorm2D, Conv2D, Dropout, Linear, Sequential
from objio.random import Generator
from objio.variables import Module, ModuleList, RandomState, StateVar, TrainRef, TrainVar, TreeVar, VarCollection

PROTOCOLS = [2, 3, 4, 5]
DTYPES = [
    'bool',
    'int8',
    'uint16',
    'int32',
    'float16',
    'float32',
    'complex64',
    'bfloat16',
    'float8_e4m3fn',
    'float8_e5m2',
    'int4',
    'uint4',
    'int2',
    'float4_e2m1fn',
]


class State(NamedTuple):
    """An optimizer's state."""

    count: Any
    mu: Any


class Net(Module):
    """Everything that may occur: ties, references, keys, odd dtypes, bare arrays, trees, a function."""

    def __init__(self) -> None:
        self.layers = Sequential([Linear(3, 4), objio.functional.relu, Dropout(0.5, Generator(1)), Linear(4, 3)])
        self.tied = self.layers[0]
        self.ref = TrainRef(self.layers[3].w)
        self.half = StateVar(jnp.ones(3, 'bfloat16'))
        self.abstract = StateVar(jax.ShapeDtypeStruct((2, 3), jnp.bfloat16))
        self.key = RandomState(jax.random.key(3, impl='rbg'))
        self.scale = jnp.full((1, 3), 2.0)
        self.tables = {'a': [jnp.ones(2), 'text'], 'b': (ml_dtypes.bfloat16(1.5), np.ones(2, 'bfloat16'))}
        self.mixed = ModuleList([jnp.zeros(2), StateVar(0)])
        self.opt = VarCollection.from_tree(State(3, {'w': np.arange(3.0), 'name': 'adam', 'none': None}))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers(x, training=False) * self.scale


class Recorder(pickle.Unpickler):
    """Loads a pickle and notes every name that it imports."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.seen: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Notes the name."""
        self.seen.add(f'{module}.{name}')
        return super().find_class(module, name)


def leaves(net: Net) -> list[Any]:
    """Every array in a net, variables and others."""
    vc = net.vars() + net.mixed.vars('mixed') + net.opt
    return [*vc.tensors(), net.scale, net.tables['a'][0], *net.tables['b'], net.mixed[0]]


def same(a: Any, b: Any) -> bool:
    """Whether two values are of one kind, dtype and shape, and equal to the bit."""
    if isinstance(a, jax.ShapeDtypeStruct) or not hasattr(a, 'dtype'):
        return type(a) is type(b) and a == b
    if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
        return False
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('pickler', [pickle, cloudpickle, dill], ids=lambda pickler: pickler.__name__)
def test_everything_comes_back(pickler: Any, protocol: int) -> None:
    """Values, kinds, dtypes, names, ties and references, whatever pickles them."""
    net = Net()
    loaded = pickle.loads(pickler.dumps(net, protocol=protocol))
    assert list(loaded.vars().keys()) == list(net.vars().keys())
    assert all(map(same, leaves(net), leaves(loaded)))
    assert loaded.tied is loaded.layers[0]
    assert loaded.ref.ref is loaded.layers[3].w
    assert loaded.layers[1] is objio.functional.relu
    assert loaded.opt.to_tree().mu.keys() == {'w', 'name', 'none'}
    assert loaded.opt.to_tree().mu['w'] is loaded.opt['mu.w'].value
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(net(x), loaded(x))


@pytest.mark.parametrize('pickler', [cloudpickle, dill], ids=lambda pickler: pickler.__name__)
def test_lambdas_and_local_classes_go_with_those_that_take_them(pickler: Any) -> None:
    """What pickle itself cannot name, cloudpickle and dill bring along."""

    class Local(Module):
        def __init__(self) -> None:
            self.w = TrainVar(jnp.ones(3))

        def __call__(self, x: jax.Array) -> jax.Array:
            return x * self.w.value

    net = Sequential([Local(), lambda x: x + 1, jax.nn.relu])
    loaded = pickler.loads(pickler.dumps(net))
    np.testing.assert_array_equal(loaded(jnp.ones(3)), [2, 2, 2])
    loaded[0].w.assign(jnp.zeros(3))
    np.testing.assert_array_equal(net(jnp.ones(3)), [2, 2, 2])


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_pickle_names_objio_numpy_and_the_user_alone(protocol: int) -> None:
    """No object of JAX, jaxlib or ml_dtypes is in it, so that the file outlives their versions."""
    recorder = Recorder(io.BytesIO(pickle.dumps(Net(), protocol=protocol)))
    recorder.load()
    roots = {name.split('.')[0] for name in recorder.seen}
    plain = {'copyreg', '_codecs', '__builtin__', 'builtins'}  # Python's own, at the older protocols
    assert roots - plain == {'objio', 'numpy', __name__.split('.')[0]}
    jaxes = Recorder(io.BytesIO(pickle.dumps(jnp.ones(3))))
    jaxes.load()
    assert {name.split('.')[0] for name in jaxes.seen} > {'jax'}


def test_two_loads_do_not_share() -> None:
    """Each load has variables and arrays of its own."""
    pickled = pickle.dumps(Net())
    a, b, c = pickle.loads(pickled), pickle.loads(pickled), Net()
    a.layers[0].w.assign(a.layers[0].w.value + 1)
    a.opt['mu.w'].value[:] = 7
    assert float(b.tied.w.sum()) != float(a.tied.w.sum())
    assert b.opt['mu.w'].value.tolist() == c.opt['mu.w'].value.tolist() == [0, 1, 2]


def test_a_loaded_array_does_not_hang_on_the_pickle() -> None:
    """The memory of a JAX array is its own: pickles hand out buffers that others may share."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(StateVar(jnp.arange(1000.0)), protocol=5, buffer_callback=buffers.append)
    memory = np.zeros(4064, np.uint8)
    start = -memory.ctypes.data % 64  # where JAX would take the memory for its own, if asked to
    memory[start : start + 4000] = np.frombuffer(buffers[0], np.uint8)
    var = pickle.loads(pickled, buffers=[memory[start : start + 4000]])
    memory[:] = 0
    assert var.sum() == 499500


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('make', [jnp.zeros, np.zeros, lambda shape, dtype: np.zeros(shape, dtype)[()]])
def test_every_dtype_is_kept(make: Any, dtype: str) -> None:
    """Also those NumPy knows only from ml_dtypes, in arrays of JAX and of NumPy, 0-d, empty, strided."""
    for shape in [(), (0, 2), (2, 3)]:
        if shape and make is not jnp.zeros and make is not np.zeros:
            continue
        value = make(shape, jnp.dtype(dtype))
        assert same(pickle.loads(pickle.dumps(TreeVar(value))).value, value)
    strided = np.arange(12).reshape(3, 4).astype(jnp.dtype(dtype))[::2, ::-1]
    assert same(pickle.loads(pickle.dumps(TreeVar(strided))).value, strided)


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg', 'unsafe_rbg'])
def test_keys_of_every_implementation_are_kept(impl: str) -> None:
    """A key goes as words and a name, also many of them, and also where only their shape is known."""
    keys = jax.random.split(jax.random.key(0, impl=impl), (2, 3))
    assert same(pickle.loads(pickle.dumps(StateVar(keys))).value, keys)
    abstract = jax.ShapeDtypeStruct(keys.shape, keys.dtype)
    assert pickle.loads(pickle.dumps(StateVar(abstract))).value == abstract


@pytest.mark.parametrize('name', [name for name in ('int1', 'uint1') if hasattr(ml_dtypes, name)])
def test_a_dtype_that_jax_takes_for_another_is_kept(name: str) -> None:
    """To JAX 0.10 'int1' is a bool; ml_dtypes means one bit."""
    value = np.zeros(3, getattr(ml_dtypes, name))
    assert same(pickle.loads(pickle.dumps(TreeVar(value))).value, value)


def test_keys_of_a_custom_implementation_are_refused() -> None:
    """They have no name by which another process could make them again; the error says what to pickle."""
    own = jax.extend.random.define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: jnp.zeros(2, 'uint32'),
        split=lambda key, shape: jnp.zeros((*shape, 2), 'uint32'),
        random_bits=lambda key, width, shape: jnp.zeros(shape, 'uint32'),
        fold_in=lambda key, data: key,
        name='tests_own',
        tag='own',
    )
    with pytest.raises(UnsaveableError, match=r'custom implementation own: .* pickle jax.random.key_data'):
        pickle.dumps(StateVar(jax.random.key(0, impl=own)))


@given(st.integers(0, 2**16 - 1))
def test_every_bit_of_a_bfloat16_is_kept(bits: int) -> None:
    """NaNs with their payload too."""
    value = np.array(bits, np.uint16).view(ml_dtypes.bfloat16)
    assert same(pickle.loads(pickle.dumps(TreeVar(value))).value, value)
    assert same(pickle.loads(pickle.dumps(StateVar(value))).value, jnp.array(value))


def test_a_pickle_of_64_bits_is_not_narrowed() -> None:
    """Where x64 is off, loading float64 is an error that says how to switch it on."""
    with jax.enable_x64(True):
        pickled = pickle.dumps(StateVar(jnp.arange(3.0)))
        assert pickle.loads(pickled).dtype == np.float64
    with pytest.raises(ValueError, match=re.escape("jax.config.update('jax_enable_x64', True)")):
        pickle.loads(pickled)


def test_what_cannot_be_pickled_is_an_error() -> None:
    """A deleted array, a tracer, a lambda, keys of an implementation without a name."""
    var = StateVar(jnp.zeros(3))
    var.value.delete()
    with pytest.raises(RuntimeError, match='deleted'):
        pickle.dumps(var)
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(lambda x: pickle.dumps(StateVar(x)))(1.0)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Sequential([lambda x: x]))


def test_the_sharing_of_lists_is_kept() -> None:
    """A list without arrays that two attributes share is still one list."""
    module = Module()
    module.a = module.b = ['text', StateVar(0)]  # type: ignore[attr-defined]
    loaded = pickle.loads(pickle.dumps(module))
    assert loaded.a is loaded.b


def test_a_pickle_is_loaded_in_a_fresh_process(tmp_path: Path) -> None:
    """The file alone brings everything that is needed, and the process gets what was saved."""
    net = Sequential([Conv2D(1, 2, 3), BatchNorm2D(2), objio.functional.relu])
    (tmp_path / 'net.pickle').write_bytes(pickle.dumps(net))
    code = """
import pickle
net = pickle.load(open('net.pickle', 'rb'))
import numpy as np
print(np.float32(net(np.ones((1, 1, 4, 4), 'f4'), training=False).sum()).tobytes().hex())
"""
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    expected = np.float32(net(np.ones((1, 1, 4, 4), 'f4'), training=False).sum())
    assert result.stdout.strip() == expected.tobytes().hex()


def test_deep_copies_of_everything() -> None:
    """copy.deepcopy keeps what pickle keeps, without going through NumPy."""
    net = Net()
    copied = copy.deepcopy(net)
    assert all(map(same, leaves(net), leaves(copied)))
    assert copied.ref.ref is copied.layers[3].w is not net.layers[3].w
    copied.opt.assign([*copied.opt.tensors()[:1], np.zeros(3)])
    assert float(net.opt['mu.w'].value.sum()) == 3
    assert copied.opt.to_tree().mu['w'].sum() == 0
    assert copy.copy(net.opt)['mu.w'] is net.opt['mu.w']

"""Where loaded values go: of the kind the variable held, on the devices it lived on, and at times without a copy."""

import gc
import io
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_devices import PROMISES, outcomes
from support_verbs import bits, held, keys_of, tree_vars

import objio
from objio.io.memory import fresh

LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='only Linux lists the memory of a process in /proc')


@pytest.fixture(scope='module')
def on_eight_devices() -> dict[str, str]:
    """What became of each promise in a process with eight devices."""
    return outcomes()


@pytest.mark.parametrize('name', PROMISES)
def test_on_eight_devices(name: str, on_eight_devices: dict[str, str]) -> None:
    """Each promise of support_devices.py is kept."""
    assert on_eight_devices[name] == ''


def reloaded(saved: Any, value: Any, **options: Any) -> Any:
    """Saves one value and loads it over another."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'x': saved}))
    vc = tree_vars({'x': value})
    objio.load_var_collection(file, vc, **options)
    return vc['x'].value


def test_what_numpy_holds_stays_with_numpy() -> None:
    """A NumPy array is replaced by a writable one of its dtype, a NumPy scalar by a scalar, on no device."""
    new = reloaded(jnp.arange(3.0), np.zeros(3, 'f4'))
    assert type(new) is np.ndarray
    assert new.flags.writeable
    assert type(reloaded(1.5, np.float64(0))) is np.float64
    new = reloaded(np.array(1.5), np.array(0.0))
    assert (type(new), new.shape) == (np.ndarray, ())
    assert reloaded(np.arange(3.0), np.zeros(3, '>f8')).tolist() == [0, 1, 2]


def test_an_uncommitted_array_stays_uncommitted() -> None:
    """And a committed one stays committed; both on the device they were on."""
    assert not reloaded(np.ones(3, 'f4'), jnp.zeros(3)).committed
    device = jax.devices()[0]
    new = reloaded(np.ones(3, 'f4'), jax.device_put(np.zeros(3, 'f4'), device))
    assert new.committed
    assert new.devices() == {device}
    assert not reloaded(jax.random.key(1), jax.random.key(0)).committed
    assert reloaded(jax.random.key(1), jax.device_put(jax.random.key(0), device)).committed


@pytest.mark.parametrize('number', [0.5, 3, 1j])
@pytest.mark.parametrize('shape', [(), (3,), (0,)])
def test_a_weak_type_is_that_of_the_save(number: complex, shape: tuple[int, ...]) -> None:
    """So that a compiled step gives the same dtypes after a restore as it gave before the save."""
    old = jnp.full(shape, number)
    assert old.weak_type
    compiled = []
    step = jax.jit(lambda x: compiled.append(1) or x * 2)
    step(old)
    for value in (old, jnp.zeros(shape, old.dtype)):
        new = reloaded(old * 2, value)
        assert new.weak_type
        assert not new.committed
        np.testing.assert_array_equal(new, old * 2)
        step(new)
    assert compiled == [1]
    for value in (old, jnp.zeros(shape, old.dtype)):
        assert not reloaded(np.full(shape, number * 2, old.dtype), value).weak_type


def test_a_promise_becomes_what_was_saved() -> None:
    """Whether an array for a ShapeDtypeStruct is weakly typed is for the file to say, too."""
    for promised in (jax.eval_shape(lambda: jnp.asarray(0.5)), jax.ShapeDtypeStruct((), jnp.float32)):
        assert not reloaded(np.float32(2), promised).weak_type
        assert reloaded(jnp.asarray(2.0), promised).weak_type


def test_a_promised_array_becomes_one() -> None:
    """A model of ShapeDtypeStructs, which needs no memory for old values, is filled with arrays and keys."""
    shapes = jax.eval_shape(lambda: {'w': jnp.ones((2, 3), 'bfloat16'), 'k': jax.random.key(0, impl='rbg')})
    vc = objio.VarCollection.from_tree(shapes)
    file = io.BytesIO()
    keys = keys_of('rbg', (), bytes(range(16)))
    objio.save_var_collection(file, {'w': jnp.full((2, 3), 2, 'bfloat16'), 'k': keys})
    objio.load_var_collection(file, vc)
    tree = vc.to_tree()
    assert tree['w'].dtype == jnp.bfloat16
    assert bits(tree['k']) == bits(keys)


def test_a_donated_array_is_loaded_over() -> None:
    """A variable whose array is gone still tells where the new one belongs."""
    old = jnp.zeros(3)
    old.delete()
    assert reloaded(np.ones(3, 'f4'), old).tolist() == [1, 1, 1]


def test_loaded_arrays_may_be_donated() -> None:
    """Small and large, a step may take their memory."""
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    for size in [3, 1 << 21]:
        new = reloaded(np.arange(size, dtype='f4'), jnp.zeros(size))
        np.testing.assert_array_equal(step(new), np.arange(size, dtype='f4') + 1)
        assert new.is_deleted()


@LINUX
@pytest.mark.parametrize('size', [1 << 15, 1 << 21])
def test_owned_memory_goes_to_the_device_without_a_copy(size: int) -> None:
    """A large array is the very memory that was read into: at a multiple of 64 bytes JAX takes it as it is."""
    taken: list[int] = []

    def watched(nbytes: int) -> tuple[memoryview, Any]:
        buffer, prepare = fresh(nbytes)
        taken.append(np.frombuffer(buffer, np.uint8).ctypes.data)
        return buffer, prepare

    objio.io.arrays.fresh, before = watched, objio.io.arrays.fresh
    try:
        new = reloaded(np.arange(size, dtype='f4'), jnp.zeros(size))
    finally:
        objio.io.arrays.fresh = before
    assert taken == [new.unsafe_buffer_pointer()]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int4'])
def test_thousands_of_small_arrays_keep_their_places(dtype: str) -> None:
    """However many of one form go to the device at once, each variable gets its own, among others of other forms."""
    saved = {f'{i}': jnp.full(2 + i % 7 // 6, i % 8 - 4, dtype) for i in range(2000)}
    vc = tree_vars({name: jnp.zeros_like(value) for name, value in saved.items()})
    file = io.BytesIO()
    objio.save_var_collection(file, saved)
    objio.load_var_collection(file, vc)
    for name, value in vc.named_tensors().items():
        assert (value.dtype, value.committed, value.weak_type) == (dtype, False, False)
        np.testing.assert_array_equal(np.asarray(value), np.asarray(saved[name]))


def region(address: int) -> str:
    """The line of /proc/self/maps that an address belongs to."""
    for line in Path('/proc/self/maps').read_text(encoding='utf-8').splitlines():
        start, stop = (int(part, 16) for part in line.split()[0].split('-'))
        if start <= address < stop:
            return line
    return ''


@pytest.fixture
def mapped(tmp_path: Path) -> tuple[Path, objio.VarCollection]:
    """A file, and variables that were loaded from it with `mmap=True`."""
    path = tmp_path / 'x.npz'
    arrays = {'j': np.arange(1 << 16, dtype='f4'), 'n': np.arange(1 << 16, dtype='f8'), 'i': np.arange(3, dtype='i1')}
    objio.save_var_collection(path, arrays)
    vc = tree_vars({'j': jnp.zeros(1 << 16), 'n': np.zeros(1 << 16), 'i': np.zeros(3, 'i1')})
    objio.load_var_collection(path, vc, mmap=True)
    return path, vc


@LINUX
def test_mapped_arrays_are_the_pages_of_the_file(mapped: tuple[Path, objio.VarCollection]) -> None:
    """With `mmap=True` JAX's array and NumPy's lie in the mapped file, read-only; without it in memory of their own."""
    path, vc = mapped
    assert str(path) in region(vc['j'].value.unsafe_buffer_pointer())
    for name in ['n', 'i']:
        assert str(path) in region(vc[name].value.ctypes.data)
        assert not vc[name].value.flags.writeable
    objio.load_var_collection(path, vc)
    assert str(path) not in region(vc['j'].value.unsafe_buffer_pointer())
    assert str(path) not in region(vc['n'].value.ctypes.data)


def test_a_donated_mapped_array_leaves_the_file_alone(mapped: tuple[Path, objio.VarCollection]) -> None:
    """The step computes in memory of its own; no byte of the file changes."""
    path, vc = mapped
    data = path.read_bytes()
    new = jax.jit(lambda x: x + 1, donate_argnums=0)(vc['j'].value)
    np.testing.assert_array_equal(new, np.arange(1 << 16, dtype='f4') + 1)
    assert path.read_bytes() == data
    assert objio.verify(path)


@pytest.mark.parametrize('end', ['removed', 'saved over', 'renamed over', 'emptied folder'])
def test_arrays_outlive_their_file(end: str, mapped: tuple[Path, objio.VarCollection]) -> None:
    """Removing the file, saving over it or renaming another over it changes no array that came from it."""
    path, vc = mapped
    other = path.with_name('other.npz')
    objio.save_var_collection(other, {'j': np.zeros(1 << 16, 'f4'), 'n': np.zeros(1 << 16), 'i': np.zeros(3, 'i1')})
    if end == 'saved over':
        objio.save_var_collection(path, {'j': np.zeros(1 << 17, 'f4')})
    elif end == 'renamed over':
        os.replace(other, path)
    else:
        path.unlink()
        other.unlink()
    gc.collect()
    for value, dtype in zip(held(vc), ['f4', 'f8', 'i1'], strict=True):
        np.testing.assert_array_equal(value, np.arange(len(value), dtype=dtype))


def test_a_file_object_that_is_gone_leaves_its_arrays(tmp_path: Path) -> None:
    """Arrays loaded through a file object live on when it is closed and forgotten, mapped ones too."""
    objio.save_var_collection(tmp_path / 'x.npz', {'w': np.arange(1 << 16, dtype='f4')})
    vc = tree_vars({'w': jnp.zeros(1 << 16)})
    for mmap in [False, True]:
        with open(tmp_path / 'x.npz', 'rb') as file:
            objio.load_var_collection(file, vc, mmap=mmap)
        del file
        gc.collect()
        np.testing.assert_array_equal(vc['w'].value, np.arange(1 << 16, dtype='f4'))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.filterwarnings('ignore:os.fork')
def test_a_forked_process_has_arrays_of_its_own() -> None:
    """What a child of a fork writes into a loaded array its parent does not see."""
    array = reloaded(np.zeros(1 << 21), np.zeros(1 << 21))
    child = os.fork()
    if child == 0:
        array[:] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not array.any()

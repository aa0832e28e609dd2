"""What is promised on eight devices, each promise a function; run as a program, with eight made-up devices."""

import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import objio
from objio.variables import TreeVar

PROMISES: dict[str, Callable[[], None]] = {}


def promise(function: Callable[[], None]) -> Callable[[], None]:
    """Enters a function as a promise."""
    PROMISES[function.__name__] = function
    return function


def spread(value: Any, *axes: str | None) -> jax.Array:
    """A value over a mesh of 4 x 2 devices."""
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ('a', 'b'))
    return jax.device_put(value, NamedSharding(mesh, PartitionSpec(*axes)))


def size_of(**values: Any) -> int:
    """Bytes of the file that the values make."""
    file = io.BytesIO()
    objio.save_var_collection(file, {name: TreeVar(value) for name, value in values.items()})
    return len(file.getvalue())


def reloaded(saved: Any, value: Any, **options: Any) -> Any:
    """Saves one value and loads it over another."""
    file = io.BytesIO()
    objio.save_var_collection(file, {'x': TreeVar(saved)})
    variable = TreeVar(value)
    objio.load_var_collection(file, {'x': variable}, **options)
    return variable.value


W = np.arange(64, dtype='float32').reshape(8, 8)
FORMS = [(), ('a',), ('b',), (None, 'a'), ('a', 'b'), ('b', 'a'), (('a', 'b'),), (None, ('b', 'a'))]


@promise
def replicated_is_stored_once() -> None:
    """An array with a copy on each device takes its bytes once, sharded or not: the file is the same."""
    plain = size_of(x=W)
    assert all(size_of(x=spread(W, *axes)) == plain for axes in FORMS)


@promise
def sharded_is_saved_whole() -> None:
    """Whatever the sharding, the file has the whole array."""
    for axes in FORMS:
        np.testing.assert_array_equal(reloaded(spread(W, *axes), np.zeros((8, 8), 'f4')), W)
    for name in ['bfloat16', 'float16', 'int4', 'uint2', 'int1', 'bool', 'float8_e4m3fn']:
        dtype = np.dtype(getattr(ml_dtypes, name, name))
        array = (W % 2).astype('i1').astype(dtype)
        new = reloaded(spread(array, 'a', 'b'), jax.device_put(np.zeros((8, 8), dtype)))
        assert new.dtype == dtype
        np.testing.assert_array_equal(np.asarray(new).astype('i1') % 2, W % 2)


@promise
def each_part_is_checked_when_it_is_cast() -> None:
    """A value that is too large for the variable's dtype is refused, whichever device would get it."""
    for place in (0, 1000, 65535):
        values = np.ones(1 << 16)
        values[place] = -1e300
        with pytest.raises(objio.MismatchError, match=r'x .*the value -1e\+300 does not fit float32'):
            reloaded(values, spread(np.zeros(values.shape, 'f4'), 'a'), cast=True)


@promise
def it_lands_on_the_sharding_of_the_variable() -> None:
    """From any sharding onto any other, and the same sharding gives the same slices to the same devices."""
    for saved in FORMS:
        for wanted in FORMS:
            old = spread(np.zeros((8, 8), 'f4'), *wanted)
            new = reloaded(spread(W, *saved), old)
            assert new.sharding == old.sharding
            assert new.committed
            np.testing.assert_array_equal(np.asarray(new), W)


@promise
def large_arrays_come_in_parts() -> None:
    """Each device gets its slice, and every slice the values that a load of the whole gives it."""
    for shape, dtype in [
        ((64, 512), 'float32'),
        ((8, 24, 1000), 'bfloat16'),
        ((320, 1024), 'int4'),
        ((96, 720), 'bool'),
    ]:
        array = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
        for axes in FORMS:
            for options in [{}, {'verify': False}, {'mmap': True}]:
                old = spread(np.zeros(shape, array.dtype), *axes)
                new = reloaded(array, old, **options)
                assert (new.sharding, new.dtype, new.committed) == (old.sharding, array.dtype, True)
                for shard in new.addressable_shards:
                    np.testing.assert_array_equal(np.asarray(shard.data), array[shard.index])
    wide = np.arange(1 << 15, dtype='f4').reshape(256, 128) / 3
    cast = reloaded(wide, spread(wide.astype('bfloat16') * 0, 'a', 'b'), cast=True)
    np.testing.assert_array_equal(np.asarray(cast), wide.astype('bfloat16'))


@promise
def promises_of_arrays_are_kept_in_parts() -> None:
    """A shape, a dtype and a sharding are enough: nothing is built before."""
    array = np.arange(1 << 16, dtype='f4').reshape(256, 256)
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ('a', 'b'))
    for count in (1, 2, 4, 8):
        few = Mesh(np.array(jax.devices()[:count]), ('a',))
        for sharding in [NamedSharding(few, PartitionSpec('a')), NamedSharding(mesh, PartitionSpec('b', 'a'))]:
            new = reloaded(spread(array, 'a', 'b'), jax.ShapeDtypeStruct((256, 256), 'float32', sharding=sharding))
            assert new.sharding == sharding
            np.testing.assert_array_equal(np.asarray(new), array)


@promise
def damage_in_a_part_is_seen() -> None:
    """A flipped bit anywhere in a sharded array is an error, and nothing is assigned."""
    file = io.BytesIO()
    array = np.arange(1 << 15, dtype='f4').reshape(256, 128)
    objio.save_var_collection(file, {'x': TreeVar(array)})
    damaged = bytearray(file.getvalue())
    damaged[damaged.index(array.tobytes()) + 100_000] ^= 1
    variable = TreeVar(spread(array * 0, 'a'))
    before = variable.value
    with pytest.raises(objio.FormatError, match="'x'"):
        objio.load_var_collection(io.BytesIO(damaged), {'x': variable})
    assert variable.value is before


@promise
def keys_land_on_their_sharding() -> None:
    """Arrays of typed keys too."""
    keys = jax.random.split(jax.random.key(3), 8)
    for axes in [(), ('a',), (('a', 'b'),)]:
        old = spread(jax.random.split(jax.random.key(0), 8), *axes)
        new = reloaded(spread(keys, *axes), old)
        assert new.sharding == old.sharding
        np.testing.assert_array_equal(jax.random.key_data(new), jax.random.key_data(keys))


@promise
def one_device_stays_that_device() -> None:
    """A value committed to the sixth device is replaced there; an uncommitted one stays free to move."""
    device = jax.devices()[5]
    new = reloaded(W, jax.device_put(np.zeros((8, 8), 'f4'), device))
    assert new.committed
    assert new.devices() == {device}
    new = reloaded(jax.device_put(W, device), jnp.zeros((8, 8)))
    assert not new.committed
    jax.block_until_ready(new + jax.device_put(np.ones((8, 8), 'f4'), device))
    keys = reloaded(jax.random.key(1), jax.device_put(jax.random.key(0), device))
    assert keys.devices() == {device}


@promise
def a_promised_array_lands_on_its_sharding() -> None:
    """A ShapeDtypeStruct becomes an array on its sharding, or an uncommitted one where it has none."""
    sharding = spread(W, 'a').sharding
    new = reloaded(W, jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=sharding))
    assert new.sharding == sharding
    np.testing.assert_array_equal(np.asarray(new), W)
    assert not reloaded(W, jax.ShapeDtypeStruct((8, 8), jnp.float32)).committed
    keys = reloaded(
        jax.random.split(jax.random.key(1), 8), jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 8))
    )
    assert keys.shape == (8,)
    single = SingleDeviceSharding(jax.devices()[2])
    assert reloaded(W, jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=single)).devices() == {jax.devices()[2]}


@promise
def a_weak_type_comes_back_where_it_is_sharded() -> None:
    """A value on several devices is weakly typed after a load where it was at the save, on the sharding it had."""
    weak = spread(jnp.full((8, 8), 2.0), 'a', 'b')
    assert weak.weak_type
    large = spread(jnp.full((256, 256), 2.0), 'a', 'b')
    for saved, into in (
        (weak, weak),
        (weak, spread(W, 'a', 'b')),
        (large, spread(np.zeros((256, 256), 'f4'), 'a', 'b')),
        (large, large),
    ):
        new = reloaded(saved, into)
        assert new.weak_type
        assert new.sharding == into.sharding
        np.testing.assert_array_equal(np.asarray(new), np.asarray(saved))
    for saved, into in ((W, weak), (np.ones((256, 256), 'f4'), large)):
        new = reloaded(saved, into)
        assert not new.weak_type
        assert new.sharding == into.sharding
        np.testing.assert_array_equal(np.asarray(new), saved)


@promise
def a_deleted_array_tells_its_sharding() -> None:
    """A variable whose array was donated is loaded onto the sharding that the array had."""
    old = spread(np.zeros((8, 8), 'f4'), 'a', 'b')
    sharding = old.sharding
    old.delete()
    assert reloaded(W, old).sharding == sharding


@promise
def a_sharded_array_may_be_donated() -> None:
    """What was loaded onto several devices, from memory or from pages of the file, is donated like any other."""
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    for options in [{}, {'mmap': True}]:
        new = reloaded(W, spread(np.zeros((8, 8), 'f4'), 'a'), **options)
        np.testing.assert_array_equal(np.asarray(step(new)), W + 1)
        assert new.is_deleted()


@promise
def two_variables_of_one_sharded_array_share_it() -> None:
    """The same sharded jax.Array in two variables is stored once."""
    x = spread(W, 'a')
    assert size_of(x=x, y=x) < size_of(x=x, y=spread(W, 'a')) - W.nbytes / 2


def outcomes() -> dict[str, str]:
    """Runs every promise in a process with eight devices; '' for those that were kept."""
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=8'
    environment = os.environ | {'XLA_FLAGS': flags, 'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    found: dict[str, str] = json.loads(process.stdout)
    return found


if __name__ == '__main__':
    assert len(jax.devices()) == 8
    results = {}
    for name, function in PROMISES.items():
        try:
            function()
        except Exception:  # noqa: BLE001  # the test that asked shows it
            results[name] = traceback.format_exc()
        else:
            results[name] = ''
    print(json.dumps(results))

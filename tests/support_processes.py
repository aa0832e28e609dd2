"""What is promised to several processes of one JAX program; run as a program, once for each of two processes."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import objio
from objio.storage import handles
from objio.variables import TreeVar

W = np.arange(32, dtype='float32').reshape(8, 4)


def spread(value: Any, *axes: str | None) -> jax.Array:
    """A value over the devices of all processes."""
    mesh = Mesh(np.array(jax.devices()), ('a',))
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


@contextlib.contextmanager
def counting() -> Iterator[list[int]]:
    """The sizes of all reads of files."""
    sizes: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        original = handles.read_at
        patch.setattr(handles, 'read_at', lambda fd, at, buffer: sizes.append(len(buffer)) or original(fd, at, buffer))
        yield sizes


def one_of_two(folder: str) -> None:
    """Runs in each process; raises where a promise is broken."""
    assert (jax.process_count(), len(jax.devices()), len(jax.local_devices())) == (2, 4, 2)
    keys = jax.random.split(jax.random.key(1), 8)
    own = Path(folder) / str(jax.process_index()) / 'own.npz'  # apart, so that neither sees the other's temporary file
    own.parent.mkdir()

    # Replicated over both processes: stored once, from the local copy, by either.
    objio.save_var_collection(own, {'w': spread(W), 'k': spread(keys)})
    with objio.open(own) as saved:
        np.testing.assert_array_equal(saved['w'], W)
        np.testing.assert_array_equal(saved['k'], jax.random.key_data(keys))

    # Spread over both: refused by name, before a byte is written.
    size = own.stat().st_size
    with pytest.raises(objio.UnsaveableError, match=r'far: its shards lie on several hosts.*\.orbax'):
        objio.save_var_collection(own, {'w': spread(W), 'far': spread(W, 'a')})
    assert own.stat().st_size == size
    assert list(own.parent.iterdir()) == [own]

    # Loaded onto the sharding of the variable: each process keeps its slices.
    for axes in [('a',), (None, 'a'), ()]:
        variable = TreeVar(spread(np.zeros((8, 4), 'f4'), *axes))
        sharding = variable.value.sharding
        objio.load_var_collection(own, {'w': variable})
        assert variable.value.sharding == sharding
        for shard in variable.value.addressable_shards:
            np.testing.assert_array_equal(shard.data, W[shard.index])

    # Without the checksum, only the bytes of its own slices are read; with it the member, once.
    large = Path(folder) / str(jax.process_index()) / 'large.npz'
    array = np.arange(1 << 20, dtype='float32').reshape(1024, 1024)
    objio.save_var_collection(large, {'w': array})
    for axes, verify, expected in [(('a',), False, 2 << 20), ((None, 'a'), False, 4 << 20), (('a',), True, 4 << 20)]:
        variable = TreeVar(jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=spread(array, *axes).sharding))
        with counting() as read:
            objio.load_var_collection(large, {'w': variable}, verify=verify)
        assert expected <= sum(read) <= expected + (64 << 10), (axes, verify, sum(read))
        for shard in variable.value.addressable_shards:
            np.testing.assert_array_equal(shard.data, array[shard.index])
    variable = TreeVar(spread(jax.random.split(jax.random.key(0), 8), 'a'))
    objio.load_var_collection(own, {'k': variable})
    for shard in variable.value.addressable_shards:
        np.testing.assert_array_equal(jax.random.key_data(shard.data), jax.random.key_data(keys[shard.index[0]]))


def run_two(folder: Path) -> list[tuple[int, str]]:
    """Runs both processes; gives the exit status and what each wrote to its error stream."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{probe.getsockname()[1]}'
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=2'
    environment = os.environ | {'XLA_FLAGS': flags, 'PYTHONPATH': os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, address, str(number), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


if __name__ == '__main__':
    jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
    one_of_two(sys.argv[3])

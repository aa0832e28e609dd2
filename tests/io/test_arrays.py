"""Large arrays are read ahead by threads: in order, whole or not at all, and nothing goes on afterwards."""

import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import tree_vars

import objio

LARGE = (1 << 18) + 3  # float32 numbers, a little more than 1 MiB


def saved(path: Path) -> dict[str, np.ndarray]:
    """A file of large arrays with small ones between them, and what it holds."""
    arrays = {f'{i}': np.full(LARGE if i % 3 else 5, i, 'f4') for i in range(20)}
    objio.save_var_collection(path, arrays)
    return arrays


def readers() -> list[threading.Thread]:
    """The threads that read for a load."""
    return [thread for thread in threading.enumerate() if thread.name.startswith('objio-load')]


@pytest.mark.parametrize('mmap', [False, True])
def test_large_and_small_arrays_land_in_their_own_places(tmp_path: Path, mmap: bool) -> None:
    """Whichever thread is done first, each variable gets the array of its name."""
    arrays = saved(tmp_path / 'a.npz')
    vc = tree_vars({name: jnp.zeros(array.shape) for name, array in arrays.items()})
    objio.load_var_collection(tmp_path / 'a.npz', vc, mmap=mmap)
    for name, array in arrays.items():
        np.testing.assert_array_equal(vc[name].value, array)
    assert readers() == []


def test_damage_that_a_thread_finds_changes_nothing(tmp_path: Path) -> None:
    """The error reaches the caller, the model keeps its values, and no thread reads on."""
    arrays = saved(tmp_path / 'a.npz')
    data = bytearray((tmp_path / 'a.npz').read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / 'a.npz').write_bytes(data)
    vc = tree_vars({name: jnp.ones(array.shape) for name, array in arrays.items()})
    before = vc.tensors()
    with pytest.raises(objio.FormatError, match='checksum'):
        objio.load_var_collection(tmp_path / 'a.npz', vc)
    assert all(now is old for now, old in zip(vc.tensors(), before, strict=True))
    assert readers() == []

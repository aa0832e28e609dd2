"""How far long work has come, told to whoever asks."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import tree_vars

import objio

SIZE = 3 << 20
ARRAYS = {'large': np.ones(SIZE // 4, np.float32), 'other': np.zeros(SIZE, np.int8), **{f'w{i}': 0.5 for i in range(9)}}
TOTAL = 2 * SIZE + 9 * 8

Told = list[tuple[int, int]]


def path_of(tmp_path: Path) -> Path:
    """A file with the arrays."""
    path = tmp_path / 'net.npz'
    objio.save_var_collection(path, tree_vars(ARRAYS))
    return path


def variables() -> objio.VarCollection:
    """Variables of other values."""
    return tree_vars(
        {name: np.zeros_like(value) if name in ('large', 'other') else 0.0 for name, value in ARRAYS.items()}
    )


VERBS: dict[str, Callable[[Path, Callable[[int, int], Any]], Any]] = {
    'load': lambda path, tell: objio.load_var_collection(path, variables(), progress=tell),
    'load with a cast': lambda path, tell: objio.load_var_collection(
        path,
        tree_vars(
            {
                'large': jnp.zeros(SIZE // 4, 'bfloat16'),
                'other': np.zeros(SIZE, np.int8),
                **{f'w{i}': 0.0 for i in range(9)},
            }
        ),
        cast=True,
        progress=tell,
    ),
    'average': lambda path, tell: objio.average([path, path], progress=tell),
    'verify': lambda path, tell: objio.verify(path, progress=tell),
}


@pytest.mark.parametrize('verb', VERBS)
def test_reading_tells_the_bytes_of_arrays(verb: str, tmp_path: Path) -> None:
    """Numbers grow, the total stays, and the last call says that all is done."""
    told: Told = []
    VERBS[verb](path_of(tmp_path), lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {TOTAL}
    assert told[-1] == (TOTAL, TOTAL)
    assert len(told) >= 3


@pytest.mark.parametrize('seekable', [True, False])
def test_writing_tells_the_bytes_of_the_file(seekable: bool, tmp_path: Path) -> None:
    """Also where the sink cannot seek; the file is the same as without."""
    told: Told = []
    expected = path_of(tmp_path).read_bytes()
    if seekable:
        file: Any = tmp_path / 'again.npz'
    else:
        file = io.BytesIO()
        file.seekable = lambda: False
    objio.save_var_collection(file, tree_vars(ARRAYS), progress=lambda done, total: told.append((done, total)))
    assert (file.read_bytes() if seekable else file.getvalue()) == expected
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (len(expected), len(expected))
    assert len(told) >= 6


def test_what_progress_raises_ends_the_work_without_harm(tmp_path: Path) -> None:
    """An error or Ctrl-C in the callable leaves the old file, no other, and the old values."""
    path = path_of(tmp_path)
    before = path.read_bytes()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        objio.save_var_collection(path, variables(), progress=stop)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
    vc = variables()
    with pytest.raises(KeyboardInterrupt):
        objio.load_var_collection(path, vc, progress=stop)
    assert all(not np.any(value) for value in vc.tensors())


def test_a_checkpoint_tells_how_far_a_restore_is(tmp_path: Path) -> None:
    """`restore` hands `progress` to the loading function."""
    told: Told = []
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save(tree_vars(ARRAYS), idx=1)
    ckpt.restore(variables(), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (TOTAL, TOTAL)


def test_damage_does_not_confuse_the_count(tmp_path: Path) -> None:
    """`verify` goes on behind a damaged array, and counts it as read."""
    path = path_of(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4] ^= 1
    path.write_bytes(raw)
    told: Told = []
    assert not objio.verify(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (TOTAL, TOTAL)

"""Saves in the background: what is written is what was there at the call, whatever happens to the arrays after it."""

import errno
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objio
from faults import leaving

BATCH = 25  # saves whose files are there together
SIZES = (1, 1_000, 30_000, 100_000, 400_000)  # of arrays of float32; few, since each is compiled for
FAILS = 0.1  # of all saves

Source = Callable[[random.Random], Iterator[objio.VarCollection]]


def of_numpy(rng: random.Random) -> Iterator[objio.VarCollection]:
    """Arrays that hold the number of the save, and another one as soon as the next is asked for: the same arrays."""
    count = 0
    while True:
        a, b = np.zeros(rng.choice(SIZES), 'float32'), np.zeros((3, rng.choice(SIZES)), 'float32')
        vc = objio.VarCollection.from_tree({'a': a, 'b': b.T, 'n': np.zeros((), 'int32')})
        for _ in range(rng.randint(1, 10)):
            count += 1
            for value in vc.tensors():
                value[...] = count
            yield vc
            for value in vc.tensors():
                value[...] = -1


def of_jax(rng: random.Random) -> Iterator[objio.VarCollection]:
    """Arrays that hold the number of the save, and are donated as soon as the next is asked for: their memory is used."""
    fill = jax.jit(lambda tensors, number: {n: t * 0 + number for n, t in tensors.items()}, donate_argnums=0)
    count = 0
    while True:
        size = rng.choice(SIZES)
        vc = objio.VarCollection.from_tree(
            {'a': jnp.zeros(size), 'b': jnp.zeros((3, size)), 'n': jnp.zeros((), 'int32')}
        )
        for _ in range(rng.randint(1, 10)):
            count += 1
            vc.assign(fill(vc.named_tensors(), count))
            yield vc
            vc.assign(fill(vc.named_tensors(), -1))


class Disk:
    """A disk that is full when it is told to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._write = os.pwrite
        monkeypatch.setattr(os, 'pwrite', self.write)

    def write(self, fd: int, data: Any, offset: int) -> int:
        """Writes, or has no space left."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(fd, data, offset)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk of the test."""
    return Disk(monkeypatch)


@pytest.mark.proves('background')
@pytest.mark.parametrize('source', [of_numpy, of_jax])
def test_files_hold_the_values_at_the_call(
    *,
    source: Source,
    tmp_path: Path,
    seed: int,
    disk: Disk,
    amount: Callable[[int, int], int],
    figure: Callable[..., None],
) -> None:
    """Each file holds the values at the call; a save that fails is told with its index, and leaves the others whole."""
    rng, saves = random.Random(seed), source(random.Random(seed))
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=None, verbose=False, background=True, durable=False)
    wanted, right, failed = amount(40, 600), 0, 0
    while right < wanted:
        held: dict[int, int] = {}
        for idx in range(BATCH):
            vc = next(saves)
            held[idx] = int(vc['n'].value)
            if rng.random() > FAILS:
                ckpt.save(vc, idx=idx)
                continue
            ckpt.wait()
            disk.full = True
            ckpt.save(vc, idx=idx)
            vc, count = next(saves), held.pop(idx)
            # It is told by whatever comes next, a save too, which is not begun then.
            with pytest.raises(objio.SaveFailed) as caught:
                rng.choice([ckpt.wait, ckpt.close, lambda vc=vc: ckpt.save(vc, idx=BATCH)])()
            assert caught.value.idx == idx, f'of the save {count}'
            assert isinstance(caught.value.__cause__, OSError)
            disk.full = False
            failed += 1
        next(saves)
        ckpt.close()
        assert ckpt.idxs() == list(held)
        for idx, count in held.items():
            with objio.open(path_of(tmp_path, idx)) as saved:
                assert {float(number) for array in saved.values() for number in np.unique(array)} == {count}
        right += len(held)
        assert ckpt.truncate(after=-1) == list(held)
        assert os.listdir(tmp_path / 'ckpt') == []
    figure('background', right, f'{source.__name__}, seed {seed}: {failed} more failed, each told with its index')


def path_of(folder: Path, idx: int) -> Path:
    """Where a save stands."""
    return folder / 'ckpt' / f'{idx:010d}.npz'


@pytest.mark.proves('background')
def test_a_program_that_leaves_during_a_save(
    tmp_path: Path, seed: int, amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """A program that ends, fails or is interrupted finishes its save; one that is killed leaves the old or the new one."""
    rng = random.Random(seed)
    ways = [*leaving.POLITE, *leaving.RUDE, *rng.choices(leaving.RUDE, k=amount(1, 53))]
    folders = [tmp_path / f'{number}-{way}-{int(10 ** rng.uniform(2, 5))}' for number, way in enumerate(ways)]
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, leaving.__file__, *map(str, folders)], env=environment, stderr=subprocess.DEVNULL, timeout=300
    )
    newest: Counter[int] = Counter()
    for folder, way in zip(folders, ways, strict=True):
        vc, ckpt = leaving.numbers(0), objio.Checkpoint(folder, verbose=False)
        idx, _ = ckpt.restore(vc)
        assert {float(number) for value in vc.tensors() for number in np.unique(value)} == {idx}, folder.name
        assert idx in ((2,) if way in leaving.POLITE else (1, 2)), folder.name
        assert sorted(os.listdir(folder / 'ckpt')) == [path_of(folder, i).name for i in range(1, idx + 1)]
        newest[idx] += 1
    detail = f'seed {seed}: {len(ways)} programs left during a save: {newest[2]} had made it, {newest[1]} had not'
    figure('background', 0, detail)

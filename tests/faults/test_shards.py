"""Shards with an index are killed, and their disk fails, at each system call: the old collection stands, or the new one."""

import errno
import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import objio
from faults.saving import Nursery
from faults.tracing import Fail, Fault, Say, mark, trace

INDEX = 'model.safetensors.index.json'
CHANGING = frozenset({'openat', 'fallocate', 'pwrite64', 'ftruncate', 'fsync', 'rename', 'mkdir'})
OLD, NEW, NEXT = 4, 5, 6

pytestmark = pytest.mark.usefixtures('nursery')  # without it, nothing here can be run


def prepare(folder: Path, *, there: bool) -> None:
    """Makes the folder what it is before the save."""
    shutil.rmtree(folder / 'model', ignore_errors=True)
    for value in (OLD, NEW, NEXT):
        arrays = {name: np.full(300, value, 'f4') for name in 'abc'}
        objio.save_var_collection(folder / f'{value}.npz', arrays, durable=False)
    if there:
        (folder / 'model').mkdir()
        save(folder, OLD)


def save(folder: Path, value: int) -> None:
    """Writes three shards and their index."""
    objio.convert(folder / f'{value}.npz', folder / 'model' / INDEX, shard_bytes=1000)


def try_to_save(folder: Path, say: Say) -> None:
    """The save, between two marks: says 'saved', or else what was raised."""
    mark()
    try:
        save(folder, NEW)
        say('saved')
    except OSError as error:
        say(f'{type(error).__name__} {errno.errorcode[error.errno or 0]}')
    finally:
        mark()


def check(folder: Path) -> int | None:
    """What must hold wherever a save ended: all arrays of one save, and the way on from there.

    Returns:
        the value of that save; None where there is none.
    """
    found = None
    if (folder / 'model').exists():
        with objio.open(folder / 'model' / INDEX) as arrays:
            assert sorted(arrays) == ['a', 'b', 'c']
            (found,) = {int(number) for name in arrays for number in arrays[name]}
    save(folder, NEXT)
    with objio.open(folder / 'model') as arrays:
        assert all((arrays[name] == NEXT).all() for name in arrays)
    assert not [name for name in os.listdir(folder / 'model') if name.endswith('.tmp')]
    return found


@pytest.mark.proves('kill-shards')
@pytest.mark.parametrize('there', [False, True], ids=['new', 'replaced'])
@pytest.mark.parametrize('after', [False, pytest.param(True, marks=pytest.mark.full)], ids=['before', 'after'])
def test_a_kill_at_any_call(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, there: bool, after: bool
) -> None:
    """Killed before, or right after, any system call: the shards of one save, never of two."""
    job = functools.partial(try_to_save, tmp_path)
    before = functools.partial(prepare, tmp_path, there=there)
    before()
    whole = nursery.run(trace, job)
    assert (whole.status, whole.said) == (0, ['saved'])
    assert len(os.listdir(tmp_path / 'model')) == 4
    assert check(tmp_path) == NEW
    killed, found = 0, Counter[int | None]()
    for _, ended in nursery.kills(job, whole.calls, before, after=after):
        value = check(tmp_path)
        assert value == NEW or not ended.said
        found[value] += 1
        killed += 1
    assert set(found) == {OLD if there else None, NEW}, 'both sides of the rename were seen'
    figure('kill-shards', killed)


@pytest.mark.parametrize('there', [False, True], ids=['new', 'replaced'])
def test_an_error_at_any_call(nursery: Nursery, tmp_path: Path, *, there: bool) -> None:
    """EIO from any call that changes the disk is told; the old collection stands, or the new one, with nothing beside it."""
    job = functools.partial(try_to_save, tmp_path)
    prepare(tmp_path, there=there)
    calls = nursery.run(trace, job, among=CHANGING).calls
    said: Counter[str] = Counter()
    for place in range(1, len(calls) + 1):
        prepare(tmp_path, there=there)
        ended = nursery.run(trace, job, Fault(Fail(errno.EIO), place, among=CHANGING))
        assert ended.status == 0
        said.update(ended.said)
        left = len(os.listdir(tmp_path / 'model')) if (tmp_path / 'model').exists() else 0
        # After a power cut the old index may be back, so its shards stay where the new one may not be durable.
        both = there and ended.said == ['SaveNotDurable EIO']
        assert left == (7 if both else 4 if there or left else 0), ended.struck
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith('.tmp')] == []
        value = check(tmp_path)
        assert value == NEW or ended.said == ['OSError EIO'], 'a save that failed says so'
        assert value in (NEW, OLD if there else None)
    assert said['OSError EIO'] >= 10
    assert said['SaveNotDurable EIO'] >= 1

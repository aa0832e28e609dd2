"""A process that saves a model is killed at each of its system calls: the settings always belong to the weights."""

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults import saving_models
from faults.saving import Nursery
from faults.saving_models import NEW, OLD, SCENES, Scene, check, prepare
from faults.tracing import Fail, Fault, Shorten, trace

SHORT = ('first', 'again')
KILLED = -9


@pytest.fixture(scope='module', autouse=True)
def _warm(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> None:
    nursery.run(saving_models.warm, tmp_path_factory.mktemp('warm'))


def moments() -> list[Any]:
    """Every scene with whether the kill comes after the call; in the short run two of them, before it."""
    return [
        pytest.param(
            scene,
            after,
            id=f'{key}-{"after" if after else "before"}',
            marks=pytest.mark.full if after or key not in SHORT else [],
        )
        for key, scene in SCENES.items()
        for after in (False, True)
    ]


def scenes() -> list[Any]:
    """Every scene; in the short run two of them."""
    return [
        pytest.param(scene, id=key, marks=[] if key in SHORT else pytest.mark.full) for key, scene in SCENES.items()
    ]


@pytest.mark.proves('kill-models')
@pytest.mark.parametrize(('scene', 'after'), moments())
def test_a_kill_at_any_call(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, scene: Scene, after: bool
) -> None:
    """Killed before, or right after, any system call of a save: the old model or the new one, each with its settings."""
    job = functools.partial(saving_models.save, scene, tmp_path)
    prepare(scene, tmp_path)
    whole = nursery.run(trace, job)
    assert (whole.status, whole.said) == (0, ['saved'])
    assert check(scene, tmp_path, acknowledged=True) == NEW
    killed: Counter[str] = Counter()
    found: Counter[int | None] = Counter()
    for name, ended in nursery.kills(job, whole.calls, functools.partial(prepare, scene, tmp_path), after=after):
        found[check(scene, tmp_path, acknowledged='saved' in ended.said)] += 1
        killed[name] += 1
    assert killed.keys() >= {'openat', 'flock', 'pwrite64', 'close', 'rename', 'write'}
    assert killed['rename'] == 2 if scene.there else killed['rename'] == 3  # of each file, and of the folder
    assert set(found) == {OLD if scene.there else None, NEW}, 'both sides of the rename were seen'
    figure('kill-models', killed.total())


@pytest.mark.proves('kill-models')
@pytest.mark.parametrize('scene', scenes())
def test_a_kill_in_a_write(nursery: Nursery, tmp_path: Path, figure: Callable[..., None], scene: Scene) -> None:
    """Killed when the disk has taken a part of a write, of the weights or of the copy: as before, whole."""
    job = functools.partial(saving_models.save, scene, tmp_path)
    writes = frozenset({'pwrite64'})
    prepare(scene, tmp_path)
    number = len(nursery.run(trace, job, among=writes).calls)
    assert number >= 2
    for place in range(1, number + 1):
        for part in (0.0, 0.5):
            prepare(scene, tmp_path)
            ended = nursery.run(trace, job, Fault(Shorten(part, kill=True), place, among=writes))
            assert (ended.status, ended.said) == (KILLED, [])
            check(scene, tmp_path, acknowledged=False)
    figure('kill-models', 2 * number)


@pytest.mark.parametrize('scene', scenes())
def test_an_error_at_any_call(nursery: Nursery, tmp_path: Path, scene: Scene) -> None:
    """EIO from any call that changes the disk: told, and the old model or the new one, each with its settings."""
    job = functools.partial(saving_models.try_to_save, scene, tmp_path)
    changing = frozenset({'pwrite64', 'fsync', 'rename', 'mkdir', 'ftruncate'})
    prepare(scene, tmp_path)
    number = len(nursery.run(trace, job, among=changing).calls)
    for place in range(1, number + 1):
        prepare(scene, tmp_path)
        ended = nursery.run(trace, job, Fault(Fail(5), place, among=changing))
        assert ended.status == 0
        assert ended.said in (['OSError EIO'], ['SaveNotDurable EIO']), ended.struck
        check(scene, tmp_path, acknowledged=ended.said == ['SaveNotDurable EIO'])
    assert number >= 5

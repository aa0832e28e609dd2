"""A run is killed at each of its system calls, and its disk fails at each of them: it is whole, and it goes on."""

import functools
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from faults import living
from faults.living import check, check_end, live
from faults.saving import Nursery
from faults.tracing import Fail, Fault, Kill, Shorten, trace
from objio.models import saver

CHANGING = ('mkdir', 'flock', 'pwrite64', 'write', 'fsync', 'ftruncate', 'rename', 'unlink')
KILLED = -9


@pytest.fixture(scope='module', autouse=True)
def _warm(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> None:
    nursery.run(living.warm, tmp_path_factory.mktemp('warm'))


@pytest.fixture(autouse=True)
def _from_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, too, runs ask neither git nor JAX, for speed; and it is all put back."""
    monkeypatch.setattr(saver, 'provenance', saver.provenance)
    monkeypatch.setattr(saver, 'devices', list)
    living.quiet()


def go_on(folder: Path) -> None:
    """Starts the run again, sees it to its end, and clears the folder."""
    live(folder, lambda line: None)
    check_end(folder)
    shutil.rmtree(folder / 'storage')


@pytest.mark.proves('kill-runs')
@pytest.mark.parametrize('after', [False, pytest.param(True, marks=pytest.mark.full)], ids=['before', 'after'])
def test_a_kill_at_any_call(
    nursery: Nursery,
    tmp_path: Path,
    amount: Callable[[list[str], list[str]], list[str]],
    figure: Callable[..., None],
    *,
    after: bool,
) -> None:
    """Killed before, or right after, any system call (in the short run those that change the disk): all that was acknowledged is there, and the run goes on."""
    job = functools.partial(live, tmp_path)
    ended = nursery.run(trace, job)
    assert (ended.status, ended.said[-1]) == (0, 'ended')
    check(tmp_path, ended.said)
    shutil.rmtree(tmp_path / 'storage')
    killed: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for name in dict.fromkeys(amount(list(CHANGING), ended.calls)):
        for place in count(1):
            ended = nursery.run(trace, job, Fault(Kill(after), place, among=frozenset({name})))
            if not ended.struck:
                shutil.rmtree(tmp_path / 'storage')
                break
            assert ended.status == KILLED
            states[check(tmp_path, ended.said)] += 1
            killed[name] += 1
            go_on(tmp_path)
    assert killed.keys() >= set(CHANGING) - {'ftruncate'}
    assert set(states) == {'', 'killed', 'finished'}
    figure('kill-runs', killed.total())


def test_a_kill_in_a_write(nursery: Nursery, tmp_path: Path) -> None:
    """Killed when the disk has taken a part of a write, of a line of metrics as of a file."""
    job = functools.partial(live, tmp_path)
    for name in ('pwrite64', 'write'):
        for place in count(1):
            ended = nursery.run(trace, job, Fault(Shorten(0.5, kill=True), place, among=frozenset({name})))
            if not ended.struck:
                shutil.rmtree(tmp_path / 'storage')
                break
            assert ended.status == KILLED
            check(tmp_path, ended.said)
            go_on(tmp_path)
        assert place > 2


def test_an_error_at_any_call(nursery: Nursery, tmp_path: Path) -> None:
    """EIO from any call that changes the disk is told, and the run goes on when the disk is well again."""
    job = functools.partial(living.try_to_live, tmp_path)
    for name in (name for name in CHANGING if name != 'flock'):
        for place in count(1):
            ended = nursery.run(trace, job, Fault(Fail(5), place, among=frozenset({name})))
            if not ended.struck:
                shutil.rmtree(tmp_path / 'storage')
                break
            assert ended.status == 0
            assert ended.said[-1] == 'error 5' or name in ('ftruncate', 'unlink'), (name, place, ended.said)
            check(tmp_path, [line for line in ended.said if line != 'error 5'])
            go_on(tmp_path)

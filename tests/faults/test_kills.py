"""A saving process is killed at each of its system calls, and at random moments."""

import functools
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import objio
from faults import saving
from faults.saving import SCENES, Nursery, Scene, check, ckpt_of, look, prepare
from faults.stracing import strace
from faults.tracing import Fault, Shorten, trace
from faults.training import kill_after

KILLED = -9


pytestmark = pytest.mark.usefixtures('nursery')  # without it, nothing here can be run


def scenes(*short: str) -> list[Any]:
    """Every scene; those that are not named, in the full run only."""
    return [pytest.param(SCENES[key], id=key, marks=[] if key in short else pytest.mark.full) for key in SCENES]


def moments() -> list[Any]:
    """Every scene with whether the kill comes after the call; those that take long, before it only."""
    return [
        pytest.param(
            SCENES[key],
            after,
            id=f'{key}-{"after" if after else "before"}',
            marks=pytest.mark.full if after or key not in ('file', 'background') else [],
        )
        for key in SCENES
        for after in (False, True)
        if not after or key not in ('large', 'jax')
    ]


def names(calls: Counter[str]) -> str:
    """The system calls by name, for the report."""
    return ', '.join(f'{name} {number}' for name, number in sorted(calls.items()))


@pytest.mark.proves('kill-calls')
@pytest.mark.parametrize(('scene', 'after'), moments())
def test_a_kill_at_any_call(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, scene: Scene, after: bool
) -> None:
    """Killed before, or right after, any system call of a whole save: the old saves or the new one, and the way on."""
    folder = tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder)
    prepare(scene, folder)
    whole = nursery.run(trace, job)
    assert (whole.status, whole.said) == (0, ['saved'])
    assert check(scene, folder, acknowledged=True).temporary == []
    killed: Counter[str] = Counter()
    for name, ended in nursery.kills(job, whole.calls, functools.partial(prepare, scene, folder), after=after):
        check(scene, folder, acknowledged='saved' in ended.said)
        killed[name] += 1
    assert killed.keys() >= {'openat', 'flock', 'pwrite64', 'close', 'rename', 'write'}
    # After them it is the same list again.
    figure(
        'kill-calls', killed.total(), '' if after else f'{scene}: killed at each of its system calls: {names(killed)}'
    )


@pytest.mark.proves('kill-calls')
@pytest.mark.parametrize('scene', scenes('checkpoint'))
def test_a_kill_in_a_write(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, amount: Callable[[int, int], int], scene: Scene
) -> None:
    """Killed when the disk has taken a part of a write: the old saves, and the half file is removed."""
    folder = tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder)
    writes = frozenset({'pwrite64'})
    prepare(scene, folder)
    number = len(nursery.run(trace, job, among=writes).calls)
    parts = amount(3, 10) if number < 10 else 2
    for place in range(1, number + 1):
        for part in range(parts):
            prepare(scene, folder)
            ended = nursery.run(trace, job, Fault(Shorten(part / parts, kill=True), place, among=writes))
            assert (ended.status, ended.said) == (KILLED, [])
            found = check(scene, folder, acknowledged=False)
            assert found.saves == scene.before
            assert len(found.temporary) == 1
    assert number
    figure('kill-calls', number * parts)


@pytest.mark.proves('kill-calls')
@pytest.mark.parametrize('scene', [pytest.param(SCENES[key], id=key) for key in ('file', 'checkpoint')])
def test_strace_sees_and_kills_the_same(
    nursery: Nursery,
    tmp_path: Path,
    figure: Callable[..., None],
    *,
    amount: Callable[[int, int], int],
    tool: Callable[[str], str],
    scene: Scene,
) -> None:
    """Another tracer lists the same calls in the same order, and its kills leave no other states."""
    folder = tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder)
    under = functools.partial(nursery.run, strace, tool('strace'), tmp_path, job)
    prepare(scene, folder)
    calls = under().calls
    prepare(scene, folder)
    assert [name for name, _ in calls] == nursery.run(trace, job).calls
    chosen = calls[:: amount(5, 1)]
    for name, which in chosen:
        prepare(scene, folder)
        ended = under(f'{name}:signal=KILL:when={which}')
        assert ended.status == KILLED
        assert ended.calls[-1] == (name, which)
        check(scene, folder, acknowledged='saved' in ended.said)
    figure('kill-calls', len(chosen), f'{scene}: {len(chosen)} of the kills by strace, which lists the same calls')


@pytest.mark.proves('kill-random')
@pytest.mark.parametrize('background', [False, True], ids=['foreground', 'background'])
@pytest.mark.parametrize('cells', [1 << 10, 1 << 18], ids=['4 KiB', '1 MiB'])
def test_a_kill_at_any_moment(
    nursery: Nursery,
    tmp_path: Path,
    figure: Callable[..., None],
    *,
    amount: Callable[[int, int], int],
    background: bool,
    cells: int,
) -> None:
    """A run that is killed and resumed again and again has each save that it was told of, whole, and its own values."""
    seed = int.from_bytes(os.urandom(4))
    print('seed', seed)
    dice = random.Random(seed)
    scene = Scene('run', {}, {}, cells=cells)
    acknowledged = saves = writing = 0
    kills = amount(8, 140)
    for _ in range(kills):
        said = nursery.run(kill_after, dice.randrange(6), dice.uniform(0, 0.01), tmp_path, cells, background)
        told = [int(line.split()[1]) for line in said]
        assert told == sorted(told)
        if told:
            assert told[0] >= acknowledged
            saves += len(told) - 1
            acknowledged = told[-1]
        found = look(scene, tmp_path)
        assert max(found.saves, default=0) >= acknowledged
        assert all(idx == value for idx, value in found.saves.items())
        assert len(found.temporary) <= 1
        writing += len(found.temporary)
        ckpt = ckpt_of(tmp_path)
        vc = objio.VarCollection.from_tree(saving.tree(0, cells))
        assert look(scene, tmp_path).temporary == []
        assert ckpt.restore(vc)[0] == max(found.saves, default=0)
    assert acknowledged
    where = 'background' if background else 'foreground'
    size = cells * 4 >> 10
    figure(
        'kill-random',
        kills,
        f'{where}, {size} KiB: seed {seed}, {saves:,} saves acknowledged, {writing} kills left a half file',
    )

"""A writer stands still in the middle of a save: stopped by a signal, or waiting for a slow disk."""

import functools
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

import objio
from faults import saving
from faults.saving import NEW, SCENES, Look, Nursery, Scene, blank, check, ckpt_of, look, path_of, prepare, tree
from faults.tracing import Fault, Hold, trace

STEPS = frozenset({'openat', 'flock', 'pwrite64', 'ftruncate', 'fsync', 'rename', 'unlink'})
SLOW_S = 2


pytestmark = pytest.mark.usefixtures('nursery')  # without it, nothing here can be run


def read_beside(scene: Scene, folder: Path) -> tuple[Look, int]:
    """What another process finds: every file, and the save that it restores; to open the folder sweeps it, too."""
    ckpt = ckpt_of(folder)
    found = look(scene, folder)
    newest = max(found.saves)
    vc = blank(scene, found.saves[newest])
    idx, _ = ckpt.restore(vc)
    assert (idx, vc['step'].value) == (newest, found.saves[newest])
    return found, idx


def read_for(seconds: float, scene: Scene, folder: Path) -> tuple[set[int], int, float]:
    """What others find while they read again and again: the saves restored, the number of reads, the slowest's seconds."""
    restored, reads, slowest = set(), 0, 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        restored.add(read_beside(scene, folder)[1])
        slowest = max(slowest, time.monotonic() - begun)
        reads += 1
    return restored, reads, slowest


@pytest.mark.proves('paused')
@pytest.mark.parametrize(
    'key', ['file', *(pytest.param(key, marks=pytest.mark.full) for key in ('checkpoint', 'crowded'))]
)
def test_a_writer_that_is_stopped(nursery: Nursery, tmp_path: Path, figure: Callable[..., None], key: str) -> None:
    """SIGSTOP right after any step of a save: readers, who get by without the writer, see old or new; it goes on and is right."""
    scene, folder = SCENES[key], tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder)
    stopped: Counter[str] = Counter()
    while_writing = 0
    for place in count(1):
        prepare(scene, folder)
        act = Hold(functools.partial(read_beside, scene, folder), stop=True)
        ended = nursery.run(trace, job, Fault(act, place, among=STEPS))
        if not ended.struck:
            break
        found, restored = ended.seen
        if 'pwrite64' in ended.calls and 'rename' in ended.calls[ended.calls.index('pwrite64') :]:
            assert (scene.before | scene.after).items() >= found.saves.items() >= scene.after.items()
        else:
            assert found.saves == scene.before
        assert restored == max(found.saves)
        while_writing += len(found.temporary)
        assert (ended.status, ended.said) == (0, ['saved']), 'a reader took something from a living writer'
        assert check(scene, folder, acknowledged=True).temporary == []
        stopped.update(ended.struck)
    assert while_writing
    steps = ', '.join(f'{name} {number}' for name, number in sorted(stopped.items()))
    figure(
        'paused',
        stopped.total(),
        f'{scene}: stopped right after each {steps}; {while_writing} of them with a half file',
    )


@pytest.mark.proves('paused')
def test_a_writer_that_is_stopped_holds_up_no_other(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None]
) -> None:
    """Another save to the same path comes through at once; that of the stopped writer follows when it goes on."""
    scene, folder = SCENES['file'], tmp_path / 'run'
    writes = frozenset({'pwrite64'})
    prepare(scene, folder)
    job = functools.partial(saving.save, scene, folder)
    number = len(nursery.run(trace, job, among=writes).calls)
    for place in range(1, number + 1):
        prepare(scene, folder)
        act = Hold(functools.partial(save_beside, scene, folder), stop=True)
        ended = nursery.run(trace, job, Fault(act, place, among=writes))
        assert ended.seen.saves == {NEW: 7}
        assert ended.said == ['saved']
        assert look(scene, folder) == Look(scene.after, [])
    figure('paused', number)


def save_beside(scene: Scene, folder: Path) -> Look:
    """What is there after another process has saved."""
    objio.save_var_collection(path_of(folder, NEW), tree(7))
    return look(scene, folder)


@pytest.mark.proves('paused')
@pytest.mark.parametrize(
    ('key', 'place'),
    [
        ('checkpoint', 1),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in [
                ('checkpoint', 2),
                ('file', 1),
                ('file', 2),
                ('background', 1),
                ('background', 2),
                ('large', 1),
            ]
        ),
    ],
)
def test_a_disk_that_takes_its_time(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], key: str, place: int
) -> None:
    """While an fsync takes two seconds (the file's, then the folder's) readers go on, before the rename with the old."""
    scene, folder = SCENES[key], tmp_path / 'run'
    prepare(scene, folder)
    job = functools.partial(saving.save, scene, folder)
    act = Hold(functools.partial(read_for, SLOW_S, scene, folder))
    ended = nursery.run(trace, job, Fault(act, place, among=frozenset({'fsync'})))
    restored, reads, slowest = ended.seen
    assert restored == {max(scene.before if place == 1 else scene.after)}
    assert reads > 1
    assert slowest < SLOW_S
    assert (ended.status, ended.said) == (0, ['saved'])
    check(scene, folder, acknowledged=True)
    which = 'file' if place == 1 else 'folder'
    figure(
        'paused', 1, f'{scene}: fsync of the {which} took {SLOW_S} s; {reads} reads, the slowest {slowest * 1e3:.0f} ms'
    )

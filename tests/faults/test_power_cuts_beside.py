"""The same power cuts for objio and for other libraries, each of which saves as its documentation shows."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from faults.disks import Disk, disks
from faults.savers import Job, Savers

pytestmark = pytest.mark.full

Needs = Callable[[object, str], None]
Beside = Callable[[str, str, str], None]

SIZE = 1 << 18  # 1 MiB
# library -> recipe
NEW_NAMES = {
    library: library for library in ('objio', 'Orbax', 'safetensors', 'Equinox', 'Flax msgpack', 'np.savez (Objax)')
}
ONE_PATH = {
    'np.savez (Objax)': 'one temporary name',
    **{library: f'{library} to one path' for library in ('objio', 'safetensors', 'Equinox', 'Flax msgpack')},
}


def at_once(_: Sequence[Disk]) -> None:
    pass


def after_seven_seconds(_: Sequence[Disk]) -> None:
    time.sleep(7)


def after_another_sync(machines: Sequence[Disk]) -> None:
    for disk in machines:
        disk.sync_another_file()


EXT4, XFS = pytest.mark.proves('cuts-ext4'), pytest.mark.proves('cuts-xfs')
ANOTHER = "and another program's sync"
# the file system, what happens until the cut, how it reads in the table, how many runs lose their power together
CUTS = [
    pytest.param('ext4', at_once, 'power cut at once after a save, ext4', 1, NEW_NAMES, marks=EXT4),
    pytest.param('ext4', after_seven_seconds, 'power cut 7 s after a save, ext4', 5, NEW_NAMES, marks=EXT4),
    pytest.param(
        'ext4', after_seven_seconds, 'power cut 7 s after a save over the old file, ext4', 5, ONE_PATH, marks=EXT4
    ),
    pytest.param('xfs', after_another_sync, f'power cut after a save {ANOTHER}, XFS', 1, NEW_NAMES, marks=XFS),
    pytest.param(
        'xfs', after_another_sync, f'power cut after a save over the old file {ANOTHER}, XFS', 1, ONE_PATH, marks=XFS
    ),
]


class Outcomes:
    """What became of the saves of each library."""

    def __init__(self, libraries: Iterable[str]) -> None:
        self._lost: dict[str, Counter[str]] = {library: Counter() for library in libraries}
        self._count: Counter[str] = Counter()

    def add(self, library: str, acknowledged: Sequence[int], found: Sequence[tuple[int, str]]) -> None:
        """Compares what was acknowledged in some runs with what was loaded, or the error that came instead."""
        for least, (idx, error) in zip(acknowledged, found, strict=True):
            self._count[library] += 1
            if idx < least:
                self._lost[library][error or ('an older save is there' if idx else 'no save is there')] += 1

    def publish(self, fault: str, beside: Beside) -> None:
        """Notes a cell for each library; fails where objio lost anything."""
        for library, reasons in self._lost.items():
            why = f' ({", ".join(reasons)})' if reasons else ''
            beside(fault, library, f'{reasons.total()} of {self._count[library]} lost{why}')
        assert not self._lost['objio']


@pytest.mark.parametrize(('kind', 'wait', 'fault', 'together', 'recipes'), CUTS)
def test_the_newest_save(
    *,
    kind: str,
    wait: Callable[[Sequence[Disk]], None],
    fault: str,
    together: int,
    recipes: dict[str, str],
    tmp_path: Path,
    needs: Needs,
    beside: Beside,
) -> None:
    """objio's newest acknowledged save is there; of each library an older save had reached the disk before."""
    outcomes = Outcomes(recipes)
    with Savers(*recipes.values()) as savers, disks(kind, tmp_path, needs, count=len(recipes)) as machines:
        for number in range(0, 10, together):
            runs = [[str(disk.root / str(number + run)) for run in range(together)] for disk in machines]
            for idx in 1, 2:
                savers.start(
                    *(
                        Job(recipe, folders, str(tmp_path / f'{recipe} {number}'), idx, idx, SIZE)
                        for recipe, folders in zip(recipes.values(), runs, strict=True)
                    )
                )
                savers.finish()
                if idx == 1:
                    for disk in machines:
                        disk.sync()
            wait(machines)
            for disk in machines:
                disk.cut()
            for disk, (library, recipe), folders in zip(machines, recipes.items(), runs, strict=True):
                disk.restart()
                outcomes.add(library, [2] * together, savers.load(recipe, folders, SIZE))
    outcomes.publish(f'{fault}: newest saves', beside)


@pytest.mark.proves('cuts-ext4')
def test_the_newest_of_many_saves(tmp_path: Path, needs: Needs, beside: Beside) -> None:
    """Of what objio acknowledged before a cut in the middle of its saves nothing is lost."""
    outcomes = Outcomes(NEW_NAMES)
    with Savers(*NEW_NAMES) as savers, disks('ext4', tmp_path, needs, count=len(NEW_NAMES)) as machines:
        for number in range(10):
            for library, disk in zip(NEW_NAMES, machines, strict=True):
                job = Job(library, [str(disk.root / str(number))], str(tmp_path / f'{library} {number}'), size=SIZE)
                savers.start(job)
                while job.acknowledged() == [0]:
                    assert not job.errors()
                    time.sleep(0.001)
                time.sleep(0.03 * number)
                acknowledged = job.acknowledged(disk.cut())
                savers.kill()
                disk.restart()
                outcomes.add(library, acknowledged, savers.load(library, job.folders, SIZE))
    outcomes.publish('power cut among saves, ext4: newest acknowledged saves', beside)

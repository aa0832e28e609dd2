"""The same faults against recipes that lack a step: were nothing lost here, the proofs would be blind."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.disks import Disk, disks
from faults.savers import Job, Savers

pytestmark = [pytest.mark.full, pytest.mark.proves('controls')]

Needs = Callable[[object, str], None]
Figure = Callable[[str, int, str], None]

SIZE = 1 << 20


def at_once(_: Disk) -> None:
    """The power goes as soon as the save is acknowledged."""


def after_seven_seconds(_: Disk) -> None:
    time.sleep(7)


# recipe -> on each file system, what happens until the cut, and what is found after it
LOSERS = {
    # the log is written, the bytes are not; with keep 1 the older save is gone as well
    'np.savez (Objax)': {
        'xfs': (Disk.sync_another_file, (-1, 'EOFError')),
        'ext4': (after_seven_seconds, (-1, 'EOFError')),
    },
    'objio without sync': {
        'xfs': (Disk.sync_another_file, (-1, 'FormatError')),
        'ext4': (after_seven_seconds, (-1, 'FormatError')),
    },
    # the bytes are there, the name is not
    "objio without the folder's sync": {'xfs': (at_once, (1, '')), 'ext4': (at_once, (1, ''))},
    # a rename over the old file; for this one case ext4 writes the bytes by itself
    'one temporary name': {'xfs': (Disk.sync_another_file, (-1, 'EOFError'))},
}


@pytest.mark.parametrize('recipe', LOSERS)
def test_a_recipe_without_a_sync_loses_its_newest_save(
    recipe: str, tmp_path: Path, needs: Needs, figure: Figure
) -> None:
    """A save that was acknowledged is gone after a power cut, and with keep 1 often the one before it as well."""
    for kind, (wait, left) in LOSERS[recipe].items():
        found = []
        while left not in found and len(found) < 3:  # somebody else may have all disks of the machine synced meanwhile
            found += after_a_cut(recipe, kind, wait, tmp_path, needs)
        assert left in found
    figure('controls', 1, f'{recipe}: loses its newest save in power cuts on {" and ".join(LOSERS[recipe])}')


def after_a_cut(
    recipe: str, kind: str, wait: Callable[[Disk], None], folder: Path, needs: Needs
) -> list[tuple[int, str]]:
    """What is loaded after a second save was acknowledged, and the power cut; the first one had reached the disk."""
    acks = folder / 'acks'
    acks.unlink(missing_ok=True)
    with Savers(recipe) as savers, disks(kind, folder, needs) as (disk,):
        for idx in 1, 2:
            disk.sync()
            job = Job(recipe, [str(disk.root / 'run')], str(acks), idx, idx, SIZE)
            savers.start(job)
            savers.finish()
        wait(disk)
        assert job.acknowledged(disk.cut()) == [2]
        disk.restart()
        return savers.load(recipe, job.folders, SIZE)


def test_two_writers_with_one_temporary_name_trip_over_each_other(tmp_path: Path, figure: Figure) -> None:
    """Of two processes that write under the same temporary name, one soon finds it gone, or leaves a mixed file."""
    recipe, folder = 'one temporary name', str(tmp_path / 'run')
    lost: list[str] = []
    with Savers(recipe) as savers:
        for _ in range(50):
            jobs = [Job(recipe, [folder], str(tmp_path / f'acks-{writer}'), 1, 200) for writer in range(2)]
            savers.start(*jobs)
            savers.finish()
            lost = [error for job in jobs for error in job.errors()]
            lost += [error for _, error in savers.load(recipe, [folder], 1000) if error]
            if lost:
                break
    assert lost
    figure('controls', 1, f'two writers with one temporary name: {lost[0].split("(")[0]}')


def test_a_file_written_in_place_is_torn_by_a_kill(tmp_path: Path, figure: Figure) -> None:
    """A process killed while it writes to the path itself leaves a file that nobody can load."""
    recipe, folder = 'in place', str(tmp_path / 'run')
    with Savers(recipe) as savers:
        for kills in range(1, 100):
            savers.start(Job(recipe, [folder], str(tmp_path / 'acks'), size=SIZE))
            time.sleep(0.02 * (kills % 5 + 1))
            savers.kill()
            ((_, error),) = savers.load(recipe, [folder], SIZE)
            if error:
                break
    assert error
    figure('controls', 1, f'np.savez to the path itself: {error} after {kills} kills')

"""The power goes while objio saves: at random moments, at once after a save was acknowledged, and seven seconds later.

Seven seconds are the bad moment of a save that is not synced: the log has been written (ext4: every 5 s), the bytes
have not (after 30 s), so that names are there without what they name. Another program's sync brings it at once.
"""

import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import objio
from faults.disks import MOUNTS, Disk, disks
from faults.recipes import index_of, values
from faults.savers import Job, Savers

pytestmark = pytest.mark.full

Needs = Callable[[object, str], None]
Figure = Callable[[str, int, str], None]

SMALL, LARGE, HUGE = 1_000, 1 << 20, 9 << 20  # 4 kB, 4 MiB, and 36 MiB, which goes to the disk while it is written
KINDS = [
    pytest.param('ext4', marks=pytest.mark.proves('cuts-ext4')),
    pytest.param('xfs', marks=pytest.mark.proves('cuts-xfs')),
]


class Run:
    """A run on a disk that loses its power again and again, and goes on from what is there.

    Args:
        disk: where it saves.
        recipe: 'objio', 'objio in the background' or 'objio to one path'.
        size: of the array, in words.
        keep: how many saves stay.
        acks: the file where its process says what was acknowledged.
    """

    def __init__(self, disk: Disk, recipe: str, size: int, keep: int, acks: Path) -> None:
        self.folder = disk.root / acks.name
        self.recipe, self.size, self.keep = recipe, size, keep
        self.acks = acks
        self.newest = 0
        acks.unlink(missing_ok=True)

    def job(self, count: int | None = None) -> Job:
        """The next saves: so many, or until the power goes."""
        last = None if count is None else self.newest + count
        return Job(self.recipe, [str(self.folder)], str(self.acks), self.newest + 1, last, self.size, self.keep)

    def check(self, cut: float) -> int:
        """Fails where a save acknowledged before the cut is lost, or a file is not whole; how many there were since."""
        (acknowledged,) = self.job().acknowledged(cut)
        errors = self.job().errors()
        assert all('Input/output error' in error or 'Read-only file system' in error for error in errors), errors
        self.acks.unlink(missing_ok=True)  # what was told after the cut counts for nothing at the next one either
        check = self._check_path if self.recipe == 'objio to one path' else self._check_folder
        since, self.newest = self.newest, check() if self.folder.exists() else 0
        assert self.newest >= max(acknowledged, since), vars(self)
        return max(acknowledged - since, 0)

    def _check_path(self) -> int:
        idx = self._load(self.folder / 'best.npz') if (self.folder / 'best.npz').exists() else 0
        # What a dead writer left is removed by the next Checkpoint in the folder; here is none.
        assert all(name == 'best.npz' or name.startswith('.objio-') for name in os.listdir(self.folder))
        return idx

    def _check_folder(self) -> int:
        vc = objio.VarCollection.from_tree(values(0, self.size))
        newest, _ = objio.Checkpoint(self.folder, keep_ckpts=self.keep, verbose=False).restore(vc)
        assert not newest or index_of(vc.to_tree()) == newest
        folder = self.folder / 'ckpt'
        found = {name: self._load(folder / name) for name in os.listdir(folder)}
        assert all(name == f'{idx:010d}.npz' for name, idx in found.items()), found
        assert newest == max(found.values(), default=0)
        assert set(found.values()) >= set(range(max(newest - self.keep, 0) + 1, newest + 1)), found
        return newest

    def _load(self, path: Path) -> int:
        assert objio.verify(path)
        with objio.open(path) as saved:
            assert saved['w'].size == self.size
            return index_of(saved)


def runs_on(disk: Disk, acks: Path, choose: random.Random) -> list[Run]:
    """A run of each kind, of a size by chance."""
    kinds = [('objio', 1), ('objio in the background', choose.randint(1, 3)), ('objio to one path', 1)]
    return [
        Run(disk, recipe, choose.choices([SMALL, LARGE, HUGE], [4, 4, 1])[0], keep, acks / f'{disk.root.stem}-{number}')
        for number, (recipe, keep) in enumerate(kinds)
    ]


def wait_for(runs: list[Run], count: int) -> None:
    """Waits until so many saves were acknowledged, or for ten seconds."""
    end = time.monotonic() + 10
    done = sum(run.newest for run in runs) + count
    while time.monotonic() < end and sum(max(run.newest, *run.job().acknowledged()) for run in runs) < done:
        time.sleep(0.001)


@pytest.fixture
def seed() -> int:
    """Of what is left to chance; shown where a test fails."""
    seed = int.from_bytes(os.urandom(4), 'little')
    print('seed', seed)
    return seed


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('part', range(2))
def test_cuts_at_random_moments(
    *, kind: str, part: int, seed: int, tmp_path: Path, needs: Needs, figure: Figure
) -> None:
    """After a cut among three savers all that was acknowledged is there, and each file with a name is whole."""
    cuts = {'ext4': 80, 'xfs': 30}[kind]
    choose = random.Random(seed)
    acknowledged = 0
    with Savers() as savers:
        for _ in range(cuts // 5):
            with disks(kind, tmp_path, needs, choose.choice(MOUNTS[kind])) as (disk,):
                runs = runs_on(disk, tmp_path, choose)
                for _ in range(5):
                    savers.start(*(run.job() for run in runs))
                    wait_for(runs, choose.randint(0, 8))
                    time.sleep(choose.uniform(0, 0.02))
                    moment = disk.cut()
                    savers.kill()
                    disk.restart()
                    acknowledged += sum(run.check(moment) for run in runs)
    assert acknowledged > cuts
    figure(f'cuts-{kind}', cuts, f'at random moments, {acknowledged} saves acknowledged: seed {seed}, part {part}')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'moment', ['as soon as a save was acknowledged', 'after a save was acknowledged and another program synced']
)
def test_cuts_right_after_a_save(
    *, kind: str, moment: str, seed: int, tmp_path: Path, needs: Needs, figure: Figure
) -> None:
    """A save that was just acknowledged survives, whether or not somebody has the log written meanwhile."""
    choose = random.Random(seed)
    cuts = 20
    with Savers() as savers:
        for _ in range(cuts // 4):
            with disks(kind, tmp_path, needs, choose.choice(MOUNTS[kind])) as (disk,):
                run, *others = choose.sample(runs_on(disk, tmp_path, choose), 3)
                for _ in range(4):
                    savers.start(*(other.job(1) for other in others))
                    savers.finish()
                    savers.start(run.job(choose.choice([2, 4])))  # in the background every second one is waited for
                    savers.finish()
                    if 'another' in moment:
                        disk.sync_another_file()
                    cut = disk.cut()
                    disk.restart()
                    assert run.check(cut) > 0
                    assert all(other.check(cut) >= 0 for other in others)
    figure(f'cuts-{kind}', cuts, f'{moment}: seed {seed}')


@pytest.mark.parametrize('kind', KINDS)
def test_cuts_after_seven_seconds(kind: str, seed: int, tmp_path: Path, needs: Needs, figure: Figure) -> None:
    """An acknowledged save survives when the log was written on its own, with keep 1 and an overwritten path too."""
    choose = random.Random(seed)
    count, rounds = 4, 3
    with Savers() as savers, disks(kind, tmp_path, needs, count=count) as machines:
        runs = [runs_on(disk, tmp_path, choose) for disk in machines]
        for _ in range(rounds):
            savers.start(*(run.job(2) for several in runs for run in several))
            savers.finish()
            time.sleep(7)
            cuts = [disk.cut() for disk in machines]
            for disk, several, cut in zip(machines, runs, cuts, strict=True):
                disk.restart()
                assert all(run.check(cut) == 2 for run in several)
    figure(f'cuts-{kind}', count * rounds, f'7 seconds after a save was acknowledged: seed {seed}')


@pytest.mark.parametrize('kind', KINDS)
def test_a_save_that_is_not_durable_is_lost_visibly(
    kind: str, tmp_path: Path, needs: Needs, caplog: pytest.LogCaptureFixture
) -> None:
    """With `durable=False` a cut takes saves; restore passes over their remains, back to one that was durable."""
    for _ in range(3):  # somebody else may have all disks of the machine synced meanwhile
        caplog.clear()
        with Savers() as savers, disks(kind, tmp_path, needs) as (disk,):
            folder, acks = str(disk.root / 'run'), tmp_path / 'acks'
            acks.unlink(missing_ok=True)
            for recipe, first, last in ('objio', 1, 1), ('objio, durable=False', 2, 3):
                savers.start(Job(recipe, [folder], str(acks), first, last, LARGE, 3))
                savers.finish()
            assert Job('objio', [folder], str(acks)).acknowledged() == [3]
            if kind == 'ext4':
                time.sleep(7)
            else:
                disk.sync_another_file()
            disk.cut()
            disk.restart()
            vc = objio.VarCollection.from_tree(values(0, LARGE))
            ckpt = objio.Checkpoint(folder, keep_ckpts=3, verbose=False)
            assert sorted(os.listdir(f'{folder}/ckpt')) == [f'{idx:010d}.npz' for idx in (1, 2, 3)]
            restored, _ = ckpt.restore(vc)
            assert index_of(vc.to_tree()) == restored
            lost = [record.message for record in caplog.records if record.levelno == logging.WARNING]
            assert all(f'{idx:010d}.npz' in line for idx, line in zip(range(3, restored, -1), lost, strict=True))
            ckpt.save(objio.VarCollection.from_tree(values(restored + 1, LARGE)), idx=restored + 1)
            assert ckpt.restore(vc)[0] == index_of(vc.to_tree()) == restored + 1
            if restored == 1:
                return
    pytest.fail('a cut should have taken what was not synced')


@pytest.mark.parametrize('kind', KINDS)
def test_saves_that_are_not_durable_are_never_wrong(kind: str, seed: int, tmp_path: Path, needs: Needs) -> None:
    """With `durable=False`, whatever a cut leaves: restore gives the values of the index it returns, or raises."""
    choose = random.Random(seed)
    with Savers() as savers, disks(kind, tmp_path, needs) as (disk,):
        for number in range(20):
            folder, acks = disk.root / str(number), tmp_path / f'acks-{number}'
            size = choose.choice([SMALL, LARGE])
            savers.start(Job('objio, durable=False', [str(folder)], str(acks), size=size, keep=3))
            time.sleep(choose.uniform(0, 0.1))
            if choose.random() < 0.5:
                disk.sync_another_file()
            disk.cut()
            savers.kill()
            disk.restart()
            if folder.exists():
                vc = objio.VarCollection.from_tree(values(0, size))
                try:
                    idx, _ = objio.Checkpoint(folder, verbose=False).restore(vc)
                except objio.FormatError:
                    idx = 0
                assert index_of(vc.to_tree()) == idx

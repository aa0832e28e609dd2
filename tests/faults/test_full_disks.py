"""Disks that are really full, of bytes and of inodes; no call is replaced, but for the question how much is free."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import objio
from faults.disks import own_mounts
from faults.saving import ckpt_of, path_of, tree

SIZES = range(64 << 10, (2 << 20) + 1, 16 << 10)
KINDS = ['tmpfs', pytest.param('ext4', marks=pytest.mark.full)]


@contextlib.contextmanager
def small_disk(
    kind: str, folder: Path, needs: Callable[[object, str], None], tool: Callable[[str], str], options: str = ''
) -> Iterator[Path]:
    """A disk of a megabyte of memory, or one of 8 MB in a file of which a megabyte is free."""
    needs(os.name == 'posix' and os.geteuid() == 0 and own_mounts(), 'root and the right to mount')
    disk, image = folder / 'disk', folder / 'image'
    disk.mkdir()
    if kind == 'tmpfs':
        command: list[Any] = [tool('mount'), '-t', 'tmpfs', '-o', options or 'size=1m', 'objio-test', disk]
    else:
        needs(os.path.exists('/dev/loop-control'), 'loop devices')
        with open(image, 'wb') as file:
            file.truncate(8 << 20)
        subprocess.run([tool('mkfs.ext4'), '-q', '-F', *options.split(), image], check=True)
        command = [tool('mount'), '-t', 'ext4', '-o', 'loop', image, disk]
    subprocess.run(command, check=True)
    try:
        yield disk
    finally:
        subprocess.run(['umount', disk], check=True)


def free(disk: Path) -> int:
    """The bytes that a user may still write."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes."""
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def restored(disk: Path, cells: int) -> int:
    """The index that a new process would restore."""
    return ckpt_of(disk).restore(objio.VarCollection.from_tree(tree(0, cells)))[0]


@pytest.mark.proves('full-disks')
@pytest.mark.parametrize('seen_by', ['question', 'reservation', 'write'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_disk_full_of_bytes(
    tmp_path: Path,
    needs: Callable[[object, str], None],
    tool: Callable[[str], str],
    figure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    amount: Callable[[int, int], int],
    kind: str,
    seen_by: str,
) -> None:
    """Saves of 64 KB to 2 MB on a disk with 1 MB left: each is whole or ENOSPC, and then nothing changed; the next fits."""
    if seen_by != 'question':  # as if others filled the disk after it
        monkeypatch.setattr('objio.storage.local._check_space', lambda *_: None)
    if seen_by == 'write':
        monkeypatch.setattr('objio.storage.handles._PREALLOCATE_FROM', 1 << 40)
    fitted = refused = 0
    with small_disk(kind, tmp_path, needs, tool) as disk:
        if free(disk) > 1 << 20:
            (disk / 'filler').write_bytes(bytes(free(disk) - (1 << 20)))
        for size in SIZES[:: amount(10, 1)]:
            ckpt = ckpt_of(disk, keep_ckpts=1)
            ckpt.truncate(-1)
            ckpt.save(tree(1, 1000), idx=1)
            room, old = free(disk), contents(disk / 'ckpt')
            failed = None
            try:
                ckpt.save(tree(2, size // 4), idx=2)
            except OSError as error:
                failed = error
            if failed:
                assert (failed.errno, failed.filename) == (errno.ENOSPC, str(path_of(disk, 2)))
                assert contents(disk / 'ckpt') == old
                assert free(disk) == room
                assert restored(disk, 1000) == 1
                ckpt.save(tree(2, 1000), idx=2)
                assert restored(disk, 1000) == 2
                refused += 1
            else:
                assert restored(disk, size // 4) == 2
                fitted += 1
            assert os.listdir(disk / 'ckpt') == ['0000000002.npz']
    assert fitted
    assert refused
    figure('full-disks', fitted + refused, f'{kind}, ENOSPC from the {seen_by}: {refused} did not fit, {fitted} did')


@pytest.mark.proves('full-disks')
@pytest.mark.parametrize('background', [False, True], ids=['foreground', 'background'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_run_that_fills_its_disk(
    tmp_path: Path,
    needs: Callable[[object, str], None],
    tool: Callable[[str], str],
    figure: Callable[..., None],
    *,
    kind: str,
    background: bool,
) -> None:
    """A run that keeps all its saves ends in ENOSPC with each of them whole, and goes on once there is room."""
    cells = 5_000
    with small_disk(kind, tmp_path, needs, tool) as disk:
        if free(disk) > 1 << 20:
            (disk / 'filler').write_bytes(bytes(free(disk) - (1 << 20)))
        ckpt = ckpt_of(disk, keep_ckpts=None, background=background)
        saved = 0
        with pytest.raises((OSError, objio.SaveFailed)) as caught:
            while True:
                ckpt.save(tree(saved + 1, cells), idx=saved + 1)
                ckpt.wait()
                saved += 1
        error = caught.value.__cause__ if background else caught.value
        assert isinstance(error, OSError)
        assert error.errno == errno.ENOSPC
        if background:
            assert caught.value.idx == saved + 1
        assert saved > 10
        assert ckpt.idxs() == list(range(1, saved + 1))
        assert len(os.listdir(disk / 'ckpt')) == saved
        assert all(objio.verify(path_of(disk, idx)) for idx in ckpt.idxs())
        assert restored(disk, cells) == saved
        again = ckpt_of(disk, keep_ckpts=2, background=background)
        path_of(disk, 1).unlink()
        again.save(tree(saved + 1, cells), idx=saved + 1)
        again.wait()
        assert again.idxs() == [saved, saved + 1]
        assert restored(disk, cells) == saved + 1
    figure('full-disks', saved + 2)


@pytest.mark.proves('full-disks')
@pytest.mark.parametrize('kind', KINDS)
def test_a_disk_full_of_files(
    tmp_path: Path,
    needs: Callable[[object, str], None],
    tool: Callable[[str], str],
    figure: Callable[..., None],
    *,
    kind: str,
) -> None:
    """Where no inode is left the save is ENOSPC and nothing changes; with one it goes through."""
    tries = 10
    with small_disk(kind, tmp_path, needs, tool, {'tmpfs': 'size=1m,nr_inodes=16', 'ext4': '-N 32'}[kind]) as disk:
        ckpt = ckpt_of(disk, keep_ckpts=1)
        ckpt.save(tree(0, 1000), idx=0)
        fillers = []
        while os.statvfs(disk).f_favail:
            fillers.append(disk / f'filler {len(fillers)}')
            fillers[-1].touch()
        for idx in range(1, tries + 1):
            old = contents(disk / 'ckpt')
            with pytest.raises(OSError, match='nothing was written') as caught:
                ckpt.save(tree(idx, 1000), idx=idx)
            assert caught.value.errno == errno.ENOSPC
            assert contents(disk / 'ckpt') == old
            assert restored(disk, 1000) == idx - 1
            fillers[0].unlink()
            ckpt.save(tree(idx, 1000), idx=idx)
            assert os.listdir(disk / 'ckpt') == [f'{idx:010d}.npz']
            assert restored(disk, 1000) == idx
            fillers[0].touch()
            assert not os.statvfs(disk).f_favail
    figure('full-disks', 2 * tries, f'{kind}: {tries} saves without an inode')

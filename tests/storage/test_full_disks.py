"""Disks and limits that are really full; no call is replaced, but for the question how much is free."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_storage import NEW, OLD, contents, names, run, save

from objio import storage
from objio.storage import handles

BIG = 2 << 20  # twice the disk


@pytest.fixture
def disk(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB with an old file on it."""
    if os.name == 'nt' or os.geteuid() != 0:
        pytest.skip('only root may mount a file system')
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        [tool('mount'), '-t', 'tmpfs', '-o', 'size=1m,nr_inodes=4', 'objio-test', folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f'this machine lets nobody mount a file system: {mounted.stderr.strip()}')
    try:
        (folder / 'a.npz').write_bytes(OLD)
        yield folder
    finally:
        subprocess.run(['umount', folder], check=True)


def claim_plenty(patch: pytest.MonkeyPatch) -> None:
    """As if others filled the disk after the question."""
    patch.setattr('objio.storage.local._check_space', lambda *_: None)


@pytest.mark.parametrize('seen_by', ['check', 'reservation', 'write'])
def test_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch, seen_by: str) -> None:
    """ENOSPC whoever sees it first; the old file stays, the space is free again, and a file that fits is saved."""
    if seen_by != 'check':
        claim_plenty(monkeypatch)
    if seen_by == 'write':
        monkeypatch.setattr(handles, '_PREALLOCATE_FROM', 1 << 40)
    free = os.statvfs(disk).f_bavail
    with pytest.raises(OSError, match='a.npz') as caught:
        save(disk / 'a.npz', bytes(BIG))
    assert caught.value.errno == errno.ENOSPC
    assert contents(disk) == {'a.npz': OLD}
    assert os.statvfs(disk).f_bavail == free
    save(disk / 'a.npz')
    assert contents(disk) == {'a.npz': NEW}


def test_a_disk_without_room_for_another_file(disk: Path) -> None:
    """Where the disk can hold no more files, the error names the folder, and the old files stay."""
    for name in ('b', 'c'):
        (disk / name).write_bytes(b'')
    with pytest.raises(OSError, match='nothing was written') as caught:
        save(disk / 'a.npz')
    assert caught.value.errno == errno.ENOSPC
    assert str(disk) in str(caught.value)
    assert contents(disk) == {'a.npz': OLD, 'b': b'', 'c': b''}


def test_a_disk_that_can_only_be_read(disk: Path) -> None:
    """EROFS names the folder; reading and sweeping go on."""
    subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
    with pytest.raises(OSError, match='Read-only file system') as caught:
        save(disk / 'a.npz')
    assert caught.value.errno == errno.EROFS
    assert storage.sweep(str(disk)) == []
    with storage.open_file(str(disk / 'a.npz')) as source:
        assert source.size == len(OLD)
    assert contents(disk) == {'a.npz': OLD}


LIMITED = """
import errno, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1500000, 1500000))
size = int(sys.argv[2])
try:
    with storage.create(sys.argv[1], durable=True, size=0 if sys.argv[3] == 'unknown' else size) as sink:
        for _ in range(size // 100_000):
            sink.write(bytes(100_000))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize('size', ['known', 'unknown'])
def test_a_limit_on_the_size_of_files(tmp_path: Path, size: str) -> None:
    """EFBIG of `ulimit -f`, at the reservation or at a write; below the limit a file is saved."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    assert run(LIMITED, path, '2000000', size) == 'EFBIG\n'
    assert contents(tmp_path) == {'a.npz': OLD}
    assert run(LIMITED, path, '1400000', size) == ''
    assert names(tmp_path) == ['a.npz']
    assert path.stat().st_size == 1400000

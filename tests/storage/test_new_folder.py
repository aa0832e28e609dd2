"""Folders appear whole or not at all, durably; those of dead writers go, and nothing else is touched."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support_storage import names, start

from objio import storage
from objio.errors import SaveNotDurable
from objio.storage import temporary

MAKING = """
with storage.create_folder(sys.argv[1], durable=True) as new:
    open(new + '/a', 'wb').write(b'new')
    print(flush=True)
    sys.stdin.read()
"""


def make(path: Path, content: bytes = b'new') -> None:
    """Makes a folder of two files."""
    with storage.create_folder(str(path), durable=True) as new:
        for name in 'ab':
            with storage.create(f'{new}/{name}', durable=True, size=len(content)) as sink:
                sink.write(content)


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    """Before the end of the block there is nothing at the path, afterwards everything; folders above are made."""
    path = tmp_path / 'x' / 'y'
    with storage.create_folder(str(path), durable=True) as new:
        (Path(new) / 'a').write_bytes(b'new')
        assert Path(new).parent == tmp_path / 'x'
        assert storage.is_temporary(os.path.basename(new))
        assert not path.exists()
    assert names(path) == ['a']
    assert names(tmp_path / 'x') == ['y']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever is raised in the block comes out of it, and no folder is left."""
    with pytest.raises(error), storage.create_folder(str(tmp_path / 'x'), durable=True) as new:
        (Path(new) / 'a').write_bytes(b'new')
        raise error
    assert names(tmp_path) == []


def test_at_every_call_there_is_all_or_nothing(tmp_path: Path) -> None:
    """A process that dies at any call leaves the whole folder or none; the order is sync, rename, sync."""
    from faults.interruptions import Killed, interrupted

    with interrupted(10**6, None) as calls:
        make(tmp_path / 'whole')
    order = [name for name, _ in calls.made]
    assert order[-3:] == ['sync folder', 'rename', 'sync folder']
    assert order[:-3].count('sync file') == 2
    for at in range(len(calls.made)):
        path = tmp_path / str(at)
        with pytest.raises(Killed), interrupted(at, None):
            make(path)
        assert not path.exists() or names(path) == ['a', 'b']
        assert path.exists() == (at == len(order) - 1)


def test_a_disk_that_errs_leaves_nothing(tmp_path: Path) -> None:
    """EIO at any call but the last is raised and leaves no folder; at the last one the folder is there, and told."""
    from faults.interruptions import interrupted

    with interrupted(10**6, None) as calls:
        make(tmp_path / 'whole')
    for at in range(len(calls.made) - 1):
        with pytest.raises(OSError, match='Input/output error'), interrupted(at, errno.EIO):
            make(tmp_path / 'x')
        assert names(tmp_path) == ['whole'], at
    with pytest.raises(SaveNotDurable, match='in place, but the one above'), interrupted(at + 1, errno.EIO):
        make(tmp_path / 'x')
    assert names(tmp_path / 'x') == ['a', 'b']


def test_a_folder_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    """Where somebody else made the folder, it stays as it is, and the caller hears of it; an empty one is replaced."""
    path = tmp_path / 'x'
    with pytest.raises(FileExistsError, match='meanwhile'), storage.create_folder(str(path), durable=True) as new:
        (Path(new) / 'a').write_bytes(b'mine')
        path.mkdir()
        (path / 'a').write_bytes(b'theirs')
    assert (path / 'a').read_bytes() == b'theirs'
    assert names(tmp_path) == ['x']
    (tmp_path / 'empty').mkdir()
    make(tmp_path / 'empty')
    assert names(tmp_path / 'empty') == ['a', 'b']
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(NotADirectoryError):
        make(tmp_path / 'file')
    assert names(tmp_path) == ['empty', 'file', 'x']


def test_a_killed_writer_loses_its_folder_and_a_living_one_keeps_it(tmp_path: Path) -> None:
    """The next folder made in the same place sweeps what a dead process left, never what a living one makes."""
    with start(MAKING, tmp_path / 'x') as writer:
        (left,) = tmp_path.glob('.objio-*')
        os.utime(left, (0, 0))
        make(tmp_path / 'y')
        assert left.is_dir()
        writer.kill()
        writer.wait()
    make(tmp_path / 'z')
    assert names(tmp_path) == ['y', 'z']


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is read-only, one error names the folder that was wanted and the one it would be made in."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, 'mkdir', refuse)
    with pytest.raises(OSError, match=f"Read-only file system: the folder is made in '{tmp_path}'.*nothing") as failure:
        make(tmp_path / 'x')
    assert (failure.value.errno, failure.value.filename) == (errno.EROFS, str(tmp_path / 'x'))
    assert names(tmp_path) == []


def called(kernel: str | None = None, space: str | None = None, pid: int | None = None) -> str:
    """A name as a writer elsewhere would give it."""
    here = (kernel or temporary._kernel(), space or temporary._space(), os.getpid() if pid is None else pid)
    return '.objio-{}-{}.{}-0123456789ab.tmp'.format(*here)


@pytest.mark.parametrize(
    'name',
    [called(kernel='01234567'), called(space='1'), '.objio-x.tmp'],
    ids=['of another machine', 'of another container', 'of who knows whom'],
)
def test_what_cannot_be_known_goes_after_an_hour(tmp_path: Path, name: str) -> None:
    """The folder of another machine, or of another container, stays an hour."""
    path = tmp_path / name
    for age, stays in ((0, True), (3500, True), (3700, False)):
        path.mkdir(exist_ok=True)
        (path / 'half').write_bytes(b'')
        os.utime(path, (time.time() - age,) * 2)
        make(tmp_path / f'{age}')
        assert path.exists() == stays


def test_nothing_else_is_swept(tmp_path: Path) -> None:
    """Files, links, folders of other names, and what lies deeper in a folder stay."""
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    dead = called(pid=process.pid)
    kept = tmp_path / 'kept'
    kept.mkdir()
    (kept / 'a').write_bytes(b'x')
    (tmp_path / dead.replace('.tmp', '')).mkdir()
    (tmp_path / dead).symlink_to(kept)
    deep = tmp_path / dead.replace('0123456789ab', 'ba9876543210')
    (deep / 'inner').mkdir(parents=True)
    (deep / 'inner' / 'a').write_bytes(b'x')
    make(tmp_path / 'x')
    assert (kept / 'a').read_bytes() == b'x'
    assert (tmp_path / dead).is_symlink()
    assert (deep / 'inner' / 'a').read_bytes() == b'x'
    assert (tmp_path / dead.replace('.tmp', '')).is_dir()


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    """As with any folder that a program makes."""
    old = os.umask(0o027)
    try:
        make(tmp_path / 'x')
    finally:
        os.umask(old)
    assert (tmp_path / 'x').stat().st_mode & 0o777 == 0o750

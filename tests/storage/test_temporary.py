"""Temporary files of dead writers go, those of living ones stay, and nothing else is ever touched."""

import errno
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support_storage import NEW, OLD, contents, names, save, start

from objio import storage
from objio.storage import temporary

LONG_AGO = 3700.0
SAVING = """
with storage.create(sys.argv[1], durable=True, size=3) as sink:
    sink.write(b'new')
    print(flush=True)
    sys.stdin.read()
"""


def leave(folder: Path, name: str = '', *, age: float = 0) -> Path:
    """A temporary file as a dead writer leaves it."""
    if name:
        path = folder / name
        path.write_bytes(b'half')
    else:
        fd, created = temporary.create_temporary(str(folder))
        os.close(fd)
        path = Path(created)
    os.utime(path, (time.time() - age,) * 2)
    return path


def called(kernel: str | None = None, space: str | None = None, pid: int | None = None) -> str:
    """A name as a writer elsewhere would give it."""
    here = (kernel or temporary._kernel(), space or temporary._space(), os.getpid() if pid is None else pid)
    return '.objio-{}-{}.{}-0123456789ab.tmp'.format(*here)


def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


@pytest.fixture(params=['no flock', 'no module'])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system, or a Python, without locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if request.param == 'no flock':
        monkeypatch.setattr('fcntl.flock', refuse)
    else:
        monkeypatch.setattr(temporary, 'fcntl', None)


def test_a_living_writer_keeps_its_file_and_a_killed_one_loses_it(tmp_path: Path) -> None:
    """While another process writes, its file stays, however old; at once after a SIGKILL it goes, and the old one is."""
    (tmp_path / 'a.npz').write_bytes(OLD)
    with start(SAVING, tmp_path / 'a.npz') as writer:
        (path,) = tmp_path.glob('.objio-*')
        os.utime(path, (0, 0))
        assert storage.sweep(str(tmp_path)) == []
        assert path.exists()
        writer.kill()
        writer.wait()
    assert storage.sweep(str(tmp_path)) == [path.name]
    assert contents(tmp_path) == {'a.npz': OLD}


def test_a_process_does_not_sweep_its_own_save(tmp_path: Path) -> None:
    """A sweep in the middle of a save, from the same process, leaves it alone."""
    with storage.create(str(tmp_path / 'a.npz'), durable=True, size=len(NEW)) as sink:
        sink.write(NEW)
        assert storage.sweep(str(tmp_path)) == []
    assert contents(tmp_path) == {'a.npz': NEW}


def test_a_free_lock_proves_death_whatever_the_process_number_says(tmp_path: Path) -> None:
    """A container that starts again gives its first process the number of the dead one: the lock decides."""
    path = leave(tmp_path, called(pid=os.getpid()))
    assert storage.sweep(str(tmp_path)) == [path.name]


ELSEWHERE = pytest.mark.parametrize(
    'name',
    ['.objio-00000000-1.1-0123456789ab.tmp', '.objio-another form.tmp', '.objio-.tmp'],
)


@ELSEWHERE
def test_on_a_local_disk_a_free_lock_proves_death_whoever_wrote(tmp_path: Path, name: str) -> None:
    """After a restart of the machine nothing stands in the way for an hour: no lock of a local disk is out of sight."""
    path = leave(tmp_path, name)
    with path.open('r+b') as file:
        temporary._lock(file.fileno(), wait=True)
        assert storage.sweep(str(tmp_path)) == []
    assert storage.sweep(str(tmp_path)) == [name]


@ELSEWHERE
def test_what_cannot_be_known_waits_an_hour(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a network a file of another machine, whose locks may not be seen here, goes after an hour."""
    monkeypatch.setattr(temporary, 'on_local_disk', lambda _: False)
    path = leave(tmp_path, name, age=LONG_AGO - 200)
    assert storage.sweep(str(tmp_path)) == []
    os.utime(path, (time.time() - LONG_AGO,) * 2)
    with path.open('r+b') as file:
        temporary._lock(file.fileno(), wait=True)
        assert storage.sweep(str(tmp_path)) == []
    assert storage.sweep(str(tmp_path)) == [name]
    assert names(tmp_path) == []


@pytest.mark.usefixtures('no_locks')
def test_without_locks_the_process_number_decides(tmp_path: Path) -> None:
    """A dead process of this machine proves it at once; a number of another container or machine proves nothing."""
    dead = leave(tmp_path, called(pid=dead_pid()))
    alive = leave(tmp_path, called())
    container = leave(tmp_path, called(space='1', pid=dead_pid()))
    machine = leave(tmp_path, called(kernel='00000000', pid=dead_pid()))
    huge = leave(tmp_path, called(pid=10**30))
    assert storage.sweep(str(tmp_path)) == [dead.name]
    assert set(names(tmp_path)) == {alive.name, container.name, machine.name, huge.name}
    for path in (alive, container, machine, huge):
        os.utime(path, (time.time() - LONG_AGO,) * 2)
    assert len(storage.sweep(str(tmp_path))) == 4


@pytest.mark.usefixtures('no_locks')
def test_without_locks_files_are_saved(tmp_path: Path) -> None:
    """A save needs no lock."""
    with storage.create(str(tmp_path / 'a.npz'), durable=True, size=len(NEW)) as sink:
        assert storage.sweep(str(tmp_path)) == []
        sink.write(NEW)
    assert contents(tmp_path) == {'a.npz': NEW}


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """Files, folders, pipes and links that are no temporary file of objio stay, however old and whatever their name."""
    for name in ('a.npz', '.objio.tmp', 'x.objio-1.tmp', '.objio-1.tmp.npz', 'objio-1.tmp', '.tmp', 'a.npz.tmp'):
        leave(tmp_path, name, age=LONG_AGO)
    (tmp_path / 'target').write_bytes(OLD)
    os.utime(tmp_path / 'target', (0, 0))
    (tmp_path / called(pid=1)).symlink_to('target')
    (tmp_path / called(pid=2)).mkdir()
    os.mkfifo(tmp_path / called(pid=3))
    (tmp_path / called(pid=4)).symlink_to('nowhere')
    before = names(tmp_path)
    assert storage.sweep(str(tmp_path)) == []
    assert names(tmp_path) == before
    assert (tmp_path / 'target').read_bytes() == OLD


@pytest.mark.parametrize('call', ['open', 'unlink'])
@pytest.mark.parametrize('code', [errno.EACCES, errno.EROFS, errno.ENOENT, errno.EIO], ids=errno.errorcode.get)
def test_a_file_that_cannot_be_removed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Litter that stays does not fail the save that met it; the sweep does not count it."""
    path = leave(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    assert storage.sweep(str(tmp_path)) == []
    monkeypatch.undo()
    assert storage.sweep(str(tmp_path)) == [path.name]


def test_a_read_only_file_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that died after it gave its file the mode of an old read-only one leaves it for the sweep, too."""
    path = leave(tmp_path)
    open_ = os.open

    def open_read_only(name: str, flags: int, *rest: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return open_(name, flags, *rest)

    monkeypatch.setattr(os, 'open', open_read_only)
    assert storage.sweep(str(tmp_path)) == [path.name]


def test_a_folder_that_is_not_there_cannot_be_swept(tmp_path: Path) -> None:
    """A missing folder is an error of its own."""
    with pytest.raises(FileNotFoundError):
        storage.sweep(str(tmp_path / 'nowhere'))


def test_names_are_random_and_say_who_writes(tmp_path: Path) -> None:
    """No two are equal, also where a program seeds its random numbers; each has kernel, container and process."""
    seen = set()
    for _ in range(100):
        random.seed(0)
        seen.add(leave(tmp_path).name)
    assert len(seen) == 100
    pattern = rf'\.objio-[0-9a-f]{{8}}-\d+\.{os.getpid()}-[0-9a-f]{{12}}\.tmp'
    assert all(re.fullmatch(pattern, name) for name in seen)


def test_a_name_that_is_taken_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a link that somebody put in the way of a temporary name is neither written nor followed."""
    monkeypatch.setattr('secrets.token_hex', lambda _: 'same')
    (tmp_path / 'mine').write_bytes(OLD)
    fd, path = temporary.create_temporary(str(tmp_path))
    os.close(fd)
    os.unlink(path)
    os.symlink('mine', path)
    with pytest.raises(FileExistsError):
        save(tmp_path / 'a.npz')
    assert (tmp_path / 'mine').read_bytes() == OLD
    assert os.path.islink(path)


@pytest.mark.parametrize('remove', [os.unlink, lambda path: os.rename(path, path + '.nfs0001')], ids=['disk', 'NFS'])
def test_a_sweep_in_the_instant_before_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: Callable[[str], None]
) -> None:
    """A file that a sweeper takes between its creation and its lock is made anew (NFS renames what is open)."""
    lock = temporary._lock
    taken = []

    def lock_too_late(fd: int, *, wait: bool) -> bool | None:
        if not taken:
            taken.append(True)
            (path,) = tmp_path.glob('.objio-*.tmp')
            remove(str(path))
        return lock(fd, wait=wait)

    monkeypatch.setattr(temporary, '_lock', lock_too_late)
    save(tmp_path / 'a.npz')
    assert taken
    assert (tmp_path / 'a.npz').read_bytes() == NEW


def test_an_interrupted_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the lock is waited for removes the file and closes it."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(temporary, '_lock', interrupt)
    before = len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / 'a.npz')
    assert names(tmp_path) == []
    assert (len(os.listdir('/proc/self/fd')) if before else 0) == before

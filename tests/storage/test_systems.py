"""What other systems, and file systems that lack a call, do differently; here with their answers played."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_storage import NEW, OLD, contents, save

from objio import storage
from objio.storage import kernel, temporary

linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='a call of Linux')


def answer(code: int, calls: list[Any] | None = None) -> Callable[..., None]:
    """A call that fails with `code`, or works where it is 0."""

    def stand_in(*arguments: Any) -> None:
        if calls is not None:
            calls.append(arguments)
        if code:
            raise OSError(code, os.strerror(code))

    return stand_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    return path


@linux
def test_preallocation_takes_blocks_and_keeps_bytes(path: Path) -> None:
    """The file has its full size on the disk before the first write; what is then written is what is read."""
    with storage.create(str(path), durable=True, size=8 << 20) as sink:
        (temporary_file,) = path.parent.glob('.objio-*')
        assert temporary_file.stat().st_blocks * 512 >= 8 << 20
        sink.write(NEW)
    assert contents(path.parent) == {'a.npz': NEW}


@linux
@pytest.mark.parametrize(
    ('code', 'told'),
    [(errno.EOPNOTSUPP, False), (errno.ENOSYS, False), (errno.EINTR, False), (errno.ENOSPC, True), (errno.EIO, True)],
)
def test_preallocation_is_a_hint(monkeypatch: pytest.MonkeyPatch, code: int, told: bool) -> None:
    """A file system without it, or a signal in the middle of it, is no error; a full or a bad disk is."""

    class Libc:
        def fallocate(self, *_: object) -> int:
            return -1

    monkeypatch.setattr(kernel, '_LIBC', Libc())
    monkeypatch.setattr('ctypes.get_errno', lambda: code)
    if told:
        with pytest.raises(OSError, match=r'\[Errno') as caught:
            kernel.preallocate(0, 1)
        assert caught.value.errno == code
    else:
        kernel.preallocate(0, 1)


def test_macos_is_asked_to_empty_the_drive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There fsync leaves bytes in the drive's memory: F_FULLFSYNC is called in its place, for file and folder."""
    calls: list[Any] = []
    monkeypatch.setattr(kernel, '_FULL_SYNC', 51)
    monkeypatch.setattr('fcntl.fcntl', answer(0, calls))
    monkeypatch.setattr(os, 'fsync', lambda _: pytest.fail('only fsync was called'))
    save(path)
    assert [call for _, call in calls] == [51, 51]


def test_macos_with_a_file_system_that_cannot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network file system has no F_FULLFSYNC, fsync does what it can."""
    synced: list[Any] = []
    monkeypatch.setattr(kernel, '_FULL_SYNC', 51)
    monkeypatch.setattr('fcntl.fcntl', answer(errno.ENOTSUP))
    monkeypatch.setattr(os, 'fsync', answer(0, synced))
    save(path)
    assert len(synced) == 2


def test_macos_with_a_bad_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an F_FULLFSYNC that failed, fsync would say that all is well: it is not called."""
    monkeypatch.setattr(kernel, '_FULL_SYNC', 51)
    monkeypatch.setattr('fcntl.fcntl', answer(errno.EIO))
    monkeypatch.setattr(os, 'fsync', lambda _: pytest.fail('synced again'))
    with pytest.raises(OSError, match='Input/output error'):
        save(path)
    assert contents(path.parent) == {'a.npz': OLD}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A system that renames, replaces and removes no open file; gives the seconds that were waited."""
    waited: list[float] = []

    def guarded(call: Callable[..., None]) -> Callable[..., None]:
        def stand_in(*paths: str) -> None:
            is_open = {os.readlink(fd) for fd in Path('/proc/self/fd').iterdir() if fd.exists()}
            if is_open & set(paths):
                answer(errno.EACCES)()
            call(*paths)

        return stand_in

    for module in (kernel, temporary):
        monkeypatch.setattr(module, 'WINDOWS', True)
    monkeypatch.setattr(temporary, 'fcntl', None)
    monkeypatch.setattr(os, 'replace', guarded(os.replace))
    monkeypatch.setattr(os, 'unlink', guarded(os.unlink))
    monkeypatch.setattr(os, 'kill', lambda *_: pytest.fail('there os.kill ends the process'))
    monkeypatch.setattr('time.sleep', waited.append)
    return waited


@linux
def test_windows_replaces_a_closed_file(path: Path, windows: list[float]) -> None:
    """The temporary file is closed before it is renamed, and, after a failure, before it is removed."""
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}
    with pytest.raises(KeyboardInterrupt), storage.create(str(path), durable=True, size=1):
        raise KeyboardInterrupt
    assert contents(path.parent) == {'a.npz': NEW}
    assert windows == []


@linux
def test_windows_waits_for_a_reader(path: Path, windows: list[float]) -> None:
    """While somebody reads the old file the save waits, a second at most; then it says so, and the old file stays."""
    with open(path, 'rb'):
        with pytest.raises(PermissionError):
            save(path)
        assert 0 < sum(windows) < 1
    assert contents(path.parent) == {'a.npz': OLD}


@linux
def test_windows_goes_on_when_the_reader_does(
    path: Path, windows: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the reader is gone the save succeeds."""
    reader = path.open('rb')

    def close_at_the_second(_: float) -> None:
        windows.append(0)
        if len(windows) == 2:
            reader.close()

    monkeypatch.setattr('time.sleep', close_at_the_second)
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}
    assert len(windows) == 2


@linux
@pytest.mark.usefixtures('windows')
def test_windows_sweeps_after_an_hour(path: Path) -> None:
    """Without locks, and without a way to ask for a process, the age decides."""
    fd, name = temporary.create_temporary(str(path.parent))
    os.close(fd)
    assert storage.sweep(str(path.parent)) == []
    os.utime(name, (0, 0))
    assert storage.sweep(str(path.parent)) == [os.path.basename(name)]
    assert contents(path.parent) == {'a.npz': OLD}

"""Each call of a save fails once: the error comes out, the old file stays, nothing else is left, the next save works."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support_storage import NEW, OLD, contents, save

from objio import storage
from objio.errors import ObjioError, SaveNotDurable
from objio.storage import handles, kernel, local

FULL = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    return path


def fail(code: int, calls: list[Any] | None = None) -> Callable[..., Any]:
    """Stands in for a call of the system."""

    def stand_in(*arguments: Any, **_options: Any) -> Any:
        if calls is not None:
            calls.append(arguments)
        raise OSError(code, os.strerror(code))

    return stand_in


def refuse(path: Path, code: int, patch: pytest.MonkeyPatch) -> None:
    """A save that must fail with `code`, name its file, keep the old one, and work again without the fault."""
    with pytest.raises(OSError, match='a.npz') as caught:
        save(path)
    assert caught.value.errno == code
    assert not isinstance(caught.value, ObjioError)
    assert contents(path.parent) == {'a.npz': OLD}
    patch.undo()
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}


@pytest.mark.parametrize('code', FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize('nth', [1, 2, 3])
def test_a_write_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch, code: int, nth: int) -> None:
    """A full disk, a quota, a limit or a bad disk at any write of the file."""
    results = [kernel.write_at] * (nth - 1) + [fail(code)]

    def write_at(*arguments: Any) -> int:
        return results.pop(0)(*arguments)

    monkeypatch.setattr(handles, 'write_at', write_at)
    refuse(path, code, monkeypatch)


@pytest.mark.parametrize('code', FULL, ids=errno.errorcode.get)
def test_a_reservation_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The disk has no room although it said so: told before the first byte."""
    monkeypatch.setattr(handles, '_PREALLOCATE_FROM', 1)
    monkeypatch.setattr(handles, 'preallocate', fail(code))
    monkeypatch.setattr(handles, 'write_at', lambda *_: pytest.fail('something was written'))
    refuse(path, code, monkeypatch)


def test_a_sync_that_fails_is_not_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO from fsync means lost pages; a second fsync would say that all is well, so there is none, and no rename."""
    calls: list[Any] = []
    monkeypatch.setattr(os, 'fsync', fail(errno.EIO, calls))
    monkeypatch.setattr(os, 'replace', lambda *_: pytest.fail('renamed without a sync'))
    with pytest.raises(OSError, match='Input/output error'):
        save(path)
    assert len(calls) == 1
    refuse(path, errno.EIO, monkeypatch)


def test_a_close_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may tell of a lost write only at close; that, too, comes before the rename."""
    dup, close = os.dup, os.close
    duplicates: list[int] = []

    def record(fd: int) -> int:
        duplicates.append(dup(fd))
        return duplicates[-1]

    def fail_for_duplicates(fd: int) -> None:
        close(fd)
        if fd in duplicates:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, 'dup', record)
    monkeypatch.setattr(os, 'close', fail_for_duplicates)
    refuse(path, errno.EDQUOT, monkeypatch)


@pytest.mark.parametrize('code', [errno.EIO, errno.EACCES, errno.EBUSY, errno.ESTALE], ids=errno.errorcode.get)
def test_a_rename_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The old file keeps its name."""
    monkeypatch.setattr(os, 'replace', lambda _, new: fail(code)() if new == str(path) else None)
    with pytest.raises(OSError, match=r'\[Errno') as caught:
        save(path)
    assert caught.value.errno == code
    assert contents(path.parent) == {'a.npz': OLD}


def test_a_rename_whose_reply_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over NFS a rename can be done and yet report an error: then the save has succeeded."""
    replace = os.replace

    def lose_the_reply(old: str, new: str) -> None:
        replace(old, new)
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), old, None, new)

    monkeypatch.setattr(os, 'replace', lose_the_reply)
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}


def test_a_temporary_file_that_vanished(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary file is gone and the name holds another file, nothing was saved, and the save says so."""
    replace = os.replace

    def rename_after_a_stranger(old: str, new: str) -> None:
        os.unlink(old)
        replace(old, new)

    monkeypatch.setattr(os, 'replace', rename_after_a_stranger)
    with pytest.raises(FileNotFoundError):
        save(path)
    assert contents(path.parent) == {'a.npz': OLD}


def sync_files_only(code: int, folder: Path) -> Callable[[int], None]:
    """An fsync that fails for a folder."""
    fsync = os.fsync

    def stand_in(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), os.stat(folder)):
            fail(code)()
        fsync(fd)

    return stand_in


@pytest.mark.parametrize('code', [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_synced(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """`SaveNotDurable` says that the file is complete and in place; it is, and it is an `OSError` with its code."""
    monkeypatch.setattr(os, 'fsync', sync_files_only(code, path.parent))
    for action in (save, lambda path: storage.sync(str(path))):
        with pytest.raises(SaveNotDurable, match='complete and in place') as caught:
            action(path)
        assert (caught.value.errno, caught.value.filename) == (code, str(path))
        assert isinstance(caught.value, OSError)
        assert contents(path.parent) == {'a.npz': NEW}


def test_a_second_name_that_is_not_durable_is_no_save(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that only gets another name is no new file in place: the error is the system's, and names the folder."""
    save(path)
    monkeypatch.setattr(os, 'fsync', sync_files_only(errno.EIO, path.parent))
    for action in (storage.link, storage.unlink):
        with pytest.raises(OSError, match='error') as caught:
            action(f'{path}', f'{path}.damaged')
        assert not isinstance(caught.value, SaveNotDurable)
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path.parent))


def test_a_folder_that_cannot_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may be written to but not read cannot be synced: the save is there, and says that much."""
    open_ = os.open
    monkeypatch.setattr(
        os, 'open', lambda name, *rest: (fail(errno.EACCES) if name == str(path.parent) else open_)(name, *rest)
    )
    with pytest.raises(SaveNotDurable):
        save(path)
    assert contents(path.parent) == {'a.npz': NEW}


@pytest.mark.parametrize('code', [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_that_syncs_no_folders(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Where there is no such call nothing failed, and every save would else be an error."""
    monkeypatch.setattr(os, 'fsync', sync_files_only(code, path.parent))
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}


@pytest.mark.parametrize('most', [1, 7, 4096])
def test_writes_that_take_a_part(path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The system may take less than it is given; the file has every byte at its place."""
    data = NEW[: 500 * most]
    monkeypatch.setattr(handles, 'write_at', lambda fd, offset, buffer: os.pwrite(fd, buffer[:most], offset))
    save(path, data)
    assert contents(path.parent) == {'a.npz': data}


def test_writes_that_take_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes no bytes and reports no error ends in one, not in a loop without end."""
    results = iter([0] * 10_000)
    monkeypatch.setattr(handles, 'write_at', lambda *_: next(results))
    refuse(path, errno.EIO, monkeypatch)


def test_a_failure_of_the_clean_up_hides_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary file cannot be removed either, the first error is the one that comes out."""
    monkeypatch.setattr(os, 'fsync', fail(errno.EIO))
    monkeypatch.setattr(os, 'unlink', fail(errno.EROFS))
    with pytest.raises(OSError, match='Input/output error'):
        save(path)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert len(storage.sweep(str(path.parent))) == 1
    assert contents(path.parent) == {'a.npz': OLD}


def test_a_folder_on_a_bad_disk_is_not_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder of a new file cannot be looked at, the error is the disk's, and no advice to make a folder."""
    stat = os.stat
    monkeypatch.setattr(
        os, 'stat', lambda name, **rest: (fail(errno.EIO) if name == str(tmp_path) else stat)(name, **rest)
    )
    with pytest.raises(OSError, match='Input/output error') as caught:
        save(tmp_path / 'new.npz')
    assert caught.value.errno == errno.EIO


def test_too_little_space_is_told_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC with both sizes, before a file is created; a file that just fits is written."""
    disk = SimpleNamespace(f_blocks=100, f_bavail=3, f_frsize=1 << 20)
    monkeypatch.setattr(os, 'statvfs', lambda _: disk)
    monkeypatch.setattr(local, 'create_temporary', lambda *_: pytest.fail('something was created'))
    with (
        pytest.raises(OSError, match=r'needs 3\.1 MiB, the disk has 3\.0 MiB left; nothing was written') as caught,
        storage.create(str(path), durable=True, size=3251000),
    ):
        pytest.fail('the block was entered')
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    monkeypatch.setattr(os, 'statvfs', lambda _: SimpleNamespace(f_blocks=100, f_bavail=len(NEW), f_frsize=1))
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}


def test_a_file_system_that_counts_no_blocks_is_not_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems give 0 of 0 blocks free: that says nothing about the space."""
    monkeypatch.setattr(os, 'statvfs', lambda _: SimpleNamespace(f_blocks=0, f_bavail=0, f_frsize=4096))
    save(path)
    assert contents(path.parent) == {'a.npz': NEW}

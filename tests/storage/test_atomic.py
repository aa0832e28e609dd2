"""A name holds the old file or the new one, whole, and nothing else is left in the folder."""

import errno
import os
import signal
from pathlib import Path

import pytest
from support_storage import NEW, OLD, contents, names, save

from objio import storage

DURABLE = pytest.mark.parametrize('durable', [True, False])


@DURABLE
def test_a_save_appears_whole(tmp_path: Path, durable: bool) -> None:
    """The name is not there while the file is written, and holds all of it after the block."""
    path = tmp_path / 'a.npz'
    with storage.create(str(path), durable=durable, size=len(NEW)) as sink:
        sink.write(NEW)
        assert not path.exists()
    assert contents(tmp_path) == {'a.npz': NEW}


@DURABLE
def test_a_save_replaces_an_old_file(tmp_path: Path, durable: bool) -> None:
    """The old file can be read while the new one is written; after the block there is the new one alone."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    with storage.create(str(path), durable=durable, size=len(NEW)) as sink:
        sink.write(NEW)
        assert path.read_bytes() == OLD
    assert contents(tmp_path) == {'a.npz': NEW}


@pytest.mark.parametrize('error', [RuntimeError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize('old', [{}, {'a.npz': OLD}], ids=['new name', 'old file'])
def test_a_failure_midway_leaves_the_folder_as_it_was(
    tmp_path: Path, error: type[BaseException], old: dict[str, bytes]
) -> None:
    """Whatever is raised inside the block comes out of it; the folder holds what it held."""
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error), storage.create(str(tmp_path / 'a.npz'), durable=True, size=len(NEW)) as sink:
        sink.write(NEW[:100])
        raise error
    assert contents(tmp_path) == old


def test_ctrl_c_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """A SIGINT between two writes ends in KeyboardInterrupt, the old file, and no temporary one."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    with pytest.raises(KeyboardInterrupt), storage.create(str(path), durable=True, size=len(NEW)) as sink:
        sink.write(NEW[:100])
        signal.raise_signal(signal.SIGINT)
        sink.write(NEW[100:])
    assert contents(tmp_path) == {'a.npz': OLD}


def test_a_save_after_a_failed_one_is_whole(tmp_path: Path) -> None:
    """A failure does not stand in the way of the next save."""
    path = tmp_path / 'a.npz'
    with pytest.raises(ZeroDivisionError), storage.create(str(path), durable=True, size=len(NEW)) as sink:
        sink.write(bytes(1 // 0))
    save(path)
    assert contents(tmp_path) == {'a.npz': NEW}


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path: Path) -> None:
    """A reader that opened the old file before the save sees all of it and nothing of the new one."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    with open(path, 'rb') as reader:
        half = reader.read(len(OLD) // 2)
        save(path)
        assert half + reader.read() == OLD


def test_the_temporary_file_stands_beside_its_target(tmp_path: Path) -> None:
    """The one temporary file is in the target's folder, is hidden, and matches no pattern for saves."""
    with storage.create(str(tmp_path / 'a.npz'), durable=True, size=1) as sink:
        (name,) = names(tmp_path)
        sink.write(b'x')
    assert name.startswith('.objio-')
    assert name.endswith('.tmp')


@pytest.mark.parametrize('size', [0, 1, len(NEW), 3 << 20])
def test_the_file_ends_after_its_last_byte(tmp_path: Path, size: int) -> None:
    """The size given before is for the disk; the file has as many bytes as were written."""
    with storage.create(str(tmp_path / 'a.npz'), durable=True, size=size) as sink:
        sink.write(NEW)
    assert contents(tmp_path) == {'a.npz': NEW}


def test_pieces_come_one_after_the_other_and_are_filled_in(tmp_path: Path) -> None:
    """`write` goes on at the end, wherever `write_at` filled in something before."""
    with storage.create(str(tmp_path / 'a.npz'), durable=True, size=12) as sink:
        sink.write(b'....')
        sink.write_at(1, memoryview(b'bc'))
        sink.write(memoryview(b'....'))
        sink.write_at(0, b'a')
        sink.write_at(3, b'def')
        sink.write(b'g')
    assert contents(tmp_path) == {'a.npz': b'abcdef..g'}


def test_a_long_file_is_handed_to_the_disk_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writeback of a durable save starts while it is written, in steps that grow to the last one, each byte once."""
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr('objio.storage.handles._FIRST_STEP', 1000)
    monkeypatch.setattr('objio.storage.handles._LAST_STEP', 3000)
    monkeypatch.setattr('objio.storage.handles.start_writeback', lambda _fd, start, size: steps.append((start, size)))
    for durable in (False, True):
        with storage.create(str(tmp_path / 'a.npz'), durable=durable, size=12500) as sink:
            for _ in range(25):
                sink.write(bytes(500))
    assert steps == [(0, 1000), (1000, 2000), (3000, 3000), (6000, 3000), (9000, 3000)]


def test_a_save_does_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means what it meant when the save began, as one in the background needs."""
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path)
    with storage.create('a.npz', durable=True, size=len(NEW)) as sink:
        monkeypatch.chdir(tmp_path / 'elsewhere')
        sink.write(NEW)
    assert names(tmp_path) == ['a.npz', 'elsewhere']
    assert names(tmp_path / 'elsewhere') == []


@DURABLE
def test_the_order_is_sync_rename_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    """The bytes reach the disk before the name, and the name before the save returns; `durable=False` syncs nothing."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(fd: int) -> None:
        events.append(f'sync {"folder" if os.path.samestat(os.fstat(fd), os.stat(tmp_path)) else "file"}')
        fsync(fd)

    def record_replace(old: str, new: str) -> None:
        events.append(f'rename {os.path.getsize(old)} bytes to {os.path.basename(new)}')
        replace(old, new)

    monkeypatch.setattr(os, 'fsync', record_fsync)
    monkeypatch.setattr(os, 'replace', record_replace)
    save(path, durable=durable)
    rename = f'rename {len(NEW)} bytes to a.npz'
    assert events == (['sync file', rename, 'sync folder'] if durable else [rename])


@pytest.mark.skipif(os.name == 'nt', reason='Windows syncs no folder')
def test_a_file_of_somebody_else_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync` syncs the file, then the folder it really stands in, also behind a symbolic link."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'a.npz').write_bytes(NEW)
    (tmp_path / 'link.npz').symlink_to('far/a.npz')
    synced: list[str] = []

    def record(fd: int) -> None:
        paths = [tmp_path, tmp_path / 'far', tmp_path / 'far' / 'a.npz']
        synced.extend(path.name for path in paths if os.path.samestat(os.fstat(fd), os.stat(path)))

    monkeypatch.setattr(os, 'fsync', record)
    storage.sync(str(tmp_path / 'link.npz'))
    assert synced == ['a.npz', 'far']


def test_a_file_of_somebody_else_that_cannot_be_synced_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync` names the file whose bytes the disk did not take."""
    path = tmp_path / 'a.npz'
    path.write_bytes(NEW)

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='a.npz') as caught:
        storage.sync(str(path))
    assert caught.value.errno == errno.EIO

"""One open file: read at any place by any thread, mapped, cut short, closed."""

import errno
import gc
import importlib.util
import mmap
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support_storage import NEW, OLD, read, save

from objio import storage
from objio.errors import FormatError, ObjioError
from objio.storage import handles, kernel

needs_proc = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='open descriptors are counted in /proc')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / 'a.npz'
    path.write_bytes(NEW)
    return path


def fail(code: int) -> Any:
    """Stands in for a call of the system."""

    def stand_in(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return stand_in


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir('/proc/self/fd'))


def test_any_part_is_read(path: Path) -> None:
    """Size and name are those of the file; any range gives its bytes, an empty one none."""
    with storage.open_file(str(path)) as source:
        assert (source.size, source.name) == (len(NEW), str(path))
        for start, size in [(0, len(NEW)), (10, 100), (len(NEW) - 1, 1), (5, 0), (len(NEW), 0)]:
            part = bytearray(size)
            source.read_into(start, memoryview(part))
            assert part == NEW[start : start + size]


def test_a_file_that_is_cut_while_it_is_read(path: Path) -> None:
    """A file that shrinks is a `FormatError` that says where it ends now; what is left can still be read."""
    with storage.open_file(str(path)) as source:
        os.truncate(path, 60)
        with pytest.raises(
            FormatError,
            match=r'a\.npz: expected 100 bytes from byte 10, but the file ends after 50 of them\..*cut short',
        ):
            source.read_into(10, memoryview(bytearray(100)))
        with pytest.raises(FormatError, match='cut short after it was opened'):
            source.map()
        part = bytearray(60)
        source.read_into(0, memoryview(part))
        assert part == NEW[:60]


@pytest.mark.parametrize('code', [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
def test_a_bad_disk_is_no_bad_file(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """An error of the disk is the system's `OSError`, with the file's name, and never a `FormatError`."""
    with storage.open_file(str(path)) as source:
        monkeypatch.setattr(handles, 'read_at', fail(code))
        with pytest.raises(OSError, match='a.npz') as caught:
            source.read_into(0, memoryview(bytearray(10)))
        assert caught.value.errno == code
        assert not isinstance(caught.value, ObjioError)
        monkeypatch.setattr(mmap, 'mmap', fail(code))
        with pytest.raises(OSError, match='a.npz'):
            source.map()


def test_a_map_survives_what_becomes_of_its_file(path: Path) -> None:
    """The pages show the old bytes after the source is closed and gone, the file replaced and removed; read-only."""
    source = storage.open_file(str(path))
    pages = source.map()
    assert pages is not None
    assert pages is source.map()
    source.close()
    del source
    gc.collect()
    save(path, OLD)
    assert bytes(pages) == NEW
    path.unlink()
    assert bytes(pages) == NEW
    assert pages.readonly


def test_a_file_that_cannot_be_mapped_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have no maps: then there is none, and no error."""
    monkeypatch.setattr(mmap, 'mmap', fail(errno.ENODEV))
    with storage.open_file(str(path)) as source:
        assert source.map() is None
        assert read(source) == NEW


def test_an_empty_file_has_no_map(tmp_path: Path) -> None:
    """No pages, no bytes, no error."""
    (tmp_path / 'empty').write_bytes(b'')
    with storage.open_file(str(tmp_path / 'empty')) as source:
        assert (source.size, source.map(), read(source)) == (0, None, b'')


def test_a_closed_source_reads_nothing(path: Path, tmp_path: Path) -> None:
    """The next file that is opened gets the old one's descriptor; a closed source must not read that."""
    source = storage.open_file(str(path))
    source.close()
    source.close()
    (tmp_path / 'other').write_bytes(OLD)
    with open(tmp_path / 'other', 'rb'):
        for action in (lambda: source.read_into(0, memoryview(bytearray(10))), source.map):
            with pytest.raises(ValueError, match=r'a\.npz was closed'):
                action()


@needs_proc
def test_no_descriptor_is_left_open(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 1,000 opens of each kind, closed, forgotten, mapped or failed, as many are open as before."""
    before = open_descriptors()
    for _ in range(1000):
        with storage.open_file(str(path)) as source:
            source.read_into(0, memoryview(bytearray(10)))
        storage.open_file(str(path)).map()
        with open(path, 'rb') as file:
            storage.open_file_object(file)
        for bad in (tmp_path, tmp_path / 'missing'):
            with pytest.raises(OSError, match=r'\[Errno'):
                storage.open_file(str(bad))
    monkeypatch.setattr(os, 'fstat', fail(errno.EIO))
    with pytest.raises(OSError, match='Input/output error'):
        storage.open_file(str(path))
    monkeypatch.undo()
    assert open_descriptors() == before


@needs_proc
def test_no_descriptor_is_left_open_by_saves(path: Path) -> None:
    """Nor after saves that work and saves that fail."""
    before = open_descriptors()
    for _ in range(20):
        save(path)
        with pytest.raises(ZeroDivisionError), storage.create(str(path), durable=True, size=1) as sink:
            sink.write(bytes(1 // 0))
    assert open_descriptors() == before


def read_in_threads(source: storage.LocalSource, data: bytes) -> list[int]:
    """Reads every part of a file in eight threads; gives the places where something else was read."""
    wrong: list[int] = []

    def work(first: int) -> None:
        part = bytearray(5000)
        for start in range(first, len(data) - len(part), 1793):
            source.read_into(start, memoryview(part))
            if part != data[start : start + len(part)]:
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


DATA = bytes(i * 7 % 251 for i in range(200_000))


def test_threads_read_at_once(path: Path) -> None:
    """Each thread gets the bytes it asked for."""
    path.write_bytes(DATA)
    with storage.open_file(str(path)) as source:
        assert read_in_threads(source, DATA) == []


@pytest.mark.parametrize('most', [1, 7])
def test_more_than_the_system_takes_at_once(path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """macOS refuses to move 2 GiB and more in one call: reads and writes ask for less, and go on with the rest."""
    preadv, pwrite = os.preadv, os.pwrite

    def strict_preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        return preadv(fd, buffers, offset) if len(buffers[0]) <= most else fail(errno.EINVAL)()

    def strict_pwrite(fd: int, buffer: memoryview, offset: int) -> int:
        return pwrite(fd, buffer, offset) if len(buffer) <= most else fail(errno.EINVAL)()

    monkeypatch.setattr(os, 'preadv', strict_preadv)
    monkeypatch.setattr(os, 'pwrite', strict_pwrite)
    assert kernel._MOST_AT_ONCE < 2 << 30
    monkeypatch.setattr(kernel, '_MOST_AT_ONCE', most)
    save(path, OLD[:500])
    with storage.open_file(str(path)) as source:
        assert read(source) == OLD[:500]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kernel module as it is where Python has neither `preadv` nor `fcntl`."""
    monkeypatch.delattr(os, 'preadv')
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    monkeypatch.setattr(sys, 'platform', 'win32')
    spec = importlib.util.spec_from_file_location('kernel_elsewhere', str(kernel.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.undo()
    return module


def test_where_python_reads_only_at_the_position(
    path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: ModuleType
) -> None:
    """On Windows threads take turns with the one position of a file; what is written and read is the same."""
    for module, name in [(handles, 'read_at'), (handles, 'write_at'), (handles, 'preallocate')]:
        monkeypatch.setattr(module, name, getattr(elsewhere, name))
    monkeypatch.setattr(handles, 'start_writeback', elsewhere.start_writeback)
    monkeypatch.setattr(handles, '_FIRST_STEP', 1000)
    monkeypatch.setattr(handles, '_PREALLOCATE_FROM', 1)
    save(path, DATA)
    assert path.read_bytes() == DATA
    with storage.open_file(str(path)) as source:
        assert read_in_threads(source, DATA) == []
        with pytest.raises(FormatError, match='ends after 0'):
            source.read_into(len(DATA), memoryview(bytearray(1)))
    with path.open('ab') as file:
        assert not elsewhere.appends(file.fileno())

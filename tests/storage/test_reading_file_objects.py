"""A file object of the caller is read from position 0, and given back as it was."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support_storage import NEW, OLD, read

from objio import storage
from objio.errors import FormatError


class Remote:
    """What fsspec and its like give: read, seek and tell, in small pieces; no readinto, no descriptor, no `closed`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.seek, self.tell = self._file.seek, self._file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000) if size >= 0 else size)


class Unbuffered(io.RawIOBase):
    """A file that is not one of the system's."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[:1000])


@contextmanager
def temporary_file(path: Path) -> Iterator[Any]:
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:
        file.write(path.read_bytes())
        yield file


@contextmanager
def compressed(path: Path, module: Any) -> Iterator[Any]:
    path.write_bytes(module.compress(path.read_bytes()))
    with module.open(path) as file:
        yield file


@contextmanager
def member(path: Path, method: int) -> Iterator[Any]:
    with zipfile.ZipFile(path.parent / 'zip', 'w', method) as archive:
        archive.write(path, 'member')
    with zipfile.ZipFile(path.parent / 'zip') as archive, archive.open('member') as file:
        yield file


KINDS: dict[str, Callable[[Path], Any]] = {
    'rb': lambda path: open(path, 'rb'),
    'r+b': lambda path: open(path, 'r+b'),
    'rb, unbuffered': lambda path: open(path, 'rb', buffering=0),
    'BytesIO': lambda path: io.BytesIO(path.read_bytes()),
    'NamedTemporaryFile': temporary_file,
    'gzip': lambda path: compressed(path, gzip),
    'bz2': lambda path: compressed(path, bz2),
    'lzma': lambda path: compressed(path, lzma),
    'member, stored': lambda path: member(path, zipfile.ZIP_STORED),
    'member, deflated': lambda path: member(path, zipfile.ZIP_DEFLATED),
    'RawIOBase': lambda path: Unbuffered(path.read_bytes()),
}


@pytest.mark.parametrize('kind', KINDS)
def test_a_file_is_read_anywhere_and_left_where_it_stood(tmp_path: Path, kind: str) -> None:
    """All of it from position 0, and any part of it in any order; then it is open and at its old position."""
    path = tmp_path / 'file'
    path.write_bytes(NEW)
    with KINDS[kind](path) as file:
        file.seek(5)
        with storage.open_file_object(file) as source:
            assert source.size == len(NEW)
            assert read(source) == NEW
            for start in (9000, 20, 14000, 0):
                part = bytearray(900)
                source.read_into(start, memoryview(part))
                assert part == NEW[start : start + 900]
        assert file.tell() == 5
        assert file.read(10) == NEW[5:15]


def test_an_object_without_readinto_is_read() -> None:
    """`read`, `seek`, `tell` and `seekable` are all that is asked for."""
    file = Remote(NEW)
    file.seek(5)
    with storage.open_file_object(file) as source:
        assert read(source) == NEW
    assert file.tell() == 5


def test_a_pipe_is_read_to_its_end() -> None:
    """A file that cannot seek is read once, and then read from memory anywhere."""
    reader, writer = os.pipe()
    with open(writer, 'wb') as file:
        file.write(NEW)
    with open(reader, 'rb') as file, storage.open_file_object(file) as source:
        assert read(source) == NEW
        assert read(source) == NEW


def test_a_pipe_without_bytes_in_non_blocking_mode_is_an_error() -> None:
    """Nothing yet is not the same as an empty file."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with (
        open(writer, 'wb'),
        open(reader, 'rb', buffering=0) as file,
        pytest.raises(BlockingIOError, match='blocking mode'),
    ):
        storage.open_file_object(file)


def test_what_the_caller_wrote_last_is_read(tmp_path: Path) -> None:
    """Bytes that still are in the caller's buffer belong to the file."""
    with open(tmp_path / 'file', 'w+b') as file:
        file.write(NEW)
        with storage.open_file_object(file) as source:
            assert read(source) == NEW


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows reads at a position only by moving it')
@pytest.mark.parametrize('kind', ['rb', 'r+b', 'rb, unbuffered'])
def test_a_real_file_is_read_by_its_descriptor(tmp_path: Path, kind: str) -> None:
    """As fast as by name, with a map, and after the caller closed it."""
    path = tmp_path / 'file'
    path.write_bytes(NEW)
    with KINDS[kind](path) as file:
        source = storage.open_file_object(file)
    with source:
        assert isinstance(source, storage.LocalSource)
        assert bytes(source.map() or b'') == NEW
        assert read(source) == NEW
        assert source.name == str(path)


def test_closing_twice_leaves_the_position_to_the_caller(tmp_path: Path) -> None:
    """After the first close the file is the caller's; a second one does not move it."""
    file = io.BytesIO(NEW)
    source = storage.open_file_object(file)
    source.close()
    file.seek(77)
    source.close()
    assert file.tell() == 77
    file.close()
    storage.open_file_object(Remote(NEW)).close()


def test_a_file_that_the_caller_closed_is_no_error_at_the_end() -> None:
    """There is no position to put back then."""
    file = io.BytesIO(NEW)
    with storage.open_file_object(file) as source:
        assert read(source) == NEW
        file.close()


@pytest.mark.parametrize('kind', ['BytesIO', 'rb', 'gzip'])
def test_bytes_beyond_the_end_are_a_format_error(tmp_path: Path, kind: str) -> None:
    """The message gives what was expected and what was there."""
    path = tmp_path / 'file'
    path.write_bytes(NEW)
    with (
        KINDS[kind](path) as file,
        storage.open_file_object(file) as source,
        pytest.raises(FormatError, match='expected 100 bytes from byte 14950, but the file ends after 50 of them'),
    ):
        source.read_into(len(NEW) - 50, memoryview(bytearray(100)))


def test_threads_read_at_once() -> None:
    """A position is shared by all threads, and still each gets the bytes it asked for."""
    data = bytes(range(256)) * 1000
    wrong: list[int] = []
    with storage.open_file_object(Remote(data)) as source:

        def work(first: int) -> None:
            part = bytearray(256 * 10)
            for start in range(first, len(data) - len(part), 256 * 7):
                source.read_into(start, memoryview(part))
                if part != data[start : start + len(part)]:
                    wrong.append(start)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


TEXT: dict[str, Callable[[Path], Any]] = {
    'r': lambda path: open(path, encoding='utf-8'),
    'StringIO': lambda path: io.StringIO('old'),
    'codecs': lambda path: codecs.getreader('utf-8')(open(path, 'rb')),
    'SpooledTemporaryFile': lambda path: tempfile.SpooledTemporaryFile(mode='w+'),
}


@pytest.mark.parametrize('kind', TEXT)
def test_text_mode_is_refused(tmp_path: Path, kind: str) -> None:
    """One clear error that says which mode to use."""
    path = tmp_path / 'file'
    path.write_bytes(OLD)
    with TEXT[kind](path) as file, pytest.raises(TypeError, match="open it in binary mode, 'rb'"):
        storage.open_file_object(file)


def test_a_file_open_for_writing_is_refused(tmp_path: Path) -> None:
    """The direction is checked first."""
    for mode in ('wb', 'ab'):
        with open(tmp_path / 'file', mode) as file, pytest.raises(TypeError, match="not open to read; .* 'rb'"):
            storage.open_file_object(file)


def test_a_closed_file_is_refused() -> None:
    """As Python itself says it."""
    file = io.BytesIO()
    file.close()
    with pytest.raises(ValueError, match='closed file'):
        storage.open_file_object(file)


def test_a_file_object_that_has_no_bytes_now_is_not_damaged() -> None:
    """One that can seek and does not block gives None: that says nothing of its content."""

    class Waiting(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            return None

    with storage.open_file_object(Waiting(b'abc')) as source, pytest.raises(BlockingIOError, match='no bytes now'):
        source.read_into(0, memoryview(bytearray(3)))

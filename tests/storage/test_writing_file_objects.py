"""A file object of the caller is written from position 0 to the last byte, or refused untouched."""

import bz2
import codecs
import errno
import gzip
import io
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from support_storage import NEW, OLD

from objio import storage
from objio.formats import SeekableSink

OLDER_AND_LONGER = OLD * 3


def put(file: Any, data: bytes = NEW) -> bool:
    """Writes as formats do; returns whether the file could be filled in afterwards."""
    with storage.write_file_object(file) as sink:
        if not isinstance(sink, SeekableSink):
            sink.write(memoryview(data))
            return False
        sink.write(bytes(4))
        sink.write(memoryview(data)[4:9])
        sink.write_at(0, data[:4])
        sink.write(data[9:])
        return True


REAL: dict[str, Callable[[Path], IO[bytes]]] = {
    'wb': lambda path: open(path, 'wb'),
    'w+b': lambda path: open(path, 'w+b'),
    'r+b': lambda path: open(path, 'r+b'),
    'wb, unbuffered': lambda path: open(path, 'wb', buffering=0),
    'r+b, unbuffered': lambda path: open(path, 'r+b', buffering=0),
    'descriptor': lambda path: os.fdopen(os.open(path, os.O_RDWR), 'r+b'),
}


@pytest.mark.parametrize('mode', REAL)
def test_a_real_file_is_written_whole(tmp_path: Path, mode: str) -> None:
    """From position 0; longer old content is cut off; all of it is in the file before it is closed."""
    path = tmp_path / 'file'
    path.write_bytes(OLDER_AND_LONGER)
    with REAL[mode](path) as file:
        file.write(b'some')
        file.seek(0)
        assert put(file)
        assert path.read_bytes() == NEW
        assert file.tell() == len(NEW)


MEMORY: dict[str, Callable[[], IO[bytes]]] = {
    'BytesIO': io.BytesIO,
    'TemporaryFile': tempfile.TemporaryFile,
    'NamedTemporaryFile': tempfile.NamedTemporaryFile,
    'SpooledTemporaryFile': tempfile.SpooledTemporaryFile,
}


@pytest.mark.parametrize('kind', MEMORY)
def test_a_file_without_a_name_is_written_whole(kind: str) -> None:
    """As for real files."""
    with MEMORY[kind]() as file:
        file.write(OLDER_AND_LONGER)
        file.seek(0)
        assert put(file)
        file.seek(0)
        assert file.read() == NEW


@pytest.mark.parametrize('mode', REAL)
def test_a_real_file_that_stands_elsewhere_is_refused(tmp_path: Path, mode: str) -> None:
    """What was written before is not overwritten: nothing is, and the position stays; `seek(0)` is the cure it names."""
    path = tmp_path / 'file'
    path.write_bytes(OLDER_AND_LONGER)
    with REAL[mode](path) as file:
        file.write(b'a line\n')
        with pytest.raises(
            ValueError, match=r'stands at position 7, but objio writes from position 0.*file\.seek\(0\)'
        ):
            put(file)
        assert file.tell() == 7
        file.write(b'another\n')
        file.flush()
        content = path.read_bytes()
        file.seek(0)
        assert put(file)
    assert content.startswith(b'a line\nanother\n')
    assert len(content) == (len(OLDER_AND_LONGER) if mode in ('r+b', 'r+b, unbuffered', 'descriptor') else 15)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize('position', [1, len(OLDER_AND_LONGER), len(OLDER_AND_LONGER) + 5])
@pytest.mark.parametrize('kind', MEMORY)
def test_a_file_without_a_name_that_stands_elsewhere_is_refused(kind: str, position: int) -> None:
    """In the middle, at the end, as after an earlier save, or beyond it; the content stays, and the position."""
    with MEMORY[kind]() as file:
        file.write(OLDER_AND_LONGER)
        file.seek(position)
        with pytest.raises(ValueError, match=f'stands at position {position}, .* io.BytesIO'):
            put(file)
        assert file.tell() == position
        file.seek(0)
        assert file.read() == OLDER_AND_LONGER


def test_a_position_moved_by_the_descriptor_counts(tmp_path: Path) -> None:
    """A file object that was made of a descriptor which stands behind a header stands there too."""
    fd = os.open(tmp_path / 'file', os.O_RDWR | os.O_CREAT)
    os.write(fd, b'header')
    with os.fdopen(fd, 'wb') as file, pytest.raises(ValueError, match='stands at position 6'):
        put(file)
    assert (tmp_path / 'file').read_bytes() == b'header'


def test_a_buffer_in_use_is_refused_where_it_stands() -> None:
    """Memory that cannot be cut, since somebody looks at it, is Python's own error; position and content stay."""
    file = io.BytesIO(b'0123456789')
    with file.getbuffer(), pytest.raises(BufferError):
        put(file)
    assert (file.tell(), file.getvalue()) == (0, b'0123456789')


@pytest.mark.parametrize('module', [gzip, bz2, lzma])
def test_a_file_that_compresses_is_written_forward(tmp_path: Path, module: Any) -> None:
    """gzip says that it can seek, but cannot go back: such files get the bytes in order."""
    with module.open(tmp_path / 'file', 'wb') as file:
        file.write(b'a line\n')
        assert not put(file)
    with module.open(tmp_path / 'file') as file:
        assert file.read() == b'a line\n' + NEW


def test_a_member_of_a_zip_file_is_written_forward(tmp_path: Path) -> None:
    """The handle that `ZipFile.open(name, 'w')` gives."""
    with zipfile.ZipFile(tmp_path / 'file', 'w') as archive, archive.open('member', 'w') as file:
        file.write(b'a line\n')
        assert not put(file)
    assert zipfile.ZipFile(tmp_path / 'file').read('member') == b'a line\n' + NEW


def test_a_pipe_is_written_forward() -> None:
    """A pipe cannot seek; its buffer is empty afterwards."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, 'rb', buffering=0) as source, open(writer, 'wb') as file:
        assert not put(file, b'a few bytes')
        assert source.read(100) == b'a few bytes'


def test_a_device_is_written_forward() -> None:
    """What has no end that could be cut, such as `/dev/null`, takes the bytes."""
    with open('/dev/null', 'wb') as file:
        assert not put(file)


class Raw(io.RawIOBase):
    """A file without a buffer whose writes do as they are told."""

    def __init__(self, most: int | None) -> None:
        self.data = b''
        self._most = most
        self._calls = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        self._calls += 1
        assert self._calls < 10_000, 'it is asked for ever'
        self.data += bytes(data[: self._most or 0])
        return self._most if self._most is None else min(self._most, len(data))


def test_a_file_that_takes_a_part_gets_the_rest() -> None:
    """An unbuffered file may take fewer bytes than it is given."""
    file = Raw(most=7)
    put(file)
    assert file.data == NEW


@pytest.mark.parametrize(('most', 'code'), [(None, errno.EAGAIN), (0, errno.EIO)])
def test_a_file_that_takes_nothing_is_an_error(most: int | None, code: int) -> None:
    """A file in non-blocking mode that is full, or one that takes no bytes, ends in an error, not in a short file."""
    with pytest.raises(OSError, match=r'no (more )?bytes') as caught:
        put(Raw(most))
    assert caught.value.errno == code


def test_a_full_pipe_in_non_blocking_mode_is_an_error() -> None:
    """The same with a real one."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with (
        open(reader, 'rb'),
        open(writer, 'wb', buffering=0) as file,
        pytest.raises(BlockingIOError, match='blocking mode'),
    ):
        put(file, bytes(1 << 20))


class Plain:
    """The least that is a file: no flush, no truncate, and `write` returns nothing."""

    def __init__(self) -> None:
        self.data = b''

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        self.data += bytes(data)


@pytest.mark.parametrize('what', ['seekable', 'tell', 'seek'])
@pytest.mark.parametrize(
    'no', [OSError(errno.ESPIPE, 'Illegal seek'), io.UnsupportedOperation('no'), NotImplementedError('no')], ids=repr
)
def test_what_cannot_seek_after_all_is_written_forward(what: str, no: Exception) -> None:
    """Whichever call says no, and however: the bytes follow what was written before."""

    class Forward(io.BytesIO):
        def refuse(self, *_: object) -> Any:
            raise no

    file = Forward()
    file.write(b'header')
    setattr(Forward, what, Forward.refuse)
    assert not put(file)
    assert file.getvalue() == b'header' + NEW


def test_a_plain_object_is_written_forward() -> None:
    """What cannot be cut is not overwritten; a `write` that returns nothing took everything."""
    file = Plain()
    assert not put(file)
    assert file.data == NEW


TEXT: dict[str, Callable[[Path], Any]] = {
    'w': lambda path: open(path, 'r+', encoding='utf-8'),
    'NamedTemporaryFile': lambda path: tempfile.NamedTemporaryFile('r+', dir=path.parent),
    'SpooledTemporaryFile': lambda path: tempfile.SpooledTemporaryFile(mode='w+'),
    'StringIO': lambda path: io.StringIO('old'),
    'codecs': lambda path: codecs.getwriter('utf-8')(open(path, 'r+b')),
    'gzip': lambda path: gzip.open(path.parent / 'gz', 'wt'),
}
APPENDING: dict[str, Callable[[Path], Any]] = {
    'ab': lambda path: open(path, 'ab'),
    'a+b': lambda path: open(path, 'a+b'),
    'ab, unbuffered': lambda path: open(path, 'ab', buffering=0),
    'O_APPEND': lambda path: os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), 'wb'),
    'gzip': lambda path: gzip.open(path, 'ab'),
}


@pytest.mark.parametrize('kind', TEXT)
def test_text_mode_is_refused(tmp_path: Path, kind: str) -> None:
    """One clear error that says which mode to use; the content stays."""
    path = tmp_path / 'file'
    path.write_bytes(OLD)
    with TEXT[kind](path) as file, pytest.raises(TypeError, match="open it in binary mode, 'wb'"):
        put(file)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize('kind', APPENDING)
def test_append_mode_is_refused(tmp_path: Path, kind: str) -> None:
    """Where everything goes to the end, nothing can be put at position 0: refused, whatever says so."""
    path = tmp_path / 'file'
    path.write_bytes(OLD)
    with APPENDING[kind](path) as file, pytest.raises(ValueError, match="appending; open it with mode 'wb'"):
        put(file)
    assert path.read_bytes()[: len(OLD)] == OLD
    assert path.read_bytes()[len(OLD) :].find(NEW[:50]) == -1


def test_a_file_open_for_reading_is_refused(tmp_path: Path) -> None:
    """The direction is checked first."""
    path = tmp_path / 'file'
    path.write_bytes(OLD)
    for buffering in (-1, 0):
        with open(path, 'rb', buffering) as file, pytest.raises(TypeError, match="not open to write; .* 'wb'"):
            put(file)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize('kind', ['BytesIO', 'NamedTemporaryFile'])
def test_a_closed_file_is_refused(kind: str) -> None:
    """As Python itself says it."""
    file = MEMORY[kind]()
    file.close()
    with pytest.raises(ValueError, match='closed file'):
        put(file)


@pytest.mark.parametrize('thing', [3, None, b'path', object(), [], Path('a')], ids=lambda thing: type(thing).__name__)
def test_what_is_no_file_is_refused(thing: object) -> None:
    """The error says what was expected and what was given."""
    with pytest.raises(TypeError, match=f'expected a path .* that can write, got {type(thing).__name__}'):
        put(thing)


def test_an_exception_inside_comes_out(tmp_path: Path) -> None:
    """The file object stays open and the caller's; what it holds is not promised."""
    with open(tmp_path / 'file', 'wb') as file:
        with pytest.raises(KeyboardInterrupt), storage.write_file_object(file) as sink:
            sink.write(b'half')
            raise KeyboardInterrupt
        file.seek(0)
        assert put(file)
    assert (tmp_path / 'file').read_bytes() == NEW


@pytest.mark.parametrize('no', [None, -1, NotImplementedError('no'), AttributeError('no')])
def test_a_file_object_with_no_file_of_the_system(no: Any) -> None:
    """Whatever way it says so, it is written like any other."""

    class Odd(io.BytesIO):
        def fileno(self) -> Any:
            if isinstance(no, Exception):
                raise no
            return no

        def truncate(self, size: int | None = None) -> int:
            if isinstance(no, NotImplementedError):
                raise no
            return super().truncate(size)

    file = Odd()
    with storage.write_file_object(file) as sink:
        sink.write(b'abc')
    assert file.getvalue() == b'abc'

"""Binary file objects of the caller: written from position 0 and not synced, read from position 0."""

import contextlib
import io
import os
import stat
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self

from objio.errors import FormatError
from objio.storage.local import LocalSource


class StreamSink:
    """Writes to a file object that cannot seek; see `objio.formats.Sink`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, buffer: memoryview | bytes) -> None:
        rest = memoryview(buffer)
        while rest:  # an unbuffered file may take less than it is given
            count = self._file.write(rest)
            if count is None and isinstance(self._file, io.RawIOBase):
                raise BlockingIOError(f'{_name(self._file)} does not take bytes now; open it in blocking mode')
            rest = rest[len(rest) if count is None else count :]


class FileSink(StreamSink):
    """Writes to a file object that can seek; see `objio.formats.SeekableSink`."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._end = 0

    def write(self, buffer: memoryview | bytes) -> None:
        super().write(buffer)
        self._end += len(buffer)

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        self._file.seek(offset)
        super().write(buffer)
        self._file.seek(self._end)


class FileSource:
    """Reads a file object by seeking in it; see `objio.formats.Source`.

    A context manager: closing it puts the position back and leaves the file object open.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._lock = threading.Lock()  # a position and a read belong together
        self._position = file.tell()
        self.name = name
        file.seek(0, os.SEEK_END)
        self.size = file.tell()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            done = 0
            while done < len(buffer):
                piece = self._file.read(min(len(buffer) - done, 4 << 20))
                if not piece:
                    raise FormatError(
                        f'{self.name}: expected {len(buffer)} bytes from byte {offset}, but the file ends after '
                        f'{done} of them'
                    )
                buffer[done : done + len(piece)] = piece
                done += len(piece)

    def map(self) -> memoryview | None:
        return None

    def close(self) -> None:
        if not self._file.closed:
            self._file.seek(self._position)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def write_file_object(file: IO[bytes]) -> Iterator[StreamSink]:
    """Gives a sink for a binary file object; what it held after the last byte written is cut off.

    Raises:
        TypeError: the file is open in text mode or the wrong direction, or is no file.
        ValueError: the file is open for appending, where nothing can be put at position 0.
    """
    _refuse_unfit(file, 'write', 'wb')
    mode = getattr(file, 'mode', '')
    if isinstance(mode, str) and 'a' in mode:
        raise ValueError(f"{_name(file)} is open for appending (mode {mode!r}); open it with mode 'wb'")
    if not file.seekable():
        yield StreamSink(file)
        return
    file.seek(0)
    yield FileSink(file)
    file.truncate()
    file.flush()


def open_file_object(file: IO[bytes]) -> FileSource | LocalSource:
    """Gives a source for a binary file object; a file object that cannot seek is read into memory, to its end.

    Raises:
        TypeError: the file is open in text mode or the wrong direction, or is no file.
    """
    _refuse_unfit(file, 'read', 'rb')
    if not file.seekable():
        return FileSource(io.BytesIO(file.read()), _name(file))
    fd = _descriptor(file)
    return FileSource(file, _name(file)) if fd is None else LocalSource(os.dup(fd), _name(file))


def _descriptor(file: Any) -> int | None:
    """The descriptor under Python's own file objects, whose bytes are those on the disk; wrappers change them."""
    if isinstance(file, io.BufferedRandom):
        file.flush()
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    if type(raw) is io.FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return raw.fileno()
    return None


def _refuse_unfit(file: Any, verb: str, mode: str) -> None:
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, 'file', None), io.TextIOBase):
        raise TypeError(f'{_name(file)} is open in text mode; open it with mode {mode!r}')
    if not callable(getattr(file, verb, None)) or not callable(getattr(file, 'seekable', None)):
        raise TypeError(
            f'expected a path (str or PathLike) or a binary file object that can {verb}, got {type(file).__name__}'
        )
    able = getattr(file, 'writable' if verb == 'write' else 'readable', None)
    if callable(able) and not able():
        raise TypeError(f'{_name(file)} is not open to {verb}; open it with mode {mode!r}')


def _name(file: Any) -> str:
    name = getattr(file, 'name', None)
    return name if isinstance(name, str) else f'<{type(file).__name__}>'

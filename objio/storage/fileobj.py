"""Binary file objects of the caller: written from position 0 and not synced, read from position 0."""

import codecs
import contextlib
import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self

from objio.errors import FormatError
from objio.storage import kernel
from objio.storage.handles import LocalSource


class StreamSink:
    """Writes to a file object that takes bytes one after the other; see `objio.formats.Sink`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, buffer: memoryview | bytes) -> None:
        rest = memoryview(buffer)
        while rest:  # an unbuffered file may take less than it is given
            count: int | None = self._file.write(rest)
            if count is None and isinstance(self._file, io.RawIOBase):
                raise BlockingIOError(
                    errno.EAGAIN, 'the file takes no bytes now; open it in blocking mode', _name(self._file)
                )
            if count == 0:
                raise OSError(errno.EIO, 'the file takes no more bytes and does not say why', _name(self._file))
            rest = rest[len(rest) if count is None else count :]


class FileSink(StreamSink):
    """Writes to a file object that can seek and be cut; see `objio.formats.SeekableSink`."""

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

    def cut(self) -> None:
        """Ends the file after the last byte written."""
        self._file.truncate(self._end)


class FileSource:
    """Reads a file object by seeking in it; see `objio.formats.Source`.

    A context manager: closing it puts the position back and leaves the file object open.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._lock = threading.Lock()  # a position and a read belong together
        self._position: int | None = file.tell()
        self.name = name
        file.seek(0, os.SEEK_END)
        self.size = file.tell()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            done = 0
            while done < len(buffer):
                piece: bytes | None = self._file.read(min(len(buffer) - done, 4 << 20))
                if piece is None:
                    raise _nothing_now(self.name)
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
        if self._position is not None and not getattr(self._file, 'closed', False):
            self._file.seek(self._position)
        self._position = None  # from now on the position is the caller's

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def write_file_object(file: IO[bytes]) -> Iterator[StreamSink]:
    """Gives a sink for a binary file object; what it held after the last byte written is cut off.

    A file object that cannot seek, or cannot be cut as those that compress, is written from where it stands: there,
    nothing that stands before is overwritten.

    Raises:
        TypeError: the file is open in text mode or the wrong direction, or is no file.
        ValueError: the file is open for appending, where nothing can be put at position 0, or stands elsewhere, so that
            what stands before would be lost. It is untouched.
    """
    _refuse_unfit(file, 'write', 'wb')
    if _appends(file):
        raise ValueError(f"{_name(file)} is open for appending; open it with mode 'wb'")
    position = _position(file)
    if position is not None and _can_be_overwritten(file, position):
        if position:
            raise ValueError(
                f'{_name(file)} stands at position {position}, but objio writes from position 0, over what stands '
                'before; nothing was written. To replace what the file holds, call file.seek(0) first; to keep it, '
                'save to an io.BytesIO() and write its bytes: file.write(buffer.getvalue())'
            )
        sink = FileSink(file)
        yield sink
        sink.cut()
    else:
        yield StreamSink(file)
    flush = getattr(file, 'flush', None)
    if callable(flush):
        flush()


def open_file_object(file: IO[bytes]) -> FileSource | LocalSource:
    """Gives a source for a binary file object; a file object that cannot seek is read into memory, to its end.

    Raises:
        TypeError: the file is open in text mode or the wrong direction, or is no file.
    """
    _refuse_unfit(file, 'read', 'rb')
    if not file.seekable():
        whole: bytes | None = file.read()
        if whole is None:
            raise _nothing_now(_name(file))
        return FileSource(io.BytesIO(whole), _name(file))
    fd = _descriptor(file)
    return FileSource(file, _name(file)) if fd is None else LocalSource(os.dup(fd), _name(file))


def is_same_file(file: Any, other: Any) -> bool:
    """Whether two paths or file objects lead to one file of the system, as far as they say."""
    try:
        return os.path.samestat(
            *(os.stat(given if isinstance(given, str) else given.fileno()) for given in (file, other))
        )
    except (AttributeError, NotImplementedError, TypeError, ValueError, OSError):  # no file of the system is behind it
        return False


def _nothing_now(name: str) -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, 'the file gives no bytes now; open it in blocking mode', name)


def _appends(file: Any) -> bool:
    mode = getattr(file, 'mode', '')
    if isinstance(mode, str) and 'a' in mode:
        return True
    try:
        return kernel.appends(file.fileno())
    except (AttributeError, NotImplementedError, TypeError, ValueError, OSError):  # no file of the system is behind it
        return False


def _position(file: Any) -> int | None:
    """Where a file object stands, or None where it cannot seek or does not say."""
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, NotImplementedError, OSError):  # some that are written forward only do not even say so
        return None


def _can_be_overwritten(file: Any, position: int) -> bool:
    """Whether bytes can be put anywhere and the rest be cut off; finds out without changing the file.

    Args:
        file: which can seek, as it says.
        position: where it stands, and stands again afterwards.
    """
    if not callable(getattr(file, 'truncate', None)):
        return False
    try:
        file.seek(0, os.SEEK_END)
        try:
            file.truncate(file.tell())
        finally:
            file.seek(position)
    except (NotImplementedError, ValueError):  # gzip says that it can seek, but writes forward only
        return False
    except OSError as error:  # a device, or what cannot seek after all
        if error.errno not in kernel.NOT_OFFERED | {errno.ESPIPE}:
            raise
        return False
    return True


def _descriptor(file: Any) -> int | None:
    """The descriptor under Python's own file objects, whose bytes are those on the disk; wrappers change them."""
    if not hasattr(os, 'preadv'):
        return None  # Windows: reading by the descriptor would move the position under the caller's buffer
    if isinstance(file, io.BufferedRandom):
        file.flush()
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    if type(raw) is io.FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return raw.fileno()
    return None


def _refuse_unfit(file: Any, verb: str, mode: str) -> None:
    # Every file of text has an encoding, wrappers pass it on; only the halves of `codecs` keep it to themselves.
    if hasattr(file, 'encoding') or isinstance(file, codecs.StreamReader | codecs.StreamWriter):
        raise TypeError(f'{_name(file)} is open in text mode; open it in binary mode, {mode!r}')
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

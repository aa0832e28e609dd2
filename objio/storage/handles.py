"""One open file of the disk, by its descriptor: what a format writes to and reads from."""

import contextlib
import errno
import mmap
import os
import weakref
from types import TracebackType
from typing import Self

from objio.errors import FormatError
from objio.storage.kernel import preallocate, read_at, start_writeback, sync_file, write_at

# The disk writes while more is prepared. Each step is twice the one before, so that small files have steps too and
# the disk sees long runs of large ones; the last is small enough that fsync finds little left.
_FIRST_STEP, _LAST_STEP = 2 << 20, 32 << 20
_PREALLOCATE_FROM = 1 << 20  # below it the extra call costs more than it saves


class LocalSink:
    """Writes one temporary file; see `objio.formats.SeekableSink`.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, fd: int, name: str, *, durable: bool) -> None:
        self._fd = fd
        self._name = name
        self._durable = durable
        self._reserved = 0
        self._handed_over = 0  # bytes whose writeback has begun
        self._step = _FIRST_STEP
        self.size = 0

    def reserve(self, size: int) -> None:
        """Takes the disk's blocks for `size` bytes; OSError where there are not so many."""
        if size >= _PREALLOCATE_FROM:
            try:
                preallocate(self._fd, size)
            except OSError as error:
                error.filename = self._name  # for a descriptor the system knows none
                raise
            self._reserved = size

    def write(self, buffer: memoryview | bytes) -> None:
        self.write_at(self.size, buffer)
        self.size += len(buffer)
        if self._durable and self.size - self._handed_over >= self._step:
            start_writeback(self._fd, self._handed_over, self.size - self._handed_over)
            self._handed_over = self.size
            self._step = min(2 * self._step, _LAST_STEP)

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        rest = memoryview(buffer)
        while rest:  # the kernel may take less than it is given
            try:
                count = write_at(self._fd, offset, rest)
            except OSError as error:
                error.filename = self._name
                raise
            if not count:
                raise OSError(errno.EIO, 'the file system takes no more bytes and does not say why', self._name)
            rest, offset = rest[count:], offset + count

    def settle(self) -> None:
        """Ends the file after its last byte and, where it is to be durable, waits until the disk has it.

        Not to be tried again where it raises: after a failed fsync the kernel calls the lost pages clean.
        """
        try:
            if self._reserved > self.size:
                os.ftruncate(self._fd, self.size)
            if self._durable:
                sync_file(self._fd)
            # Some network file systems report a failed write only at close; a duplicate closes while the lock stays.
            os.close(os.dup(self._fd))
        except OSError as error:
            error.filename = self._name
            raise


class LocalSource:
    """Reads one open file; see `objio.formats.Source`. A context manager, which closes the descriptor."""

    def __init__(self, fd: int, name: str) -> None:
        # Before anything can fail; and it closes also where nobody calls it: `objio.open(path)[name]`.
        self.close = weakref.finalize(self, _close, fd)
        self._fd = fd
        self._map: memoryview | None = None
        self.name = name
        self.size = os.fstat(fd).st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._refuse_closed()
        done = 0
        while done < len(buffer):
            try:
                count = read_at(self._fd, offset + done, buffer[done:])
            except OSError as error:
                error.filename = self.name
                raise
            if not count:
                raise FormatError(
                    f'{self.name}: expected {len(buffer)} bytes from byte {offset}, but the file ends after '
                    f'{done} of them. Was it cut short while it was being read?'
                )
            done += count

    def map(self) -> memoryview | None:
        if self._map is None and self.size:
            self._refuse_closed()
            if os.fstat(self._fd).st_size < self.size:
                raise FormatError(
                    f'{self.name}: expected {self.size} bytes, but the file was cut short after it was opened'
                )
            try:
                # The pages live as long as any view of them, whatever becomes of this object or its descriptor.
                self._map = memoryview(mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ))
            except OSError as error:
                if error.errno != errno.ENODEV:  # a file system whose files cannot be mapped
                    error.filename = self.name
                    raise
        return self._map

    def _refuse_closed(self) -> None:
        # The system gives a closed descriptor's number to the next file that anybody opens.
        if not self.close.alive:
            raise ValueError(f'{self.name} was closed; read what you need of it before that')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close(fd: int) -> None:
    # Nothing was written, so nothing is lost, and all that was read is there.
    with contextlib.suppress(OSError):
        os.close(fd)

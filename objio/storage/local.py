"""Files on a disk: written beside the target, made durable, then renamed, so that a name always holds a whole file.

The order is that of the crash-consistency literature (Pillai et al., "All File Systems Are Not Created Equal",
OSDI 2014): write a temporary file in the same folder, fsync it, rename it, fsync the folder. Without the first fsync
a rename can reach the disk before the bytes do; without the second the name itself may be lost.
"""

import contextlib
import errno
import mmap
import os
import stat
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from objio.errors import FormatError, SaveNotDurable
from objio.storage.kernel import preallocate, read_at, start_writeback, write_at
from objio.storage.temporary import create_temporary

_WRITEBACK_STEP = 32 << 20  # large enough that the disk sees long runs, small enough that fsync finds little left
_PREALLOCATE_FROM = 1 << 20  # below it the extra call costs more than it saves


class LocalSink:
    """Writes one temporary file; see `objio.formats.SeekableSink`."""

    def __init__(self, fd: int, *, durable: bool) -> None:
        self._fd = fd
        self._durable = durable
        self._end = 0
        self._handed_over = 0  # bytes whose writeback has begun

    def write(self, buffer: memoryview | bytes) -> None:
        self.write_at(self._end, buffer)
        self._end += len(buffer)
        if self._durable and self._end - self._handed_over >= _WRITEBACK_STEP:
            start_writeback(self._fd, self._handed_over, self._end - self._handed_over)
            self._handed_over = self._end

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        rest = memoryview(buffer)
        while rest:  # the kernel may take less than it is given
            count = write_at(self._fd, offset, rest)
            rest, offset = rest[count:], offset + count


class LocalSource:
    """Reads one open file; see `objio.formats.Source`. A context manager, which closes the descriptor."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._map: memoryview | None = None
        self.name = name
        self.size = os.fstat(fd).st_size
        self.close = weakref.finalize(self, os.close, fd)  # also where nobody calls it: `objio.open(path)[name]`

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            count = read_at(self._fd, offset + done, buffer[done:])
            if not count:
                raise FormatError(
                    f'{self.name}: expected {len(buffer)} bytes from byte {offset}, but the file ends after '
                    f'{done} of them. Was it cut short while it was being read?'
                )
            done += count

    def map(self) -> memoryview | None:
        if self._map is None and self.size:
            # The pages live as long as any view of them, whatever becomes of this object or its descriptor.
            self._map = memoryview(mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ))
        return self._map

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def create(path: str, *, durable: bool, size: int) -> Iterator[LocalSink]:
    """Gives a sink for a file of `size` bytes that takes the name `path` when the block ends without an exception.

    Until then, and for ever if anything is raised, `path` holds what it held. A symbolic link keeps pointing where it
    points: the file behind it is replaced. The mode is that of the old file, or follows the umask.

    Args:
        durable: sync the file before the rename and the folder after it.

    Raises:
        OSError: among others ENOSPC, before the first byte, where the disk has less than `size` bytes left.
        SaveNotDurable: the file is in place, but its folder could not be synced.
    """
    target = _resolve(path)
    folder = folder_of(target)
    old = _stat_of_replaced(target)
    _check_space(folder, size, path)
    fd, temporary = create_temporary(folder)
    try:
        try:
            if old is not None and hasattr(os, 'fchmod'):
                os.fchmod(fd, stat.S_IMODE(old.st_mode))
            if size >= _PREALLOCATE_FROM:
                preallocate(fd, size)
            yield LocalSink(fd, durable=durable)
            # After a failed fsync the kernel calls the lost pages clean, so the file is given up, never synced again.
            if durable:
                os.fsync(fd)
            # Some network file systems report a failed write only at close; a duplicate closes while the lock stays.
            os.close(os.dup(fd))
            _rename_open_file(fd, temporary, target)
        except BaseException:
            # The first error is the one to see.
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    finally:
        # Nothing is left to be written: what close could report, the close of the duplicate did.
        with contextlib.suppress(OSError):
            os.close(fd)
    if durable:
        _sync_folder(folder, path)


def open_file(path: str) -> LocalSource:
    """Opens a file for reading.

    Raises:
        OSError: FileNotFoundError, IsADirectoryError, PermissionError and their like, as the system gives them.
    """
    _refuse_url(path)
    _refuse_special(os.stat(path), path)
    return LocalSource(os.open(path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)), path)


def file_names(folder: str) -> list[str]:
    """The names of the files in `folder`, in no order; links to files count as files."""
    _refuse_url(folder)
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file()]


def folder_of(path: str) -> str:
    """The folder a path stands in."""
    return os.path.dirname(path) or os.curdir


def remove(path: str) -> None:
    """Removes a file."""
    os.unlink(path)


def rename(path: str, new: str) -> None:
    """Gives a file another name in its folder, durably."""
    os.rename(path, new)
    _sync_folder(folder_of(new), new)


def sync(path: str) -> None:
    """Makes a file that somebody else wrote durable: its bytes, then its name.

    Raises:
        SaveNotDurable: the file was synced, its folder could not be.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_folder(folder_of(path), path)


def _resolve(path: str) -> str:
    _refuse_url(path)
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OSError(errno.ELOOP, 'the symbolic link leads back to itself', path)
    return target


def _stat_of_replaced(target: str) -> os.stat_result | None:
    try:
        info = os.stat(target)
    except FileNotFoundError:
        folder = folder_of(target)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                errno.ENOENT, f'the folder {folder!r} does not exist; make it first', target
            ) from None
        return None
    _refuse_special(info, target)
    return info


def _refuse_special(info: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, 'expected a file, found a directory', path)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(
            errno.EINVAL, 'expected a regular file, found a device, pipe or socket; pass it as an open file', path
        )


def _refuse_url(path: str) -> None:
    if '://' in path:
        raise ValueError(
            f'{path!r} is a URL, but objio reads and writes local files only so far. '
            'Copy the file, or pass an open binary file (fsspec.open gives one).'
        )


def _check_space(folder: str, size: int, path: str) -> None:
    if not hasattr(os, 'statvfs'):
        return
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < size:  # no blocks at all: the file system does not count them
        raise OSError(
            errno.ENOSPC,
            f'the file needs {size / 2**20:.1f} MiB, the disk has {free / 2**20:.1f} MiB left; nothing was written',
            path,
        )


def _rename_open_file(fd: int, temporary: str, target: str) -> None:
    try:
        os.replace(temporary, target)
    except OSError:
        # Over NFS the reply to a rename that was done can be lost; the file itself tells.
        with contextlib.suppress(OSError):
            if not os.path.exists(temporary) and os.path.samestat(os.fstat(fd), os.stat(target)):
                return
        raise


def _sync_folder(folder: str, path: str) -> None:
    if os.name == 'nt':
        return  # Windows cannot sync a folder
    try:
        fd = os.open(folder, os.O_RDONLY | getattr(os, 'O_DIRECTORY', 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise SaveNotDurable(
            error.errno,
            f'the file is complete and in place, but its folder could not be synced ({error.strerror}): '
            'a power cut may bring back the old one',
            path,
        ) from error

"""Calls of the system that Python does not offer everywhere.

`preallocate` and `start_writeback` are Linux's; elsewhere, and on file systems without them, they do nothing.
"""

import ctypes
import errno
import os
import sys
import threading

_ERRNOS_OF_NO_SUPPORT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE, errno.ENODEV, errno.EPERM}
_SYNC_FILE_RANGE_WRITE = 2


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith('linux'):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, 'fallocate') and hasattr(libc, 'sync_file_range') else None


_LIBC = _libc()


def preallocate(fd: int, size: int) -> None:
    """Reserves `size` bytes, so that a full disk shows before the first byte and writing finds its blocks.

    Not `os.posix_fallocate`: where a file system has no such call, the C library writes the whole file once itself.

    Raises:
        OSError: the disk or a quota is full.
    """
    if _LIBC is None:
        return
    result = _LIBC.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size))
    code = ctypes.get_errno()
    if result and code not in _ERRNOS_OF_NO_SUPPORT:
        raise OSError(code, os.strerror(code))


def start_writeback(fd: int, offset: int, size: int) -> None:
    """Asks the kernel to begin writing these bytes to the disk. A hint: `fsync` alone reports what went wrong."""
    if _LIBC is not None:
        _LIBC.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


if hasattr(os, 'preadv'):

    def read_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Reads bytes from `offset` into `buffer`; returns how many, 0 at the end of the file."""
        return os.preadv(fd, [buffer], offset)

    def write_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Writes bytes of `buffer` at `offset`; returns how many."""
        return os.pwrite(fd, buffer, offset)

else:  # Windows has one position for each file, so that seek and read must not be parted
    _POSITION = threading.Lock()

    def read_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Reads bytes from `offset` into `buffer`; returns how many, 0 at the end of the file."""
        with _POSITION:
            os.lseek(fd, offset, os.SEEK_SET)
            data = os.read(fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Writes bytes of `buffer` at `offset`; returns how many."""
        with _POSITION:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, buffer)

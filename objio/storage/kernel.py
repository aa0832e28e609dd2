"""Calls of the system that Python does not offer everywhere, or that are not the same everywhere.

`preallocate`, `start_writeback` and `on_local_disk` are Linux's; elsewhere they do nothing, or say no.
"""

import ctypes
import errno
import os
import sys
import threading

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WINDOWS: bool = os.name == 'nt'  # it has no flock, syncs no folder, and renames or removes no file that is open
NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}
"""How file systems say that they do not know a call."""

_NO_PREALLOCATION = NOT_OFFERED | {errno.ESPIPE, errno.ENODEV, errno.EPERM, errno.EINTR}
_SYNC_FILE_RANGE_WRITE = 2
# The magic numbers of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs, overlayfs.
_LOCAL_DISKS = {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x01021994, 0x794C7630}
_FULL_SYNC: int | None = getattr(fcntl, 'F_FULLFSYNC', None)
_MOST_AT_ONCE = 1 << 30  # macOS refuses 2 GiB and more; and between two pieces Ctrl-C is heard


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith('linux'):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if all(hasattr(libc, call) for call in ('fallocate', 'sync_file_range', 'fstatfs64')) else None


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
    if result and code not in _NO_PREALLOCATION:
        raise OSError(code, os.strerror(code))


def start_writeback(fd: int, offset: int, size: int) -> None:
    """Asks the kernel to begin writing these bytes to the disk. A hint: `sync_file` alone reports what went wrong."""
    if _LIBC is not None:
        _LIBC.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


def on_local_disk(fd: int) -> bool:
    """Whether a file lies on a file system that one kernel alone has mounted, so that all its locks are seen here."""
    if _LIBC is None:
        return False
    facts = (ctypes.c_long * 32)()  # struct statfs64, whose first field is the kind
    return not _LIBC.fstatfs64(fd, facts) and facts[0] & 0xFFFFFFFF in _LOCAL_DISKS


def sync_file(fd: int) -> None:
    """Waits until the disk has every byte of a file, or every name of a folder.

    Raises:
        OSError: it does not have them; a second call on the same descriptor would hide that.
    """
    if _FULL_SYNC is not None:
        try:
            fcntl.fcntl(fd, _FULL_SYNC)  # on macOS fsync leaves the bytes in the drive's own memory
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise
        else:
            return
    os.fsync(fd)


def appends(fd: int) -> bool:
    """Whether the system puts whatever is written to the end of the file, wherever the position is."""
    return fcntl is not None and bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


if hasattr(os, 'preadv'):

    def read_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Reads bytes from `offset` into `buffer`; returns how many, 0 at the end of the file."""
        return os.preadv(fd, [buffer[:_MOST_AT_ONCE]], offset)

    def write_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Writes bytes of `buffer` at `offset`; returns how many."""
        return os.pwrite(fd, buffer[:_MOST_AT_ONCE], offset)

else:  # Windows has one position for each file, so that seek and read must not be parted
    _POSITION = threading.Lock()

    def read_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Reads bytes from `offset` into `buffer`; returns how many, 0 at the end of the file."""
        with _POSITION:
            os.lseek(fd, offset, os.SEEK_SET)
            data = os.read(fd, min(len(buffer), _MOST_AT_ONCE))
        buffer[: len(data)] = data
        return len(data)

    def write_at(fd: int, offset: int, buffer: memoryview) -> int:
        """Writes bytes of `buffer` at `offset`; returns how many."""
        with _POSITION:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, buffer[:_MOST_AT_ONCE])

"""Temporary files: a name of their own, a lock that says their writer lives, and the removal of those left behind.

A name reads `.objio-<kernel>-<space>.<pid>-<random>.tmp`. A writer holds an exclusive `flock` on its file from
creation to the rename, and the kernel drops it when the process ends however it ends; so a file whose lock is free has
no writer. That holds on a local disk and within one running kernel; on a network file system the locks of other
machines may not be seen.
`space` tells the process numbers of one container from those of another.
"""

import contextlib
import os
import re
import secrets
import socket
import stat
import time
import zlib
from functools import cache
from pathlib import Path

from objio.storage.kernel import WINDOWS, on_local_disk

try:
    import fcntl
except ImportError:  # Windows has no flock: there the age decides
    fcntl = None  # type: ignore[assignment]

_PATTERN = re.compile(r'\.objio-(?:(?P<kernel>[0-9a-f]{8})-(?P<space>\d+)\.(?P<pid>\d+)-)?[^/]*\.tmp')
_FORGOTTEN_AFTER_S = 3600.0
_FLAGS: int = getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)  # else Windows changes line ends
_LOOK_ONLY: int = _FLAGS | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)  # links and pipes are no file


def create_temporary(folder: str, mode: int = 0o666) -> tuple[int, str]:
    """Creates and locks a file of its own in `folder`, with `mode` less the umask.

    Returns:
        the descriptor, open for reading and writing, and the path.
    """
    while True:
        path = os.path.join(folder, new_name())
        fd = None
        try:
            # Ctrl-C may come before the number has a name here: then the file goes, and only that number stays open.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
            _lock(fd, wait=True)
            if _is_at(fd, path):
                return fd, path
        except BaseException as error:
            if fd is not None:
                os.close(fd)
            if fd is not None or not isinstance(error, OSError):  # else there is none
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
        # A sweeper met the file in the instant before the lock. It removes only what it holds the lock of, so a file
        # that is still there after the lock stays there.
        os.close(fd)


def new_name() -> str:
    """A name for a temporary file or folder of this process, which no other has."""
    return f'.objio-{_kernel()}-{_space()}.{os.getpid()}-{secrets.token_hex(6)}.tmp'


def is_temporary(name: str) -> bool:
    """Whether a name is that of a temporary file, of whatever writer."""
    return _PATTERN.fullmatch(name) is not None


def sweep(folder: str) -> list[str]:
    """Removes the temporary files of dead writers from `folder`.

    A file goes at once where its lock is free on a local disk, or where a free lock or a dead process of this running
    kernel proves that nobody writes it; after an hour where neither can be known (no locks on this file system, or a
    writer on another machine, whose lock may not reach here). A file whose lock is held stays.

    Returns:
        the names of the files that were removed.
    """
    removed: list[str] = []
    for name in os.listdir(folder):
        match = _PATTERN.fullmatch(name)
        if match and _remove_if_dead(os.path.join(folder, name), match):
            removed.append(name)
    return removed


def is_left(path: str) -> bool:
    """Whether the writer of a temporary folder is dead; a folder has no lock, so its name and its age tell."""
    match = _PATTERN.fullmatch(os.path.basename(path))
    if match is None:
        return False
    if match['kernel'] == _kernel() and match['space'] == _space() and not WINDOWS:
        return _is_dead(match['space'], match['pid'])
    return time.time() - os.stat(path).st_mtime >= _FORGOTTEN_AFTER_S


def _remove_if_dead(path: str, match: re.Match[str]) -> bool:
    with contextlib.suppress(OSError):  # gone meanwhile, or the folder may not be changed: the next sweep sees
        with open(path, 'rb', buffering=0, opener=_open) as file:
            info = os.fstat(file.fileno())
            locked = _lock(file.fileno(), wait=False)
            if not stat.S_ISREG(info.st_mode) or locked is False:
                return False
            here = match['kernel'] == _kernel()
            proven = locked and (here or on_local_disk(file.fileno()))
            dead = proven or (here and _is_dead(match['space'], match['pid']))
            if not dead and time.time() - info.st_mtime < _FORGOTTEN_AFTER_S:
                return False
            if WINDOWS:
                file.close()
            os.unlink(path)
            return True
    return False


def _open(path: str, _flags: int) -> int:
    try:
        return os.open(path, os.O_RDWR | _LOOK_ONLY)  # over NFS only who may write may lock
    except PermissionError:
        return os.open(path, os.O_RDONLY | _LOOK_ONLY)


def _lock(fd: int, *, wait: bool) -> bool | None:
    """Takes the lock: True if it is held now, False if somebody else holds it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP and what else file systems say; a save needs no lock
        return None
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _is_dead(space: str, pid: str) -> bool:
    if WINDOWS or space != _space():  # there os.kill(pid, 0) would end the process; here it is another one's number
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


@cache
def _kernel() -> str:
    """What no other machine, and no earlier start of this one, has."""
    try:
        start = Path('/proc/sys/kernel/random/boot_id').read_bytes()
    except OSError:
        start = socket.gethostname().encode()
    return f'{zlib.crc32(start):08x}'


def _space() -> str:
    try:
        return str(os.stat('/proc/self/ns/pid').st_ino)
    except OSError:
        return '0'

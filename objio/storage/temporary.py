"""Temporary files: a name of their own, a lock that says their writer lives, and the removal of those left behind.

A name reads `.objio-<host>-<pid>-<random>.tmp`. A writer holds an exclusive `flock` on its file from creation to the
rename, and the kernel drops it when the process ends however it ends; so a file whose lock is free has no writer.
"""

import errno
import os
import re
import secrets
import socket
import stat
import time
import zlib

try:
    import fcntl
except ImportError:  # Windows has no flock: there the process number and the age decide
    fcntl = None  # type: ignore[assignment]

_PATTERN = re.compile(r'\.objio-(?:(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-)?[^/]*\.tmp')
_FORGOTTEN_AFTER_S = 3600.0
_NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTSUP}


def create_temporary(folder: str) -> tuple[int, str]:
    """Creates and locks a file of its own in `folder`, its mode by the umask.

    Returns:
        the descriptor, open for reading and writing, and the path.
    """
    while True:
        path = os.path.join(folder, f'.objio-{_host()}-{os.getpid()}-{secrets.token_hex(6)}.tmp')
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC | _BINARY, 0o666)
        try:
            _lock(fd, wait=True)
            # A sweeper may have met the file in the instant before the lock; it unlinks only while it holds the lock
            # itself, so from here on the file stays.
            if os.fstat(fd).st_nlink:
                return fd, path
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        os.close(fd)


def sweep(folder: str) -> list[str]:
    """Removes the temporary files of dead writers from `folder`.

    A file goes at once where a free lock, or a dead process of this host, proves that nobody writes it; after an hour
    where neither can be known (no locks on this file system, or a writer on another host, whose lock may not reach
    here). A file whose writer lives stays.

    Returns:
        the names of the files that were removed.
    """
    removed: list[str] = []
    for name in os.listdir(folder):
        match = _PATTERN.fullmatch(name)
        if match and _remove_if_dead(os.path.join(folder, name), match['host'], match['pid']):
            removed.append(name)
    return removed


def _remove_if_dead(path: str, host: str | None, pid: str | None) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | _CLOEXEC | _BINARY | getattr(os, 'O_NOFOLLOW', 0))
    except OSError:
        return False  # renamed or removed meanwhile, or not ours to judge
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return False
        locked = _lock(fd, wait=False)
        if locked is False:
            return False
        here = host in (None, _host())
        dead = here and (locked or (pid is not None and not _runs(int(pid))))
        if not dead and time.time() - info.st_mtime < _FORGOTTEN_AFTER_S:
            return False
        os.unlink(path)
    except OSError:
        return False  # another sweeper was faster, or the folder may not be changed
    else:
        return True
    finally:
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> bool | None:
    """Takes the lock: True if it is held now, False if somebody else holds it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return None
        raise
    return True


def _runs(pid: int) -> bool:
    if os.name == 'nt':
        return True  # there os.kill(pid, 0) would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _host() -> str:
    return f'{zlib.crc32(socket.gethostname().encode()):08x}'


_CLOEXEC: int = getattr(os, 'O_CLOEXEC', 0)
_BINARY: int = getattr(os, 'O_BINARY', 0)  # on Windows a text-mode descriptor would change line ends

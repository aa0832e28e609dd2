"""Locks that one process holds on a file for as long as it lives: the kernel lets go of them however it ends.

`flock` shows a lock to all processes of the machine, and on most network file systems to those of other machines. A
child that a fork made does not keep its parent's lock.
"""

import contextlib
import os
import time
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

_PATIENCE_S = 0.5  # whoever looks whether a lock is held holds it for an instant
_MOMENT_S = 0.01
# A pipe under the name of a lock is not waited for.
_FLAGS: int = getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)


class Hold:
    """A lock on a file, until `release`, until nobody has this object any more, or until the process ends."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self.release = weakref.finalize(self, os.close, fd)
        self.release.atexit = False  # what is done at the exit is done under the lock; the kernel lets go of it
        _HELD.add(self)

    def is_in_place(self) -> bool:
        """Whether the lock is held, and on the file that others would look at."""
        return self.release.alive and _is_at(self._fd, self._path)


_HELD: weakref.WeakSet[Hold] = weakref.WeakSet()


def hold(path: str) -> Hold | None:
    """Takes the lock of a file, which is made where it is missing; on a file system without locks, it seems to.

    Returns:
        None where another process, or another `Hold` of this one, has it.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
        try:
            taken = _try(fd, exclusive=True)
            if taken is not False and _is_at(fd, path):  # else who held it removed the file meanwhile
                return Hold(fd, path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() > give_up_at:
            return None
        time.sleep(_MOMENT_S)


def is_held(path: str) -> bool | None:
    """Whether a process that lives holds the lock of a file; None where the file system knows no locks."""
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return False
    try:
        taken = _try(fd, exclusive=False)
        return None if taken is None else not taken
    finally:
        os.close(fd)


def _try(fd: int, *, exclusive: bool) -> bool | None:
    """Takes a lock without waiting: whether it was free; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP and what else file systems say
        return None
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), Path(path).stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _let_go() -> None:
    """In a new child: closes its share of the locks, which stay with the parent."""
    for held in list(_HELD):
        if held.release.detach():
            with contextlib.suppress(OSError):
                os.close(held._fd)  # noqa: SLF001  # a friend


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)

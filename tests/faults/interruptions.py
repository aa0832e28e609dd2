"""A process that dies, or a disk that errs, at one of the calls with which a save or a removal changes a folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from unittest import mock


class Killed(BaseException):
    """The process is dead: no call that it makes has any effect from here on, least of all one that cleans up."""


@dataclass
class Calls:
    """The calls that were made.

    Attributes:
        made: name and path of each that took effect.
        cut: the one at which the process died or the disk erred; None where all were made.
    """

    made: list[tuple[str, str]] = field(default_factory=list)
    cut: tuple[str, str] | None = None

    def paths(self, name: str) -> list[str]:
        """The base names of the files of all calls of one name."""
        return [os.path.basename(path) for made, path in self.made if made == name]


@contextmanager
def interrupted(at: int, code: int | None) -> Iterator[Calls]:
    """In the block, the call number `at` fails with the error `code`; with None the process dies there.

    A write is done by half before either. Calls that only read are not counted. The number may be greater than that of
    the calls.
    """
    calls, dead = Calls(), False
    renames, others = ('link', 'rename', 'replace'), ('ftruncate', 'unlink')
    real = {name: getattr(os, name) for name in ('open', 'pwrite', 'fsync', *renames, *others)}

    def die() -> NoReturn:
        raise Killed

    def step(name: str, path: str) -> bool:
        nonlocal dead
        if dead:
            die()
        if calls.cut is None and len(calls.made) == at:
            calls.cut = name, path
            dead = code is None
            return False
        calls.made.append((name, path))
        return True

    def fail(path: str) -> NoReturn:
        if code is None:
            die()
        raise OSError(code, os.strerror(code), path)

    def open_(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT and not step('create', path):
            fail(path)
        return int(real['open'](path, flags, *rest, **more))

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if not step('write', ''):
            real['pwrite'](fd, data[: len(data) // 2], offset)
            fail('')
        return int(real['pwrite'](fd, data, offset))

    def fsync(fd: int) -> None:
        name = 'sync folder' if stat.S_ISDIR(os.fstat(fd).st_mode) else 'sync file'
        if not step(name, ''):
            fail('')
        real['fsync'](fd)

    def plain(name: str) -> Any:
        def call(path: Any, *rest: Any) -> None:
            # A rename is called by the name that it gives.
            shown = str(rest[0] if name in renames else path)
            if not step(name, shown):
                fail(shown)
            real[name](path, *rest)

        return call

    plains = {name: plain(name) for name in (*renames, *others)}
    with mock.patch.multiple(os, open=open_, pwrite=pwrite, fsync=fsync, **plains):
        yield calls

"""Sees every system call of a forked process before it acts, and kills, fails, shortens, delays or stops it there.

What strace does, by the same means (ptrace(2)), but a few milliseconds a trial instead of tens.
"""

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

AVAILABLE = sys.platform == 'linux' and platform.machine() == 'x86_64'
"""Whether the registers are those that this module writes to."""

_TRACEME, _POKEUSER, _DETACH, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 17, 24, 0x4200, 0x420E
_OPTIONS = 0x1 | 0x8 | 0x100000  # tell system calls from signals, follow threads, die with the tracer
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_ENTRY, _EXIT = 1, 2
_ALL_THREADS = 0x40000000  # __WALL
_RAX, _RDX, _ORIG_RAX = 80, 96, 120  # where the user area keeps result, third argument and number of a call
_MARK = 121  # getpgid: what no save calls

# Of linux/arch/x86/entry/syscalls/syscall_64.tbl, what a save may call.
_NAMES = {
    0: 'read', 1: 'write', 3: 'close', 4: 'stat', 5: 'fstat', 6: 'lstat', 7: 'poll', 8: 'lseek', 9: 'mmap',
    10: 'mprotect', 11: 'munmap', 12: 'brk', 13: 'rt_sigaction', 14: 'rt_sigprocmask', 16: 'ioctl', 17: 'pread64',
    18: 'pwrite64', 19: 'readv', 20: 'writev', 21: 'access', 24: 'sched_yield', 25: 'mremap', 28: 'madvise', 32: 'dup',
    39: 'getpid', 56: 'clone', 60: 'exit', 62: 'kill', 63: 'uname', 72: 'fcntl', 73: 'flock', 74: 'fsync',
    75: 'fdatasync', 76: 'truncate', 77: 'ftruncate', 79: 'getcwd', 80: 'chdir', 82: 'rename', 83: 'mkdir', 86: 'link',
    87: 'unlink', 89: 'readlink', 90: 'chmod', 91: 'fchmod', 137: 'statfs', 138: 'fstatfs', 143: 'sched_getparam',
    145: 'sched_getscheduler', 186: 'gettid',
    202: 'futex', 203: 'sched_setaffinity', 204: 'sched_getaffinity', 217: 'getdents64', 218: 'set_tid_address',
    228: 'clock_gettime', 230: 'clock_nanosleep', 231: 'exit_group', 234: 'tgkill', 257: 'openat', 262: 'newfstatat',
    263: 'unlinkat', 264: 'renameat', 267: 'readlinkat', 269: 'faccessat', 273: 'set_robust_list', 277: 'sync_file_range',
    285: 'fallocate', 292: 'dup3', 293: 'pipe2', 295: 'preadv', 296: 'pwritev', 302: 'prlimit64', 316: 'renameat2',
    318: 'getrandom', 327: 'preadv2', 328: 'pwritev2', 332: 'statx', 334: 'rseq', 435: 'clone3', 439: 'faccessat2',
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


Say = Callable[[str], None]


@dataclass(frozen=True)
class Kill:
    """SIGKILL before a call acts; `after`: when it has acted, and its caller does not know yet."""

    after: bool = False


@dataclass(frozen=True)
class Fail:
    """A call does nothing and reports an error; only `close` closes, as it does on Linux whatever it reports."""

    code: int


@dataclass(frozen=True)
class Signal:
    """A signal comes while a call is under way."""

    number: int


@dataclass(frozen=True)
class Shorten:
    """A call is given a part of its bytes, at least one; `kill`: and that is the last the process does."""

    part: float
    kill: bool = False


@dataclass(frozen=True)
class Hold:
    """A call waits while the tracing process does something, whose result goes to `Ended.seen`.

    `stop`: when the call has acted, by SIGSTOP, for the whole process; it is let go on without a tracer then.
    """

    meanwhile: Callable[[], Any]
    stop: bool = False


@dataclass(frozen=True)
class Fault:
    """What befalls which call.

    Attributes:
        act: what is done.
        first: to the how-manieth call, from 1.
        forever: to all that follow, too.
        among: the names of the calls that count; None: all.
    """

    act: Kill | Fail | Signal | Shorten | Hold
    first: int
    forever: bool = False
    among: frozenset[str] | None = None


@dataclass
class Ended:
    """How a process ended.

    Attributes:
        status: as `os.waitstatus_to_exitcode` gives it.
        said: the lines that it wrote to its pipe.
        calls: the names of the calls that count, in order.
        struck: those of them that something was done to.
        seen: what was returned by `Hold.meanwhile`, or at the end of what is counted by `between`.
    """

    status: int = 0
    said: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    seen: Any = None


def mark() -> None:
    """Begins what is counted, or ends it."""
    os.getpgid(0)


def trace(
    job: Callable[[Say], None],
    fault: Fault | None = None,
    *,
    among: frozenset[str] | None = None,
    between: Callable[[], Any] | None = None,
) -> Ended:
    """Runs a job in a forked process of its own, and puts a fault between its two marks.

    Args:
        job: called with a function that takes a line for whoever reads `Ended.said`.
        fault: None: nothing happens, the calls are counted.
        among: as in `Fault`, where there is none.
        between: called in this process when the job comes to its second mark.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        run(job, writing)
    os.close(writing)
    try:
        follower = _Follower(pid, fault, fault.among if fault else among, between)
        follower.follow()
        with os.fdopen(reading, closefd=False) as pipe:
            follower.ended.said = pipe.read().splitlines()
    finally:
        os.close(reading)
    return follower.ended


def run(job: Callable[[Say], None], writing: int, *, traced: bool = True) -> None:
    """Runs a job in a process that was forked for it, from the moment that somebody watches, and ends the process."""
    status = 1
    try:
        if traced:
            _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        job(lambda line: os.write(writing, f'{line}\n'.encode()) and None)
        status = 0
    except BaseException:  # noqa: BLE001  # nothing may run on in the copy of its parent
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


class _Follower:
    """Follows the threads of one process from call to call."""

    def __init__(
        self, pid: int, fault: Fault | None, among: frozenset[str] | None, between: Callable[[], Any] | None
    ) -> None:
        self.ended = Ended()
        self._pid = pid
        self._fault = fault
        self._among = among
        self._between = between
        self._marks = 0
        self._struck: set[int] = set()  # threads in a call that something is done to
        self._threads = {pid}
        self._free = False  # goes on without us

    def follow(self) -> None:
        """Until the process has ended."""
        os.waitpid(self._pid, 0)
        _ptrace(_SETOPTIONS, self._pid, 0, _OPTIONS)
        _ptrace(_SYSCALL, self._pid)
        while True:
            thread, status = os.waitpid(-1, _ALL_THREADS)
            if os.WIFSTOPPED(status):
                self._go_on(thread, status)
            elif thread == self._pid:
                self.ended.status = os.waitstatus_to_exitcode(status)
                return

    def _go_on(self, thread: int, status: int) -> None:
        pending = os.WSTOPSIG(status)
        with contextlib.suppress(ProcessLookupError):  # killed, perhaps while another thread of it was looked at
            if pending == _SYSCALL_STOP:
                self._at_call(thread)
                pending = 0
            elif status >> 16 or thread not in self._threads:  # a thread was made, or is a new one
                pending = 0
            self._threads.add(thread)
            if not self._free:
                _ptrace(_SYSCALL, thread, 0, pending)

    def _at_call(self, thread: int) -> None:
        op, number, size = _call(thread)
        if op == _EXIT:
            if thread in self._struck:
                self._struck.discard(thread)
                self._end(thread)
        elif number == _MARK:
            self._marks += 1
            if self._marks == 2 and self._between:
                self.ended.seen = self._between()
        elif self._marks == 1:
            name = _NAMES.get(number, f'call {number}')
            if self._among is None or name in self._among:
                self.ended.calls.append(name)
                place, fault = len(self.ended.calls), self._fault
                if fault and (place >= fault.first if fault.forever else place == fault.first):
                    self.ended.struck.append(name)
                    self._struck.add(thread)
                    self._begin(thread, name, size)

    def _begin(self, thread: int, name: str, size: int) -> None:
        match self._fault.act:
            case Kill(after=False):
                os.kill(self._pid, signal.SIGKILL)
            case Fail() if name != 'close':
                _ptrace(_POKEUSER, thread, _ORIG_RAX, -1)
            case Shorten(part=part):
                _ptrace(_POKEUSER, thread, _RDX, max(1, int(size * part)))
            case Signal(number=number):
                os.kill(self._pid, number)
            case Hold(meanwhile=meanwhile, stop=False):
                self.ended.seen = meanwhile()
            case Hold(meanwhile=meanwhile, stop=True):
                self._free = True
                _ptrace(_DETACH, thread, 0, signal.SIGSTOP)
                assert os.WIFSTOPPED(os.waitpid(self._pid, os.WUNTRACED)[1])
                self.ended.seen = meanwhile()
                os.kill(self._pid, signal.SIGCONT)

    def _end(self, thread: int) -> None:
        match self._fault.act:
            case Kill() | Shorten(kill=True):
                os.kill(self._pid, signal.SIGKILL)
            case Fail(code=code):
                _ptrace(_POKEUSER, thread, _RAX, -code)


_info = ctypes.create_string_buffer(88)


def _call(thread: int) -> tuple[int, int, int]:
    """Whether a thread is before or after a call; and before it, the call's number and third argument."""
    _ptrace(_GET_SYSCALL_INFO, thread, len(_info), ctypes.addressof(_info))
    op, number, size = struct.unpack_from('<B23xQ16xQ', _info)
    return op, number, size


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, thread, address, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f'ptrace: {os.strerror(code)}')

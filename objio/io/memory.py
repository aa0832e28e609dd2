"""Memory for arrays that were read: aligned, so that JAX takes it as it is, and cheap to touch for the first time.

The first touch of fresh memory costs more than the bytes that are read into it. Where the machine has the memory, a huge
page of 2 MiB costs a tenth of its 512 small ones. On a virtual machine whose host takes free memory back it can cost
five times as much, since the host has to find all of it first, while small pages come from memory that was just in use.
Neither is known beforehand, so the first touches are timed, all through a load.
"""

import contextlib
import ctypes
import mmap
import time

import numpy as np

from objio.formats import Prepare

ALIGNMENT = 64  # what XLA's CPU client asks of a buffer that it takes without a copy
_PAGES_FROM = 4 << 20  # two huge pages: below that the allocator's reused memory is cheaper
_HUGE = 2 << 20
_OFFERED = hasattr(mmap, 'MADV_HUGEPAGE') and hasattr(mmap, 'MADV_NOHUGEPAGE')


def allocate(nbytes: int) -> memoryview:
    """Fresh memory of `nbytes` bytes whose first byte lies at a multiple of 64."""
    return fresh(nbytes)[0]


def fresh(nbytes: int) -> tuple[memoryview, Prepare | None]:
    """Fresh memory as `allocate` gives it, and what chooses its pages; None where there is no choice.

    Returns:
        The memory; and a function to be called with the start and the end of each range before it is written to for
        the first time, from any thread. Where it is not called the pages are those that were best lately.
    """
    if nbytes >= _PAGES_FROM:
        region = _Region(nbytes)
        return memoryview(region.pages), region.prepare if _OFFERED else None
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes].data, None


class _Region:
    """Pages of a large array.

    Attributes:
        pages: the memory.
    """

    def __init__(self, nbytes: int) -> None:
        if not hasattr(mmap, 'MAP_PRIVATE'):
            self.pages = mmap.mmap(-1, nbytes)
            return
        # Python's default is shared memory: a forked process would write into its parent's arrays, and huge pages are
        # off.
        self.pages = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._size = nbytes
        if _OFFERED:
            self._address = np.frombuffer(self.pages, np.uint8).ctypes.data
            self._small = _PAGES.are_small
            self._advise(mmap.MADV_NOHUGEPAGE if self._small else mmap.MADV_HUGEPAGE, 0, nbytes)

    def prepare(self, start: int, stop: int) -> None:
        """Touches each huge page that begins in a range, or lets small ones take its place."""
        for at in range(start + -(self._address + start) % _HUGE, min(stop, self._size - _HUGE + 1), _HUGE):
            small = _PAGES.next_is_small()
            if small != self._small:
                self._advise(mmap.MADV_NOHUGEPAGE if small else mmap.MADV_HUGEPAGE, at, _HUGE)
            if small:
                continue
            begun = time.perf_counter_ns()
            ctypes.memset(self._address + at, 0, 1)  # without the interpreter's lock, as every call through ctypes
            _PAGES.learn(time.perf_counter_ns() - begun)

    def _advise(self, advice: int, start: int, size: int) -> None:
        with contextlib.suppress(OSError):  # a kernel built without them
            self.pages.madvise(advice, start, size)


class _Choice:
    """Which pages are cheaper at the moment, by what the last huge ones cost. Threads may be mixed up; no harm is done.

    A huge page that is slow is followed by small ones, twice as many each time, up to 256 MiB, before another is tried.
    """

    _FIRST, _LAST = 4, 128  # huge pages' worth of small ones

    def __init__(self) -> None:
        self._limit = 0  # nanoseconds
        self._left = 0
        self._run = self._FIRST

    @property
    def are_small(self) -> bool:
        """Whether small pages are cheaper, as far as is known."""
        return self._left > 0

    def next_is_small(self) -> bool:
        """Whether small pages are to take the place of the next huge one."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def learn(self, cost: int) -> None:
        """Takes note of what a huge page cost, in nanoseconds."""
        if not self._limit:
            self._limit = _cost_of_small_pages()
        if cost > self._limit:
            self._left = self._run
            self._run = min(2 * self._run, self._LAST)
        else:
            self._run = self._FIRST


def _cost_of_small_pages() -> int:
    """Nanoseconds that the first touch of 2 MiB of small pages takes, by the quickest of a few samples."""
    samples = 4
    size = _HUGE // 16
    pages = mmap.mmap(-1, samples * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    times = []
    for start in range(0, samples * size, size):
        begun = time.perf_counter_ns()
        for at in range(start, start + size, mmap.PAGESIZE):
            pages[at] = 0
        times.append(time.perf_counter_ns() - begun)
    return min(times) * (_HUGE // size)


_PAGES = _Choice()

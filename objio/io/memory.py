"""Memory for arrays that were read: aligned, so that JAX takes it as it is, and cheap to touch for the first time."""

import contextlib
import mmap

import numpy as np

ALIGNMENT = 64  # what XLA's CPU client asks of a buffer that it takes without a copy
_PAGES_FROM = 4 << 20  # two huge pages: below that the allocator's reused memory is cheaper


def allocate(nbytes: int) -> memoryview:
    """Fresh memory of `nbytes` bytes whose first byte lies at a multiple of 64."""
    if nbytes >= _PAGES_FROM:
        return memoryview(_pages(nbytes))
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes].data


def _pages(nbytes: int) -> mmap.mmap:
    if not hasattr(mmap, 'MAP_PRIVATE'):
        return mmap.mmap(-1, nbytes)
    # Python's default is shared memory: a forked process would write into its parent's arrays, and huge pages are off.
    pages = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, 'MADV_HUGEPAGE'):
        with contextlib.suppress(OSError):  # a kernel built without them
            pages.madvise(mmap.MADV_HUGEPAGE)  # one fault for 2 MiB instead of 512
    return pages

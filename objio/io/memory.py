"""Memory for arrays that were read: aligned, so that JAX takes it as it is, and cheap to touch for the first time."""

import mmap

import numpy as np

ALIGNMENT = 64  # what XLA's CPU client asks of a buffer that it takes without a copy
_PAGES_FROM = 4 << 20  # two huge pages: below that the allocator's reused memory is cheaper


def allocate(nbytes: int) -> memoryview:
    """Fresh memory of `nbytes` bytes whose first byte lies at a multiple of 64."""
    if nbytes >= _PAGES_FROM:
        pages = mmap.mmap(-1, nbytes)
        if hasattr(mmap, 'MADV_HUGEPAGE'):
            pages.madvise(mmap.MADV_HUGEPAGE)  # one fault for 2 MiB instead of 512
        return memoryview(pages)
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes].data

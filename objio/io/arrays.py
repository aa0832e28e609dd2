"""Reading the arrays of an open archive into memory, one by one or many at a time."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from objio.formats import Archive
from objio.formats.dtypes import from_stored
from objio.io.memory import allocate

_LARGE = 1 << 20  # bytes: below it a thread costs more than it gives
_THREADS = 4  # more do not read faster, and hold more arrays that wait for their place


def read_array(archive: Archive, name: str, *, mmap: bool = False, verify: bool = True) -> np.ndarray[Any, Any]:
    """One array of an archive: its own memory, or with `mmap` the file's pages where they can be had."""
    spec = archive.specs[name]
    pages = archive.mapped(name, verify=verify) if mmap else None
    if pages is None:
        pages = allocate(archive.nbytes(name))
        archive.read_into(name, pages, verify=verify)
    return from_stored(pages, spec.dtype, spec.shape)


def read_arrays(
    archive: Archive, names: Sequence[str], *, ahead: bool, mmap: bool, verify: bool
) -> Iterator[np.ndarray[Any, Any]]:
    """Yields many arrays of an archive in order, while threads read the next large ones; see `read_array`.

    Fresh memory costs more to touch than bytes cost to read, and several cores touch it side by side.

    Args:
        archive: an open archive.
        names: of `archive.specs`.
        ahead: whether threads may read on; not where an array is only the raw material of another, for then those
            that wait would be memory beyond the result.
        mmap: as in `load_var_collection`.
        verify: as in `load_var_collection`.
    """
    large = [archive.nbytes(name) >= _LARGE for name in names]
    if not ahead or sum(large) < 2:
        yield from (read_array(archive, name, mmap=mmap, verify=verify) for name in names)
        return
    threads = min(os.cpu_count() or 1, _THREADS)
    upcoming = (name for name, is_large in zip(names, large, strict=True) if is_large)
    pending: deque[Future[np.ndarray[Any, Any]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix='objio-load') as pool:

        def submit(count: int) -> None:
            pending.extend(
                pool.submit(read_array, archive, name, mmap=mmap, verify=verify) for name in islice(upcoming, count)
            )

        submit(threads)
        try:
            for name, is_large in zip(names, large, strict=True):
                if is_large:
                    array = pending.popleft().result()
                    submit(1)
                else:
                    array = read_array(archive, name, mmap=mmap, verify=verify)
                yield array
        finally:
            pool.shutdown(cancel_futures=True)

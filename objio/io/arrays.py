"""Reading the arrays of an open archive into memory, one by one or many at a time."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from objio.formats import Archive
from objio.formats.dtypes import from_stored
from objio.io.memory import allocate, fresh
from objio.io.parts import Box, Parts, read_parts

SMALL = 1 << 16  # bytes: up to here an array shares one block of memory with its neighbours in the file
_LARGE = 1 << 20  # bytes: where no two arrays are as large as this, threads cost more than they give
_T = TypeVar('_T')
READERS = min(os.cpu_count() or 1, 4)  # threads; more do not read faster, and hold more arrays that wait


def read_array(archive: Archive, name: str, *, mmap: bool = False, verify: bool = True) -> np.ndarray[Any, Any]:
    """One array of an archive: its own memory, or with `mmap` the file's pages where they can be had."""
    pages = archive.mapped(name, verify=verify) if mmap else None
    if pages is None:
        pages, prepare = fresh(archive.nbytes(name))
        archive.read_into(name, pages, verify=verify, prepare=prepare)
    return from_stored(pages, *archive.specs[name])


def read_arrays(
    archive: Archive,
    names: Sequence[str],
    boxes: Mapping[int, Iterable[Box]],
    *,
    ahead: bool,
    mmap: bool,
    verify: bool,
) -> Iterator[np.ndarray[Any, Any] | Parts]:
    """Yields many arrays of an archive in order, while threads read the next large ones; see `read_array`.

    Fresh memory costs more to touch than bytes cost to read, and several cores touch it side by side.

    Args:
        archive: an open archive.
        names: of `archive.specs`.
        boxes: place in `names` -> the parts to read of that array, which is larger than `SMALL`.
        ahead: whether threads may read on; not where an array is only the raw material of another, for then those
            that wait would be memory beyond the result.
        mmap: as in `load_var_collection`.
        verify: as in `load_var_collection`.
    """
    sizes = list(map(archive.nbytes, names))
    small = archive.read_small(
        [name for name, size in zip(names, sizes, strict=True) if size <= SMALL], allocate, mmap=mmap, verify=verify
    )
    others: list[Callable[[], np.ndarray[Any, Any] | Parts]] = [
        partial(read_parts, archive, name, boxes[place], mmap=mmap, verify=verify)
        if place in boxes
        else partial(read_array, archive, name, mmap=mmap, verify=verify)
        for place, (name, size) in enumerate(zip(names, sizes, strict=True))
        if size > SMALL
    ]
    in_threads = ahead and sum(size >= _LARGE for size in sizes) > 1
    with contextlib.closing(_ahead(others) if in_threads else (read() for read in others)) as large:
        for name, size in zip(names, sizes, strict=True):
            yield next(large) if size > SMALL else from_stored(next(small), *archive.specs[name])


def _ahead(reads: Sequence[Callable[[], _T]]) -> Generator[_T]:
    upcoming = iter(reads)
    with ThreadPoolExecutor(READERS, thread_name_prefix='objio-load') as pool:
        pending = deque(map(pool.submit, islice(upcoming, READERS)))
        try:
            while pending:
                array = pending.popleft().result()
                pending.extend(map(pool.submit, islice(upcoming, 1)))
                yield array
        finally:
            pool.shutdown(cancel_futures=True)

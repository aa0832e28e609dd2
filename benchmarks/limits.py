"""What the machine gives when nothing but bytes is moved, by the best recipe known for each."""

import ctypes
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from typing import Any

from benchmarks.contenders import DURABLE, Library, Way

Timed = Callable[[], Any]

_WRITE = 8 << 20  # bytes of one write
_PIECES = 1024  # buffers that one system call takes
_EARLY = 32 << 20  # bytes after which writing to the disk is started
_READ = 4 << 20  # bytes of one read
_START_WRITEBACK = 2  # SYNC_FILE_RANGE_WRITE of linux/fs.h


def write(path: str, tree: dict[str, Any], *, allocate: bool = False, early: bool = False, sync: bool = False) -> Timed:
    """All arrays, one after the other, without names: written beside the target and renamed, as a save must be."""
    import numpy as np

    batches = _batches([memoryview(np.asarray(array).reshape(-1).view(np.uint8)) for array in tree.values()])
    total = sum(size for _, size in batches)
    start_writeback = _sync_file_range() if early else None
    beside = path + '.tmp'

    def timed() -> None:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        if allocate:
            os.posix_fallocate(fd, 0, total)
        offset = started = 0
        for pieces, size in batches:
            if os.pwritev(fd, pieces, offset) != size:
                raise OSError(f'{beside}: a write was cut short')
            offset += size
            if start_writeback is not None and offset - started >= _EARLY:
                start_writeback(fd, started, offset - started, _START_WRITEBACK)
                started = offset
        if sync:
            os.fsync(fd)
        os.close(fd)
        os.rename(beside, path)

    return timed


def _batches(views: list[memoryview]) -> list[tuple[list[memoryview], int]]:
    """The buffers of each system call, and their bytes."""
    batches: list[tuple[list[memoryview], int]] = []
    batch: list[memoryview] = []
    size = 0
    for view in views:
        for start in range(0, len(view), _WRITE):
            piece = view[start : start + _WRITE]
            if batch and (size + len(piece) > _WRITE or len(batch) == _PIECES):
                batches.append((batch, size))
                batch, size = [], 0
            batch.append(piece)
            size += len(piece)
    return [*batches, (batch, size)] if batch else batches


def _sync_file_range() -> Any:
    function = ctypes.CDLL(None, use_errno=True).sync_file_range
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def read(path: str, like: dict[str, Any]) -> Timed:
    """The whole file into fresh memory of huge pages by two threads, taken by JAX as one array without a copy."""
    import jax
    import numpy as np

    def timed() -> dict[str, Any]:
        size = os.stat(path).st_size
        pages = mmap.mmap(
            -1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )  # shared memory, the default, has small pages
        pages.madvise(mmap.MADV_HUGEPAGE)
        view = memoryview(pages)
        fd = os.open(path, os.O_RDONLY)

        def piece(offset: int) -> None:
            end = min(offset + _READ, size)
            while offset < end:
                count = os.preadv(fd, [view[offset:end]], offset)
                if not count:
                    raise OSError(f'{path}: ends early')
                offset += count

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(piece, range(0, size, _READ)))
        os.close(fd)
        whole = jax.device_put(np.frombuffer(pages, np.uint8), may_alias=True)
        return {'': jax.block_until_ready(whole)}

    return timed


def memcpy(path: str, like: dict[str, Any]) -> Timed:
    """As many bytes copied within memory that both sides have touched."""
    import numpy as np

    size = sum(prod(spec.shape) * spec.dtype.itemsize for spec in like.values())
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)

    def timed() -> dict[str, Any]:
        np.copyto(target, source)
        return {'': target}

    return timed


def place(path: str, like: dict[str, Any]) -> Timed:
    """Arrays that are in memory already, made arrays of JAX one by one."""
    import jax.numpy as jnp
    import numpy as np

    arrays = {name: np.ones(spec.shape, spec.dtype) for name, spec in like.items()}
    # It copies by a program that is compiled once for each shape; the limit is what placing costs without that.
    for array in {array.shape: array for array in arrays.values()}.values():
        jnp.array(array)
    return lambda: {name: jnp.array(array) for name, array in arrays.items()}


def read_all(paths: list[str]) -> Timed:
    """Every file through one small buffer."""
    buffer = bytearray(1 << 20)

    def timed() -> dict[str, Any]:
        for path in paths:
            with open(path, 'rb', buffering=0) as file:
                while file.readinto(buffer):
                    pass
        return {}

    return timed


def nothing(path: str, tree: dict[str, Any]) -> Timed:
    """A training step alone."""
    return lambda: lambda: None


LIBRARIES = (
    Library(
        'raw',
        'limit',
        '.raw',
        (
            Way('save', 'write', write),
            Way('save', 'write, fsync', partial(write, sync=True)),
            Way('save', 'preallocate, write', partial(write, allocate=True)),
            Way('save', DURABLE, partial(write, allocate=True, early=True, sync=True)),
            Way('load', 'read, huge pages, 2 threads', read),
            Way('load', 'memcpy', memcpy, numpy=True),
            Way('load', 'place one by one', place, most=1 << 30),
            Way('resume', 'read, huge pages, 2 threads', read),
            Way('mean', 'read', read_all, numpy=True),
            Way('held', 'nothing is saved', nothing),
            Way('import', 'import jax', lambda: 'import jax'),
        ),
    ),
)

"""Parts of arrays: what a process reads and keeps of an array that is spread over several devices."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from objio.formats import Archive, ReadRange
from objio.formats.dtypes import from_stored, stored
from objio.io.memory import allocate

_PIECE = 1 << 20  # bytes that are read and shared out while they are in the cache
_PAGE = 1 << 12  # bytes: shorter runs are read with what lies between them, since the disk reads whole pages too

_NUMBERS = {1: 'u1', 2: 'u2', 4: 'u4', 8: 'u8', 16: 'c16'}

Box = tuple[tuple[int, int], ...]
"""A part of an array: from where to where it goes along each axis."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Some parts of an array, each an array of its own.

    Attributes:
        arrays: each part; of keys their words, as the last axis.
    """

    arrays: Mapping[Box, np.ndarray[Any, Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of all parts together."""
        return sum(array.nbytes for array in self.arrays.values())

    def each(self, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> 'Parts':
        """The same parts, each changed."""
        return Parts({box: change(array) for box, array in self.arrays.items()})


def read_parts(archive: Archive, name: str, boxes: Iterable[Box], *, mmap: bool = False, verify: bool = True) -> Parts:
    """Some parts of an array of an archive.

    With `verify` all of its bytes are read once, for the checksum covers them all; without it no others than those of
    the parts, but for what lies between runs shorter than 4 KiB. Beyond the parts it takes 1 MiB of memory.

    Args:
        archive: an open archive.
        name: one of `archive.specs`.
        boxes: which parts, along the axes of the logical shape.
        mmap: as in `load_var_collection`.
        verify: as in `load_var_collection`.

    Raises:
        FormatError: the array is damaged.
    """
    dtype, shape = archive.specs[name]
    pages = archive.mapped(name, verify=verify) if mmap else None
    if pages is not None:
        whole = from_stored(pages, dtype, shape)
        return Parts({box: whole[tuple(slice(*edges) for edges in box)] for box in boxes})
    parts = {box: allocate(stored(dtype).nbytes(_sizes(box))) for box in boxes}
    shares = _Shares(archive, name, parts)
    few = sum(part.nbytes for part in parts.values()) < archive.nbytes(name)
    read_range = archive.ranges(name) if few and not verify else None
    if read_range is None:
        shares.take(0, archive.pieces(name, shares.piece, verify=verify))
    else:
        _read_few(read_range, shares, parts)
    return Parts({box: from_stored(part, dtype, _sizes(box)) for box, part in parts.items()})


def _read_few(read_range: ReadRange, shares: '_Shares', parts: Mapping[Box, memoryview]) -> None:
    """Reads parts and, but for small gaps in them, nothing else."""
    scattered = []
    for box, part in parts.items():
        runs, size = shares.runs(box)
        if size < min(_PAGE, len(part)):
            scattered.append(box)
            continue
        for number, start in enumerate(runs):
            read_range(start, part[number * size : (number + 1) * size])
    if scattered:
        # Together: what lies between the runs of one is in the runs of another.
        hull = tuple(
            (min(lows), max(highs))
            for lows, highs in (zip(*edges, strict=True) for edges in zip(*scattered, strict=True))
        )
        runs, size = shares.runs(hull, _PAGE)
        for start in runs:
            for at in range(start, start + size, len(shares.piece)):
                piece = shares.piece[: start + size - at]
                read_range(at, piece)
                shares.take(at, [piece])


class _Shares:
    """The parts of an array, into which the bytes of the array are sorted as they come."""

    def __init__(self, archive: Archive, name: str, parts: Mapping[Box, memoryview]) -> None:
        dtype, shape = archive.specs[name]
        form = stored(dtype)
        self.shape = shape + form.words
        self.itemsize = form.itemsize
        self.piece = memoryview(bytearray(max(_PIECE // form.itemsize, 1) * form.itemsize))
        # Any dtype of the width will do; NumPy copies numbers faster than what it takes for bare bytes.
        element = np.dtype(_NUMBERS.get(form.itemsize, f'V{form.itemsize}'))
        self._element = element
        words = tuple((0, count) for count in form.words)
        self._parts = {
            box + words: np.frombuffer(part, element).reshape(_sizes(box + words)) for box, part in parts.items()
        }

    def runs(self, box: Box, least: int = 0) -> tuple[Iterator[int], int]:
        """Where the bytes of a box stand in the array: the first byte of each run, and how many bytes each has.

        Args:
            box: along the axes of the logical shape.
            least: shorter runs are taken together with what lies between them.
        """
        box += tuple((0, size) for size in self.shape[len(box) :])
        strides = [self.itemsize * math.prod(self.shape[axis + 1 :]) for axis in range(len(box))]
        # The axes behind this one are whole, so what the box has along it is one run.
        axis = max((i for i, edges in enumerate(box) if edges != (0, self.shape[i])), default=0)
        while axis and (box[axis][1] - box[axis][0]) * strides[axis] < least:
            axis -= 1
        low, high = box[axis]
        starts = product(*(range(*edges) for edges in box[:axis]))
        return (sum(map(operator.mul, (*index, low), strides)) for index in starts), (high - low) * strides[axis]

    def take(self, start: int, pieces: Iterable[memoryview]) -> None:
        """Copies bytes that follow each other, from the byte `start` of the array, to where they belong."""
        at = start // self.itemsize
        for piece in pieces:
            elements = np.frombuffer(piece, self._element)
            done = 0
            for box in rectangles(self.shape, at, at + len(elements)):
                sizes = _sizes(box)
                rectangle = elements[done : done + math.prod(sizes)].reshape(sizes)
                done += rectangle.size
                for outer, part in self._parts.items():
                    both = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, outer, strict=True)]
                    if all(low < high for low, high in both):
                        part[_inside(both, outer)] = rectangle[_inside(both, box)]
            at += done


def rectangles(shape: Sequence[int], start: int, stop: int) -> Iterator[Box]:
    """Yields boxes that together hold the elements from `start` to `stop` of an array in C order, in that order.

    Example:
        >>> list(rectangles((4, 10), 7, 25))
        [((0, 1), (7, 10)), ((1, 2), (0, 10)), ((2, 3), (0, 5))]
    """
    if start >= stop:
        return
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    first, skipped = divmod(start, row)
    last, rest = divmod(stop, row)
    if skipped or first == last:
        upto = rest if first == last else row
        for box in rectangles(shape[1:], skipped, upto):
            yield (first, first + 1), *box
        first += 1
    if first < last:
        yield (first, last), *((0, size) for size in shape[1:])
    if rest and first <= last:
        for box in rectangles(shape[1:], 0, rest):
            yield (last, last + 1), *box


def _sizes(box: Box) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in box)


def _inside(box: Iterable[tuple[int, int]], outer: Box) -> tuple[slice, ...]:
    """A box as the slices of an array that holds an outer one."""
    return tuple(slice(low - start, high - start) for (low, high), (start, _) in zip(box, outer, strict=True))

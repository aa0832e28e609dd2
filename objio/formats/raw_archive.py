"""Reads arrays that lie in a file without checksums, in one stretch or several, as the stored bytes or nearly so."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

from objio.formats import Allocate, ArraySpec, Prepare, ReadRange, Source
from objio.formats.dtypes import stored
from objio.formats.reading import bounded, check, scan

_PIECE = 1 << 20  # looked at while it is in the cache
_WINDOW = 1 << 18  # bytes of small arrays that are read before the first of them is given
_TOGETHER = 1024  # so many at most
_GAP = 256  # bytes that are rather read than left out
_ALIGNMENT = 64

Stretch = tuple[int, int]
"""Where bytes start in the file, and how many there are."""


@lru_cache(maxsize=4096)  # thousands of arrays have a few forms
def _nbytes(spec: ArraySpec) -> int:
    return stored(spec.dtype).nbytes(spec.shape)


class Places(NamedTuple):
    """Where the bytes of arrays are."""

    starts: dict[str, int]  # of the arrays that lie in one stretch, with the bytes that `Archive` gives
    others: dict[str, tuple[Stretch, ...]]  # of those that lie in several, or are to be turned into stored bytes
    values: dict[str, bytes]  # of those that stand among the text: stored bytes of single numbers


class RawArchive:
    """A file whose table of contents was checked; of its arrays only the values of a few dtypes can be checked.

    See `objio.formats.Archive`.
    """

    keyless = True
    checksums = False
    aliases: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, kind: str, source: Source, specs: dict[str, ArraySpec], places: Places, metadata: Mapping[str, Any]
    ) -> None:
        self.kind = kind
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(specs)
        self.metadata: Mapping[str, Any] = metadata
        self._source = source
        self._places = places

    def nbytes(self, name: str) -> int:
        """See `Archive`."""
        return _nbytes(self.specs[name])

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """See `Archive`; there is no checksum that `verify` could ask for."""
        if buffer.nbytes != self.nbytes(name):
            raise ValueError(f'{name!r} has {self.nbytes(name)} bytes, the buffer {buffer.nbytes}')
        form = stored(self.specs[name].dtype)
        start = self._places.starts.get(name)
        stretches = ((start, buffer.nbytes),) if start is not None else self._places.others.get(name, ())
        if start is None and (form.limits is not None or not stretches):
            for at in range(0, buffer.nbytes, _PIECE):
                self._read_part(name, at, buffer[at : at + _PIECE])
            return
        at = 0
        for start, nbytes in stretches:
            # Where an array lies in several stretches, the ranges of `buffer` are not those of its parts.
            told = prepare if nbytes == len(buffer) else None
            scan(self._source, repr(name), form, start, buffer[at : at + nbytes], fill=True, verify=False, prepare=told)
            at += nbytes

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """See `Archive`; what is asked for together need not be in the order of the file."""
        first = 0
        while first < len(names):
            last, size = first, 0
            while last < len(names) and size < _WINDOW and last < first + _TOGETHER:
                size += self.nbytes(names[last])
                last += 1
            yield from self._window(names[first:last], allocate, mmap=mmap)
            first = last

    def _window(self, names: Sequence[str], allocate: Allocate, *, mmap: bool) -> Iterator[memoryview]:
        found: dict[str, memoryview] = {}
        starts = self._places.starts
        run: list[str] = []
        end = 0
        for name in sorted((name for name in names if name in starts), key=starts.__getitem__):
            if run and starts[name] > end + _GAP:
                self._read_run(run, end, found, allocate, mmap=mmap)
                run = []
            run.append(name)
            end = max(end, starts[name] + self.nbytes(name))  # arrays without bytes may come last
        if run:
            self._read_run(run, end, found, allocate, mmap=mmap)
        for name in names:
            array = found.pop(name, None)
            if array is None:
                array = allocate(self.nbytes(name))
                self.read_into(name, array)
            yield array

    def _read_run(
        self, names: Sequence[str], end: int, found: dict[str, memoryview], allocate: Allocate, *, mmap: bool
    ) -> None:
        """Reads neighbours in the file at once."""
        first = self._places.starts[names[0]]
        pages = self._source.map() if mmap else None
        if pages is None:
            # As in the file, so that what is aligned there is aligned here.
            shift = first % _ALIGNMENT
            run = allocate(shift + end - first)[shift:]
            self._source.read_into(first, run)
        else:
            run = pages[first:end]
        room = memoryview(bytearray())  # for copies of what lies at odd addresses
        for name in names:
            spec, start = self.specs[name], self._places.starts[name]
            form, nbytes = stored(spec.dtype), _nbytes(spec)
            array = run[start - first : start - first + nbytes]
            if start % form.dtype.alignment:
                if len(room) < nbytes:
                    room = allocate(max(len(run), nbytes))
                copy, room = room[:nbytes], room[nbytes + -nbytes % _ALIGNMENT :]
                copy[:] = array
                array = copy
            if form.limits is not None:
                check(self._source, repr(name), array, form)
            found[name] = array

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """See `Archive`."""
        nbytes = self.nbytes(name)
        for at in range(0, nbytes, len(buffer)):
            piece = buffer[: nbytes - at]
            self._read_part(name, at, piece)
            yield piece

    def ranges(self, name: str) -> ReadRange | None:
        """See `Archive`."""
        return bounded(repr(name), self.nbytes(name), partial(self._read_part, name))

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """See `Archive`; None also where the array lies at an address that its dtype cannot have."""
        start = self._places.starts.get(name)
        form = stored(self.specs[name].dtype)
        if start is None or start % form.dtype.alignment:
            return None
        pages = self._source.map()
        if pages is None:
            return None
        buffer = pages[start : start + self.nbytes(name)]
        if form.limits is not None:
            scan(self._source, repr(name), form, start, buffer, fill=False, verify=False)
        return buffer

    def _read_part(self, name: str, at: int, buffer: memoryview) -> None:
        """Fills `buffer` with the stored bytes of an array from the byte `at` of them."""
        form = stored(self.specs[name].dtype)
        start = self._places.starts.get(name)
        if start is not None:
            self._source.read_into(start + at, buffer)
        elif name in self._places.values:
            buffer[:] = self._places.values[name][at : at + len(buffer)]
        else:
            self._read_other(name, at, buffer)
        check(self._source, repr(name), buffer, form)

    def _read_other(self, name: str, at: int, buffer: memoryview) -> None:
        """The same for an array among `Places.others`: here one that lies in several stretches."""
        done = 0
        for start, nbytes in self._places.others[name]:
            if at < nbytes and done < len(buffer):
                part = buffer[done : done + nbytes - at]
                self._source.read_into(start + at, part)
                done += len(part)
                at += len(part)
            at -= nbytes

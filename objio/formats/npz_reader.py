"""Reads objio-npz 1: everything but the arrays and the checksums is rebuilt from the manifest and compared."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from types import MappingProxyType
from typing import Any

import numpy as np
from isal import isal_zlib

from objio.errors import FormatError
from objio.formats import Allocate, ArraySpec, Prepare, ReadRange, Source, manifest
from objio.formats.dtypes import WRITABLE
from objio.formats.layout import LARGEST_MANIFEST, content_of, crc_of_head, lay_out_again, manifest_alone
from objio.formats.names import MANIFEST, member_name
from objio.formats.reading import check, damaged, ranges, read, scan, scan_pieces
from objio.formats.zip_directory import End, Entry
from objio.formats.zip_records import ALIGNMENT, LOCAL, Members, end_records

_CRC_FIELD = 16  # where an entry of the directory has its checksum
_ENTRIES = 1 << 13  # of the directory that are compared at a time
_SMALL = 1 << 16  # up to here header and array come in one read
_TOGETHER = 1 << 18  # bytes of small members that come in one read, looked at while they are in the cache


class NpzArchive:
    """An objio-npz 1 file whose layout was checked; each array is checked when it is read."""

    kind = 'objio-npz 1'
    keyless = False
    checksums = True

    def __init__(
        self, source: Source, table: '_Table', metadata: dict[str, Any], layout: Members, crcs: Sequence[int]
    ) -> None:
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(table.specs)
        self.aliases: Mapping[str, str] = MappingProxyType(table.aliases)
        self.metadata: Mapping[str, Any] = metadata
        self._source = source
        self._members = layout
        self._crcs = crcs

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.specs)}

    def nbytes(self, name: str) -> int:
        """How many stored bytes the array has: what `read_into` fills."""
        return self._members.sizes[self._index[name]]

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """Fills `buffer` with the stored bytes of an array.

        Args:
            name: one of `specs`.
            buffer: writable, of `nbytes(name)` bytes.
            verify: whether the checksum is compared; header and values are checked always.
            prepare: is told of ranges of `buffer` before they are filled.

        Raises:
            FormatError: the array's member is damaged.
        """
        index = self._index[name]
        nbytes = self._members.sizes[index]
        if buffer.nbytes != nbytes:
            raise ValueError(f'{name!r} has {nbytes} bytes, the buffer {buffer.nbytes}')
        if nbytes <= _SMALL:
            (buffer[:],) = self._run([name], index, None, _scratch, verify=verify)
        else:
            self._compare_header(name, index)
            self._scan(name, index, buffer, fill=True, verify=verify, prepare=prepare)

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """Yields the stored bytes of small arrays; neighbours in the file share one read and one block of memory.

        Args:
            names: of `specs`.
            allocate: gives the memory.
            mmap: whether the bytes may be pages of the file, which then nobody may change.
            verify: as in `read_into`.

        Raises:
            FormatError: a member is damaged.
        """
        indices = [self._index[name] for name in names]
        pages = self._source.map() if mmap else None
        first = 0
        while first < len(indices):
            last = first + 1
            stop = self._members.offsets[indices[first]] + _TOGETHER
            while last < len(indices) and indices[last] == indices[last - 1] + 1 and self._end(indices[last]) <= stop:
                last += 1
            yield from self._run(names[first:last], indices[first], pages, allocate, verify=verify)
            first = last

    def _run(
        self, names: Sequence[str], first: int, pages: memoryview | None, allocate: Allocate, *, verify: bool
    ) -> list[memoryview]:
        """The arrays of members that follow each other, from the one with the index `first`."""
        layout, last = self._members, first + len(names)
        offset, end = layout.offsets[first], self._end(last - 1)
        if pages is None:
            # As in the file, so that arrays stand at multiples of 64 here too.
            shift = offset % ALIGNMENT
            run = allocate(shift + end - offset)[shift:]
            self._source.read_into(offset, run)
        else:
            run = pages[offset:end]
        headers = layout.local_headers(first, last, self._crcs[first:last])
        begins = [begin - offset for begin in layout.offsets[first:last]]
        starts = [start - offset for start in layout.starts[first:last]]
        arrays = [run[start : start + size] for start, size in zip(starts, layout.sizes[first:last], strict=True)]
        found = [run[begin:start] for begin, start in zip(begins, starts, strict=True)]
        if b''.join(headers) != b''.join(found):
            for index, name, header in zip(range(first, last), names, found, strict=True):
                self._compare_header(name, index, bytes(header))
        crcs = map(isal_zlib.crc32, arrays, map(crc_of_head, layout.heads[first:last])) if verify else repeat(0)
        for index, name, held, crc in zip(range(first, last), names, arrays, crcs, strict=verify):
            form = WRITABLE[self.specs[name].dtype]
            if form.limits is not None:
                check(self._source, repr(name), held, form)
            if verify and crc != self._crcs[index]:
                raise self._wrong_crc(name, index, crc)
        return arrays

    def _end(self, index: int) -> int:
        return self._members.starts[index] + self._members.sizes[index]

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """Yields the stored bytes of an array, as many at a time as `buffer` takes; see `read_into`."""
        index = self._index[name]
        self._compare_header(name, index)
        form = WRITABLE[self.specs[name].dtype]
        start, nbytes = self._members.starts[index], self._members.sizes[index]
        found = yield from scan_pieces(
            self._source, repr(name), form, start, nbytes=nbytes, buffer=buffer, verify=verify
        )
        if verify:
            self._compare_crc(name, index, found)

    def ranges(self, name: str) -> ReadRange | None:
        """What reads some of the stored bytes of an array, and no others; its header is compared now."""
        index = self._index[name]
        self._compare_header(name, index)
        form = WRITABLE[self.specs[name].dtype]
        return ranges(self._source, repr(name), form, self._members.starts[index], self._members.sizes[index])

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """The stored bytes as read-only pages of the file, checked as by `read_into`; None where it has no map."""
        pages = self._source.map()
        if pages is None:
            return None
        index = self._index[name]
        self._compare_header(name, index)
        start = self._members.starts[index]
        buffer = pages[start : start + self._members.sizes[index]]
        self._scan(name, index, buffer, fill=False, verify=verify)
        return buffer

    def _compare_header(self, name: str, index: int, found: bytes | None = None) -> None:
        compare_header(self._source, repr(name), self._members, index, crc=self._crcs[index], found=found)

    def _scan(
        self, name: str, index: int, buffer: memoryview, *, fill: bool, verify: bool, prepare: Prepare | None = None
    ) -> None:
        form = WRITABLE[self.specs[name].dtype]
        start = self._members.starts[index]
        found = scan(self._source, repr(name), form, start, buffer, fill=fill, verify=verify, prepare=prepare)
        if verify:
            self._compare_crc(name, index, found)

    def _compare_crc(self, name: str, index: int, found: int) -> None:
        head = crc_of_head(self._members.heads[index])
        found = isal_zlib.crc32_combine(head, found, self._members.sizes[index])
        if found != self._crcs[index]:
            raise self._wrong_crc(name, index, found)

    def _wrong_crc(self, name: str, index: int, found: int) -> FormatError:
        return damaged(self._source, repr(name), f'the checksum {self._crcs[index]:08x}', f'{found:08x}')


def _scratch(size: int) -> memoryview:
    return memoryview(bytearray(size))


def compare_header(
    source: Source, part: str, layout: Members, index: int, *, crc: int, found: bytes | None = None
) -> None:
    """Compares a local header, its padding and the NPY header with what they must be."""
    (expected,) = layout.local_headers(index, index + 1, [crc])
    if found is None:
        found = read(source, part, layout.offsets[index], len(expected))
    if found != expected:
        at = next(i for i, (one, other) in enumerate(zip(expected, found, strict=True)) if one != other)
        raise damaged(source, f'{part}: byte {at} of its header', f'{expected[at]:#04x}', f'{found[at]:#04x}')


class _Table:
    """What a manifest says, taken entry by entry, so that the first one that lies ends the reading."""

    def __init__(self, end: int, most: int) -> None:
        self.specs: dict[str, ArraySpec] = {}
        self.aliases: dict[str, str] = {}
        self.sizes = array('q')
        self._targets: dict[str, str] = {}  # one string for all aliases of an array
        self._left = end  # bytes for the arrays that are still to come
        self._most = most  # arrays

    def add_array(self, name: str, spec: ArraySpec) -> None:
        if name in self.specs:
            raise ValueError(f'two arrays are called {name!r}')
        try:
            head, size = content_of(spec)
        except ValueError as error:
            raise ValueError(f'{name!r}: {error}') from error
        self._left -= len(head) + size
        if self._left < 0:
            raise ValueError(f'{name!r}: {spec.dtype} of shape {spec.shape} takes more bytes than the file has')
        if len(self.specs) == self._most:
            raise ValueError(f'{name!r}: one array more than the {self._most} that the directory has')
        self.specs[name] = spec
        self.sizes.append(size)

    def add_alias(self, name: str, target: str) -> None:
        member_name(name)
        if name in self.specs or name in self.aliases:
            raise ValueError(f'two entries are called {name!r}')
        if target not in self.specs:
            raise ValueError(f'{name!r} is another name of {target!r}, but there is no such array')
        self.aliases[name] = self._targets.setdefault(target, target)


def open_archive(source: Source, end: End, last: Entry) -> NpzArchive:
    """Reads and checks the manifest, the directory and the end of an objio-npz file.

    Args:
        source: the file.
        end: its end records.
        last: the last entry of its directory, that of the manifest.

    Raises:
        FormatError: the file is not exactly what its manifest makes it.
    """
    text = _read_manifest(source, last)
    if end.records != end_records(end.count, end.size, end.offset):
        raise damaged(source, 'the end records', 'those that the values need', end.records.hex(' '))
    alone = manifest_alone(last.size, last.offset)
    compare_header(source, MANIFEST, alone, 0, crc=last.crc)
    if alone.end != end.offset:
        raise damaged(source, MANIFEST, f'its end at byte {end.offset}', alone.end)
    table = _Table(last.offset, end.count - 1)
    try:
        metadata = manifest.parse(text, table.add_array, table.add_alias)
        del text
        layout = lay_out_again(table.specs, table.sizes, last.size)
    except ValueError as error:
        raise _bad_manifest(source, error) from error
    if layout.offsets[-1] != last.offset:
        raise damaged(source, MANIFEST, f'arrays up to byte {last.offset}', f'arrays up to byte {layout.offsets[-1]}')
    crcs = _read_directory(source, end, layout)
    # Parsed last, for what it becomes can be far larger than the file: only a file that is right may ask for that.
    return NpzArchive(source, table, json.loads(metadata), layout, crcs)


def _read_manifest(source: Source, last: Entry) -> bytes:
    """The manifest where any zip reader would find it, since that of a newer version may lie elsewhere."""
    if last.size > LARGEST_MANIFEST:
        raise damaged(source, MANIFEST, f'at most {LARGEST_MANIFEST} bytes', last.size)
    fixed = read(source, f'the local header of {MANIFEST}', last.offset, LOCAL.size)
    *_, name_size, extra_size = LOCAL.unpack(fixed)
    text = read(source, MANIFEST, last.offset + LOCAL.size + name_size + extra_size, last.size)
    crc = isal_zlib.crc32(text)
    if crc != last.crc:
        raise damaged(source, MANIFEST, f'the checksum {last.crc:08x}', f'{crc:08x}')
    try:
        manifest.check_version(text)
    except ValueError as error:
        raise _bad_manifest(source, error) from error
    return text


def _bad_manifest(source: Source, error: ValueError) -> FormatError:
    return FormatError(f'{source.name}: {MANIFEST}: {error}')


def _read_directory(source: Source, end: End, layout: Members) -> Sequence[int]:
    """Compares the directory with what it must be; returns the checksums of the members."""
    count, size = len(layout), layout.directory_size
    if (count, size) != (end.count, end.size):
        raise damaged(
            source, 'the directory', f'{count} entries in {size} bytes', f'{end.count} entries in {end.size} bytes'
        )
    crcs = np.zeros(count, np.uint32)
    start = 0
    for first in range(0, count, _ENTRIES):
        some = crcs[first : first + _ENTRIES]
        sizes = layout.entry_sizes(first, first + len(some))
        directory = read(source, 'the directory', end.offset + start, int(sizes.sum()))
        found = np.frombuffer(directory, np.uint8)
        fields = (np.cumsum(sizes) - sizes)[:, np.newaxis] + np.arange(_CRC_FIELD, _CRC_FIELD + 4)
        some[:] = found[fields].view('<u4')[:, 0]
        expected = layout.directory(some.data, first)
        if directory != expected:
            at = int(np.argmax(np.frombuffer(expected, np.uint8) != found))
            raise damaged(source, f'byte {start + at} of the directory', f'{expected[at]:#04x}', f'{found[at]:#04x}')
        start += len(directory)
    return crcs.data

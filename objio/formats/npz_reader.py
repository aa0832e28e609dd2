"""Reads objio-npz 1: everything but the arrays and the checksums is rebuilt from the manifest and compared."""

from array import array
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from isal import isal_zlib

from objio.errors import FormatError
from objio.formats import ArraySpec, Source, manifest
from objio.formats.dtypes import WRITABLE
from objio.formats.layout import LARGEST_MANIFEST, array_member, manifest_member
from objio.formats.names import MANIFEST, member_name
from objio.formats.reading import damaged, read, scan, scan_pieces
from objio.formats.zip_directory import End, Entry
from objio.formats.zip_records import LOCAL, Member, end_records

_CRC_FIELD = 16  # where an entry of the directory has its checksum
_SMALL = 1 << 16  # up to here header and array come in one read


class NpzArchive:
    """An objio-npz 1 file whose layout was checked; each array is checked when it is read."""

    kind = 'objio-npz 1'

    def __init__(self, source: Source, table: '_Table', metadata: dict[str, Any], crcs: 'array[int]') -> None:
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(table.specs)
        self.aliases: Mapping[str, str] = MappingProxyType(table.aliases)
        self.metadata: Mapping[str, Any] = metadata
        self._source = source
        self._offsets = table.offsets
        self._crcs = crcs

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.specs)}

    def nbytes(self, name: str) -> int:
        """How many stored bytes the array has: what `read_into` fills."""
        spec = self.specs[name]
        return WRITABLE[spec.dtype].nbytes(spec.shape)

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True) -> None:
        """Fills `buffer` with the stored bytes of an array.

        Args:
            name: one of `specs`.
            buffer: writable, of `nbytes(name)` bytes.
            verify: whether the checksum is compared; header and values are checked always.

        Raises:
            FormatError: the array's member is damaged.
        """
        member, crc = self._member(name)
        if buffer.nbytes != member.nbytes:
            raise ValueError(f'{name!r} has {member.nbytes} bytes, the buffer {buffer.nbytes}')
        if member.nbytes <= _SMALL:
            raw = read(self._source, repr(name), member.offset, member.end - member.offset)
            buffer[:] = memoryview(raw)[member.start - member.offset :]
            self._compare_header(name, member, crc, raw[: member.start - member.offset])
            self._scan(name, member, crc, buffer, fill=False, verify=verify)
        else:
            self._compare_header(name, member, crc)
            self._scan(name, member, crc, buffer, fill=True, verify=verify)

    def pieces(self, name: str, size: int, *, verify: bool = True) -> Iterator[memoryview]:
        """Yields the stored bytes of an array `size` at a time, in one buffer; see `read_into`."""
        member, crc = self._member(name)
        self._compare_header(name, member, crc)
        form = WRITABLE[self.specs[name].dtype]
        found = yield from scan_pieces(
            self._source, repr(name), form, member.start, nbytes=member.nbytes, size=size, verify=verify
        )
        if verify:
            self._compare_crc(name, member, crc, found)

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """The stored bytes as read-only pages of the file, checked as by `read_into`; None where it has no map."""
        pages = self._source.map()
        if pages is None:
            return None
        member, crc = self._member(name)
        self._compare_header(name, member, crc)
        buffer = pages[member.start : member.end]
        self._scan(name, member, crc, buffer, fill=False, verify=verify)
        return buffer

    def _member(self, name: str) -> tuple[Member, int]:
        index = self._index[name]
        return array_member(self.specs[name], self._offsets[index]), self._crcs[index]

    def _compare_header(self, name: str, member: Member, crc: int, found: bytes | None = None) -> None:
        compare_header(self._source, repr(name), member, crc, found)

    def _scan(self, name: str, member: Member, crc: int, buffer: memoryview, *, fill: bool, verify: bool) -> None:
        form = WRITABLE[self.specs[name].dtype]
        found = scan(self._source, repr(name), form, member.start, buffer, fill=fill, verify=verify)
        if verify:
            self._compare_crc(name, member, crc, found)

    def _compare_crc(self, name: str, member: Member, crc: int, found: int) -> None:
        found = isal_zlib.crc32_combine(isal_zlib.crc32(member.head), found, member.nbytes)
        if found != crc:
            raise damaged(self._source, repr(name), f'the checksum {crc:08x}', f'{found:08x}')


def compare_header(source: Source, part: str, member: Member, crc: int, found: bytes | None = None) -> None:
    """Compares a local header, its padding and the NPY header with what they must be."""
    expected = member.local_header(crc)
    if found is None:
        found = read(source, part, member.offset, len(expected))
    if found != expected:
        at = next(i for i, (one, other) in enumerate(zip(expected, found, strict=True)) if one != other)
        raise damaged(source, f'{part}: byte {at} of its header', f'{expected[at]:#04x}', f'{found[at]:#04x}')


class _Table:
    """What a manifest says, rebuilt entry by entry, so that the first one that lies ends the reading."""

    def __init__(self, end: int) -> None:
        self.specs: dict[str, ArraySpec] = {}
        self.aliases: dict[str, str] = {}
        self.offsets = array('Q')  # of local headers
        self.directory = bytearray()  # with 0 for the checksums
        self.starts = array('Q')  # of the entries in it
        self.position = 0
        self._end = end

    def add_array(self, spec: ArraySpec) -> None:
        if spec.name in self.specs:
            raise ValueError(f'two arrays are called {spec.name!r}')
        member = array_member(spec, self.position)
        self.position = member.end
        if member.end > self._end:
            raise ValueError(f'{spec.name!r}: {spec.dtype} of shape {spec.shape} takes more bytes than the file has')
        self.specs[spec.name] = spec
        self.offsets.append(member.offset)
        self.starts.append(len(self.directory))
        self.directory += member.entry(0)

    def add_alias(self, name: str, target: str) -> None:
        member_name(name)
        if name in self.specs or name in self.aliases:
            raise ValueError(f'two entries are called {name!r}')
        spec = self.specs.get(target)
        if spec is None:
            raise ValueError(f'{name!r} is another name of {target!r}, but there is no such array')
        self.aliases[name] = spec.name  # the one string that all aliases of the array share


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
    member = manifest_member(last.size, last.offset)
    compare_header(source, MANIFEST, member, last.crc)
    if member.end != end.offset:
        raise damaged(source, MANIFEST, f'its end at byte {end.offset}', member.end)
    table = _Table(last.offset)
    try:
        metadata = manifest.parse(text, table.add_array, table.add_alias)
    except ValueError as error:
        raise _bad_manifest(source, error) from error
    if table.position != last.offset:
        raise damaged(source, MANIFEST, f'arrays up to byte {last.offset}', f'arrays up to byte {table.position}')
    table.directory += member.entry(last.crc)
    return NpzArchive(source, table, metadata, _read_directory(source, end, table))


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


def _read_directory(source: Source, end: End, table: _Table) -> 'array[int]':
    """Compares the directory with what it must be; returns the arrays' checksums."""
    count, size = len(table.specs) + 1, len(table.directory)
    if (count, size) != (end.count, end.size):
        raise damaged(
            source, 'the directory', f'{count} entries in {size} bytes', f'{end.count} entries in {end.size} bytes'
        )
    expected = np.frombuffer(table.directory, np.uint8)
    found = np.frombuffer(read(source, 'the directory', end.offset, size), np.uint8)
    starts = np.frombuffer(table.starts, np.uint64).astype(np.intp)
    fields = starts[:, np.newaxis] + np.arange(_CRC_FIELD, _CRC_FIELD + 4)
    crcs = found[fields]
    expected[fields] = crcs
    if not np.array_equal(expected, found):
        at = int(np.argmax(expected != found))
        raise damaged(source, f'byte {at} of the directory', f'{expected[at]:#04x}', f'{found[at]:#04x}')
    return array('I', np.ascontiguousarray(crcs).view('<u4').astype(np.uintc).tobytes())

"""Reads what `np.savez`, `np.savez_compressed` and Objax wrote, within bounds, and gives the bytes in objio's own form.

An Objax file holds the names as an array of text, `names`, and the arrays as `0`, `1`, ... in that order.
"""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from isal import isal_zlib

from objio.errors import FormatError
from objio.formats import Allocate, ArraySpec, Prepare, ReadRange, Source, npy
from objio.formats.dtypes import Stored, stored
from objio.formats.foreign_members import DEFLATED, STORED, ForeignMember, content, first_bytes, read_members
from objio.formats.reading import check, damaged, ranges, scan, scan_pieces
from objio.formats.zip_directory import End

_RATIO = 100  # inflated bytes for each compressed one
_USUAL_HEADER = 256  # bytes
_HARMLESS = 16 << 20  # bytes that may be inflated whatever the ratio
_UNREADABLE = {
    'object': 'Python objects; objio never unpickles, since a pickle can run any code',
    'structured': 'structured records, which no variable can hold',
}


class ForeignArchive:
    """An npz file that objio did not write; bytes are inflated and turned only when an array is read."""

    keyless = True
    checksums = True

    def __init__(self, source: Source, end: End, max_bytes: int | None) -> None:
        """Reads the table of contents and the header of each array.

        Args:
            source: the file.
            end: its end records.
            max_bytes: how many bytes may be inflated in all; None: 100 times the compressed ones.

        Raises:
            FormatError: the file is damaged, not what NumPy or Objax writes, or would inflate to more than allowed.
        """
        self._source = source
        members = read_members(source, end)
        _check_inflated(source, members.values(), max_bytes)
        self._members = members
        self._heads = {name: _header(source, member) for name, member in members.items()}
        self.kind = 'numpy npz'
        if 'names' in members and len(members) > 1 and all(map(_is_number, members.keys() - {'names'})):
            numbered = [str(index) for index in range(len(members) - 1)]
            if members.keys() != {'names', *numbered}:
                raise damaged(
                    source, 'the members of an Objax file', f'names and 0 to {len(numbered) - 1}', 'other numbers'
                )
            self.kind = 'Objax npz'
            names = self._names(len(numbered))
            self._members = dict(zip(names, map(members.__getitem__, numbered), strict=True))
            self._heads = dict(zip(names, map(self._heads.__getitem__, numbered), strict=True))
        specs = {name: _spec(head.label, head.shape) for name, head in self._heads.items()}
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(specs)
        self.aliases: Mapping[str, str] = MappingProxyType({})
        self.metadata: Mapping[str, Any] = MappingProxyType({})

    def _names(self, count: int) -> list[str]:
        head = self._heads['names']
        if head.shape != (count,) or head.dtype is None or head.dtype.kind != 'U':
            found = f'{head.label} of shape {head.shape}'
            raise damaged(self._source, "'names' of an Objax file", f'{count} names as text', found)
        _check_inflated(self._source, [self._members['names']], None)  # whatever the arrays were allowed
        raw = bytearray(self.nbytes('names'))
        self.read_into('names', memoryview(raw))
        try:
            # NumPy makes strings of them that are none, and anything may become of those.
            if np.frombuffer(raw, '<u4').max(initial=0) > sys.maxunicode:
                raise ValueError('a letter that Unicode does not have')
            names: list[str] = np.frombuffer(raw, head.label).tolist()
            for name in names:
                name.encode()
        except ValueError as error:
            raise damaged(self._source, "'names' of an Objax file", 'Unicode text', f'an error: {error}') from error
        if len(set(names)) != count:
            raise damaged(self._source, "'names' of an Objax file", 'names that differ', 'one of them twice')
        return names

    def nbytes(self, name: str) -> int:
        """How many stored bytes the array has: what `read_into` fills."""
        return self._members[name].size - self._heads[name].size

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """Fills `buffer` with the bytes of an array in C order and little-endian.

        An array that lies in Fortran order takes a second buffer of the same size while it is turned.

        Args:
            name: one of `specs`.
            buffer: writable, of `nbytes(name)` bytes.
            verify: whether the checksum is compared.
            prepare: is told of ranges of `buffer` before they are filled.

        Raises:
            FormatError: the member is damaged, or holds Python objects or structured records.
        """
        member, head = self._members[name], self._heads[name]
        form, dtype = self._readable(name, head)
        if buffer.nbytes != self.nbytes(name):
            raise ValueError(f'{name!r} has {self.nbytes(name)} bytes, the buffer {buffer.nbytes}')
        turned = head.fortran_order and sum(size != 1 for size in head.shape) > 1 and buffer.nbytes > 0
        target = memoryview(bytearray(buffer.nbytes)) if turned else buffer
        if member.method == STORED:
            self._scan(name, form, target, fill=True, verify=verify, prepare=None if turned else prepare)
        else:
            self._inflate(name, form, target, verify=verify)
        if target.nbytes and dtype.newbyteorder('<') != dtype:
            np.frombuffer(target, dtype).byteswap(inplace=True)
        if turned:
            swapped = np.frombuffer(target, dtype).reshape(head.shape[::-1]).T
            np.frombuffer(buffer, dtype).reshape(head.shape)[...] = swapped

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """See `Archive`."""
        for name in names:
            buffer = allocate(self.nbytes(name))
            self.read_into(name, buffer, verify=verify)
            yield buffer

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """Yields the bytes of an array in pieces; one that must be inflated or turned is held whole."""
        member, head = self._members[name], self._heads[name]
        form, dtype = self._readable(name, head)
        nbytes = self.nbytes(name)
        if member.method == STORED and _is_straight(head, dtype):
            start = member.start + head.size
            crc = yield from scan_pieces(
                self._source, repr(name), form, start, nbytes=nbytes, buffer=buffer, verify=verify
            )
            if verify:
                self._compare_stored(name, crc)
            return
        whole = memoryview(bytearray(nbytes))
        self.read_into(name, whole, verify=verify)
        for at in range(0, nbytes, len(buffer)):
            yield whole[at : at + len(buffer)]

    def ranges(self, name: str) -> ReadRange | None:
        """What reads some of the bytes of an array, and no others; None where they have to be inflated or turned."""
        member, head = self._members[name], self._heads[name]
        form, dtype = self._readable(name, head)
        if member.method != STORED or not _is_straight(head, dtype):
            return None
        return ranges(self._source, repr(name), form, member.start + head.size, self.nbytes(name))

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """The bytes of an array as read-only pages of the file, or None where they have to be inflated or turned."""
        member, head = self._members[name], self._heads[name]
        form, dtype = self._readable(name, head)
        start = member.start + head.size
        pages = self._source.map()
        if pages is None or member.method != STORED or not _is_straight(head, dtype) or start % dtype.alignment:
            return None
        buffer = pages[start : start + self.nbytes(name)]
        self._scan(name, form, buffer, fill=False, verify=verify)
        return buffer

    def _readable(self, name: str, head: npy.Header) -> tuple[Stored, np.dtype[Any]]:
        if head.dtype is None:
            raise FormatError(f'{self._source.name}: {name!r} holds {_UNREADABLE[head.label]}; leave it out')
        return stored(head.label), head.dtype

    def _scan(
        self,
        name: str,
        form: Stored,
        buffer: memoryview,
        *,
        fill: bool,
        verify: bool,
        prepare: Prepare | None = None,
    ) -> None:
        start = self._members[name].start + self._heads[name].size
        crc = scan(self._source, repr(name), form, start, buffer, fill=fill, verify=verify, prepare=prepare)
        if verify:
            self._compare_stored(name, crc)

    def _compare_stored(self, name: str, crc: int) -> None:
        member, head = self._members[name], self._heads[name]
        start = isal_zlib.crc32(first_bytes(self._source, member, head.size))
        self._compare(name, isal_zlib.crc32_combine(start, crc, self.nbytes(name)))

    def _inflate(self, name: str, form: Stored, buffer: memoryview, *, verify: bool) -> None:
        member, head = self._members[name], self._heads[name]
        crc = 0
        at = -head.size
        for piece in content(self._source, member):
            if verify:
                crc = isal_zlib.crc32(piece, crc)
            inside = piece[max(-at, 0) :]
            buffer[max(at, 0) : max(at, 0) + inside.nbytes] = inside
            at += piece.nbytes
        check(self._source, repr(name), buffer, form)
        if verify:
            self._compare(name, crc)

    def _compare(self, name: str, crc: int) -> None:
        expected = self._members[name].crc
        if crc != expected:
            raise damaged(self._source, repr(name), f'the checksum {expected:08x}', f'{crc:08x}')


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _is_straight(head: npy.Header, dtype: np.dtype[Any]) -> bool:
    """Whether the bytes of an array lie as objio gives them: in C order and little-endian."""
    return not head.fortran_order and dtype.newbyteorder('<') == dtype


def _header(source: Source, member: ForeignMember) -> npy.Header:
    """Reads the NPY header of a member and compares the size of its array with that of the member."""
    part = f'{member.name!r}: the header'
    try:
        start = first_bytes(source, member, _USUAL_HEADER)
        size = npy.header_size(start)
        head = _parsed(start[:size]) if size <= len(start) else npy.parse(first_bytes(source, member, size))
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f'{source.name}: {part}: {error}. The file is damaged or no npz file') from error
    if head.size != size:
        raise damaged(source, part, f'{size} bytes', head.size)
    nbytes = member.size - head.size
    if head.dtype is not None and prod(head.shape) * head.dtype.itemsize != nbytes:
        raise damaged(source, part, f'an array of {nbytes} bytes', f'{head.label} of shape {head.shape}')
    return head


# One object for thousands of arrays of one form.
_spec = lru_cache(maxsize=1024)(ArraySpec)


@lru_cache(maxsize=1024)  # for the same reason; no long header is kept
def _parsed(raw: bytes) -> npy.Header:
    return npy.parse(raw)


def _check_inflated(source: Source, members: Collection[ForeignMember], max_bytes: int | None) -> None:
    """Checks how much the file would become in memory before any of it does."""
    deflated = [member for member in members if member.method == DEFLATED]
    inflated = sum(member.size for member in deflated)
    allowed = max_bytes
    if allowed is None:
        allowed = max(_RATIO * sum(member.stored_size for member in deflated), _HARMLESS)
    if inflated > allowed:
        raise FormatError(
            f'{source.name}: {source.size} bytes would inflate to {inflated}, at most {allowed} are allowed; '
            'if you trust the file, say how much it may become with max_bytes='
        )

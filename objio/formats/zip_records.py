"""The records of a zip file: packed as objio-npz 1 spells them, unpacked as every writer does.

APPNOTE.TXT of PKWARE is what the fields mean; `objio.formats.npz` says which of its choices objio makes.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct, pack
from typing import Any

import numpy as np

LOCAL = Struct('<4s5H3L2H')
ENTRY = Struct('<4s6H3L5H2L')
END = Struct('<4s4H2LH')
END64 = Struct('<4sQ2H2L4Q')
LOCATOR64 = Struct('<4sLQL')
# `LOCAL` and `ENTRY` once more, for all members at once.
_LOCAL_FIELDS = np.dtype(
    [
        ('mark', 'S4'), ('needs', '<u2'), ('flag', '<u2'), ('method', '<u2'), ('time', '<u2'), ('date', '<u2'),
        ('crc', '<u4'), ('stored', '<u4'), ('size', '<u4'), ('name', '<u2'), ('extra', '<u2'),
    ]
)  # fmt: skip
_ENTRY_FIELDS = np.dtype(
    [
        ('mark', 'S4'), ('made_by', '<u2'), ('needs', '<u2'), ('flag', '<u2'), ('method', '<u2'), ('time', '<u2'),
        ('date', '<u2'), ('crc', '<u4'), ('stored', '<u4'), ('size', '<u4'), ('name', '<u2'), ('extra', '<u2'),
        ('comment', '<u2'), ('disk', '<u2'), ('internal', '<u2'), ('mode', '<u4'), ('offset', '<u4'),
    ]
)  # fmt: skip
_WIDE = Struct('<HHQQ')  # the zip64 field of a local header
_ALIGN = Struct('<HHH')

LOCAL_MARK, ENTRY_MARK, END_MARK = b'PK\3\4', b'PK\1\2', b'PK\5\6'
END64_MARK, LOCATOR64_MARK = b'PK\6\6', b'PK\6\7'

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "too large for this field: look in the zip64 one"
ALIGNMENT_ID, ALIGNMENT = 0xD935, 64  # the extra field that aligns, as Android's zipalign writes it too
UTF8 = 0x800
_UNIX = 3 << 8
_DATE = 33  # 1980-01-01
_MODE = 0o600 << 16
_MOST = (1 << 63) - (1 << 40)  # bytes of arrays; no file has an offset of 2^63, and headers need room too


class Members:
    """Stored members that follow each other without gaps, in columns: a file may have a million.

    Attributes:
        names: in UTF-8.
        heads: what stands before the bytes of the arrays: the NPY headers.
        sizes: bytes of the arrays.
        offsets: where the local headers start in the file.
        starts: where the bytes of the arrays start in the file, multiples of 64.
        end: where the next record starts in the file.
        directory_size: bytes of the central directory.
    """

    def __init__(self, names: Sequence[bytes], heads: Sequence[bytes], sizes: Sequence[int], offset: int = 0) -> None:
        """Lays members out.

        Args:
            names: their names.
            heads: their heads, of multiples of 64 bytes.
            sizes: bytes of their arrays.
            offset: where the first starts in the file.

        Raises:
            ValueError: they take more bytes than any file can hold.
        """
        if offset + sum(sizes) >= _MOST:
            raise ValueError(f'the arrays take {sum(sizes)} bytes, more than any file can hold')
        self.names, self.heads = names, heads
        count = len(names)
        self._name_sizes = np.fromiter(map(len, names), np.int64, count)
        nbytes = np.fromiter(sizes, np.int64, count)
        self.sizes: Sequence[int] = nbytes.data
        self._contents = np.fromiter(map(len, heads), np.int64, count)
        self._contents += nbytes
        self._extras = np.where(self._contents >= FULL32, _WIDE.size, 0)
        self._extras += _ALIGN.size
        # What stands before a member ends in an array that starts at a multiple of 64.
        pads = self._name_sizes + self._extras
        pads += LOCAL.size
        pads[:1] += offset
        pads[1:] += nbytes[:-1]
        np.negative(pads, out=pads)
        pads %= ALIGNMENT
        self._extras += pads
        ends = np.add(self._name_sizes, self._extras, out=pads)
        ends += self._contents
        ends += LOCAL.size
        np.cumsum(ends, out=ends)
        ends += offset
        self.end = int(ends[-1]) if count else offset
        self._offsets = np.concatenate(([offset], ends[:-1]))[:count]
        self.offsets: Sequence[int] = self._offsets.data
        ends -= nbytes
        self.starts: Sequence[int] = ends.data
        large = (self._contents >= FULL32) | (self._offsets >= FULL32)
        self._zip64 = {
            index: _zip64(int(self._contents[index]), self.offsets[index]) for index in np.flatnonzero(large).tolist()
        }
        self.directory_size = (
            count * ENTRY.size + int(self._name_sizes.sum()) + sum(len(field) for field in self._zip64.values())
        )

    def __len__(self) -> int:
        return len(self._contents)

    def local_headers(self, first: int, last: int, crcs: Sequence[int]) -> list[bytes]:
        """The local headers of members with their names and extra fields, and the heads of their contents.

        Args:
            first: the index of the first member.
            last: the index behind the last one.
            crcs: the CRC-32 of each.
        """
        some = slice(first, last)
        names, contents, extras = self.names[some], self._contents[some], self._extras[some].tolist()
        wide = contents >= FULL32
        table = np.zeros(last - first, _LOCAL_FIELDS)
        table['mark'] = LOCAL_MARK
        table['needs'] = np.where(wide, 45, 20)
        table['flag'] = _flags(names)
        table['date'] = _DATE
        table['crc'] = crcs
        table['stored'] = table['size'] = np.minimum(contents, FULL32)
        table['name'] = self._name_sizes[some]
        table['extra'] = extras
        fields = [_alignment(extra) for extra in extras]
        for index in np.flatnonzero(wide).tolist():
            size = int(contents[index])
            fields[index] = _WIDE.pack(1, 16, size, size) + _alignment(extras[index] - _WIDE.size)
        return list(map(b''.join, zip(_rows(table), names, fields, self.heads[some], strict=True)))

    def entry_sizes(self, first: int, last: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Bytes of the entries of members in the central directory.

        Args:
            first: the index of the first member.
            last: the index behind the last one.
        """
        sizes: np.ndarray[Any, np.dtype[np.int64]] = self._name_sizes[first:last] + ENTRY.size
        for index, field in self._wide_fields(first, last):
            sizes[index] += len(field)
        return sizes

    def _wide_fields(self, first: int, last: int) -> list[tuple[int, bytes]]:
        """The zip64 fields of the entries of some members, each with its index among these."""
        found = self._zip64.keys() & range(first, last) if self._zip64 else ()
        return [(index - first, self._zip64[index]) for index in found]

    def directory(self, crcs: Sequence[int], first: int = 0) -> bytes:
        """The central directory, or some of its entries.

        Args:
            crcs: the CRC-32 of each member.
            first: the index of the member that the first of them belongs to.
        """
        count = len(crcs)
        some = slice(first, first + count)
        names = self.names[some]
        extras = [b''] * count
        table = np.zeros(count, _ENTRY_FIELDS)
        for index, field in self._wide_fields(first, first + count):
            extras[index] = field
            table['extra'][index] = len(field)
        table['mark'] = ENTRY_MARK
        table['needs'] = np.where(table['extra'], 45, 20)
        table['made_by'] = table['needs'] + _UNIX
        table['flag'] = _flags(names)
        table['date'] = _DATE
        table['crc'] = crcs
        table['stored'] = table['size'] = np.minimum(self._contents[some], FULL32)
        table['name'] = self._name_sizes[some]
        table['mode'] = _MODE
        table['offset'] = np.minimum(self._offsets[some], FULL32)
        return b''.join(chain.from_iterable(zip(_rows(table), names, extras, strict=True)))


def _rows(table: np.ndarray[Any, Any]) -> list[bytes]:
    """The bytes of each row of a structured array."""
    rows: list[bytes] = table.view(f'V{table.itemsize}').tolist()
    return rows


def _flags(names: Sequence[bytes]) -> Any:
    return 0 if b''.join(names).isascii() else [0 if name.isascii() else UTF8 for name in names]


@lru_cache(maxsize=128)
def _alignment(size: int) -> bytes:
    """The extra field of `size` bytes that aligns what follows."""
    return _ALIGN.pack(ALIGNMENT_ID, size - 4, ALIGNMENT) + bytes(size - _ALIGN.size)


def _zip64(size: int, offset: int) -> bytes:
    """The zip64 field of an entry with a size or an offset that is too large for its own field."""
    values = pack('<QQ', size, size) if size >= FULL32 else b''
    if offset >= FULL32:
        values += pack('<Q', offset)
    return pack('<HH', 1, len(values)) + values


def end_records(count: int, size: int, offset: int) -> bytes:
    """What closes the file: the end record, after the two zip64 ones where a value does not fit into it.

    Args:
        count: entries in the central directory.
        size: of the central directory in bytes.
        offset: where the central directory starts.
    """
    records = b''
    if count >= FULL16 or size >= FULL32 or offset >= FULL32:
        records = END64.pack(END64_MARK, END64.size - 12, _UNIX | 45, 45, 0, 0, count, count, size, offset)
        records += LOCATOR64.pack(LOCATOR64_MARK, 0, offset + size, 1)
    short = min(count, FULL16)
    return records + END.pack(END_MARK, 0, 0, short, short, min(size, FULL32), min(offset, FULL32), 0)

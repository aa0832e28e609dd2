"""The records of a zip file: packed as objio-npz 1 spells them, unpacked as every writer does.

APPNOTE.TXT of PKWARE is what the fields mean; `objio.formats.npz` says which of its choices objio makes.
"""

from struct import Struct, pack

LOCAL = Struct('<4s5H3L2H')
ENTRY = Struct('<4s6H3L5H2L')
END = Struct('<4s4H2LH')
END64 = Struct('<4sQ2H2L4Q')
LOCATOR64 = Struct('<4sLQL')
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


class Member:
    """One stored member of an objio file: what its records are made of, all but the checksum.

    Attributes:
        name: the member's name in UTF-8.
        offset: where its local header starts in the file.
        head: what stands before the bytes of the array: the NPY header.
        nbytes: of the array.
        size: bytes of the whole content, head and array.
        start: where the bytes of the array start in the file, a multiple of 64.
        end: where the next record starts in the file.
    """

    __slots__ = ('_pad', 'end', 'head', 'name', 'nbytes', 'offset', 'size', 'start')

    def __init__(self, name: bytes, offset: int, head: bytes, nbytes: int) -> None:
        self.name = name
        self.offset = offset
        self.head = head
        self.nbytes = nbytes
        self.size = size = len(head) + nbytes
        unaligned = offset + LOCAL.size + len(name) + _ALIGN.size + (_WIDE.size if size >= FULL32 else 0)
        self._pad = -unaligned % ALIGNMENT
        self.start = unaligned + self._pad + len(head)
        self.end = self.start + nbytes

    def local_header(self, crc: int) -> bytes:
        """The local header with its name and extra fields, and the head of the content."""
        name, size, pad = self.name, self.size, self._pad
        wide = _WIDE.pack(1, 16, size, size) if size >= FULL32 else b''
        short = min(size, FULL32)
        extra_size = len(wide) + _ALIGN.size + pad
        fixed = LOCAL.pack(
            LOCAL_MARK, 45 if wide else 20, _flag(name), 0, 0, _DATE, crc, short, short, len(name), extra_size
        )
        return b''.join((fixed, name, wide, _ALIGN.pack(ALIGNMENT_ID, 2 + pad, ALIGNMENT), bytes(pad), self.head))

    def entry(self, crc: int) -> bytes:
        """The member's entry in the central directory."""
        size, offset = self.size, self.offset
        wide = b''
        if size >= FULL32:
            wide, size = pack('<QQ', size, size), FULL32
        if offset >= FULL32:
            wide, offset = wide + pack('<Q', offset), FULL32
        extra = pack('<HH', 1, len(wide)) + wide if wide else b''
        version = 45 if wide else 20
        fixed = ENTRY.pack(
            ENTRY_MARK, _UNIX | version, version, _flag(self.name), 0, 0, _DATE, crc, size, size,
            len(self.name), len(extra), 0, 0, 0, _MODE, offset,
        )  # fmt: skip
        return fixed + self.name + extra

    def entry_size(self) -> int:
        """How many bytes `entry` gives."""
        wide = (16 if self.size >= FULL32 else 0) + (8 if self.offset >= FULL32 else 0)
        return ENTRY.size + len(self.name) + (4 + wide if wide else 0)


def _flag(name: bytes) -> int:
    return 0 if name.isascii() else UTF8


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

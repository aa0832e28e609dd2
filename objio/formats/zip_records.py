"""The records of a zip file: packed as objio-npz 1 spells them, unpacked as every writer does.

APPNOTE.TXT of PKWARE is what the fields mean; `objio.formats.npz` says which of its choices objio makes.
"""

from dataclasses import dataclass
from struct import Struct, pack

LOCAL = Struct('<4s5H3L2H')
ENTRY = Struct('<4s6H3L5H2L')
END = Struct('<4s4H2LH')
END64 = Struct('<4sQ2H2L4Q')
LOCATOR64 = Struct('<4sLQL')

LOCAL_MARK, ENTRY_MARK, END_MARK = b'PK\3\4', b'PK\1\2', b'PK\5\6'
END64_MARK, LOCATOR64_MARK = b'PK\6\6', b'PK\6\7'

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "too large for this field: look in the zip64 one"
ALIGNMENT_ID, ALIGNMENT = 0xD935, 64  # the extra field that aligns, as Android's zipalign writes it too
UTF8 = 0x800
_UNIX = 3 << 8
_DATE = 33  # 1980-01-01
_MODE = 0o600 << 16


@dataclass(frozen=True, slots=True)
class Member:
    """One stored member of an objio file: what its records are made of, all but the checksum."""

    name: bytes
    offset: int  # of its local header
    head: bytes  # what stands before the bytes of the array: the NPY header
    nbytes: int  # of the array

    @property
    def size(self) -> int:
        """The bytes of the whole content."""
        return len(self.head) + self.nbytes

    @property
    def start(self) -> int:
        """Where the bytes of the array start in the file."""
        fixed = self.offset + LOCAL.size + len(self.name) + (20 if self.size >= FULL32 else 0) + 6
        return fixed + -fixed % ALIGNMENT + len(self.head)

    @property
    def end(self) -> int:
        """Where the next record starts in the file."""
        return self.start + self.nbytes

    def local_header(self, crc: int) -> bytes:
        """The local header with its name and extra fields, and the head of the content."""
        size = self.size
        wide = size >= FULL32
        extra = pack('<HHQQ', 1, 16, size, size) if wide else b''
        pad = -(self.offset + LOCAL.size + len(self.name) + len(extra) + 6) % ALIGNMENT
        extra += pack(f'<HHH{pad}x', ALIGNMENT_ID, 2 + pad, ALIGNMENT)
        short = FULL32 if wide else size
        fixed = LOCAL.pack(
            LOCAL_MARK, 45 if wide else 20, _flag(self.name), 0, 0, _DATE, crc, short, short, len(self.name), len(extra)
        )
        return fixed + self.name + extra + self.head

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

"""Records of other writers' zip files that are rare, and what is wrong with them."""

import struct
import zipfile
import zlib

import numpy as np
import pytest
from support_formats import MemorySource, load, npy, read_bytes, zipped

from objio.errors import FormatError
from objio.formats import foreign_members, npz

ONES = npy(np.ones(3))
PLAIN = zipped({'a.npy': ONES, 'b.npy': npy(np.arange(5))})


def with_zip64_end(data: bytes) -> bytes:
    """A file whose end stands in zip64 records, though it need not."""
    *_, count, size, offset, _ = struct.unpack('<4s4H2LH', data[-22:])
    wide = struct.pack('<4sQ2H2L4Q', b'PK\6\6', 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack('<4sLQL', b'PK\6\7', 0, offset + size, 1)
    end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:-22] + wide + locator + end


def test_a_zip64_end_is_compared() -> None:
    """The zip64 end records are read; each changed bit in them is refused, the version of their writer excepted."""
    data = bytearray(with_zip64_end(PLAIN))
    np.testing.assert_array_equal(load(bytes(data))['a'], np.ones(3))
    start = len(data) - 98
    for bit in range(start * 8, len(data) * 8):
        if bit // 8 - start in range(12, 16):
            continue
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            npz.decode(MemorySource(bytes(data)))
        data[bit // 8] ^= 1 << bit % 8


def test_a_plain_end_with_full_fields() -> None:
    """65,535 entries without zip64 records are what the plain end record says."""
    data = zipped({f'{index}.npy': npy(np.zeros((), np.uint8)) for index in range(0xFFFF)})
    assert data[-42:-38] != b'PK\6\7'
    assert len(npz.decode(MemorySource(data)).specs) == 0xFFFF


def test_an_entry_without_its_mark() -> None:
    """A directory entry that does not start as one is refused."""
    with pytest.raises(FormatError, match='the directory: expected an entry at byte 0'):
        npz.decode(MemorySource(PLAIN.replace(b'PK\1\2', b'PK\1\7', 1)))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bytes_that_are_no_value(method: int) -> None:
    """A bool that is stored as neither 0 nor 1 is refused, with and without checksums."""
    data = zipped({'a.npy': npy(np.array([1, 2], np.uint8)).replace(b'|u1', b'|b1')}, method)
    archive = npz.decode(MemorySource(data))
    for verify in (True, False):
        with pytest.raises(FormatError, match="'a': bool is stored as 0 to 1, found 2"):
            read_bytes(archive, 'a', verify=verify)


def test_a_header_longer_than_its_member() -> None:
    """A header that ends before its length says is refused, even where only spaces are missing."""
    empty = npy(np.zeros(0))
    with pytest.raises(FormatError, match='the header: expected 128 bytes, found 120'):
        npz.decode(MemorySource(zipped({'a.npy': empty[:-8]})))


def test_a_directory_beyond_all_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory larger than any npz file has is refused before it is read."""
    monkeypatch.setattr(foreign_members, '_LARGEST_DIRECTORY', 50)
    with pytest.raises(FormatError, match='the directory: expected at most 50 bytes'):
        npz.decode(MemorySource(PLAIN))


@pytest.mark.parametrize('fault', ['none', 'without its end', 'with something behind'])
def test_a_deflate_stream_must_end_where_the_member_ends(fault: str) -> None:
    """A stream that gives all bytes, but does not end, or ends before the member does, is refused."""
    packer = zlib.compressobj(wbits=-15)
    raw = packer.compress(ONES)
    raw += packer.flush(zlib.Z_SYNC_FLUSH if fault == 'without its end' else zlib.Z_FINISH)
    raw += b'xyz' if fault == 'with something behind' else b''
    fields = struct.pack('<4H3LHH', 0, 8, 0, 33, zlib.crc32(ONES), len(raw), len(ONES), 5, 0)
    body = b'PK\3\4\x14\0' + fields + b'a.npy' + raw
    directory = b'PK\1\2\x14\0\x14\0' + fields + bytes(14) + b'a.npy'
    data = body + directory + struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 1, 1, len(directory), len(body), 0)
    if fault == 'none':
        assert read_bytes(npz.decode(MemorySource(data)), 'a') == np.ones(3).tobytes()
    else:
        with pytest.raises(FormatError, match='deflated to'):
            npz.decode(MemorySource(data))

"""No byte of a file is left over, and none belongs to two things: what hides there would be read by others."""

import struct
import time
import zlib

import numpy as np
import pytest
from support_formats import MemorySource, forged, load, npy, save

from objio.errors import FormatError
from objio.formats import ArraySpec, npz

A, B = npy(np.zeros(3)), npy(np.arange(5))


def local(name: bytes, content: bytes) -> bytes:
    """A stored member with its local header."""
    fixed = struct.pack('<5H3L2H', 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0)
    return b'PK\3\4' + fixed + name + content


def directory(body: bytes, behind: bytes = b'', **offsets: int) -> bytes:
    """`body` with a directory of the members at some offsets, and its end record after what comes `behind`."""
    entries = b''
    for name, offset in offsets.items():
        fixed = body[offset + 4 : offset + 30]
        entries += b'PK\1\2\x14\0' + fixed + bytes(10) + struct.pack('<L', offset) + f'{name}.npy'.encode()
    end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, len(offsets), len(offsets), len(entries), len(body), 0)
    return body + entries + behind + end


FIRST, SECOND = local(b'a.npy', A), local(b'b.npy', B)
INSIDE = local(b'a.npy', npy(np.frombuffer(SECOND, np.uint8)))


def test_the_files_below_are_whole_but_for_their_fault() -> None:
    """The tests below can fail: without a gap the file is read."""
    assert list(load(directory(FIRST + SECOND, a=0, b=len(FIRST)))) == ['a', 'b']
    assert bytes(load(directory(INSIDE, a=0))['a']) == SECOND


@pytest.mark.parametrize('size', [1, 24, 70_000])
def test_a_gap_is_refused(size: int) -> None:
    """Before the first member, between two, before the directory or behind it, with all offsets right."""
    gap = bytes(size)
    for data in (
        directory(gap + FIRST + SECOND, a=size, b=size + len(FIRST)),
        directory(FIRST + gap + SECOND, a=0, b=len(FIRST) + size),
        directory(FIRST + SECOND + gap, a=0, b=len(FIRST)),
        directory(FIRST + SECOND, gap, a=0, b=len(FIRST)),
    ):
        with pytest.raises(FormatError):
            npz.decode(MemorySource(data))


def test_a_member_that_is_not_listed_is_refused() -> None:
    """Where the directory leaves a member out, its bytes are a gap."""
    for data in (directory(FIRST + SECOND, a=0), directory(FIRST + SECOND, b=len(FIRST))):
        with pytest.raises(FormatError):
            npz.decode(MemorySource(data))


def test_a_member_inside_another_is_refused() -> None:
    """Both records of each member agree, and yet the bytes of one are those of the other."""
    with pytest.raises(FormatError, match='up to the next member'):
        npz.decode(MemorySource(directory(INSIDE, a=0, b=INSIDE.index(SECOND))))


@pytest.mark.parametrize('size', [1, 64, 70_000])
def test_a_gap_behind_the_directory_of_objio_is_refused(size: int) -> None:
    """Also where the end record says rightly where the directory is."""
    data = save({'a': np.zeros(3)})
    with pytest.raises(FormatError, match='a directory that ends at byte'):
        npz.decode(MemorySource(data[:-22] + bytes(size) + data[-22:]))


def test_zip64_records_that_nothing_needs_are_refused() -> None:
    """They would give one content two files."""
    data = save({'a': np.zeros(3)})
    *_, count, size, offset, _ = struct.unpack('<4s4H2LH', data[-22:])
    wide = struct.pack('<4sQ2H2L4Q', b'PK\6\6', 44, 0x32D, 45, 0, 0, count, count, size, offset)
    locator = struct.pack('<4sLQL', b'PK\6\7', 0, offset + size, 1)
    end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with pytest.raises(FormatError, match='the end records: expected those that the values need'):
        npz.decode(MemorySource(data[:-22] + wide + locator + end))


@pytest.mark.parametrize('junk', [b' ', b'junk', b',', b'["b"]'])
def test_something_between_the_items_of_a_manifest_is_refused(junk: bytes) -> None:
    """Items follow each other; the checksum of what stands between them may be right."""
    arrays = [['a', 'uint8', [1]], ['b', 'uint8', [1]]]
    aliases = {'c': 'a', 'd': 'a'}
    stored = {name: ArraySpec('uint8', (1,)) for name in 'ab'}
    assert list(load(forged(arrays, stored=stored, aliases=aliases))) == ['a', 'b']
    for behind in (b'[1]],', b'"a",'):
        lie = forged(arrays, lambda text, at=behind: text.replace(at, at + junk, 1), stored=stored, aliases=aliases)
        with pytest.raises(FormatError, match='expected an item or'):
            npz.decode(MemorySource(lie))


@pytest.mark.parametrize('places', [('[["a","uint8",[1]]', '["'), ('"c":"a"', '"')])
def test_a_manifest_of_quotes_is_refused_at_once(places: tuple[str, str]) -> None:
    """What is no item is not searched for one, which would take the square of its length."""
    item, quote = places
    lie = forged(
        [['a', 'uint8', [1]]],
        lambda text: text.replace(
            item.encode(), item[: item.index('"')].encode() + quote.encode() + b'\\"' * 50_000, 1
        ),
        stored={'a': ArraySpec('uint8', (1,))},
        aliases={'c': 'a'},
    )
    start = time.process_time()
    with pytest.raises(FormatError, match='expected an item or'):
        npz.decode(MemorySource(lie))
    assert time.process_time() - start < 1

"""Small files that would become huge: each is refused before it does."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support_formats import forged, npy, save, with_header

from faults.bounded import read_within_bounds
from faults.fuzzing import Member, truths_and_a_lie, zip_file
from objio.formats import ArraySpec
from objio.formats.zip_records import END, END64, ENTRY, LOCAL, LOCATOR64, end_records

_MIB = 1 << 20


def deflated(start: bytes, mib: int) -> tuple[bytes, int, int]:
    """Zeros behind `start` as a deflate stream; it, its CRC-32 and its size once it is inflated."""
    packer = zlib.compressobj(9, wbits=-15)
    raw = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(start)
    for _ in range(mib):
        crc = zlib.crc32(bytes(_MIB), crc)
    return raw + block * mib + packer.flush(), crc, len(start) + mib * _MIB


def records(name: bytes, raw: bytes, crc: int, size: int, *, offset: int = 0, method: int = 8) -> tuple[bytes, bytes]:
    """A local header and an entry of the directory, which agree."""
    fields = (0, method, 0, 33, crc, len(raw), size, len(name), 0)
    local = LOCAL.pack(b'PK\3\4', 20, *fields) + name
    return local, ENTRY.pack(b'PK\1\2', 20, 20, *fields, 0, 0, 0, 0, offset) + name


def closed(body: bytes, directory: bytes, count: int) -> bytes:
    """A file with whole end records."""
    return body + directory + end_records(count, len(directory), len(body))


def alone(name: bytes, raw: bytes, crc: int, size: int, method: int = 8) -> bytes:
    """A file with one member."""
    local, entry = records(name, raw, crc, size, method=method)
    return closed(local + raw, entry, 1)


def header(shape: str, descr: str = '|u1') -> bytes:
    """The start of an NPY array that says what it likes."""
    return with_header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")


def deflate_bomb(name: bytes = b'a.npy') -> bytes:
    """2 MB become 2 GiB."""
    return alone(name, *deflated(header(f'({2048 * _MIB},)'), 2048))


def lying_deflate_bomb() -> bytes:
    """A stream that becomes 2 GiB and says that it becomes 1,000 bytes."""
    raw, crc, _ = deflated(header('(900,)'), 2048)
    return alone(b'a.npy', raw, crc, len(header('(900,)')) + 900)


def overlap_bomb(count: int, mib: int) -> bytes:
    """Many names for one member, each of which would be inflated on its own."""
    raw, crc, size = deflated(header(f'({mib * _MIB},)'), mib)
    local, _ = records(b'000000.npy', raw, crc, size)
    entries = [records(b'%06d.npy' % index, raw, crc, size)[1] for index in range(count)]
    return closed(local + raw, b''.join(entries), count)


def quoted_bomb(count: int) -> bytes:
    """Members that hold the next member in a stored block of their own stream, and so all that follow it."""
    content = header(f'({8 * _MIB},)')
    raw, crc, size = deflated(content, 8)
    body, directory = b'', []
    for index in reversed(range(count)):
        local, _ = records(b'%04d.npy' % index, raw, crc, size)
        directory.append((b'%04d.npy' % index, raw, crc, size, len(local + raw)))
        body = local + raw
        size += len(local)
        raw = b'\0' + struct.pack('<HH', len(local), len(local) ^ 0xFFFF) + body
    entries = b''
    for name, raw, crc, size, length in reversed(directory):
        entries += records(name, raw, crc, size, offset=len(body) - length)[1]
    return closed(body, entries, count)


def header_bomb() -> bytes:
    """1 MB becomes an NPY header of 1 GiB."""
    return alone(b'a.npy', *deflated(b'\x93NUMPY\2\0' + struct.pack('<I', 1024 * _MIB), 1024))


def names_bomb() -> bytes:
    """The names of an Objax file, which are read when it is opened, become 1 GiB."""
    raw, crc, size = deflated(header('(1,)', f'<U{256 * _MIB}'), 1024)
    local, entry = records(b'names.npy', raw, crc, size)
    one = npy(np.zeros(1))
    other, last = records(b'0.npy', one, zlib.crc32(one), len(one), offset=len(local + raw), method=0)
    return closed(local + raw + other + one, entry + last, 2)


def with_zip64(field: tuple[int, ...], sizes: tuple[int, int]) -> bytes:
    """A member whose zip64 field says how large it is."""
    content = npy(np.zeros(3))
    extra = struct.pack(f'<HH{len(field)}Q', 1, 8 * len(field), *field)
    fields = (0, 0, 0, 33, zlib.crc32(content), *sizes, 5, len(extra))
    body = LOCAL.pack(b'PK\3\4', 45, *fields) + b'a.npy' + extra + content
    entry = ENTRY.pack(b'PK\1\2', 45, 45, *fields, 0, 0, 0, 0, 0) + b'a.npy' + extra
    return closed(body, entry, 1)


def with_end(count: int, size: int, offset: int, *, wide: bool) -> bytes:
    """A file whose end says what it likes about the directory."""
    data = zip_file([Member(b'a.npy', npy(np.zeros(3)))])
    if not wide:
        return data[:-22] + END.pack(b'PK\5\6', 0, 0, count, count, size, offset, 0)
    end = END64.pack(b'PK\6\6', 44, 45, 45, 0, 0, count, count, size, offset)
    end += LOCATOR64.pack(b'PK\6\7', 0, len(data) - 22, 1)
    return data[:-22] + end + END.pack(b'PK\5\6', 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def manifest_bomb() -> bytes:
    """A manifest that is deflated: 1 MB becomes 1 GiB."""
    return alone(b'objio.json', *deflated(b'{"format":"objio-npz","version":1,"arrays":[', 1024))


def with_manifest_of(size: int) -> bytes:
    """An objio file whose records say that the manifest has so many bytes."""
    data = save({})
    true = struct.pack('<L', data.index(b'PK\1\2') - data.index(b'{"format"'))
    return data.replace(true * 2, struct.pack('<LL', size, size))


_ONE = {'a': ArraySpec('uint8', (1,))}
_HUGE = (1 << 63) - 1

BOMBS: dict[str, Callable[[], bytes]] = {
    'deflate, 2 MB to 2 GiB': deflate_bomb,
    'deflate, with sizes that lie': lying_deflate_bomb,
    'deflate, blocks without end': lambda: alone(b'a.npy', b'\0\0\0\xff\xff' * 400_000, 0, 1000),
    'deflate, in a manifest': manifest_bomb,
    'overlap, 6 KB to 50 MB': lambda: overlap_bomb(50, 1),
    'overlap, 20 KB to 2 GB': lambda: overlap_bomb(200, 10),
    'overlap, 6 MB to 1 TB': lambda: overlap_bomb(100_000, 10),
    'overlap, quoted': lambda: quoted_bomb(200),
    'header, 1 MB to 1 GiB': header_bomb,
    'header, a length of 1 GiB': lambda: zip_file([Member(b'a.npy', b'\x93NUMPY\2\0' + struct.pack('<I', 1 << 30))]),
    'header, brackets': lambda: zip_file([Member(b'a.npy', with_header('(' * 60_000))]),
    'header, minus signs': lambda: zip_file([Member(b'a.npy', with_header('-' * 9000 + '1'))]),
    'header, behind 100,000 right ones': lambda: truths_and_a_lie(100_000, 0),
    'names of an Objax file': names_bomb,
    'shape, 10 GB': lambda: zip_file([Member(b'a.npy', header('(10000000000,)') + bytes(99))]),
    'shape, 10 GB, in a manifest': lambda: forged([['a', 'uint8', [10**10]]], stored=_ONE),
    'shape, beyond 64 bits': lambda: zip_file([Member(b'a.npy', header('(4294967296, 4294967296, 0)'))]),
    'shape, negative': lambda: zip_file([Member(b'a.npy', header('(-1,)') + bytes(99))]),
    'shape, negative, in a manifest': lambda: forged([['a', 'uint8', [-1]]], stored=_ONE),
    'shape, 65 axes': lambda: zip_file([Member(b'a.npy', header('(' + '1,' * 65 + ')') + bytes(1))]),
    'shape, 65 axes, in a manifest': lambda: forged([['a', 'uint8', [1] * 65]], stored=_ONE),
    'elements of no bytes': lambda: zip_file([Member(b'a.npy', header('(1000000000000,)', '|V0'))]),
    'aliases in a circle': lambda: forged([['a', 'uint8', [1]]], stored=_ONE, aliases={'b': 'c', 'c': 'b'}),
    'aliases in a chain': lambda: forged(
        [['a', 'uint8', [1]]], stored=_ONE, aliases={f'{i}': f'{i - 1}' if i else 'a' for i in range(100_000)}
    ),
    'zip64, sizes': lambda: with_zip64((_HUGE, _HUGE), (0xFFFFFFFF, 0xFFFFFFFF)),
    'zip64, one size': lambda: with_zip64((152,), (0xFFFFFFFE, 0xFFFFFFFF)),
    'end, 65,534 entries': lambda: with_end(65_534, 51, 187, wide=False),
    'end, 4 GB of directory': lambda: with_end(1, 0xFFFFFFFE, 187, wide=False),
    'end, 2^40 entries': lambda: with_end(1 << 40, 51, 187, wide=True),
    'end, an offset beyond the file': lambda: with_end(1, 51, _HUGE, wide=True),
    'manifest, a length of 1 GiB': lambda: with_manifest_of(1 << 30),
}  # fmt: skip
_SOME = [
    'deflate, 2 MB to 2 GiB',
    'overlap, 20 KB to 2 GB',
    'header, 1 MB to 1 GiB',
    'shape, 10 GB',
    'aliases in a chain',
]


@pytest.mark.proves('bombs')
@pytest.mark.parametrize(
    'bomb', [name if name in _SOME else pytest.param(name, marks=pytest.mark.full) for name in BOMBS]
)
def test_bombs(bomb: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A file that would become huge is a FormatError, in a process that takes at most twice its size and 10 MB."""
    path = tmp_path / 'bomb.npz'
    path.write_bytes(BOMBS[bomb]())
    size = path.stat().st_size
    found = read_within_bounds(path)
    assert found.outcome.startswith('FormatError: '), found
    assert found.grown <= 2 * size + 10_000_000, found
    figure('bombs', 1, f'{bomb}: {size:,} bytes, {max(found.grown, 0) / 1e6:.1f} MB more memory')
    print(found)

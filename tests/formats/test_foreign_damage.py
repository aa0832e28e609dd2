"""Bad files of other writers, by accident or by intent, are one FormatError within bounds of time and memory."""

import io
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from support_formats import MemorySource, load, npy, read_bytes, with_header, zipped

from objio.errors import FormatError
from objio.formats import npz


def read_all(data: bytes) -> None:
    archive = npz.decode(MemorySource(data))
    for name in archive.specs:
        read_bytes(archive, name)


ONES = npy(np.ones(3))
PLAIN = zipped({'a.npy': ONES, 'b.npy': npy(np.arange(5))})
PACKED = zipped({'a.npy': npy(np.ones(300)), 'b.npy': npy(np.arange(50))}, zipfile.ZIP_DEFLATED)
NUMPY = io.BytesIO()
np.savez(NUMPY, a=np.ones(3), b=np.arange(5))
FILES = {'plain': PLAIN, 'packed': PACKED, 'numpy': NUMPY.getvalue()}


def values(data: bytes) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load(data).items()}


@pytest.mark.parametrize('kind', FILES)
def test_a_changed_bit_never_changes_a_value(kind: str) -> None:
    """With one bit flipped a file is refused, or every array comes back as it was, under its name or a changed one."""
    data = bytearray(FILES[kind])
    whole = values(bytes(data))
    refused = 0
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        try:
            assert list(values(bytes(data)).values()) == list(whole.values()), bit
        except FormatError:
            refused += 1
        data[bit // 8] ^= 1 << bit % 8
    assert refused > len(data) * 8 * 0.8


@pytest.mark.parametrize('kind', FILES)
def test_every_cut_is_found(kind: str) -> None:
    """A file cut off anywhere is a FormatError when it is opened."""
    for size in range(len(FILES[kind])):
        with pytest.raises(FormatError):
            npz.decode(MemorySource(FILES[kind][:size]))


@pytest.mark.parametrize('junk', [b'\0', b'junk', bytes(70_000)])
def test_bytes_before_and_behind_are_found(junk: bytes) -> None:
    """Nothing may stand before the first member or behind the end."""
    for data in (junk + PLAIN, PLAIN + junk, PLAIN + PLAIN):
        with pytest.raises(FormatError):
            npz.decode(MemorySource(data))


def changed(data: bytes, offset: int, value: int, size: int = 2, *, where: bytes = b'PK\1\2') -> bytes:
    """A file with one field of its first directory entry, or of another record, set to `value`."""
    result = bytearray(data)
    at = data.index(where) + offset
    result[at : at + size] = value.to_bytes(size, 'little')
    return bytes(result)


def both(data: bytes, local: int, central: int, value: int) -> bytes:
    """A file with a field of two bytes set in the first local header and in its directory entry."""
    return changed(changed(data, central, value), local, value, where=b'PK\3\4')


def overlapping() -> bytes:
    """Two entries that share one local header."""
    data = PLAIN
    start = data.index(b'PK\1\2')
    entry = data[start : data.index(b'PK\1\2', start + 4)]
    end = bytearray(data[-22:])
    struct.pack_into('<4H2L', end, 4, 0, 0, 2, 2, 2 * len(entry), start)
    return data[:start] + entry + entry.replace(b'a.npy', b'c.npy') + bytes(end)


def test_many_members_that_overlap_take_little_memory() -> None:
    """A directory of 20,000 entries for one member is refused before anything is kept of them."""
    start = PLAIN.index(b'PK\1\2')
    entry = PLAIN[start : PLAIN.index(b'PK\1\2', start + 4)]
    directory = entry * 20_000
    end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 20_000, 20_000, len(directory), start, 0)
    data = PLAIN[:start] + directory + end
    assert peak_memory(data) < 3 * len(data)


def symlink() -> bytes:
    info = zipfile.ZipInfo('a.npy')
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr(info, ONES)
    return file.getvalue()


def twice() -> bytes:
    return zipped({'a.npy': ONES, 'b.npy': ONES}).replace(b'b.npy', b'a.npy')


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    'encrypted': (lambda: both(PLAIN, 6, 8, 1), 'encrypted, or packed in another way'),
    'an unknown method': (lambda: both(PLAIN, 8, 10, 99), 'found method 99'),
    'bzip2': (lambda: zipped({'a.npy': ONES}, zipfile.ZIP_BZIP2), 'found method 12'),
    'lzma': (lambda: zipped({'a.npy': ONES}, zipfile.ZIP_LZMA), 'found method 14'),
    'two members of one name': (twice, 'expected one member, found two'),
    'members that overlap': (overlapping, 'members that overlap'),
    'a symbolic link': (symlink, 'a symbolic link'),
    'a member that is no array by name': (lambda: zipped({'a.txt': b'x'}), 'zip file of another kind'),
    'a member without .npy': (lambda: zipped({'a.npy': ONES, 'a': ONES}), 'zip file of another kind'),
    'a folder': (lambda: zipped({'a/': b''}), 'zip file of another kind'),
    'a name that leads out': (lambda: zipped({'../../evil.npy': ONES}), 'leads out of the folder'),
    'an absolute name': (lambda: zipped({'/abs.npy': ONES}), 'leads out of the folder'),
    'a drive of another system': (lambda: zipped({'..\\evil.npy': ONES}), 'leads out of the folder'),
    'a member that is no array': (lambda: zipped({'a.npy': b'hello world'}), 'expected an NPY array'),
    'an empty member': (lambda: zipped({'a.npy': b''}), 'expected an NPY array'),
    'a pickle': (lambda: zipped({'a.npy': b'\x80\x04K\x01.'}), 'expected an NPY array'),
    'NPY 9': (lambda: zipped({'a.npy': with_header('{}', version=(9, 0))}), r'NPY version 1\.0, 2\.0 or 3\.0'),
    'a header that ends early': (lambda: zipped({'a.npy': ONES[:30]}), 'the header'),
    'a header beyond the limit': (
        lambda: zipped({'a.npy': with_header(' ' * 70_000, version=(2, 0))}),
        'at most 65536 bytes',
    ),
    'too little data': (lambda: zipped({'a.npy': ONES[:-1]}), 'an array of 23 bytes'),
    'too much data': (lambda: zipped({'a.npy': ONES + b'x'}), 'an array of 25 bytes'),
    'a size in the directory': (lambda: changed(PLAIN, 24, 10**9, 4), 'stored bytes'),
    'sizes in the directory': (lambda: changed(changed(PLAIN, 24, 10**9, 4), 20, 10**9, 4), 'what the directory says'),
    'a size without its zip64 field': (lambda: changed(PLAIN, 24, 2**32 - 1, 4), 'a zip64 field'),
    'an offset in the directory': (lambda: changed(PLAIN, 42, 7, 4), 'its start at byte 0'),
    'an offset behind the end': (lambda: changed(PLAIN, 42, 2**32 - 2, 4), 'its start at byte 0'),
    'a checksum in the directory': (lambda: changed(PLAIN, 16, 7, 4), 'what the directory says'),
    'a name in the local header': (lambda: changed(PLAIN, 30, 98, 1, where=b'PK\3\4'), 'what the directory says'),
    'a number of entries': (lambda: changed(PLAIN, 8, 0x10001, 4, where=b'PK\5\6'), 'bytes behind them'),
    'too many entries': (
        lambda: changed(PLAIN, 8, 0x30003, 4, where=b'PK\5\6'),
        'a directory that ends|one more entry',
    ),
    'a comment': (lambda: changed(PLAIN, 20, 1, where=b'PK\5\6') + b'x', 'npz file'),
    'a disk': (lambda: changed(PLAIN, 4, 1, where=b'PK\5\6'), 'one disk'),
    'no deflate stream': (
        lambda: both(zipped({'a.npy': ONES}), 8, 10, 8),
        'deflated bytes, found an error|deflated to',
    ),
}


@pytest.mark.parametrize('fault', BAD)
def test_bad_containers(fault: str) -> None:
    """What is wrong with a zip file or its members is named when the file is opened, or else when it is read."""
    make, message = BAD[fault]
    with pytest.raises(FormatError, match=message):
        read_all(make())


def head(descr: str = "'<f8'", shape: str = '(3,)', order: str = 'False', more: str = '') -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}"


HEADERS = [
    head(shape='(-3,)'),
    head(shape='(True,)'),
    head(shape='(3.0,)'),
    head(shape='3'),
    head(shape='[3]'),
    head(shape='(3,' + '1,' * 64 + ')'),
    head(shape='(4294967296, 4294967296, 0)'),
    head(shape='(' + '9' * 30 + ',)'),
    head(shape='(2500000000,)'),
    head(order='0'),
    head(order="'False'"),
    head(more="'x': 1, "),
    head(descr="'|V0'", shape='(1000000000000,)'),
    head(descr="'<U0'"),
    head(descr="'f4,f4'"),
    head(descr="'(2,)f4'"),
    head(descr="'a5'"),
    head(descr="'<f3'"),
    head(descr="'<M8[0s]'"),
    head(descr="'<m8[s/0]'"),
    head(descr="'<i99999999999'"),
    head(descr='None'),
    head(descr="__import__('os')"),
    "{'descr': '<f8'}",
    '-' * 9000 + '1',
    '[' * 30_000,
    '',
    'a' * 60_000,
    "{'descr': '" + "'<f8'," * 9000,
]


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize('text', HEADERS, ids=lambda text: text[:60])
def test_bad_headers(text: str, method: int) -> None:
    """An array's header that says anything but a plain dtype, an order and a shape that fit is refused, and quickly."""
    start = time.process_time()
    with pytest.raises(FormatError, match=r"net\.npz: 'a': the header: expected"):
        npz.decode(MemorySource(zipped({'a.npy': with_header(text, bytes(24))}, method)))
    assert time.process_time() - start < 1


def peak_memory(data: bytes) -> int:
    tracemalloc.start()
    with pytest.raises(FormatError):
        read_all(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def deflated(content_size: int, start: bytes, declared: int | None = None) -> bytes:
    """A member of zeros behind `start`, deflated by hand so that its size in the records can be another."""
    packer = zlib.compressobj(9, wbits=-15)
    raw = packer.compress(start)
    crc = zlib.crc32(start)
    block = bytes(1 << 20)
    for size in [len(block)] * (content_size // len(block)) + [content_size % len(block)]:
        raw += packer.compress(block[:size])
        crc = zlib.crc32(block[:size], crc)
    raw += packer.flush()
    size = declared or len(start) + content_size
    fields = (8, 0, 33, crc, len(raw), size, 5)
    body = struct.pack('<4s2H', b'PK\3\4', 20, 0) + struct.pack('<3H3L2H', *fields, 0) + b'a.npy' + raw
    entry = struct.pack('<4s3H', b'PK\1\2', 20, 20, 0) + struct.pack('<3H3L2H', *fields, 0) + bytes(14) + b'a.npy'
    return body + entry + struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 1, 1, len(entry), len(body), 0)


def test_a_bomb_of_zeros_is_refused() -> None:
    """200 KB that would become 200 MB are refused before they do, and read where the user says how much is allowed."""
    count = 200 << 20
    data = deflated(count, with_header(head("'|u1'", f'({count},)')))
    assert len(data) < 300_000
    with pytest.raises(FormatError, match=r'would inflate to 2097\d+, at most \d+ are allowed; .* max_bytes='):
        npz.decode(MemorySource(data))
    assert peak_memory(data) < 2 * len(data) + 10_000_000
    assert npz.decode(MemorySource(data), max_bytes=count + 1000).nbytes('a') == count
    with pytest.raises(FormatError, match='at most 1000 are allowed'):
        npz.decode(MemorySource(data), max_bytes=1000)


def test_a_bomb_with_lying_sizes_is_refused() -> None:
    """A stream that becomes more, or less, than its records say is refused once it does, and kept nowhere."""
    shape = with_header(head("'|u1'", '(1000,)'))
    for size in (200 << 20, 10):
        data = deflated(size, shape, declared=len(shape) + 1000)
        assert peak_memory(data) < 2 * len(data) + 10_000_000


def test_a_bomb_in_a_header_is_refused() -> None:
    """A header that says it is 1 GiB long is refused before any of it is inflated."""
    data = deflated(100 << 20, b'\x93NUMPY\2\0' + struct.pack('<I', 1 << 30))
    assert peak_memory(data) < 2 * len(data) + 10_000_000


def test_a_stream_without_end_is_refused() -> None:
    """A stream of a million empty blocks, or one that stops in its midst, is refused."""
    shape = with_header(head("'|u1'", '(3,)'), b'abc')
    for raw in (b'\0\0\0\xff\xff' * 200_000, zlib.compress(shape)[2:-8]):
        fields = (8, 0, 33, zlib.crc32(shape), len(raw), len(shape), 5)
        body = struct.pack('<4s2H', b'PK\3\4', 20, 0) + struct.pack('<3H3L2H', *fields, 0) + b'a.npy' + raw
        entry = struct.pack('<4s3H', b'PK\1\2', 20, 20, 0) + struct.pack('<3H3L2H', *fields, 0) + bytes(14) + b'a.npy'
        end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 1, 1, len(entry), len(body), 0)
        with pytest.raises(FormatError):
            read_all(body + entry + end)


def test_small_files_may_be_packed_as_tight_as_they_like() -> None:
    """A file that becomes less than 16 MiB is read whatever its ratio: zeros are common in optimisers."""
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(1_000_000))
    np.testing.assert_array_equal(load(file.getvalue())['a'], np.zeros(1_000_000))


def test_random_bytes_and_random_changes() -> None:
    """Of 4,000 files with random changes each is read or refused; nothing else happens."""
    rng = random.Random(0)
    files = list(FILES.values())
    for _ in range(4000):
        data = bytearray(rng.choice(files))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice([1, 2, 4, 8])] = rng.choice(
                [b'', b'\0' * 4, b'\xff' * 4, rng.randbytes(4), b'PK\1\2', b'PK\3\4']
            )
        try:
            read_all(bytes(data))
        except FormatError:
            continue


def test_a_member_inside_the_directory_is_refused() -> None:
    """A header that lies behind the start of the directory, in the comment of an entry, is no header."""

    def local(name: bytes, content: bytes) -> bytes:
        fields = (20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0)
        return struct.pack('<4s5H3L2H', b'PK\3\4', *fields) + name

    def entry(name: bytes, content: bytes, at: int, comment: bytes = b'') -> bytes:
        fields = (20, 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0, len(comment))
        return struct.pack('<4s6H3L5H2L', b'PK\1\2', *fields, 0, 0, 0, at) + name + comment

    inner = local(b'b.npy', ONES) + ONES
    begun = len(local(b'a.npy', ONES)) + len(ONES)
    inside = begun + len(entry(b'a.npy', b'', 0)) + len(entry(b'b.npy', b'', 0))
    for at in (inside, begun, (1 << 32) - 2):
        directory = entry(b'a.npy', ONES, 0) + entry(b'b.npy', ONES, at, inner)
        data = local(b'a.npy', ONES) + ONES + directory
        data += struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 2, 2, len(directory), begun, 0)
        with pytest.raises(FormatError, match=rf'expected members before byte {begun}, found one at {at}'):
            npz.decode(MemorySource(data))

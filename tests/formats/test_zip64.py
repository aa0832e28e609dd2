"""Files whose sizes, offsets or counts outgrow the fields of a plain zip."""

import io
import mmap
import zipfile
from struct import unpack_from

import numpy as np
import pytest
from support_formats import Entry, MemorySink, MemorySource, encoded, entry, read_array, read_bytes, save

from objio.errors import FormatError
from objio.formats import ArraySpec, npz
from objio.formats.zip_records import Members, end_records

GIB = 1 << 30


class File(mmap.mmap):
    def seekable(self) -> bool:  # before Python 3.13 zipfile missed it
        return True


class Pages:
    """A file of any size in memory that takes room only where it is not zero."""

    name = 'large.npz'

    def __init__(self, size: int) -> None:
        self.size = size
        self.pages = File(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.end = 0

    def write(self, buffer: memoryview | bytes) -> None:
        if np.frombuffer(buffer, np.uint8).any():
            self.pages[self.end : self.end + len(buffer)] = bytes(buffer)
        self.end += len(buffer)

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        self.pages[offset : offset + len(buffer)] = bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = memoryview(self.pages)[offset : offset + len(buffer)]

    def map(self) -> memoryview | None:
        return memoryview(self.pages).toreadonly()


def test_an_array_beyond_4_gib() -> None:
    """An array of more than 4 GiB, and what follows it, is written, checked and read by objio and by zipfile."""
    size = 4 * GIB + 5
    block = memoryview(bytes(64 << 20))

    def zeros() -> list[memoryview]:
        return [block] * (size // len(block)) + [block[: size % len(block)]]

    entries = [Entry('large', ArraySpec('uint8', (size,)), zeros), entry('small', np.arange(5))]
    file = encoded(entries, {}, {})
    pages = Pages(file.size)
    file.write(pages)
    assert pages.end == file.size
    archive = npz.decode(pages)
    assert archive.nbytes('large') == size
    assert archive.mapped('large').nbytes == size
    np.testing.assert_array_equal(read_array(archive, 'small'), np.arange(5))
    with zipfile.ZipFile(pages.pages) as file:
        infos = file.infolist()
        assert [info.filename for info in infos] == ['large.npy', 'small.npy', 'objio.json']
        assert [info.file_size for info in infos[:2]] == [size + 128, 40 + 128]
        assert infos[1].header_offset > 4 * GIB
        assert [info.create_version for info in infos] == [45, 45, 45]
        with file.open('small.npy') as small:
            np.testing.assert_array_equal(np.lib.format.read_array(small), np.arange(5))
    pages.pages[4 * GIB] = 1
    with pytest.raises(FormatError, match="'large': expected the checksum"):
        npz.decode(pages).mapped('large')
    pages.pages.close()


@pytest.mark.parametrize(('size', 'wide'), [(0xFFFFFFFE, False), (0xFFFFFFFF, True), (0x100000000, True)])
def test_zip64_sizes_stand_exactly_where_they_are_needed(size: int, wide: bool) -> None:
    """A content of 2^32 - 2 bytes is the last that does without the zip64 fields."""
    member = Members([b'a.npy'], [b''], [size])
    (header,), record = member.local_headers(0, 1, [7]), member.directory([7])
    assert (unpack_from('<H', header, 4)[0], unpack_from('<H', record, 6)[0]) == ((45, 45) if wide else (20, 20))
    assert unpack_from('<LL', header, 18) == unpack_from('<LL', record, 20) == (min(size, 0xFFFFFFFF),) * 2
    assert len(record) == member.directory_size == 46 + 5 + (20 if wide else 0)
    assert member.starts[0] % 64 == 0
    assert len(header) == member.starts[0]


@pytest.mark.parametrize(('offset', 'wide'), [(0xFFFFFFFE, False), (0xFFFFFFFF, True), (1 << 40, True)])
def test_zip64_offsets_stand_exactly_where_they_are_needed(offset: int, wide: bool) -> None:
    """A local header at 2^32 - 2 is the last whose entry does without a zip64 field."""
    member = Members([b'a.npy'], [b''], [10], offset)
    record = member.directory([7])
    assert len(record) == member.directory_size == 46 + 5 + (12 if wide else 0)
    assert unpack_from('<H', member.local_headers(0, 1, [7])[0], 4)[0] == 20
    if wide:
        assert record[-12:] == b'\1\0\x08\0' + offset.to_bytes(8, 'little')


@pytest.mark.parametrize(
    ('count', 'size', 'offset', 'wide'),
    [
        (0xFFFE, 0xFFFFFFFE, 0xFFFFFFFE, False),
        (0xFFFF, 1, 1, True),
        (1, 0xFFFFFFFF, 1, True),
        (1, 1, 0xFFFFFFFF, True),
    ],
)
def test_zip64_end_records_stand_exactly_where_they_are_needed(count: int, size: int, offset: int, wide: bool) -> None:
    """65,534 members and 2^32 - 2 bytes are the last that do without the zip64 end record."""
    assert len(end_records(count, size, offset)) == (98 if wide else 22)


@pytest.mark.parametrize('count', [0xFFFD, 0xFFFE, 0xFFFF])
def test_a_number_of_members_about_the_limit(count: int) -> None:
    """With and without zip64 end record, as many arrays come back as were saved, by objio and by zipfile."""
    item = entry('', np.zeros((), np.uint8))
    entries = [Entry(f'{index}', ArraySpec('uint8', ()), item.blocks) for index in range(count)]
    sink = MemorySink()
    encoded(entries, {}, {}).write(sink)
    data = sink.value()
    assert (data[-42:-38] == b'PK\6\7') == (count + 1 >= 0xFFFF)
    assert len(npz.decode(MemorySource(data)).specs) == count
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert len(file.namelist()) == count + 1


def test_70_000_arrays() -> None:
    """70,000 arrays are written and read, and NumPy finds each."""
    arrays = {f'layers[{index}].w': np.full(3, index, np.int32) for index in range(70_000)}
    data = save(arrays)
    archive = npz.decode(MemorySource(data))
    assert list(archive.specs) == list(arrays)
    assert all(read_bytes(archive, name) == array.tobytes() for name, array in arrays.items())
    with np.load(io.BytesIO(data)) as loaded:
        assert loaded.files == [*arrays, 'objio.json']
        np.testing.assert_array_equal(loaded['layers[69999].w'], [69_999] * 3)


def test_damaged_zip64_end_records_are_found() -> None:
    """Each changed bit of the zip64 end record and its locator is found."""
    item = entry('', np.zeros((), np.uint8))
    data = bytearray(_joined([Entry(f'{index}', ArraySpec('uint8', ()), item.blocks) for index in range(0xFFFF)]))
    for bit in range((len(data) - 98) * 8, len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            npz.decode(MemorySource(data))
        data[bit // 8] ^= 1 << bit % 8


def _joined(entries: list[Entry]) -> bytes:
    sink = MemorySink()
    encoded(entries, {}, {}).write(sink)
    return sink.value()


def test_other_writers_zip64_is_read() -> None:
    """A file of more than 65,535 arrays that NumPy wrote is read."""
    file = io.BytesIO()
    np.savez(file, **{f'w{index}': np.int8(index % 100) for index in range(65_600)})
    archive = npz.decode(MemorySource(file.getvalue()))
    assert len(archive.specs) == 65_600
    assert read_array(archive, 'w65599') == 99

"""What is written is what is read; the same content always gives the same bytes."""

import io
import json
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support_formats import (
    Entry,
    MemorySink,
    MemorySource,
    SeekableMemorySink,
    allocate,
    encoded,
    entry,
    load,
    read_array,
    read_bytes,
    save,
    written,
)

from objio.errors import FormatError, UnsaveableError
from objio.formats import Archive, ArraySpec, by_suffix, dtypes, npz

LABELS = st.sampled_from(sorted(dtypes.WRITABLE))
TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=12)
NAMES = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1, max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**400), 10**400)
METADATA = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Arrays of any dtype, shape and layout under any names."""
    result = []
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        label = draw(LABELS)
        form = dtypes.stored(label)
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
        low, high = form.limits or (0, 255)
        raw = draw(st.lists(st.integers(low, high), min_size=form.nbytes(shape), max_size=form.nbytes(shape)))
        data = np.array(raw, np.int16).astype(np.uint8).tobytes()
        array = dtypes.from_stored(data, label, shape)
        if draw(st.booleans()) and not form.words:
            array = np.asfortranarray(array)
        result.append(entry(name, array, label))
    return result


def content(archive: Archive) -> list[Any]:
    return [(spec, read_bytes(archive, name)) for name, spec in archive.specs.items()]


@settings(max_examples=200)
@given(entries(), st.lists(NAMES, max_size=4, unique=True), METADATA, st.data())
def test_a_file_gives_back_what_was_saved(
    arrays: list[Entry], others: list[str], metadata: dict[str, Any], data: st.DataObject
) -> None:
    """Names, dtypes, shapes, bits, order, aliases and metadata all come back, by either kind of sink."""
    names = [item.name for item in arrays]
    others = [other for other in others if names and other not in names]
    aliases = {other: data.draw(st.sampled_from(names)) for other in others}
    raw = written(arrays, aliases, metadata)
    assert written(arrays, aliases, metadata, MemorySink()) == raw
    archive = npz.decode(MemorySource(raw))
    assert archive.kind == 'objio-npz 1'
    assert content(archive) == [(item.spec, b''.join(map(bytes, item.blocks()))) for item in arrays]
    assert list(archive.aliases.items()) == list(aliases.items())
    assert archive.metadata == metadata
    assert json.dumps(archive.metadata) == json.dumps(metadata)
    with np.load(io.BytesIO(raw)) as loaded, zipfile.ZipFile(io.BytesIO(raw)) as zipped:
        assert len(loaded.files) == len(arrays) + 1
        for item, member in zip(arrays, loaded.files, strict=False):
            form = dtypes.stored(item.spec.dtype)
            assert loaded[member].shape == item.spec.shape + form.words
            assert loaded[member].dtype == np.dtype(form.descr)
        assert zipped.testzip() is None
        assert json.loads(zipped.read('objio.json'))['metadata'] == metadata


def test_arrays_and_manifest_are_aligned() -> None:
    """The first byte of each array, and of the manifest, stands at a multiple of 64 in the file."""
    arrays = {'a' * size: np.arange(size, dtype=np.uint8) for size in range(1, 140)}
    raw = save(arrays)
    archive = npz.decode(MemorySource(raw))
    base = np.frombuffer(raw, np.uint8).__array_interface__['data'][0]
    for name in arrays:
        start = np.frombuffer(archive.mapped(name), np.uint8).__array_interface__['data'][0] - base
        assert start % 64 == 0
    assert raw.index(b'{"format":"objio-npz"') % 64 == 0


def test_the_bytes_of_a_small_file() -> None:
    """The records of a file with one array, spelled out: a change of any byte is a new version of the format."""
    raw = save({'é': np.array([1, 2], '<i2')}, metadata={'k': [1.5, None]}, aliases={'b': 'é'})
    name = 'é.npy'.encode()
    header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }"
    content = header.ljust(127) + b'\n' + b'\1\0\2\0'
    manifest = '{"format":"objio-npz","version":1,"arrays":[["é","int16",[2]]],"aliases":{"b":"é"},'
    manifest = (manifest + '"metadata":{"k":[1.5,null]}}').encode()
    first_crc, last_crc = zipfile.crc32(content), zipfile.crc32(manifest)

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, 'little')

    fixed = bytes([0, 0, 0, 0, 33, 0])  # stored, 0:00, 1980-01-01
    size = number(len(content), 4)
    first = b'PK\3\4\x14\0\0\x08' + fixed + number(first_crc, 4) + size * 2 + number(len(name), 2)
    pad = -(30 + len(name) + 6) % 64
    first += number(6 + pad, 2) + name + b'\x35\xd9' + number(2 + pad, 2) + b'\x40\0' + bytes(pad) + content
    size = number(len(manifest), 4)
    last = b'PK\3\4\x14\0\0\0' + fixed + number(last_crc, 4) + size * 2 + number(10, 2)
    pad = -(len(first) + 30 + 10 + 6) % 64
    last += number(6 + pad, 2) + b'objio.json' + b'\x35\xd9' + number(2 + pad, 2) + b'\x40\0' + bytes(pad) + manifest
    directory = b'PK\1\2\x14\3\x14\0\0\x08' + fixed + number(first_crc, 4) + number(len(content), 4) * 2
    directory += number(len(name), 2) + bytes(8) + b'\0\0\x80\1' + bytes(4) + name
    directory += b'PK\1\2\x14\3\x14\0\0\0' + fixed + number(last_crc, 4) + number(len(manifest), 4) * 2
    directory += number(10, 2) + bytes(8) + b'\0\0\x80\1' + number(len(first), 4) + b'objio.json'
    end = b'PK\5\6\0\0\0\0\2\0\2\0' + number(len(directory), 4) + number(len(first + last), 4) + b'\0\0'
    assert raw == first + last + directory + end


def test_a_collection_without_arrays() -> None:
    """An empty collection is a file with the manifest alone."""
    archive = npz.decode(MemorySource(save({}, metadata={'step': 3})))
    assert dict(archive.specs) == {}
    assert archive.metadata == {'step': 3}


@pytest.mark.parametrize(
    ('arrays', 'aliases', 'message'),
    [
        ([('a', (1,))], {'a': 'a'}, "'a' is both an array and another name"),
        ([('a', (1,))], {'b': 'c'}, "'b' is another name of 'c', but there is no such array"),
        ([('a', (1,))], {'b': 'b'}, 'no such array'),
        ([('a', (1,))], {'': 'a'}, 'empty'),
        ([('a\0', (1,))], {}, 'NUL'),
        ([('a', (1,) * 65)], {}, "'a': expected at most 64 axes and less than"),
        ([('a', (-1,))], {}, "'a': expected a shape of ints"),
        ([('a', (True,))], {}, "'a': expected a shape of ints"),
        ([('a', (0, 1 << 62))], {}, "'a': expected at most 64 axes and less than"),
        ([('a', (1 << 60,)), ('b', (1 << 60,))], {}, 'more than any file can hold'),
    ],
)
def test_what_no_file_can_hold(
    arrays: list[tuple[str, tuple[int, ...]]], aliases: dict[str, str], message: str
) -> None:
    """Names and shapes that cannot be saved are refused before anything is written."""
    items = [Entry(name, ArraySpec('float32', shape), list) for name, shape in arrays]
    with pytest.raises(UnsaveableError, match=message):
        encoded(items, aliases, {})


def test_an_unknown_dtype_is_refused() -> None:
    """A dtype outside the format's list is refused with the name of the variable."""
    with pytest.raises(UnsaveableError, match="'a': objio-npz 1 has no dtype '<U5'"):
        encoded([Entry('a', ArraySpec('<U5', ()), list)], {}, {})


@pytest.mark.parametrize('sink', [MemorySink, SeekableMemorySink])
@pytest.mark.parametrize('size', [3, 400_000])
@pytest.mark.parametrize('given_bytes', [0, -1, 1])
def test_blocks_of_another_size_than_promised(sink: type[MemorySink], size: int, given_bytes: int) -> None:
    """An array whose blocks are too short or too long is an error that names it."""
    block = memoryview(bytes(size + given_bytes if given_bytes else 0))
    file = encoded([Entry('a.w', ArraySpec('uint8', (size,)), lambda: [block])], {}, {})
    with pytest.raises(UnsaveableError, match=r"'a.w': its shape .* take \d+ bytes, its blocks gave"):
        file.write(sink())


def test_an_array_that_changes_between_two_passes() -> None:
    """Where a sink needs two passes, an array that changes in between is an error, never a wrong checksum."""
    array = np.zeros(400_000, np.uint8)

    def blocks() -> list[memoryview]:
        array[7] += 1
        return [array.data]

    file = encoded([Entry('a', ArraySpec('uint8', array.shape), blocks)], {}, {})
    with pytest.raises(UnsaveableError, match="'a' changed while it was being written"):
        file.write(MemorySink())


class _Nowhere(MemorySink):
    def write(self, buffer: memoryview | bytes) -> None:
        self.writes += 1


class _NowhereSeekable(_Nowhere):
    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        pass


@pytest.mark.parametrize('sink', [_Nowhere, _NowhereSeekable])
def test_writing_takes_no_copy(sink: type[MemorySink]) -> None:
    """Writing 64 MiB takes less than 4 MiB of memory."""
    file = encoded([entry('w', np.zeros(16 << 20, np.float32))], {}, {})
    tracemalloc.start()
    file.write(sink())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_program_that_ends_starts_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started any more, the file is written without one, and is the same."""
    array = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8)
    array.flags.writeable = False
    expected = save({'w': array})

    def refuse(*_: object) -> None:
        raise RuntimeError('cannot schedule new futures after interpreter shutdown')

    monkeypatch.setattr(ThreadPoolExecutor, 'submit', refuse)
    assert save({'w': array}) == expected


@pytest.mark.parametrize('readonly', [False, True])
def test_large_arrays_have_the_checksum_of_zip(readonly: bool) -> None:
    """zipfile reads what was summed beside the writing, and what was summed piece by piece."""
    array = np.random.default_rng(0).integers(0, 256, (5 << 20) + 3, np.uint8)
    array.flags.writeable = not readonly
    with zipfile.ZipFile(io.BytesIO(save({'w': array}))) as file:
        assert file.testzip() is None


def test_neighbours_come_in_few_reads() -> None:
    """2,000 arrays of 1 KiB are read with a few calls, each with its own bytes, whatever the order and the gaps."""
    arrays = {f'w{index}': np.full(256, index, np.float32) for index in range(2000)}
    source = MemorySource(save(arrays))
    archive = npz.decode(source)
    names = [*list(arrays)[:1500], *list(arrays)[1600:], 'w1550', 'w3']
    before = source.reads
    for name, raw in zip(names, archive.read_small(names, allocate), strict=True):
        assert bytes(raw) == arrays[name].tobytes()
    assert source.reads - before < 20


def test_small_arrays_are_written_together() -> None:
    """5,000 arrays of 1 KiB make a few large writes, and so do their headers."""
    sink = _Nowhere()
    encoded([entry(f'w{index}', np.zeros(256, np.float32)) for index in range(5000)], {}, {}).write(sink)
    assert sink.writes < 60


@pytest.mark.parametrize('count', [100, 10_000_000])
def test_reading_checks_the_buffer(count: int) -> None:
    """A buffer of the wrong size is an error of the caller, and a name that is no array a KeyError."""
    archive = npz.decode(MemorySource(save({'a': np.zeros(count, np.uint8)})))
    assert archive.nbytes('a') == count
    with pytest.raises(ValueError, match=f"'a' has {count} bytes, the buffer 3"):
        archive.read_into('a', memoryview(bytearray(3)))
    with pytest.raises(KeyError):
        archive.nbytes('b')


def test_large_arrays_are_read_in_parallel() -> None:
    """An array of 40 MiB, read in shares, has the checksum of the whole; a changed byte is found in each share."""
    array = np.random.default_rng(0).integers(0, 256, 40 << 20, np.uint8)
    raw = bytearray(save({'a': array}))
    archive = npz.decode(MemorySource(raw))
    np.testing.assert_array_equal(read_array(archive, 'a'), array)
    for index in (0, 20 << 20, (40 << 20) - 1):
        at = 192 + index  # the local header and the NPY header take 192 bytes
        raw[at] ^= 1
        with pytest.raises(FormatError, match='checksum'):
            read_bytes(archive, 'a')
        assert len(read_bytes(archive, 'a', verify=False)) == 40 << 20
        with pytest.raises(FormatError, match='checksum'):
            archive.mapped('a')
        raw[at] ^= 1


def test_a_file_that_cannot_be_mapped() -> None:
    """Where storage has no map, `mapped` says so by None."""
    source = MemorySource(save({'a': np.zeros(3)}))
    source.map = lambda: None
    assert npz.decode(source).mapped('a') is None


def test_opening_reads_no_array() -> None:
    """Opening a file reads its table of contents alone, and reading one array that array alone."""
    source = MemorySource(save({'a': np.zeros(1 << 20, np.uint8), 'b': np.ones(5)}))
    archive = npz.decode(source)
    assert source.bytes_read < 2000
    np.testing.assert_array_equal(read_array(archive, 'b'), np.ones(5))
    assert source.bytes_read < 3000


def test_tables_of_an_archive_cannot_be_changed() -> None:
    """`specs` and `aliases` are read-only."""
    archive = npz.decode(MemorySource(save({'a': np.zeros(1)})))
    with pytest.raises(TypeError):
        archive.specs['b'] = archive.specs['a']
    with pytest.raises(TypeError):
        archive.aliases['b'] = 'a'


@pytest.mark.parametrize('name', ['net.npz', 'net', 'net.NPZ', 'a.b/net', '', 'net.unknown'])
def test_npz_is_the_format_of_every_other_suffix(name: str) -> None:
    """No suffix, or an unknown one, means npz."""
    assert by_suffix(name) is npz


def test_several_layouts_give_equal_files() -> None:
    """Equal names and values give equal files, whatever the arrays' order and bytes in memory."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    others = [np.asfortranarray(array), array.astype('>f4'), np.repeat(array, 2, 0)[::2]]
    assert {save({'a': other}) for other in others} == {save({'a': array})}
    np.testing.assert_array_equal(load(save({'a': array}))['a'], array)


@pytest.mark.parametrize('size', [300_000, 9_000_000, 20_000_001])
def test_an_array_that_changes_while_it_is_written_has_the_checksum_of_what_is_written(size: int) -> None:
    """A thread that trains in the very memory spoils no save: its file holds some mixture, and is read."""
    array = np.zeros(size, np.uint8)

    class Meddling(SeekableMemorySink):
        def write(self, buffer: memoryview | bytes) -> None:
            array[:] += 1
            super().write(buffer)

    sink = Meddling()
    written = encoded([Entry('a', ArraySpec('uint8', (size,)), lambda: [array.data])], {}, {})
    written.write(sink)
    assert len(sink.value()) == written.size
    np.testing.assert_array_less(load(sink.value())['a'], 9)

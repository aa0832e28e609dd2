"""safetensors: what objio writes the real library reads, and the other way round; what the format lacks is refused."""

import json
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from safetensors import deserialize, serialize
from support_formats import MemorySource, allocate
from support_interop import opened, read_all, some_arrays, table, written
from support_verbs import array_of, bits

from objio.errors import FormatError, UnsaveableError
from objio.formats import ArraySpec, dtypes
from objio.formats import safetensors as ours

PACKED = {'float4_e2m1fn': (4, 2), 'float6_e2m3fn': (6, 4), 'float6_e3m2fn': (6, 4)}
LABELS = [label for label in ours.DTYPES.values() if label not in PACKED]
TAGS = {label: tag for tag, label in ours.DTYPES.items()}
ARRAYS = {
    'b': np.arange(3, dtype='i1'),
    'w': np.arange(16, dtype='f4').reshape(2, 8),
    'h': np.ones(5, ml_dtypes.bfloat16),
    'n': np.float64(1.5).reshape(()),
    'v': np.arange(64, dtype='u1'),
    'e': np.zeros((0, 3), 'c8'),
}


@given(some_arrays(LABELS))
def test_what_objio_writes_the_real_library_reads(arrays: dict[str, np.ndarray]) -> None:
    """Names, dtypes, shapes and bytes of every dtype are those that `safetensors.deserialize` finds."""
    found = dict(deserialize(written(ours, arrays, metadata={'a': 'é'})))
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        label = dtypes.label_of(array.dtype)
        assert (found[name]['dtype'], found[name]['shape']) == (TAGS[label], list(array.shape))
        assert bytes(found[name]['data']) == b''.join(dtypes.blocks(array, label))


@given(some_arrays(LABELS))
def test_what_the_real_library_writes_objio_reads(arrays: dict[str, np.ndarray]) -> None:
    """Every array comes back bit for bit, whole, in pieces, in parts, mapped, and many together."""
    archive = opened(ours, safetensors.numpy.save(arrays, metadata={'a': 'é'}))
    assert archive.metadata == {'a': 'é'}
    assert {name: bits(array) for name, array in read_all(archive).items()} == {
        name: bits(array) for name, array in arrays.items()
    }


@given(some_arrays([*LABELS, *PACKED]))
def test_what_objio_writes_it_reads(arrays: dict[str, np.ndarray]) -> None:
    """Every array comes back bit for bit, in the order in which it was saved; equal content makes equal files."""
    together = {name: PACKED.get(dtypes.label_of(array.dtype), (8, 1))[1] for name, array in arrays.items()}
    arrays = {name: array for name, array in arrays.items() if not array.size % together[name]}
    data = written(ours, arrays, metadata={'a': 'é'})
    archive = opened(ours, data)
    assert list(archive.specs) == list(arrays)
    assert archive.metadata == {'a': 'é'}
    assert [bits(array) for array in read_all(archive).values()] == [bits(array) for array in arrays.values()]
    assert written(ours, arrays, metadata={'a': 'é'}) == data


@pytest.mark.parametrize('label', PACKED)
def test_elements_of_less_than_a_byte(label: str) -> None:
    """The first stands in the lowest bits, as PyTorch has F4 and ONNX has F6; what ends within a byte has no room."""
    width, together = PACKED[label]
    raw = bytes(index * 7 % (1 << width) for index in range(24))
    array = array_of(label, (3, 8), raw)
    data = written(ours, {'a': array})
    ((name, found),) = deserialize(data)
    assert (name, found['dtype'], found['shape']) == ('a', TAGS[label], [3, 8])
    stream = sum(value << (width * index) for index, value in enumerate(raw))
    assert bytes(found['data']) == stream.to_bytes(24 * width // 8, 'little')
    archive = opened(ours, data)
    assert bits(read_all(archive)['a']) == bits(array)
    read = archive.ranges('a')
    for start in range(24):
        part = bytearray(24 - start)
        read(start, memoryview(part))
        assert part == raw[start:]
    with pytest.raises(UnsaveableError, match=f"'a': expected a multiple of {together} elements of {label}"):
        written(ours, {'a': array[:1, : together + 1]})


def test_pairs_of_four_bits() -> None:
    """A byte by hand: 1 in the low bits, 2 in the high ones."""
    ((_, found),) = deserialize(written(ours, {'a': array_of('float4_e2m1fn', (2,), b'\1\2')}))
    assert bytes(found['data']) == b'\x21'


def test_fours_of_six_bits() -> None:
    """Three bytes by hand: 111111 000001 100000 010101 from the lowest bits on."""
    ((_, found),) = deserialize(
        written(ours, {'a': array_of('float6_e2m3fn', (4,), bytes([0b111111, 1, 0b100000, 0b010101]))})
    )
    assert bytes(found['data']) == bytes([0b01_111111, 0b0000_0000, 0b010101_10])


def test_a_file_byte_for_byte() -> None:
    """The layout is pinned: spaces up to a multiple of 64, first what is a multiple of 64 bytes, then wide before narrow."""
    data = written(ours, ARRAYS, metadata={'k': 'v'})
    text = (
        b'{"__metadata__":{"k":"v"},'
        b'"b":{"dtype":"I8","shape":[3],"data_offsets":[146,149]},'
        b'"w":{"dtype":"F32","shape":[2,8],"data_offsets":[0,64]},'
        b'"h":{"dtype":"BF16","shape":[5],"data_offsets":[136,146]},'
        b'"n":{"dtype":"F64","shape":[],"data_offsets":[128,136]},'
        b'"v":{"dtype":"U8","shape":[64],"data_offsets":[64,128]},'
        b'"e":{"dtype":"C64","shape":[0,3],"data_offsets":[128,128]}}'
    )
    order = ('w', 'v', 'e', 'n', 'h', 'b')
    arrays = b''.join(ARRAYS[name].tobytes() for name in order)
    assert data == table(text.ljust(376), arrays)
    assert (8 + 376) % 64 == 0
    assert written(ours, {}) == table(b'{}'.ljust(56))


def test_arrays_are_aligned_for_mapping() -> None:
    """Each array can be mapped; what has a multiple of 64 bytes starts at one, so that JAX takes the pages as they are."""
    arrays = {f'{dtype}{size}': np.zeros(size, dtype) for size in (1, 3, 64, 128) for dtype in ('u1', 'f8', 'f2', 'c8')}
    data = written(ours, arrays)
    archive = opened(ours, data)
    for name, array in arrays.items():
        assert archive.mapped(name) is not None
        start = archive._places.starts[name]
        assert start % (64 if array.nbytes % 64 == 0 else array.itemsize) == 0


def test_what_lies_at_odd_addresses_is_copied() -> None:
    """An array of another writer that its dtype cannot have there is not mapped, but read."""
    text = {
        'a': {'dtype': 'U8', 'shape': [1], 'data_offsets': [0, 1]},
        'b': {'dtype': 'F32', 'shape': [1], 'data_offsets': [1, 5]},
    }
    archive = opened(ours, table(json.dumps(text).encode().ljust(128), b'\1' + np.float32(2).tobytes()))
    assert archive.mapped('b') is None
    assert archive.mapped('a') is not None
    for mmap in (False, True):
        _, b = archive.read_small(['a', 'b'], allocate, mmap=mmap)
        assert np.frombuffer(b, 'f4').flags.aligned
    assert read_all(archive)['b'] == 2


LACKING: list[tuple[dict[str, Any], str]] = [
    ({'aliases': {'tied': 'w', 'too': 'w'}}, "no further names .*'tied' of 'w', 'too' of 'w'.*copy_aliases"),
    ({'metadata': {'epoch': 7, 'ok': 'x', 'tags': ['a']}}, r"metadata\['epoch'\] \(int\), metadata\['tags'\] \(list\)"),
    ({'metadata': {'a': '\ud800'}}, 'lone surrogate'),
]


@pytest.mark.parametrize(('options', 'message'), LACKING)
def test_what_the_format_lacks_is_refused(options: dict[str, Any], message: str) -> None:
    """Aliases and metadata that would be lost are named, with a way out, before anything is written."""
    with pytest.raises((UnsaveableError, TypeError), match=message):
        written(ours, ARRAYS, **options)


def test_dtypes_that_the_format_lacks_are_refused_together() -> None:
    """All arrays with such dtypes are listed at once; of keys it says how to save their words."""
    specs = {'i': ArraySpec('int4', (2,)), 'c': ArraySpec('complex128', ()), 'k': ArraySpec('key<rbg>', ())}
    message = r"'i' \(int4\), 'c' \(complex128\), 'k' \(key<rbg>\)\. Save as \.npz.*jax\.random\.key_data"
    with pytest.raises(UnsaveableError, match=message):
        ours.encode(specs, lambda _: [], {}, {})
    lacking = set(dtypes.WRITABLE) - set(ours.DTYPES.values())
    assert {label for label in lacking if 'key' not in label} == {
        'int1', 'int2', 'int4', 'uint1', 'uint2', 'uint4', 'complex128',
        'float8_e3m4', 'float8_e4m3', 'float8_e4m3b11fnuz',
    }  # fmt: skip


@pytest.mark.parametrize('name', ['', '__metadata__', 'a\ud800'])
def test_names_that_the_format_lacks_are_refused(name: str) -> None:
    """A name that could not be read back is refused."""
    with pytest.raises(UnsaveableError):
        written(ours, {name: ARRAYS['w']})


def test_metrics_have_a_home() -> None:
    """Metrics of a checkpoint stand as JSON in the metadata and come back as they were; what is none stays text."""
    data = written(ours, {}, metadata={'objio.metrics': {'loss': 0.5, 'acc': 'nan'}, 'a': 'b'})
    assert opened(ours, data).metadata == {'objio.metrics': {'loss': 0.5, 'acc': 'nan'}, 'a': 'b'}
    strange = serialize({}, metadata={'objio.metrics': '[' * 100_000})
    assert opened(ours, bytes(strange)).metadata == {'objio.metrics': '[' * 100_000}


def test_other_spellings_of_json_are_read() -> None:
    """Spaces, another order of keys and of arrays, and escapes are what other writers may use."""
    text = (
        b'{ "a\\u00e9\\ud83d\\ude00" :\n{"data_offsets": [ 4 , 8 ],\t"shape" : [ 1 ],"dtype":"F32" } , '
        b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__" : { "x" : "\\"y\\n" } }\r\n '
    )
    archive = opened(ours, table(text, np.array([1, 2], 'f4').tobytes()))
    assert {name: array.tolist() for name, array in read_all(archive).items()} == {'aé😀': [2.0], 'b': [1.0]}
    assert archive.metadata == {'x': '"y\n'}


def test_a_zip_file_is_told() -> None:
    """A file of another kind is called by its name."""
    with pytest.raises(FormatError, match='looks like a zip file; give it the suffix .npz'):
        opened(ours, b'PK\3\4' + bytes(100))


def test_brackets_that_nest_too_deep_are_refused() -> None:
    """A table whose shapes are lists in lists is no stack overflow."""
    table = b'{"a":{"dtype":"F32","shape":' + b'[' * 1900 + b',"data_offsets":[0,0]}}'
    with pytest.raises(FormatError, match='the table of contents'):
        ours.decode(MemorySource(struct.pack('<Q', len(table)) + table))

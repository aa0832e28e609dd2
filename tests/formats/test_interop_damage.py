"""Damaged and hostile files of safetensors and msgpack: one FormatError, in bounded memory; never another exception."""

import json
import random
import re
import struct
import tracemalloc
from collections.abc import Callable
from types import ModuleType
from typing import Any

import ml_dtypes
import msgpack as packer
import numpy as np
import pytest
from flax import serialization
from safetensors import SafetensorError, deserialize
from support_formats import MemorySource, allocate
from support_interop import FORMATS, opened, outcome, table, written

from objio.errors import FormatError
from objio.formats import msgpack, safetensors

ARRAYS = {
    'a.w': np.arange(6, dtype='f4').reshape(2, 3),
    'a.flag': np.array([True, False]),
    'b': np.ones(2, ml_dtypes.bfloat16),
    'e': np.zeros((0, 2)),
}
SMALL = {safetensors: written(safetensors, ARRAYS, metadata={'k': 'v'}), msgpack: written(msgpack, ARRAYS)}
ENTRY = {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}
FOUR = bytes(4)


@pytest.mark.parametrize('form', FORMATS)
def test_every_cut_is_found(form: ModuleType) -> None:
    """A file cut off anywhere, or with something behind its end, is a FormatError when it is opened."""
    data = SMALL[form]
    for size in range(len(data)):
        with pytest.raises(FormatError, match=r'net\.npz'):
            opened(form, data[:size])
    for junk in (b'\0', b' ', b'x' * 1000, data):
        with pytest.raises(FormatError, match=r'net\.npz'):
            opened(form, data + junk)


@pytest.mark.parametrize('form', FORMATS)
def test_every_changed_bit_shows_or_is_in_a_number(form: ModuleType) -> None:
    """A flipped bit is a FormatError, or what the file holds is another thing: without checksums there is no more."""
    data = bytearray(SMALL[form])
    whole = outcome(form, bytes(data))
    unseen = []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        found = outcome(form, bytes(data))
        assert not isinstance(found, str), found
        if found == whole:
            unseen.append(bit // 8)
        data[bit // 8] ^= 1 << bit % 8
    # A space behind the table may become another, and a control character is none.
    assert all(form is safetensors and data[place] in b' ' for place in unseen)


@pytest.mark.parametrize('form', FORMATS)
def test_a_bool_is_0_or_1(form: ModuleType) -> None:
    """Without a checksum the values of a dtype are checked all the same, whichever way they are read."""
    data = written(form, {'a': np.array([True, True, False])})
    archive = opened(form, data.replace(b'\1\1\0', b'\1\2\0'))
    for read in (
        lambda: archive.read_into('a', memoryview(bytearray(3))),
        lambda: list(archive.pieces('a', memoryview(bytearray(2)))),
        lambda: list(archive.read_small(['a'], allocate)),
        lambda: archive.mapped('a'),
    ):
        with pytest.raises(FormatError, match="'a': bool is stored as 0 to 1, found 2"):
            read()


LIES: list[tuple[Any, bytes, str]] = [
    ({'a': ENTRY | {'dtype': 'F33'}}, FOUR, "'a': expected a dtype that objio reads, one of BOOL.*found 'F33'"),
    ({'a': ENTRY | {'dtype': 'F6_E2M3', 'shape': [4]}}, FOUR, "'a': expected 3 bytes"),
    ({'a': ENTRY | {'dtype': 'F6_E3M2', 'shape': [5]}}, FOUR, 'a multiple of 4 elements'),
    ({'a': ENTRY | {'shape': [2]}}, FOUR, r"'a': expected 8 bytes for F32 of shape \(2,\), found 4"),
    ({'a': ENTRY | {'shape': [-1]}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ENTRY | {'shape': [1.0]}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ENTRY | {'shape': [True]}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ENTRY | {'shape': [2**40, 2**40, 0]}}, FOUR, r'less than 2\*\*63 bytes'),
    ({'a': ENTRY | {'shape': [1] * 65}}, FOUR, 'at most 64 axes'),
    ({'a': ENTRY | {'data_offsets': [4, 8]}}, FOUR * 2, "'a': expected its bytes from byte 0 of the arrays, found 4"),
    ({'a': ENTRY | {'data_offsets': [0, 4, 4]}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ENTRY | {'data_offsets': [4, 0]}}, FOUR, "'a': expected 4 bytes"),
    ({'a': ENTRY, 'b': ENTRY}, FOUR, "'b': expected its bytes from byte 4 of the arrays, found 0"),
    ({'a': ENTRY | {'more': 1}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': {'dtype': 'F32'}}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ['F32', [1], [0, 4]]}, FOUR, 'expected dtype, shape and data_offsets'),
    ({'a': ENTRY}, FOUR * 2, 'the arrays: expected 4 bytes, found 8'),
    ({'a': ENTRY}, b'', "the arrays: expected 4 bytes, found 0"),
    ({'a': ENTRY | {'dtype': 'BOOL', 'data_offsets': [0, 1]}}, b'\2', "'a': bool is stored as 0 to 1, found 2"),
    ({'a': ENTRY | {'dtype': 'F4', 'data_offsets': [0, 1]}}, b'\2', 'a multiple of 2 elements'),
    ({'__metadata__': {'x': 1}}, b'', 'expected text in quotes'),
    ({'__metadata__': None}, b'', "expected '{'"),
    ({'__metadata__': ENTRY}, FOUR, 'expected text in quotes'),
    (json.dumps({'__metadata__': ENTRY}, separators=(',', ':')).encode(), FOUR, 'is no name of an array'),
    ([], b'', "expected '{'"),
    (b'{"a":%s,"a":%s}' % ((json.dumps(ENTRY).encode(),) * 2), FOUR, "'a' stands there twice"),
    (b'{"__metadata__":{},"__metadata__":{}}', b'', "'__metadata__' stands there twice"),
    (b'{"__metadata__":{"x":"","x":""}}', b'', "'__metadata__' has 'x' twice"),
    (b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR, 'expected dtype, shape'),
    (b'{"a\\ud800":%s}' % json.dumps(ENTRY).encode(), FOUR, 'surrogates not allowed'),
    (b'{"a\xff":%s}' % json.dumps(ENTRY).encode(), FOUR, 'invalid start byte'),
    (b'{"a\n":%s}' % json.dumps(ENTRY).encode(), FOUR, 'Invalid control character'),
    (b'{"a":%s,}' % json.dumps(ENTRY).encode(), FOUR, 'expected text in quotes'),
    (b'{"a":%s' % json.dumps(ENTRY).encode(), FOUR, "expected '}'"),
    (b' {}', b'', "expected '{'"),
    (b'{}x', b'', 'nothing but spaces behind the table'),
    (b'', b'', "expected '{'"),
]  # fmt: skip


@pytest.mark.parametrize(('text', 'data', 'message'), LIES)
def test_a_table_that_lies_is_refused(text: Any, data: bytes, message: str) -> None:
    """Whatever is no safetensors file, or says what it does not hold, is told with what was expected and found."""
    with pytest.raises(FormatError, match=message):
        archive = opened(safetensors, table(text, data))
        for name in archive.specs:
            archive.read_into(name, memoryview(bytearray(archive.nbytes(name))))


@pytest.mark.parametrize('size', [101_000_000, 2**63, 2**64 - 1])
def test_a_table_that_claims_to_be_large_is_refused(size: int) -> None:
    """The size of the table is held against the file and the limit of the format before anything is read."""
    with pytest.raises(FormatError, match='the size of the table of contents: expected at most 100'):
        opened(safetensors, struct.pack('<Q', size) + bytes(100))


class Vast(MemorySource):
    """A file that is as large as it says, and holds next to nothing."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert buffer.nbytes < 1 << 20, 'a reader took the file by its word'
        super().read_into(offset, buffer)


def test_a_large_file_with_a_large_table_is_refused() -> None:
    """The limit of the format holds where the file would be large enough, too."""
    source = Vast(struct.pack('<Q', 100_000_001) + bytes(100))
    source.size = 1 << 40
    with pytest.raises(FormatError, match='expected at most 100000000'):
        safetensors.decode(source)


def deep(levels: int) -> bytes:
    """Dicts in dicts."""
    return b'\x81\xa1a' * levels + b'\x81\xa1a\1'


def growing(count: int) -> bytes:
    """Many small leaves under one long name."""
    return b'\x81\xda\xff\xff' + b'n' * 65_535 + b'\xdf' + struct.pack('>I', count) + b''.join(
        b'\xa4%04x\xc0' % index for index in range(count)
    )  # fmt: skip


HOSTILE: list[tuple[ModuleType, Callable[[], bytes]]] = [
    (safetensors, lambda: table(b'{"a":' + b'[' * 1_000_000)),
    (safetensors, lambda: table(b'{"a":[' + b'{},' * 300_000)),
    (safetensors, lambda: table(b'{"a":{"shape":[' + b'[],' * 300_000)),
    (safetensors, lambda: table(b'{"a":{"shape":[' + b'1,' * 500_000)),
    (safetensors, lambda: table(b'{"a":{"shape":[' + b'1' * 1_000_000)),
    (safetensors, lambda: table(b'{"' + b'\\u0000' * 150_000)),
    (safetensors, lambda: table(b'{' + b' ' * 1_000_000)),
    (safetensors, lambda: table(b'{' * 1_000_000)),
    (msgpack, lambda: deep(300_000)),
    (msgpack, lambda: b'\x91' * 1_000_000),
    (msgpack, lambda: b'\xdf\xff\xff\xff\xff' + bytes(1_000_000)),
    (msgpack, lambda: b'\xdd\xff\xff\xff\xff' + b'\1' * 1_000_000),
    (msgpack, lambda: b'\xdd\xff\xff\xff\xff' + b'\xc0' * 1_000_000),
    (msgpack, lambda: growing(1000) + b'x'),
    (msgpack, lambda: growing(60_000)),
    (msgpack, lambda: b'\x81\xa1a\xc9\xff\xff\xff\xff\1' + bytes(1_000_000)),
    (msgpack, lambda: b'\x81\xdb\xff\xff\xff\xff' + bytes(1_000_000)),
    (msgpack, lambda: b'\x81\xa1a\xc7\x08\1\x93\xdd\xff\xff\xff\xff' + bytes(1_000_000)),
]


@pytest.mark.parametrize('case', range(len(HOSTILE)))
def test_hostile_files_take_bounded_memory(case: int) -> None:
    """Nesting, counts, sizes and long names that a small file claims are refused before they take memory."""
    form, make = HOSTILE[case]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r'net\.npz'):
            opened(form, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(data) + (16 << 20)


def mangled(data: bytes, rng: random.Random) -> bytes:
    """A file with some of its words lost, doubled, swapped, or replaced by what hurts."""
    words = [*re.findall(rb'\w+|\W', data[:400]), data[400:]]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(words))
        bad = [b'0', b'-1', b'9' * 25, b'null', b'[', b']', b'{', b'"', b'\\', b'\xff', b'\0', b'\xc1', b'\xdf', b'\xc9', b'\x93',
               b'', b'\\ud800', rng.randbytes(2), words[rng.randrange(len(words))], words[at] * 2]  # fmt: skip
        words[at] = rng.choice(bad)
    return b''.join(words)


@pytest.mark.parametrize('seed', range(2))
def test_mangled_tables(seed: int) -> None:
    """A mangled safetensors file is read or refused, and what objio reads the real library reads too."""
    rng = random.Random(seed)
    (size,) = struct.unpack('<Q', SMALL[safetensors][:8])
    text, data = SMALL[safetensors][8 : 8 + size], SMALL[safetensors][8 + size :]
    read = 0
    for _ in range(2000):
        file = table(mangled(text.rstrip(), rng), data)
        found = outcome(safetensors, file)
        assert not isinstance(found, str), found
        if found is not None:
            read += 1
            try:
                assert {name for name, _ in deserialize(file)} == set(found[0])
            except SafetensorError as error:
                pytest.fail(f'{error}: {file!r}')
    assert read > 10


@pytest.mark.parametrize('seed', range(2))
def test_mangled_trees(seed: int) -> None:
    """A mangled msgpack file is read or refused, and what objio reads msgpack itself reads too."""
    rng = random.Random(seed)
    tree = {'a': {'w': np.arange(6, dtype='f4'), 'n': [1, 2.5, None, 'text', 1j]}, 'b': {'c': np.float32(1), 'd': {}}}
    read = 0
    for _ in range(2000):
        data = mangled(serialization.msgpack_serialize(tree), rng)
        found = outcome(msgpack, data)
        assert not isinstance(found, str), found
        if found is not None:
            read += 1
            packer.unpackb(data, strict_map_key=False)
    assert read > 10

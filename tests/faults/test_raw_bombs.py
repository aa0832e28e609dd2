"""Bombs and lies in the formats without checksums: safetensors, msgpack, and the index of shards."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack as packer
import pytest
from support_interop import table

from faults.bounded import read_within_bounds
from faults.raw_fuzzing import write_shards
from objio.formats.msgpack_tree import CHUNKED

_MILLION = 1_000_000
_SECONDS = 20  # of a processor that others use as well
_HUGE = b'\xff\xff\xff\xff'


def entry(name: str, start: int, end: int, shape: str = '0') -> str:
    """One array of a table of contents."""
    return f'"{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[{start},{end}]}}'


def tables(*entries: str, data: bytes = b'') -> bytes:
    """A safetensors file with these entries."""
    return table(('{' + ','.join(entries) + '}').encode('utf-8', 'surrogatepass'), data)


def leaf(shape: list[Any], label: str, data: bytes) -> bytes:
    """An array of a msgpack file."""
    return bytes(packer.packb(packer.ExtType(1, packer.packb([shape, label, data]))))


def pieces(shape: dict[str, Any], count: bytes, *chunks: bytes) -> bytes:
    """A file with one array that is cut into pieces."""
    head = b'\x81\xa1a\x83' + b''.join(map(packer.packb, (CHUNKED, True, 'shape', shape, 'chunks')))
    return head + b'\xdf' + count + b''.join(b'\xa1%d' % index + chunk for index, chunk in enumerate(chunks))


def tree(*items: bytes, more: int = 0) -> bytes:
    """A msgpack file with these items under short names, which says that it has some more."""
    keys = (bytes(packer.packb(f'{index:x}')) for index in range(len(items)))
    return b'\xdf' + struct.pack('>I', len(items) + more) + b''.join(map(b''.join, zip(keys, items, strict=True)))


def index(homes: str = '', metadata: str = '{}') -> bytes:
    """An index of shards."""
    return f'{{"metadata":{metadata},"weight_map":{{{homes}}}}}'.encode('utf-8', 'surrogatepass')


_TABLE, _TREE, _INDEX = 'x.safetensors', 'x.msgpack', 'x.safetensors.index.json'

BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    'a table of 2^64 - 1 bytes': (_TABLE, lambda: b'\xff' * 8 + b'{}'),
    'a table of 99 MB': (_TABLE, lambda: struct.pack('<Q', 99_000_000) + b'{}'),
    'a shape of 10 GB': (_TABLE, lambda: tables(entry('a', 0, 10**10, '10000000000'))),
    'a shape beyond 64 bits': (_TABLE, lambda: tables(entry('a', 0, 0, '4294967296,4294967296,0'))),
    'a shape of a million axes': (_TABLE, lambda: tables(entry('a', 0, 1, '1,' * _MILLION + '1'), data=b'1')),
    'arrays that overlap': (
        _TABLE, lambda: tables(*[entry(f'{i}', 0, 99_000, '99000') for i in range(9000)], data=bytes(99_000))),
    'a hole': (_TABLE, lambda: tables(entry('a', 0, 1, '1'), entry('b', 2, 3, '1'), data=bytes(3))),
    'lists, 100,000 deep': (_TABLE, lambda: table(b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b'}')),
    'objects, 100,000 deep': (_TABLE, lambda: table(b'{"a":' * 100_000 + b'1' + b'}' * 100_000)),
    'metadata, 100,000 deep': (_TABLE, lambda: table(b'{"__metadata__":{"a":' + b'[' * 100_000)),
    'one name twice': (_TABLE, lambda: tables(entry('a', 0, 0), entry('a', 0, 0))),
    'a lone surrogate': (_TABLE, lambda: tables(entry('\\ud800', 0, 0))),
    'maps, 100,000 deep': (_TREE, lambda: b'\x81\xa1a' * 100_000 + b'\x80'),
    'lists in lists, 100,000 deep': (_TREE, lambda: b'\x91' * 100_000 + b'\x90'),
    'a map of 2^32 - 1': (_TREE, lambda: b'\xdf' + _HUGE),
    'a list of 2^32 - 1': (_TREE, lambda: b'\xdd' + _HUGE + b'\x01' * 10_000),
    'bytes of 4 GB': (_TREE, lambda: tree(b'\xc6' + _HUGE)),
    'text of 4 GB': (_TREE, lambda: tree(b'\xdb' + _HUGE)),
    'a key of 4 GB': (_TREE, lambda: b'\x81\xdb' + _HUGE),
    'an extension of 4 GB': (_TREE, lambda: tree(b'\xc9' + _HUGE + b'\1')),
    'an array in it of 4 GB': (_TREE, lambda: tree(b'\xc7\x20\1\x93\x91\4\xa5uint8\xc6' + _HUGE + bytes(16))),
    'a shape of 2^32 - 1 axes': (_TREE, lambda: tree(b'\xc7\x20\1\x93\xdd' + _HUGE + bytes(26))),
    'a shape in it beyond 64 bits': (_TREE, lambda: tree(leaf([2**40, 2**40, 0], 'uint8', b''))),
    'a shape in it of 10 GB': (_TREE, lambda: tree(leaf([10**10], 'uint8', b'1'))),
    'pieces, 2^32 - 1 of them': (_TREE, lambda: pieces({'0': 1}, _HUGE, leaf([1], 'uint8', b'1'))),
    'pieces, none of them': (_TREE, lambda: pieces({'0': 1}, bytes(4))),
    'pieces of 10 GB': (_TREE, lambda: pieces({'0': 10**10}, b'\0\0\0\1', leaf([1], 'uint8', b'1'))),
    'pieces of two dtypes': (
        _TREE, lambda: pieces({'0': 2}, b'\0\0\0\2', leaf([1], 'uint8', b'1'), leaf([1], 'int8', b'1'))),
    'a million empty maps, and no end': (_TREE, lambda: tree(*[b'\x80'] * _MILLION, more=1)),
    'an index, 100,000 deep': (_INDEX, lambda: b'[' * 100_000),
    'an index with metadata 100,000 deep': (_INDEX, lambda: index(metadata='[' * 100_000 + ']' * 100_000)),
    'an index with homes 100,000 deep': (_INDEX, lambda: index('"a":' + '{"a":' * 100_000)),
    'an index with a path': (_INDEX, lambda: index('"w":"../x.safetensors"')),
    'an index with a device': (_INDEX, lambda: index('"w":"/dev/zero"')),
    'an index with a lone surrogate': (_INDEX, lambda: index('"w":"\\ud800.safetensors"')),
}  # fmt: skip
LIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    'a million arrays of no bytes, one of them twice': (
        _TABLE, lambda: tables(*[entry(f'{i:x}', 0, 0) for i in range(_MILLION)], entry('0', 0, 0))),
    '300,000 arrays of as many shapes, with a byte too many': (
        _TABLE, lambda: tables(*[entry(f'{i:x}', 0, 0, f'0,{i + 300}') for i in range(300_000)], data=b'x')),
    'a million arrays of one byte that overlap': (
        _TABLE, lambda: tables(*[entry(f'{i:x}', 0, 1, '1') for i in range(_MILLION)], data=b'x')),
    'a million arrays of one byte with a hole': (
        _TABLE, lambda: tables(*[entry(f'{i:x}', i + i // 999_999, i + i // 999_999 + 1, '1') for i in range(_MILLION)],
                               data=bytes(_MILLION + 1))),
    '99 MB of lists': (_TABLE, lambda: table(b'{"a":[' + b'[],' * 33_000_000)),
    '99 MB of objects': (_TABLE, lambda: table(b'{"a":{"b":[' + b'{},' * 33_000_000)),
    '99 MB of spaces': (_TABLE, lambda: table(b'{' + b' ' * 99_000_000)),
    '99 MB of text': (_TABLE, lambda: table(b'{"__metadata__":{"a":"' + b'x' * 98_000_000 + b'"},1')),
    '99 MB of wide text': (_TABLE, lambda: table(b'{"__metadata__":{"a":"' + '😀'.encode() * 24_000_000 + b'"},1')),
    'a million keys of metadata': (
        _TABLE, lambda: table(('{"__metadata__":{' + ','.join(f'"{i:x}":""' for i in range(_MILLION)) + '},1').encode())),
    'a million escapes': (_TABLE, lambda: table(b'{"__metadata__":{"a":"' + b'\\u0041' * _MILLION + b'"},1')),
    'a lone surrogate behind 16 MB': (
        _TABLE, lambda: table(b'{"__metadata__":{"a":"' + b'x' * (16 << 20) + b'\\ud800"}}')),
    'a million arrays of no bytes, and no end': (
        _TREE, lambda: tree(*[leaf([0], 'uint8', b'')] * _MILLION, more=1)),
    '200,000 arrays of 4,000 shapes, and no end': (
        _TREE, lambda: tree(*[leaf([0, i % 4000], 'uint8', b'') for i in range(200_000)], more=1)),
    'a long name for 60,000 leaves': (
        _TREE, lambda: b'\x81\xda\xff\xff' + b'n' * 65_535 + tree(*[leaf([0], 'uint8', b'')] * 60_000)),
    'a million numbers': (_TREE, lambda: tree(*[b'\1'] * _MILLION, more=1)),
    'a million texts': (_TREE, lambda: tree(*[b'\xa1x'] * _MILLION)),
    'a million lists': (_TREE, lambda: tree(*[b'\x91\xc0'] * _MILLION)),
    'an index of a million names': (_INDEX, lambda: index(','.join(f'"{i:x}":"no.safetensors"' for i in range(_MILLION)))),
    'an index of a million shards': (
        _INDEX, lambda: index(','.join(f'"{i:x}":"{i:x}.safetensors"' for i in range(_MILLION)))),
    'an index of a million names, one of them twice': (
        _INDEX, lambda: index(','.join(f'"{i % 999_999:x}":"a.safetensors"' for i in range(_MILLION)))),
    'an index of a million names that the shard lacks': (
        _INDEX, lambda: index(','.join(f'"{i:x}":"a.safetensors"' for i in range(_MILLION)))),
    'an index with 99 MB of metadata': (_INDEX, lambda: index(metadata='[' + '{},' * 33_000_000 + '1]')),
    'an index with a little dense metadata': (_INDEX, lambda: index(metadata='[' + '{},' * 40_000 + '1]')),
    'an index of 99 MB of spaces': (_INDEX, lambda: b' ' * 99_000_000),
    'an index of 9 MB of wide text': (_INDEX, lambda: index('"' + '😀' * 2_000_000 + '":1')),
}  # fmt: skip
_SOME = ['a shape of 10 GB', 'maps, 100,000 deep', 'pieces, 2^32 - 1 of them', 'an index with a path',
         'a million arrays of no bytes, one of them twice', 'a million texts', 'an index of a million names']  # fmt: skip


def _cases(files: dict[str, Any]) -> list[Any]:
    return [name if name in _SOME else pytest.param(name, marks=pytest.mark.full) for name in files]


@pytest.mark.proves('bombs')
@pytest.mark.parametrize('bomb', _cases(BOMBS))
def test_bombs_without_checksums(bomb: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A file that claims what it has not is a FormatError, in a process that takes at most twice its size and 10 MB."""
    name, make = BOMBS[bomb]
    figure('bombs', 1, f'{name[2:]}, {bomb}: {_refused(tmp_path / name, make(), 2)}')


@pytest.mark.proves('lies')
@pytest.mark.parametrize('lie', _cases(LIES))
def test_lies_without_checksums(lie: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A table of contents that lies is a FormatError, in a process that takes at most 16 times its size and 10 MB."""
    name, make = LIES[lie]
    figure('lies', 1, f'{name[2:]}, {lie}: {_refused(tmp_path / name, make(), 16)}')


def _refused(path: Path, data: bytes, times: int) -> str:
    """Reads a file, which must be refused within so many times its size; tells how large it was and became."""
    write_shards(path.parent)
    path.write_bytes(data)
    found = read_within_bounds(path)
    print(f'{len(data) / 1e6:.1f} MB', found)
    assert found.outcome.startswith('FormatError: '), found
    assert found.grown <= times * len(data) + 10_000_000, found
    assert found.seconds < _SECONDS, found
    return f'{len(data) / 1e6:.1f} MB, {max(found.grown, 0) / 1e6:.1f} MB more memory'

"""Files without checksums that lie somewhere inside: safetensors, msgpack, and the index of shards."""

import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgpack as packer
from support_formats import mangled
from support_interop import table

from faults.files import raw_files
from objio.formats import msgpack_tree, safetensors
from objio.formats.dtypes import stored

_NAMES = [
    '',
    'a',
    'b',
    'a.b',
    'é',
    '😀',
    '\0',
    '\ud800',
    '..',
    '__metadata__',
    'x' * 5000,
    '0',
    'objio.metrics',
    msgpack_tree.CHUNKED,
]
_VALUES: list[Any] = [None, True, 0, -1, 1, 2**53, 2**63, 2**64, 10**30, 1.5, '', 'a', '\ud800', [], {}, [[]], {'a': 1}, [0, 2**62],
                      [1] * 65, [2**32, 2**32], 'F32', 'F6_E2M3', 'float32', {'a': {'b': []}}]  # fmt: skip
_SHARDS = ['a.safetensors', 'b.safetensors', '../a.safetensors', '/a.safetensors', 'a.safetensors/', '.', '..', '', 'a.bin', 'c.safetensors',
           'a\\b.safetensors', 'a\0.safetensors', 'é' * 130 + '.safetensors', '\ud800.safetensors', 'folder.safetensors', 3, None]  # fmt: skip
_SIZES = [b'\xc4\x00', b'\xc6\xff\xff\xff\xff', b'\xc9\xff\xff\xff\xff\x01', b'\xdb\xff\xff\xff\xff', b'\xdd\xff\xff\xff\xff',
          b'\xdf\xff\xff\xff\xff', b'\xde\x00\x02', b'\xdc\x00\x03', b'\x81', b'\x93', b'\xc1', b'\xd8\x01', b'\xc7\x08\x01', b'\x80',
          b'\xc0', b'\xcf' + b'\xff' * 8, b'\xa1a', b'\x81\xb9' + msgpack_tree.CHUNKED.encode()]  # fmt: skip


def _some(rng: random.Random, likely: Any, others: list[Any]) -> Any:
    return likely if rng.random() < 0.93 else deepcopy(rng.choice(others))


def _text(tree: Any, rng: random.Random) -> bytes:
    """The JSON of a tree, as some writer may spell it, or nobody."""
    spaces = {'separators': (',', ':')} if rng.random() < 0.6 else {'indent': rng.choice([None, 1])}
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.3, **spaces).encode('utf-8', 'surrogatepass')
    return mangled(text, rng) if rng.random() < 0.3 else text


def safetensors_file(rng: random.Random) -> bytes:
    """A file whose table of contents is often right."""
    tree: dict[str, Any] = {}
    at = 0
    for index in range(rng.randrange(4)):
        tag = rng.choice(list(safetensors.DTYPES))
        shape = rng.choice([[], [2], [2, 3], [0], [1, 1, 2], [4]])
        count = 1
        for size in shape:
            count *= size
        nbytes = count * stored(safetensors.DTYPES[tag]).itemsize // (2 if tag == 'F4' else 1)
        entry = {'dtype': tag, 'shape': shape, 'data_offsets': [at, at + nbytes]}
        key = _some(rng, rng.choice(list(entry)), ['more', ''])
        entry[key] = _some(rng, entry.get(key), _VALUES)
        tree[_some(rng, f'w{index}', _NAMES)] = _some(rng, entry, _VALUES)
        at += nbytes
    if rng.random() < 0.3:
        tree['__metadata__'] = _some(rng, {_some(rng, 'k', _NAMES): _some(rng, 'v', _VALUES)}, _VALUES)
    data = rng.randbytes(at) if rng.random() < 0.2 else bytes(_some(rng, at, [0, at + 1, max(at - 1, 0), 64]))
    file = table(_text(tree, rng), data)
    if rng.random() < 0.05:
        file = struct.pack('<Q', rng.choice([0, 1, 8, len(file), 10**8, 1 << 40, 1 << 63, (1 << 64) - 1])) + file[8:]
    return file


def _array(rng: random.Random, *, flat: bool = False) -> packer.ExtType:
    label = rng.choice(['float32', 'bfloat16', 'bool', 'int4', 'uint8', 'complex64', 'float8_e4m3fn'])
    shape = [4] if flat else rng.choice([[], [2], [2, 3], [0], [4]])
    size = stored(label).itemsize
    for axis in shape:
        size *= axis
    parts = [_some(rng, shape, _VALUES[:-1]), _some(rng, label, _VALUES), bytes(_some(rng, size, [0, size + 1, 7]))]
    return packer.ExtType(_some(rng, 1, [2, 3, 4, 0]), _packed(_some(rng, parts, _VALUES)))


def _pieces(rng: random.Random) -> dict[str, Any]:
    """An array that is cut, as those of more than 1 GiB are."""
    chunks = {_some(rng, str(index), _NAMES): _array(rng, flat=True) for index in range(rng.randrange(1, 4))}
    shape = {'0': _some(rng, 4 * len(chunks), [0, 2**40, -1, 'a'])}
    tree = {msgpack_tree.CHUNKED: True, 'shape': shape, 'chunks': chunks}
    if rng.random() < 0.2:
        tree[rng.choice(list(tree))] = deepcopy(rng.choice(_VALUES))
    return tree


def _packed(tree: Any) -> bytes:
    try:
        return bytes(packer.packb(tree, unicode_errors='surrogatepass'))
    except (OverflowError, ValueError):  # an integer that msgpack cannot hold
        return b'\xc0'


def _leaf(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.6:
        return _array(rng)
    return _pieces(rng) if kind < 0.75 else deepcopy(rng.choice(_VALUES))


def msgpack_file(rng: random.Random) -> bytes:
    """A tree whose arrays are often right, in which some bytes are others."""
    tree = {
        _some(rng, f'w{index}', _NAMES): _leaf(rng) if rng.random() < 0.8 else {'a': _leaf(rng), 'b': _leaf(rng)}
        for index in range(rng.randrange(4))
    }
    file = _packed(tree)
    if rng.random() < 0.3:
        at = rng.randrange(len(file) + 1)
        file = file[:at] + rng.choice(_SIZES) + file[at + rng.choice([0, 1, 2]) :]
    return file if rng.random() < 0.9 else mangled(file, rng)


def index_file(rng: random.Random) -> bytes:
    """The index of the shards that `write_shards` puts into a folder."""
    homes = {'w': 'a.safetensors', 'v': 'b.safetensors'}
    tree: dict[str, Any] = {'metadata': {'total_size': _some(rng, 8, _VALUES)}, 'weight_map': homes}
    if rng.random() < 0.5:
        homes[_some(rng, rng.choice(list(homes)), _NAMES)] = rng.choice(_SHARDS)
    if rng.random() < 0.2:
        tree[rng.choice([*tree, 'more'])] = deepcopy(rng.choice(_VALUES))
    return _text(tree, rng)


def write_shards(folder: Path) -> None:
    """Two shards, and a folder with the name of one."""
    for shard, name in (('a', 'w'), ('b', 'v')):
        entry = {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}
        (folder / f'{shard}.safetensors').write_bytes(table({name: entry}, bytes(4)))
    (folder / 'folder.safetensors').mkdir(exist_ok=True)


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    'x.safetensors': safetensors_file,
    'x.msgpack': msgpack_file,
    'x.safetensors.index.json': index_file,
}
"""By the name that a file must have to be read as what it is."""


def raw_file(rng: random.Random) -> tuple[str, bytes]:
    """One of them, with its name."""
    name = rng.choice(list(KINDS))
    if name in raw_files() and rng.random() < 0.1:
        return name, mangled(raw_files()[name], rng)
    return name, KINDS[name](rng)

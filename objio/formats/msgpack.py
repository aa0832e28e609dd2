"""The msgpack format of Flax, of `flax.serialization.to_bytes` and `from_bytes`: a tree of dicts with arrays as leaves.

The names of the arrays are the paths of the tree with dots between their parts, as `VarCollection.from_tree` makes
them: the kernel in `{'params': {'Dense_0': {'kernel': …}}}` is called `params.Dense_0.kernel`. Flax turns lists,
tuples, dataclasses and namedtuples into dicts too, with '0', '1', … or the fields as keys, so that the names of a
`TrainState` in memory and in a file are the same. Names without dots make a flat dict.

An array is an extension of type 1 whose content is msgpack again: shape, name of the dtype, bytes in C order. One of
more than 1 GiB is a dict of pieces, `__msgpack_chunked_array__`, since msgpack has no room for more than 4 GiB in one.
What else stands in a tree is read like this:

- numbers (int, float, bool, complex, NumPy scalars) as arrays without axes;
- text and None as metadata, under their names; bytes too, which no other format keeps;
- lists as dicts with '0', '1', …; empty dicts not at all.

Written are arrays without axes for numbers, and of a tree given to `from_tree` also what has no arrays: empty
containers, None and text, which `from_bytes` asks for. The format has no checksum, no further names of an array, no
typed PRNG keys, no metadata, and does not align: mapped pages are copied wherever they lie at an odd address.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from struct import pack
from typing import Any

import msgpack
import numpy as np

from objio.errors import UnsaveableError
from objio.formats import Archive, ArraySpec, Blocks, Encoded, Source, npy
from objio.formats.dtypes import WRITABLE, stored
from objio.formats.msgpack_tree import CHUNKED, NDARRAY, TreeReader
from objio.formats.raw_archive import RawArchive
from objio.formats.raw_file import Part, RawFile, check_names, refuse_aliases, refuse_dtypes

LARGEST = 1 << 30  # bytes of an array, or of a piece of one, as Flax has it
DTYPES = frozenset(label for label, form in WRITABLE.items() if not form.words)
# Of these Flax writes the bytes as they lie in memory, and only the low bits count there.
_LOW_BITS = {'int1': 1, 'int2': 3, 'int4': 15, 'uint1': 1, 'uint2': 3, 'uint4': 15}
_LOW_BITS |= {'float4_e2m1fn': 15, 'float6_e2m3fn': 63, 'float6_e3m2fn': 63}
_SIGNS = {'int1': 1, 'int2': 2, 'int4': 8}


def encode(
    specs: Mapping[str, ArraySpec], blocks: Blocks, aliases: Mapping[str, str], metadata: Mapping[str, Any]
) -> Encoded:
    """Lays a tree of arrays out; see `encode_tree`."""
    return encode_tree(specs, blocks, aliases, metadata, {})


def encode_tree(
    specs: Mapping[str, ArraySpec],
    blocks: Blocks,
    aliases: Mapping[str, str],
    metadata: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> Encoded:
    """Checks names, dtypes and shapes and lays the file out; nothing is written yet.

    Args:
        specs: the arrays.
        blocks: gives the bytes of each.
        aliases: must be empty.
        metadata: must be empty.
        rest: what the tree has besides arrays, by name: {} for an empty container, None, or text.

    Raises:
        UnsaveableError: a name, dtype or shape that the format cannot hold, or an alias.
        TypeError: there is metadata.
    """
    refuse_aliases(aliases, 'msgpack')
    refuse_dtypes(specs, DTYPES, 'msgpack')
    check_names(specs)
    if metadata:
        raise TypeError(
            f'msgpack has no place for metadata, and this would be lost: {", ".join(map(repr, metadata))}. '
            'Save as .npz or .safetensors, or keep numbers in the tree itself'
        )
    parts: list[Part] = []
    cuts: dict[str, list[int]] = {}
    texts, end = _texts(_nested(specs, rest))
    for before, name in texts:
        spec = specs[name]
        try:
            nbytes = _nbytes(spec)
        except ValueError as error:
            raise UnsaveableError(f'{name!r}: {error}; change the shape') from error
        if nbytes > LARGEST:
            cuts[name] = cut = _piece_sizes(spec, nbytes)
            head = _pieces_head(spec, cut)
            nbytes += sum(map(len, _between(spec, cut)))
        else:
            head = _array_head(spec, nbytes)
        parts.append((before + head, name, nbytes))
    turned = any(spec.dtype in _SIGNS for spec in specs.values())

    def in_file(name: str) -> Iterable[memoryview | bytes]:
        spec = specs[name]
        raw = _with_low_bits(blocks(name), spec.dtype) if spec.dtype in _SIGNS else blocks(name)
        return _cut(raw, cuts[name], _between(spec, cuts[name])) if name in cuts else raw

    return RawFile(specs, b'', parts, in_file if cuts or turned else blocks, end)


def _nested(specs: Mapping[str, ArraySpec], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The tree that has the names as its paths: its leaves are the names of arrays, and bytes of the file.

    Raises:
        UnsaveableError: a name is the path to others.
    """
    root: dict[str, Any] = {}
    others = {name: {} if value == {} else bytes(msgpack.packb(value)) for name, value in rest.items()}
    for name in (*specs, *others):
        *path, last = name.split('.')
        node = root
        for depth, key in enumerate(path):
            node = node.setdefault(key, {})
            if type(node) is not dict:
                raise _both('.'.join(path[: depth + 1]), name)
        if last in node:
            raise _both(name, next((other for other in specs if other.startswith(f'{name}.')), name))
        node[last] = others.get(name, name)
    return root


def _both(name: str, other: str) -> UnsaveableError:
    return UnsaveableError(
        f'a msgpack file is a tree, and its paths are names with dots: {name!r} cannot be an array there and the path '
        f'to {other!r} as well; rename one of them'
    )


def _texts(tree: dict[str, Any]) -> tuple[list[tuple[bytes, str]], bytes]:
    """What stands before each array, with the array's name, in the order of the tree; and what stands behind the last."""
    packer = msgpack.Packer()
    keys: dict[str, bytes] = {}  # as the file has them: layers call their parts alike
    found: list[tuple[bytes, str]] = []
    text = bytearray(packer.pack_map_header(len(tree)))
    begun = [iter(tree.items())]
    while begun:
        for key, value in begun[-1]:
            text += keys.get(key) or keys.setdefault(key, packer.pack(key))
            if type(value) is str:
                found.append((bytes(text), value))
                text.clear()
            elif type(value) is dict:
                text += packer.pack_map_header(len(value))
                begun.append(iter(value.items()))
                break
            else:
                text += value
        else:
            begun.pop()
    return found, bytes(text)


@lru_cache(maxsize=4096)  # thousands of arrays have a few forms
def _nbytes(spec: ArraySpec) -> int:
    """Bytes of an array.

    Raises:
        ValueError: no file has such an array.
    """
    form = stored(spec.dtype)
    npy.check_shape(spec.shape, form.itemsize)
    return form.nbytes(spec.shape)


def _piece_sizes(spec: ArraySpec, nbytes: int) -> list[int]:
    """Bytes of the pieces that an array is cut into."""
    itemsize = stored(spec.dtype).itemsize
    most = max(1, LARGEST // itemsize) * itemsize
    return [min(most, nbytes - at) for at in range(0, nbytes, most)]


def _pieces_head(spec: ArraySpec, sizes: list[int]) -> bytes:
    """What stands before the first byte of an array in pieces."""
    axes = {str(index): size for index, size in enumerate(spec.shape)}
    return b''.join(
        (
            b'\x83',
            *map(msgpack.packb, (CHUNKED, True, 'shape', axes, 'chunks')),
            msgpack.Packer().pack_map_header(len(sizes)),
            msgpack.packb('0'),
            _array_head(_piece(spec, sizes[0]), sizes[0]),
        )
    )


def _between(spec: ArraySpec, sizes: list[int]) -> list[bytes]:
    """What stands before each piece of an array but the first."""
    return [
        msgpack.packb(str(index)) + _array_head(_piece(spec, size), size) for index, size in enumerate(sizes) if index
    ]


def _piece(spec: ArraySpec, nbytes: int) -> ArraySpec:
    return ArraySpec(spec.dtype, (nbytes // stored(spec.dtype).itemsize,))


@lru_cache(maxsize=4096)
def _array_head(spec: ArraySpec, nbytes: int) -> bytes:
    """What stands before the bytes of an array: the extension's head, shape and dtype."""
    width = (nbytes > 0xFF) + (nbytes > 0xFFFF)
    inside = b'\x93' + bytes(msgpack.packb(spec.shape)) + bytes(msgpack.packb(spec.dtype))
    inside += pack(f'>B{"BHI"[width]}', 0xC4 + width, nbytes)
    size = len(inside) + nbytes
    if size in (1, 2, 4, 8, 16):
        return pack('>Bb', 0xD3 + size.bit_length(), NDARRAY) + inside
    width = (size > 0xFF) + (size > 0xFFFF)
    return pack(f'>B{"BHI"[width]}b', 0xC7 + width, size, NDARRAY) + inside


def _cut(blocks: Iterable[memoryview | bytes], sizes: list[int], between: list[bytes]) -> Iterator[memoryview | bytes]:
    """Puts the heads of pieces where they belong in the bytes of an array."""
    heads = iter(between)
    ends = iter(sizes)
    left = next(ends)
    for block in blocks:
        rest = memoryview(block)
        while rest:
            if not left:
                left = next(ends, len(rest))  # more than promised: the writer finds it
                yield next(heads, b'')
            piece = rest[:left]
            yield piece
            rest, left = rest[left:], left - len(piece)


def _with_low_bits(blocks: Iterable[memoryview | bytes], label: str) -> Iterator[bytes]:
    for block in blocks:
        yield (np.frombuffer(block, np.uint8) & np.uint8(_LOW_BITS[label])).tobytes()


class _MsgpackArchive(RawArchive):
    def _read_other(self, name: str, at: int, buffer: memoryview) -> None:
        super()._read_other(name, at, buffer)
        label = self.specs[name].dtype
        if label in _LOW_BITS:
            raw = np.frombuffer(buffer, np.uint8)
            raw &= np.uint8(_LOW_BITS[label])
            if label in _SIGNS:
                np.subtract(raw ^ np.uint8(_SIGNS[label]), np.uint8(_SIGNS[label]), out=raw)


def decode(source: Source, *, max_bytes: int | None = None) -> Archive:
    """Reads and checks a msgpack file but for the bytes of its arrays.

    Args:
        source: the file.
        max_bytes: of no meaning here, since nothing is compressed.

    Raises:
        FormatError: the file is damaged, cut short, or holds something else than a tree of arrays.
    """
    found = TreeReader(source, DTYPES, turned=_LOW_BITS)
    found.read()
    return _MsgpackArchive('Flax msgpack', source, found.specs, found.places, found.metadata)

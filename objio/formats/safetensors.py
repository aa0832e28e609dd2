"""The format of Hugging Face's safetensors: a table of contents in JSON, then the bytes of the arrays, nothing else.

A file starts with the size of the table in eight little-endian bytes. The table maps each name to dtype, shape and the
place of its bytes, and `__metadata__` to text by name. The arrays fill the rest of the file without a gap.

What objio writes is aligned: the arrays start at a multiple of 64, first those whose size is one too, then the others
from wide dtypes to narrow ones, so that each stands at a multiple of its itemsize, and nearly all where JAX takes
mapped pages without a copy. The table keeps the order of the collection. Equal content gives equal files.

The format has no checksum, no further names of an array, no typed PRNG keys, and text alone as metadata. Metrics of
`Checkpoint` stand in the metadata as JSON. How elements of less than a byte lie in theirs it leaves to others: the
first stands in the lowest bits, in F4 as PyTorch has it, in F6_E2M3 and F6_E3M2 as ONNX has it, four of them in three
bytes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quote
from struct import pack, unpack
from typing import Any

import numpy as np

from objio.errors import FormatError, UnsaveableError
from objio.formats import Archive, ArraySpec, Blocks, Encoded, Source, npy, safetensors_table
from objio.formats.dtypes import stored
from objio.formats.raw_archive import Places, RawArchive
from objio.formats.raw_file import RawFile, check_names, refuse_aliases, refuse_dtypes
from objio.formats.reading import damaged, read

DTYPES = {
    'BOOL': 'bool',
    'U8': 'uint8',
    'I8': 'int8',
    'U16': 'uint16',
    'I16': 'int16',
    'U32': 'uint32',
    'I32': 'int32',
    'U64': 'uint64',
    'I64': 'int64',
    'F4': 'float4_e2m1fn',
    'F6_E2M3': 'float6_e2m3fn',
    'F6_E3M2': 'float6_e3m2fn',
    'F8_E4M3': 'float8_e4m3fn',
    'F8_E4M3FNUZ': 'float8_e4m3fnuz',
    'F8_E5M2': 'float8_e5m2',
    'F8_E5M2FNUZ': 'float8_e5m2fnuz',
    'F8_E8M0': 'float8_e8m0fnu',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'F32': 'float32',
    'F64': 'float64',
    'C64': 'complex64',
}
_TAGS = {label: tag for tag, label in DTYPES.items()}
# Label of a dtype -> bits of an element and how many elements fill whole bytes together.
_PACKED = {'float4_e2m1fn': (4, 2), 'float6_e2m3fn': (6, 4), 'float6_e3m2fn': (6, 4)}
_LARGEST_TABLE = 100_000_000  # bytes, as safetensors itself has it
_ALIGNMENT = 64
_METADATA = safetensors_table.METADATA
_METRICS = 'objio.metrics'
_LONGEST_METRICS = 1 << 20  # characters


def encode(
    specs: Mapping[str, ArraySpec], blocks: Blocks, aliases: Mapping[str, str], metadata: Mapping[str, Any]
) -> Encoded:
    """Checks names, dtypes, shapes and metadata and lays the file out; nothing is written yet.

    Args:
        specs: the arrays.
        blocks: gives the bytes of each.
        aliases: must be empty.
        metadata: text by name, and the metrics of `Checkpoint`.

    Raises:
        UnsaveableError: a name, dtype or shape that the format cannot hold, or an alias.
        TypeError: metadata that is no text; the message names it.
    """
    sizes = sizes_of(specs, aliases)
    widths = {
        name: stored(spec.dtype).itemsize if sizes[name] % _ALIGNMENT else _ALIGNMENT for name, spec in specs.items()
    }
    order = sorted(specs, key=widths.__getitem__, reverse=True)
    starts, end = {}, 0
    for name in order:
        starts[name] = end
        end += sizes[name]
    entries = [
        f'{quote(name)}:{{{_form(spec)},"data_offsets":[{starts[name]},{starts[name] + sizes[name]}]}}'
        for name, spec in specs.items()
    ]
    texts = ','.join(f'{quote(key)}:{quote(text)}' for key, text in _metadata(metadata))
    if texts:
        entries.insert(0, f'"{_METADATA}":{{{texts}}}')
    table = f'{{{",".join(entries)}}}'.encode()
    table = table.ljust(len(table) + -(8 + len(table)) % _ALIGNMENT)
    if len(table) > _LARGEST_TABLE:
        raise UnsaveableError(
            f'names and metadata take {len(table)} bytes, a safetensors file has room for {_LARGEST_TABLE}; '
            'save as .npz, or in several files'
        )

    def in_file(name: str) -> Iterable[memoryview | bytes]:
        label = specs[name].dtype
        return _pack(blocks(name), *_PACKED[label]) if label in _PACKED else blocks(name)

    parts = [(b'', name, sizes[name]) for name in order]
    packed = any(spec.dtype in _PACKED for spec in specs.values())
    return RawFile(specs, pack('<Q', len(table)) + table, parts, in_file if packed else blocks)


def sizes_of(specs: Mapping[str, ArraySpec], aliases: Mapping[str, str]) -> dict[str, int]:
    """How many bytes of a file each array takes, once all of them are known to be such that a file can hold them.

    Raises:
        UnsaveableError: names, dtypes or shapes that the format cannot hold, or aliases; the message lists them.
    """
    refuse_aliases(aliases, 'safetensors')
    refuse_dtypes(specs, _TAGS, 'safetensors')
    check_names(specs)
    if _METADATA in specs:
        raise UnsaveableError(f'{_METADATA!r} is the name of the metadata in safetensors; rename the variable')
    return dict(zip(specs, _sizes(specs), strict=True))


def _sizes(specs: Mapping[str, ArraySpec]) -> Iterator[int]:
    for name, spec in specs.items():
        try:
            yield _size(spec)
        except ValueError as error:
            raise UnsaveableError(f'{name!r}: {error}; save as .npz, or change the shape') from error


@lru_cache(maxsize=4096)  # thousands of arrays have a few forms
def _size(spec: ArraySpec) -> int:
    """Bytes of an array in the file.

    Raises:
        ValueError: no file has such an array.
    """
    form = stored(spec.dtype)
    npy.check_shape(spec.shape, form.itemsize)
    nbytes = form.nbytes(spec.shape)
    if spec.dtype not in _PACKED:
        return nbytes
    bits, together = _PACKED[spec.dtype]
    if nbytes % together:
        raise ValueError(
            f'expected a multiple of {together} elements of {spec.dtype}, which has {bits} bits each, found {nbytes}'
        )
    return nbytes * bits // 8


@lru_cache(maxsize=4096)
def _form(spec: ArraySpec) -> str:
    return f'"dtype":"{_TAGS[spec.dtype]}","shape":[{",".join(map(str, spec.shape))}]'


def _metadata(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    strange = [
        f'metadata[{key!r}] ({type(value).__name__})'
        for key, value in metadata.items()
        if type(key) is not str or (type(value) is not str and key != _METRICS)
    ]
    if strange:
        raise TypeError(
            f'safetensors keeps text by name as metadata, and this is none: {", ".join(strange)}. '
            'Use str, or json.dumps and json.loads; or save as .npz, which keeps all that JSON keeps'
        )
    for key, value in metadata.items():
        text = value if type(value) is str else json.dumps(value, ensure_ascii=False, allow_nan=False)
        if key == _METRICS and len(text) > _LONGEST_METRICS:
            raise UnsaveableError(f'the metrics take {len(text)} characters, at most {_LONGEST_METRICS} are possible')
        for part in (key, text):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise TypeError(f'metadata[{key!r}] has a lone surrogate, which UTF-8 cannot hold') from error
        yield key, text


def _pack(blocks: Iterable[memoryview | bytes], bits: int, together: int) -> Iterator[bytes]:
    """Elements of a byte each as their low bits, so many together, the first in the lowest ones."""
    left = b''
    for block in blocks:
        raw = np.frombuffer(left + bytes(block), np.uint8)
        whole = len(raw) // together * together
        left = raw[whole:].tobytes()
        groups = np.zeros(whole // together, '<u4')
        for place in range(together):
            groups |= raw[place:whole:together].astype('<u4') << (bits * place)
        yield groups.view(np.uint8).reshape(-1, 4)[:, : bits * together // 8].tobytes()


class _SafetensorsArchive(RawArchive):
    def _read_other(self, name: str, at: int, buffer: memoryview) -> None:
        ((start, _),) = self._places.others[name]
        bits, together = _PACKED[self.specs[name].dtype]
        first, size = at // together, bits * together // 8
        packed = np.empty((-(-(at + len(buffer)) // together) - first, size), np.uint8)
        self._source.read_into(start + first * size, packed.reshape(-1).data)
        groups = np.pad(packed, ((0, 0), (0, 4 - size))).view('<u4')[:, 0]
        raw = np.empty((len(groups), together), np.uint8)
        for place in range(together):
            raw[:, place] = groups >> (bits * place) & ((1 << bits) - 1)
        buffer[:] = raw.reshape(-1)[at - first * together :][: len(buffer)].data


def decode(source: Source, *, max_bytes: int | None = None) -> Archive:
    """Reads and checks the table of contents of a safetensors file.

    Args:
        source: the file.
        max_bytes: of no meaning here, since nothing is compressed.

    Raises:
        FormatError: the file is damaged, cut short, or of another kind.
    """
    (size,) = unpack('<Q', read(source, 'the size of the table of contents', 0, 8))
    if size > min(_LARGEST_TABLE, source.size - 8):
        if read(source, 'the first bytes', 0, 4) == b'PK\3\4':
            raise FormatError(f'{source.name}: it looks like a zip file; give it the suffix .npz')
        most = min(_LARGEST_TABLE, source.size - 8)
        raise damaged(source, 'the size of the table of contents', f'at most {most}', size)
    text = read(source, 'the table of contents', 8, size)
    try:
        entries, metadata = safetensors_table.parse(text.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f'{source.name}: the table of contents: {error}. The file is damaged or no safetensors file'
        ) from error
    del text
    specs: dict[str, ArraySpec] = {}
    places = Places({}, {}, {})
    begun = 8 + size
    for name, (tag, shape, start, end) in entries.items():
        try:
            specs[name], nbytes = _spec(tag, shape)
        except ValueError as error:
            raise FormatError(f'{source.name}: {name!r}: {error}') from error
        if end - start != nbytes:
            raise damaged(source, repr(name), f'{nbytes} bytes for {tag} of shape {shape}', end - start)
        if specs[name].dtype in _PACKED:
            places.others[name] = ((begun + start, nbytes),)
        else:
            places.starts[name] = begun + start
    at = 0
    for name, (_, _, start, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != at:
            raise damaged(source, repr(name), f'its bytes from byte {at} of the arrays', start)
        at = end
    if begun + at != source.size:
        raise damaged(source, 'the arrays', f'{at} bytes', source.size - begun)
    return _SafetensorsArchive('safetensors', source, specs, places, _with_metrics(metadata))


@lru_cache(maxsize=4096)
def _spec(tag: str, shape: tuple[int, ...]) -> tuple[ArraySpec, int]:
    """What the table says of an array, and how many bytes that takes in the file.

    Raises:
        ValueError: there is no such array.
    """
    if tag not in DTYPES:
        raise ValueError(f'expected a dtype that objio reads, one of {", ".join(DTYPES)}; found {tag!r}')
    spec = ArraySpec(DTYPES[tag], shape)
    return spec, _size(spec)


def _with_metrics(metadata: dict[str, str]) -> dict[str, Any]:
    """The metadata, with the metrics as they were given; what is none, in a file of somebody else, stays text."""
    found: dict[str, Any] = dict(metadata)
    text = metadata.get(_METRICS, '')
    if len(text) <= _LONGEST_METRICS:
        try:
            metrics = json.loads(text)
        except (ValueError, RecursionError):
            return found
        if type(metrics) is dict:
            found[_METRICS] = metrics
    return found

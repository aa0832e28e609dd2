"""Files of safetensors and msgpack in memory, for the tests of those formats."""

import json
import struct
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st
from support_formats import MemorySink, MemorySource, allocate, entry, read_array, read_bytes
from support_verbs import SHAPES, array_of

from objio.errors import FormatError
from objio.formats import Archive, msgpack, safetensors

FORMATS = [safetensors, msgpack]


def written(form: ModuleType, arrays: Mapping[str, np.ndarray[Any, Any]], **more: Any) -> bytes:
    """The bytes of a file with these arrays."""
    entries = {name: entry(name, array) for name, array in arrays.items()}
    specs = {name: each.spec for name, each in entries.items()}
    options = {'aliases': {}, 'metadata': {}} | more
    file = form.encode(specs, lambda name: entries[name].blocks(), options['aliases'], options['metadata'])
    sink = MemorySink()
    file.write(sink)
    assert len(sink.value()) == file.size
    return sink.value()


def opened(form: ModuleType, data: bytes) -> Archive:
    """The archive of a file in memory."""
    archive: Archive = form.decode(MemorySource(data))
    return archive


def read_all(archive: Archive, names: Iterable[str] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of a file, each by all ways, which must agree."""
    names = list(archive.specs if names is None else names)
    for together in (names, names[::-1]):
        for mmap in (False, True):
            small = list(archive.read_small(together, allocate, mmap=mmap))
            assert list(map(bytes, small)) == [read_bytes(archive, name) for name in together]
    for name in names:
        whole = read_bytes(archive, name)
        mapped = archive.mapped(name)
        assert mapped is None or bytes(mapped) == whole
        for size in (24, 7):
            assert b''.join(map(bytes, archive.pieces(name, memoryview(bytearray(size))))) == whole
        read_range = archive.ranges(name)
        assert read_range is not None
        part = bytearray(max(len(whole) - 3, 0))
        read_range(min(1, len(whole)), memoryview(part))
        assert part == whole[1 : 1 + len(part)]
    return {name: read_array(archive, name) for name in names}


def outcome(form: ModuleType, data: bytes) -> Any:
    """What a file holds, or None where it is refused as it should be; anything else that is raised fails the test."""
    try:
        archive = opened(form, data)
        held = {name: (spec, read_bytes(archive, name)) for name, spec in archive.specs.items()}
    except FormatError as error:
        return None if 'net.npz' in str(error) else str(error)  # each message has the name of the source
    return held, dict(archive.metadata)


def table(text: bytes | Mapping[str, Any], data: bytes = b'') -> bytes:
    """A safetensors file whose table of contents says what it likes."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack('<Q', len(text)) + text + data


@st.composite
def some_arrays(draw: st.DrawFn, labels: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of any of these dtypes, shapes and bytes, under names with dots; no name is the path to another."""
    arrays = {}
    for index in range(draw(st.integers(0, 5))):
        shape = draw(st.sampled_from(SHAPES))
        raw = draw(st.binary(min_size=16 * int(np.prod(shape)), max_size=16 * int(np.prod(shape))))
        name = draw(st.sampled_from(['a', 'a.b', 'é"\\', 'x/y'])) + f'.{index}'
        arrays[name] = array_of(draw(st.sampled_from(labels)), shape, raw)
    return arrays


def tree_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The tree whose paths are names."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split('.')
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = array
    return tree


def golden(form: ModuleType) -> dict[str, np.ndarray[Any, Any]]:
    """What the golden files hold: the dtypes of the format, with and without axes, and without elements."""
    labels = form.DTYPES.values() if form is safetensors else sorted(form.DTYPES)
    if form is safetensors:  # which got six bits after the files were written
        labels = [label for label in labels if not label.startswith('float6_')]
    arrays = {}
    for seed, label in enumerate(labels):
        for shape in ((2, 4), (0, 2), ()):
            if label != 'float4_e2m1fn' or shape:
                raw = bytes((index * 37 + seed) % 256 for index in range(128))
                arrays[f'{label}.{len(shape)}.{"x".join(map(str, shape))}'] = array_of(label, shape, raw)
    return arrays

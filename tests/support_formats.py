"""Sinks and sources in memory, and arrays on their way into files and back, for the tests of the formats."""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from objio.formats import Archive, ArraySpec, Encoded, SeekableSink, dtypes, npz
from objio.formats.layout import content_of, manifest_alone
from objio.formats.zip_records import Members, end_records


class Entry(NamedTuple):
    """One array on its way into a file."""

    name: str
    spec: ArraySpec
    blocks: Callable[[], Iterable[memoryview | bytes]]


def encoded(entries: Iterable[Entry], aliases: Mapping[str, str], metadata: Mapping[str, Any]) -> Encoded:
    """A file with these arrays, laid out."""
    by_name = {item.name: item for item in entries}
    specs = {name: item.spec for name, item in by_name.items()}
    return npz.encode(specs, lambda name: by_name[name].blocks(), aliases, metadata)


class MemorySink:
    """A sink that cannot go back, as a pipe."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.writes = 0

    def write(self, buffer: memoryview | bytes) -> None:
        self.writes += 1
        self.file.write(buffer)

    def value(self) -> bytes:
        return self.file.getvalue()


class SeekableMemorySink(MemorySink):
    """A sink that can go back, as a file."""

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        end = self.file.seek(0, io.SEEK_END)
        assert offset + len(buffer) <= end
        self.file.seek(offset)
        self.file.write(buffer)
        self.file.seek(end)


class MemorySource:
    """A file in memory."""

    name = 'net.npz'

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.bytes_read = self.reads = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert offset >= 0
        assert offset + buffer.nbytes <= self.size, 'a reader looked behind the end'
        self.bytes_read += buffer.nbytes
        self.reads += 1
        buffer[:] = memoryview(self.data)[offset : offset + buffer.nbytes]

    def map(self) -> memoryview | None:
        return memoryview(self.data)


def entry(name: str, array: np.ndarray, label: str | None = None) -> Entry:
    """An array as a format takes it; of keys, the words with the label of the keys."""
    label = label or dtypes.label_of(array.dtype)
    words = dtypes.WRITABLE[label].words
    shape = array.shape[: array.ndim - len(words)]
    return Entry(name, ArraySpec(label, shape), lambda: dtypes.blocks(array, label))


def written(
    entries: list[Entry],
    aliases: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    sink: MemorySink | None = None,
) -> bytes:
    """The bytes of an npz file."""
    file = encoded(entries, aliases or {}, metadata or {})
    sink = sink or SeekableMemorySink()
    assert isinstance(sink, SeekableSink) == hasattr(sink, 'write_at')
    file.write(sink)
    assert len(sink.value()) == file.size
    return sink.value()


def save(arrays: Mapping[str, np.ndarray], **options: Any) -> bytes:
    """The bytes of an npz file with these arrays."""
    return written([entry(name, array) for name, array in arrays.items()], **options)


def read_bytes(archive: Archive, name: str, *, verify: bool = True) -> bytes:
    """The stored bytes of one array."""
    buffer = bytearray(b'\xa5' * archive.nbytes(name))
    archive.read_into(name, memoryview(buffer), verify=verify)
    return bytes(buffer)


def allocate(size: int) -> memoryview:
    """Memory for `read_small`."""
    return memoryview(bytearray(b'\xa5' * size))


def read_array(archive: Archive, name: str) -> np.ndarray:
    """One array, read and checked."""
    spec = archive.specs[name]
    return dtypes.from_stored(read_bytes(archive, name), spec.dtype, spec.shape)


def load(data: bytes) -> dict[str, np.ndarray]:
    """All arrays of a file, each by all ways, which must agree."""
    archive = npz.decode(MemorySource(data))
    for name in archive.specs:
        whole = read_bytes(archive, name)
        mapped = archive.mapped(name)
        assert mapped is None or bytes(mapped) == whole
        assert b''.join(map(bytes, archive.pieces(name, memoryview(bytearray(24))))) == whole
        for mmap in (False, True):
            (small,) = archive.read_small([name], allocate, mmap=mmap)
            assert bytes(small) == whole
    return {name: read_array(archive, name) for name in archive.specs}


def forged(
    arrays: list[list[object]] | None = None,
    change: Callable[[bytes], bytes] = bytes,
    content: bytes = b'',
    stored: Mapping[str, ArraySpec] | None = None,
    **fields: object,
) -> bytes:
    """A file whose checksums are right and whose manifest says what it likes.

    Args:
        arrays: what the manifest says.
        change: what is done to its text.
        content: what stands before it.
        stored: arrays of zeros that stand there instead, with their entries in the directory.
        fields: further keys of the manifest.
    """
    crcs = []
    heads, sizes = zip(*map(content_of, stored.values()), strict=True) if stored else ((), ())
    zeros = Members([name.encode() + b'.npy' for name in stored or ()], heads, sizes)
    for index, (head, size) in enumerate(zip(heads, sizes, strict=True)):
        crcs.append(zlib.crc32(head + bytes(size)))
        content += zeros.local_headers(index, index + 1, crcs[-1:])[0] + bytes(size)
    whole = {'format': 'objio-npz', 'version': 1, 'arrays': arrays or [], 'aliases': {}, 'metadata': {}} | fields
    text = change(json.dumps(whole, ensure_ascii=False, separators=(',', ':')).encode('utf-8', 'surrogatepass'))
    member = manifest_alone(len(text), len(content))
    crc = zlib.crc32(text)
    body = content + member.local_headers(0, 1, [crc])[0] + text
    directory = zeros.directory(crcs) + member.directory([crc])
    return body + directory + end_records(len(zeros) + 1, len(directory), len(body))


def npy(array: np.ndarray) -> bytes:
    """An array as `np.save` writes it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(text: str, data: bytes = b'', version: tuple[int, int] = (1, 0)) -> bytes:
    """An NPY array whose header says what it likes."""
    size = struct.pack('<H' if version == (1, 0) else '<I', len(text))
    return b'\x93NUMPY' + bytes(version) + size + text.encode() + data


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file as Python writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def mangled(text: bytes, rng: random.Random) -> bytes:
    """A text with some of its words lost, doubled, swapped, or replaced by what hurts."""
    words = re.findall(rb'\w+|\W', text)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(words))
        bad = [b'0', b'-1', b'9' * 25, b'null', b'true', b'[', b']', b'{', b'"', b'\\', b'\xff', b'\0', b'\\u0000', b'1e9', b'',
               b'\\ud800', words[rng.randrange(len(words))], words[at] * 2]  # fmt: skip
        words[at] = rng.choice(bad)
    return b''.join(words)

"""Writes objio-npz 1: everything is laid out first; then each array is summed and written in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isal import isal_zlib

from objio.errors import UnsaveableError
from objio.formats import Entry, SeekableSink, Sink, manifest
from objio.formats.layout import LARGEST_MANIFEST, array_member, manifest_member
from objio.formats.names import member_name
from objio.formats.zip_records import Member, end_records

_PIECE = 1 << 20  # summed and written while it is in the cache
_SMALL = 1 << 18  # up to here an array is gathered with its neighbours and written with them


class NpzFile:
    """A file that is checked and laid out, but not yet written."""

    def __init__(self, entries: Sequence[Entry], aliases: Mapping[str, str], metadata: Mapping[str, Any]) -> None:
        """Lays the file out.

        Raises:
            UnsaveableError: a name, dtype or shape that no file can hold, or a name given twice.
            TypeError: metadata that JSON does not give back unchanged.
        """
        metadata = dict(metadata)
        manifest.check_metadata(metadata)
        self._entries = tuple(entries)
        self._members: list[Member] = []
        names = set()
        offset = 0
        for entry in self._entries:
            spec = entry.spec
            if spec.name in names:
                raise UnsaveableError(f'two variables are called {spec.name!r}; rename one of them')
            names.add(spec.name)
            if not all(type(size) is int and size >= 0 for size in spec.shape):
                raise UnsaveableError(f'{spec.name!r}: expected a shape of ints of at least 0, got {spec.shape}')
            try:
                member = array_member(spec, offset)
            except UnsaveableError:
                raise
            except ValueError as error:
                raise UnsaveableError(str(error)) from error
            self._members.append(member)
            offset = member.end
        for name, target in aliases.items():
            member_name(name)
            if name in names:
                raise UnsaveableError(f'{name!r} is both an array and another name of {target!r}')
            if target not in names:
                raise UnsaveableError(f'{name!r} is another name of {target!r}, but there is no such array')
        self._manifest = manifest.dump([entry.spec for entry in self._entries], aliases, metadata)
        if len(self._manifest) > LARGEST_MANIFEST:
            raise UnsaveableError(
                f'names and metadata take {len(self._manifest)} bytes, at most {LARGEST_MANIFEST} are possible; '
                'save large metadata as arrays'
            )
        self._last = manifest_member(len(self._manifest), offset)
        self._directory_size = sum(member.entry_size() for member in (*self._members, self._last))
        if self._last.end + self._directory_size >= 1 << 63:
            raise UnsaveableError(f'the arrays take {offset} bytes, more than any file can hold')
        self._end = end_records(len(self._members) + 1, self._directory_size, self._last.end)
        self.size = self._last.end + self._directory_size + len(self._end)

    def write(self, sink: Sink) -> None:
        """Writes the file, from its first byte to its last.

        The memory it takes does not depend on the arrays: they are written from where they lie.

        Raises:
            UnsaveableError: an array gave other bytes than it had promised.
        """
        gathered = _Gathered(sink)
        directory = bytearray()
        for entry, member in zip(self._entries, self._members, strict=True):
            if member.nbytes <= _SMALL:
                crc = _write_small(entry, member, gathered)
            elif isinstance(sink, SeekableSink):
                gathered.flush()
                crc = _write_once(entry, member, sink)
            else:
                gathered.flush()
                crc = _write_twice(entry, member, sink)
            directory += member.entry(crc)
        crc = isal_zlib.crc32(self._manifest)
        gathered.add(self._last.local_header(crc))
        gathered.add(self._manifest)
        gathered.add(directory)
        gathered.add(self._last.entry(crc))
        gathered.add(self._end)
        gathered.flush()


class _Gathered:
    """Joins small buffers, so that thousands of small arrays make few writes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffers: list[memoryview | bytes | bytearray] = []
        self._size = 0

    def add(self, buffer: memoryview | bytes | bytearray) -> None:
        self._buffers.append(buffer)
        self._size += len(buffer)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        if self._buffers:
            self._sink.write(b''.join(self._buffers))
            self._buffers.clear()
            self._size = 0


def _write_small(entry: Entry, member: Member, gathered: _Gathered) -> int:
    # Copied at once: what a caller changes before the next flush must not part the bytes from their checksum.
    content = b''.join(entry.blocks())
    if len(content) != member.nbytes:
        raise _wrong_size(entry, member, len(content))
    crc = isal_zlib.crc32(content, isal_zlib.crc32(member.head))
    gathered.add(member.local_header(crc))
    gathered.add(content)
    return crc


def _write_once(entry: Entry, member: Member, sink: SeekableSink) -> int:
    sink.write(member.local_header(0))
    crc = isal_zlib.crc32(member.head)
    for piece in _pieces(entry, member):
        crc = isal_zlib.crc32(piece, crc)
        sink.write(piece)
    sink.write_at(member.offset, member.local_header(crc))
    return crc


def _write_twice(entry: Entry, member: Member, sink: Sink) -> int:
    """For a sink that cannot go back to the header: the checksum comes from a pass of its own."""
    head = isal_zlib.crc32(member.head)
    crc = head
    for piece in _pieces(entry, member):
        crc = isal_zlib.crc32(piece, crc)
    sink.write(member.local_header(crc))
    again = head
    for piece in _pieces(entry, member):
        again = isal_zlib.crc32(piece, again)
        sink.write(piece)
    if again != crc:
        raise UnsaveableError(f'{entry.spec.name!r} changed while it was being written; save a copy of it')
    return crc


def _pieces(entry: Entry, member: Member) -> Iterator[memoryview]:
    """The bytes of an array in pieces that fit the cache, and exactly as many as were promised."""
    size = 0
    for block in entry.blocks():
        size += block.nbytes
        if size > member.nbytes:
            break
        for start in range(0, block.nbytes, _PIECE):
            yield block[start : start + _PIECE]
    if size != member.nbytes:
        raise _wrong_size(entry, member, size)


def _wrong_size(entry: Entry, member: Member, size: int) -> UnsaveableError:
    spec = entry.spec
    return UnsaveableError(
        f'{spec.name!r}: its shape {spec.shape} and dtype {spec.dtype} take {member.nbytes} bytes, its blocks gave '
        f'{size}{" or more" if size > member.nbytes else ""}'
    )

"""Writes objio-npz 1: everything is laid out first; then each array is summed and written in one pass."""

from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

from isal import isal_zlib

from objio.errors import UnsaveableError
from objio.formats import ArraySpec, Blocks, SeekableSink, Sink, manifest
from objio.formats.layout import LARGEST_MANIFEST, content_of, crc_of_head, lay_out
from objio.formats.names import member_name, member_names
from objio.formats.writing import check_shape, cut, sized, wrong_size
from objio.formats.zip_records import end_records

_PIECE = 1 << 20  # summed while it is in the cache
_SMALL = 1 << 18  # up to here an array is gathered with its neighbours and written with them
_BESIDE = 1 << 20  # bytes from which a second thread sums a block while this one writes it
_GATHERED = 1 << 17  # bytes of small arrays that are written together, while they are in the cache
_TOGETHER = 1024  # so many at most: each takes memory besides its bytes


class NpzFile:
    """A file that is checked and laid out, but not yet written."""

    def __init__(
        self, specs: Mapping[str, ArraySpec], blocks: Blocks, aliases: Mapping[str, str], metadata: Mapping[str, Any]
    ) -> None:
        """Lays the file out; see `objio.formats.npz.encode`."""
        metadata = dict(metadata)
        manifest.check_metadata(metadata)
        heads, sizes = _contents(specs)
        for alias, name in aliases.items():
            member_name(alias)
            if alias in specs:
                raise UnsaveableError(f'{alias!r} is both an array and another name of {name!r}')
            if name not in specs:
                raise UnsaveableError(f'{alias!r} is another name of {name!r}, but there is no such array')
        names = member_names(specs)
        self._manifest = manifest.dump(specs, aliases, metadata)
        if len(self._manifest) > LARGEST_MANIFEST:
            raise UnsaveableError(
                f'names and metadata take {len(self._manifest)} bytes, at most {LARGEST_MANIFEST} are possible; '
                'save large metadata as arrays'
            )
        try:
            self._members = lay_out(names, heads, sizes, len(self._manifest))
        except ValueError as error:
            raise UnsaveableError(str(error)) from error
        self._specs = specs
        self._blocks = blocks
        offset, size = self._members.end, self._members.directory_size
        self._end = end_records(len(self._members), size, offset)
        self.size = offset + size + len(self._end)

    def write(self, sink: Sink) -> None:
        """Writes the file, from its first byte to its last.

        The memory it takes does not depend on the arrays: they are written from where they lie.

        Raises:
            UnsaveableError: an array gave other bytes than it had promised.
        """
        # Its thread starts with the first array that is large enough.
        with ThreadPoolExecutor(1, thread_name_prefix='objio-crc') as pool:
            self._write(sink, pool)

    def _write(self, sink: Sink, pool: Executor) -> None:
        seekable = sink if isinstance(sink, SeekableSink) else None
        crcs = array('L')
        small: list[bytes] = []  # contents that wait to be written together
        waiting = 0
        members = zip(self._specs, self._members.heads, self._members.sizes, strict=False)  # without the manifest
        for index, (name, head, size) in enumerate(members):
            if size > _SMALL:
                self._write_together(small, crcs, sink)
                small, waiting = [], 0
                crcs.append(
                    self._write_once(name, index, seekable, pool) if seekable else self._write_twice(name, index, sink)
                )
                continue
            # Copied at once: what a caller changes before they are written must not part the bytes from their checksum.
            content = b''.join(self._blocks(name))
            if len(content) != size:
                raise wrong_size(name, self._specs[name], size, len(content))
            crcs.append(isal_zlib.crc32(content, crc_of_head(head)))
            small.append(content)
            waiting += size
            if waiting >= _GATHERED or len(small) >= _TOGETHER:
                self._write_together(small, crcs, sink)
                small, waiting = [], 0
        crcs.append(isal_zlib.crc32(self._manifest))
        self._write_together([*small, self._manifest], crcs, sink)
        sink.write(self._members.directory(crcs) + self._end)

    def _write_together(self, contents: list[bytes], crcs: 'array[int]', sink: Sink) -> None:
        """Writes the last members that have a checksum, so that thousands of small arrays make few writes."""
        if contents:
            first = len(crcs) - len(contents)
            headers = self._members.local_headers(first, len(crcs), crcs[first:])
            sink.write(b''.join(chain.from_iterable(zip(headers, contents, strict=True))))

    def _write_once(self, name: str, index: int, sink: SeekableSink, pool: Executor) -> int:
        sink.write(self._header(index, 0))
        crc = crc_of_head(self._members.heads[index])
        at = self._members.starts[index]
        for block in self._sized(name, index):
            total = _crc_beside(pool, block, crc) if block.readonly and len(block) >= _BESIDE else None
            for piece in cut(block, at):
                if total is None:
                    crc = _write_summed(piece, crc, sink, at)
                else:
                    sink.write(piece)
                at += len(piece)
            if total is not None:
                crc = total.result()
        sink.write_at(self._members.offsets[index], self._header(index, crc))
        return crc

    def _write_twice(self, name: str, index: int, sink: Sink) -> int:
        """For a sink that cannot go back to the header: the checksum comes from a pass of its own."""
        head = crc_of_head(self._members.heads[index])
        crc = head
        for piece in self._pieces(name, index):
            crc = isal_zlib.crc32(piece, crc)
        sink.write(self._header(index, crc))
        again = head
        for piece in self._pieces(name, index):
            again = isal_zlib.crc32(piece, again)
            sink.write(piece)
        if again != crc:
            raise UnsaveableError(f'{name!r} changed while it was being written; save a copy of it')
        return crc

    def _header(self, index: int, crc: int) -> bytes:
        return self._members.local_headers(index, index + 1, [crc])[0]

    def _pieces(self, name: str, index: int) -> Iterator[memoryview]:
        """The bytes of an array in pieces that fit the cache."""
        for block in self._sized(name, index):
            for start in range(0, len(block), _PIECE):
                yield block[start : start + _PIECE]

    def _sized(self, name: str, index: int) -> Iterator[memoryview]:
        return sized(name, self._specs[name], self._blocks, self._members.sizes[index])


def _crc_beside(pool: Executor, block: memoryview, crc: int) -> 'Future[int] | None':
    """Sums a block that nobody can change while it is written; None where the program ends and starts no threads."""
    try:
        return pool.submit(isal_zlib.crc32, block, crc)
    except RuntimeError:
        return None


def _write_summed(piece: memoryview, crc: int, sink: SeekableSink, at: int) -> int:
    """Writes a piece and sums it; where a thread changes the array meanwhile, what stands in the file is summed."""
    before = isal_zlib.crc32(piece, crc)
    sink.write(piece)
    if piece.readonly or isal_zlib.crc32(piece, crc) == before:
        return before
    copy = bytes(piece)
    sink.write_at(at, copy)
    return isal_zlib.crc32(copy, crc)


def _contents(specs: Mapping[str, ArraySpec]) -> tuple[list[bytes], list[int]]:
    """The NPY header of each array, and how many bytes follow it."""
    heads, sizes = [], []
    known: dict[int, tuple[ArraySpec, bytes, int]] = {}  # thousands of arrays share a few objects
    for name, spec in specs.items():
        content = known.get(id(spec))
        if content is None:
            check_shape(name, spec)
            try:
                content = known[id(spec)] = spec, *content_of(spec)
            except ValueError as error:
                raise UnsaveableError(f'{name!r}: {error}') from error
        heads.append(content[1])
        sizes.append(content[2])
    return heads, sizes

"""What every reader of files needs: reads within bounds, checksums in pieces, errors that say which part is wrong."""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from isal import isal_zlib

from objio.errors import FormatError
from objio.formats import Prepare, ReadRange, Source
from objio.formats.dtypes import Stored, check_values

_PIECE = 1 << 20  # summed and looked at while it is still in the cache
_PARALLEL = 32 << 20  # below this, starting threads costs more than they give

_STARTS = {
    b'\x89HDF\r\n\x1a\n': 'an HDF5 file',
    b'\x93NUMPY': 'a single array as np.save writes it; load it with np.load',
    b'\x1f\x8b': 'a gzip file',
    b'(\xb5/\xfd': 'a Zstandard file',
    b'BZh': 'a bzip2 file',
    b'\xfd7zXZ': 'an xz file',
    b'PK': 'a zip file that was cut short, or that has something behind its end',
}


def damaged(source: Source, part: str, expected: object, found: object) -> FormatError:
    """The error for a part of a file that is not what it has to be."""
    return FormatError(
        f'{source.name}: {part}: expected {expected}, found {found}. '
        'The file is damaged or was changed after it was written; use another copy of it or an older save'
    )


def read(source: Source, part: str, offset: int, size: int) -> bytes:
    """Reads `size` bytes from `offset`; `part` says in an error what they are."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise damaged(source, part, f'{size} bytes from byte {offset}', f'a file of {source.size} bytes')
    buffer = bytearray(size)
    if size:
        source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def looks_like(source: Source) -> str:
    """What the first bytes of a file that is no zip look like, for people."""
    start = read(source, 'the first bytes', 0, min(source.size, 64))
    if not start:
        return 'it is empty'
    if not start.strip(b'\0'):
        return 'it starts with zeros, as a file does that a crash cut off'
    for mark, kind in _STARTS.items():
        if start.startswith(mark):
            return f'it looks like {kind}'
    if start[0] == 0x80 and start[1:2] in (b'\2', b'\3', b'\4', b'\5'):
        return 'it looks like a pickle, which can run any code when loaded; objio never loads one here'
    if start[8:9] == b'{':
        return 'it looks like a safetensors file; give it the suffix .safetensors'
    return f'it starts with {start[:8]!r}'


def scan_pieces(
    source: Source, part: str, form: Stored, offset: int, *, nbytes: int, buffer: memoryview, verify: bool
) -> Generator[memoryview, None, int]:
    """Yields stored bytes from `offset`, as many at a time as a buffer takes, for a use while they are in the cache.

    Args:
        source: the file.
        part: the array's name, for errors.
        form: the dtype of the array, whose values are checked.
        offset: where the bytes stand in the file.
        nbytes: how many there are.
        buffer: where they come.
        verify: whether the checksum is wanted.

    Returns:
        The CRC-32 of all of them; 0 without `verify`.

    Raises:
        FormatError: some byte is no value of the dtype.
    """
    crc = 0
    for at in range(0, nbytes, len(buffer)):
        piece = buffer[: nbytes - at]
        source.read_into(offset + at, piece)
        if verify:
            crc = isal_zlib.crc32(piece, crc)
        check(source, part, piece, form)
        yield piece
    return crc


def ranges(source: Source, part: str, form: Stored, offset: int, nbytes: int) -> ReadRange:
    """What reads some of the stored bytes of an array.

    Args:
        source: the file.
        part: the array's name, for errors.
        form: the dtype of the array, whose values are checked.
        offset: where the bytes of the array stand in the file.
        nbytes: how many there are.

    Returns:
        A function that raises FormatError where some byte is no value of the dtype.
    """

    def read_range(start: int, buffer: memoryview) -> None:
        source.read_into(offset + start, buffer)
        check(source, part, buffer, form)

    return bounded(part, nbytes, read_range)


def bounded(part: str, nbytes: int, read_range: ReadRange) -> ReadRange:
    """What reads a range, once the range is known to be inside the array.

    Args:
        part: the array's name, for errors.
        nbytes: how many stored bytes the array has.
        read_range: reads it.
    """

    def within(start: int, buffer: memoryview) -> None:
        if start < 0 or start + buffer.nbytes > nbytes:
            raise ValueError(f'{part} has {nbytes} bytes, asked for {buffer.nbytes} from byte {start}')
        read_range(start, buffer)

    return within


def check(source: Source, part: str, buffer: memoryview, form: Stored) -> None:
    """Checks that stored bytes are values of the dtype.

    Raises:
        FormatError: some byte is none.
    """
    try:
        check_values(buffer, form)
    except ValueError as error:
        raise FormatError(f'{source.name}: {part}: {error}. The file is damaged; use another copy of it') from error


def scan(
    source: Source,
    part: str,
    form: Stored,
    offset: int,
    buffer: memoryview,
    *,
    fill: bool,
    verify: bool,
    prepare: Prepare | None = None,
) -> int:
    """Goes once over the stored bytes of an array, in pieces and, where it pays, in several threads.

    Args:
        source: the file.
        part: the array's name, for errors.
        form: the dtype of the array, whose values are checked.
        offset: where the bytes stand in the file.
        buffer: the bytes, or where they go.
        fill: whether the bytes have to be read into `buffer` first.
        verify: whether the checksum is wanted.
        prepare: is told of each range of `buffer` before it is filled.

    Returns:
        The CRC-32 of the bytes; 0 without `verify`.

    Raises:
        FormatError: some byte is no value of the dtype.
    """

    def some(start: int, stop: int) -> int:
        crc = 0
        for at in range(start, stop, _PIECE):
            piece = buffer[at : min(at + _PIECE, stop)]
            if fill and prepare is not None:
                prepare(at, at + len(piece))
            if fill:
                source.read_into(offset + at, piece)
            if verify:
                crc = isal_zlib.crc32(piece, crc)
            check(source, part, piece, form)
        return crc

    size = buffer.nbytes
    if size < _PARALLEL:
        return some(0, size)
    threads = min(os.cpu_count() or 1, 8)
    share = -(-size // (threads * _PIECE)) * _PIECE
    starts = range(0, size, share)
    stops = [min(start + share, size) for start in starts]
    crc = 0
    with ThreadPoolExecutor(threads, thread_name_prefix='objio-read') as pool:
        for start, stop, share_crc in zip(starts, stops, pool.map(some, starts, stops), strict=True):
            crc = isal_zlib.crc32_combine(crc, share_crc, stop - start)
    return crc

"""The members of a zip file that objio did not write: their records cross-checked, their bytes read within bounds."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack

import numpy as np

from objio.errors import FormatError
from objio.formats import Source
from objio.formats.reading import damaged, read
from objio.formats.zip_directory import End, Entry, read_entry, widened
from objio.formats.zip_records import FULL32, LOCAL, LOCAL_MARK, UTF8

STORED, DEFLATED = 0, 8
_STREAMED = 0x8  # sizes and checksum stand in a descriptor behind the content
_FLAGS = UTF8 | _STREAMED | 0x6  # and how hard the writer tried to compress
_LARGEST_DIRECTORY = 1 << 28  # a few million members
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ForeignMember:
    """One member whose records agree with each other; of these, what is needed later, since a file may have many."""

    name: str  # without '.npy'
    start: int  # of its stored bytes in the file
    method: int
    crc: int
    stored_size: int
    size: int


def read_members(source: Source, end: End) -> dict[str, ForeignMember]:
    """Reads the directory and all local headers; the members must fill the file up to the directory.

    Returns:
        the members by name, in the order of the directory.

    Raises:
        FormatError: records disagree, members overlap or leave gaps, or one is no plain `.npy` member.
    """
    if end.size > _LARGEST_DIRECTORY:
        raise damaged(source, 'the directory', f'at most {_LARGEST_DIRECTORY} bytes', end.size)
    directory = read(source, 'the directory', end.offset, end.size)
    # Alone at first: what is known of an entry takes far more memory than the entry, and those that overlap may be many.
    offsets = np.fromiter((entry.offset for entry in _entries(source, directory, end.count)), np.uint64)
    offsets = np.append(np.sort(offsets), np.uint64(end.offset))
    if offsets[0] != 0:
        raise damaged(source, 'the first member', 'its start at byte 0', offsets[0])
    if len(offsets) > 1 and offsets[-2] >= end.offset:  # before unsigned numbers are subtracted
        raise damaged(source, 'the directory', f'members before byte {end.offset}', f'one at {offsets[-2]}')
    if np.any(offsets[1:] - offsets[:-1] < LOCAL.size):
        raise damaged(source, 'the directory', 'members that follow each other', 'members that overlap')
    members: dict[str, ForeignMember] = {}
    for entry in _entries(source, directory, end.count):
        stop = offsets[np.searchsorted(offsets, np.uint64(entry.offset), 'right')]
        start = _check_local(source, entry, int(stop))
        name = _name(source, entry)
        if name in members:
            raise damaged(source, repr(name), 'one member', 'two of the same name')
        members[name] = ForeignMember(name, start, entry.method, entry.crc, entry.stored_size, entry.size)
    return members


def _entries(source: Source, directory: bytes, count: int) -> Iterator[Entry]:
    at = 0
    for _ in range(count):
        entry, at = read_entry(source, directory, at)
        yield entry
    if at != len(directory):
        raise damaged(source, 'the directory', f'{count} entries', f'{len(directory) - at} bytes behind them')


def _name(source: Source, entry: Entry) -> str:
    try:
        text = entry.name.decode('utf-8' if entry.flag & UTF8 else 'cp437')
    except UnicodeDecodeError as error:
        raise damaged(source, repr(entry.name), 'a name in UTF-8', 'other bytes') from error
    if not text.endswith('.npy'):
        raise FormatError(
            f'{source.name}: {text!r}: expected the name of an array, which ends in .npy, in every member of an npz '
            'file; this is a zip file of another kind'
        )
    parts = text.replace('\\', '/').split('/')
    if '\0' in text or parts[0] == '' or '..' in parts:
        raise FormatError(
            f'{source.name}: {text!r}: expected the name of an array, found one that leads out of the folder; '
            'objio reads no such file: save it again under other names'
        )
    return text[:-4]


def _check_local(source: Source, entry: Entry, stop: int) -> int:
    """Checks one entry against its local header and what follows its bytes; returns where these start."""
    part = repr(entry.name.decode('utf-8', 'replace'))
    if entry.flag & ~_FLAGS or entry.method not in (STORED, DEFLATED):
        raise FormatError(
            f'{source.name}: {part}: expected a stored or deflated member, found method {entry.method} and flags '
            f'{entry.flag:#x}: encrypted, or packed in another way; unpack and save it again'
        )
    if entry.method == STORED and entry.stored_size != entry.size:
        raise damaged(source, part, f'{entry.size} stored bytes', entry.stored_size)
    if entry.mode & 0o170000 == 0o120000:
        raise damaged(source, part, 'an array', 'a symbolic link')
    fixed = read(source, f'the local header of {part}', entry.offset, LOCAL.size)
    mark, _, flag, method, _, _, crc, stored_size, size, name_len, extra_len = LOCAL.unpack(fixed)
    more = read(source, f'the local header of {part}', entry.offset + LOCAL.size, name_len + extra_len)
    same = (mark, flag, method, more[:name_len]) == (LOCAL_MARK, entry.flag, entry.method, entry.name)
    if same and not flag & _STREAMED:
        sizes = widened((size, stored_size), more[name_len:])
        same = crc == entry.crc and sizes == (entry.size, entry.stored_size)
    if not same:
        raise damaged(source, f'the local header of {part}', 'what the directory says', (fixed + more)[:200].hex(' '))
    start = entry.offset + LOCAL.size + len(more)
    after = start + entry.stored_size
    found = read(source, f'what follows {part}', after, stop - after) if 0 <= stop - after <= 24 else None
    if found is None or found not in (_descriptors(entry) if flag & _STREAMED else (b'',)):
        raise damaged(source, part, f'{stop - start} bytes up to the next member', f'{entry.stored_size} bytes')
    return start


def _descriptors(entry: Entry) -> tuple[bytes, ...]:
    """What may stand behind the bytes of a streamed member, with and without a mark, in the short and the wide form."""
    wide = pack('<LQQ', entry.crc, entry.stored_size, entry.size)
    if max(entry.stored_size, entry.size) < FULL32:
        short = pack('<LLL', entry.crc, entry.stored_size, entry.size)
        return wide, b'PK\7\x08' + wide, short, b'PK\7\x08' + short
    return wide, b'PK\7\x08' + wide


def content(source: Source, member: ForeignMember, largest: int = _PIECE) -> Iterator[memoryview]:
    """Yields the content of a member, inflated where needed, in pieces of at most `largest` bytes.

    Raises:
        FormatError: the compressed bytes are no deflate stream of exactly the promised size.
    """
    stop = member.start + member.stored_size
    if member.method == STORED:
        for at in range(member.start, stop, largest):
            yield memoryview(read(source, repr(member.name), at, min(largest, stop - at)))
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    at = member.start
    raw = b''
    try:
        while not inflater.eof and size <= member.size:
            if not raw and at < stop:
                raw = read(source, repr(member.name), at, min(largest, stop - at))
                at += len(raw)
            piece = inflater.decompress(raw, largest)
            raw = inflater.unconsumed_tail
            if not piece and not raw and at == stop and not inflater.eof:
                break
            size += len(piece)
            if piece and size <= member.size:
                yield memoryview(piece)
    except zlib.error as error:
        raise damaged(source, repr(member.name), 'deflated bytes', f'an error: {error}') from error
    if size != member.size or not inflater.eof or inflater.unused_data or raw or at < stop:
        raise damaged(
            source, repr(member.name), f'{member.size} bytes, deflated to {member.stored_size}', 'more or fewer of them'
        )


def first_bytes(source: Source, member: ForeignMember, size: int) -> bytes:
    """The first `size` bytes of a member's content, or all of it where it is shorter."""
    start = b''
    for piece in content(source, member, min(size, _PIECE)):
        start += piece
        if len(start) >= size:
            break
    return start[:size]

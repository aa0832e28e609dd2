"""The end of a zip file and its table of contents, read within the bounds of the file."""

from dataclasses import dataclass
from struct import unpack_from

from objio.errors import FormatError
from objio.formats import Source
from objio.formats.reading import damaged, looks_like, read
from objio.formats.zip_records import (
    ALIGNMENT,
    ALIGNMENT_ID,
    END,
    END64,
    END64_MARK,
    END_MARK,
    ENTRY,
    ENTRY_MARK,
    FULL16,
    FULL32,
    LOCAL,
    LOCAL_MARK,
    LOCATOR64,
    LOCATOR64_MARK,
)


@dataclass(frozen=True, slots=True)
class End:
    """What the records at the end of the file say."""

    count: int  # entries
    size: int  # of the directory in bytes
    offset: int  # where the directory starts
    records: bytes  # everything behind the directory


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the directory."""

    name: bytes
    flag: int
    method: int
    crc: int
    stored_size: int
    size: int
    offset: int
    mode: int  # of the file that the member was, where a Unix system wrote it


def read_end(source: Source) -> End:
    """Reads the records that close a zip file, which must stand exactly at its end.

    Raises:
        FormatError: the file is no zip, was cut short, or has something before its start or behind its end.
    """
    place = source.size - END.size
    if place < 0:
        raise FormatError(f'{source.name}: this is no npz file: {looks_like(source)} ({source.size} bytes)')
    records = read(source, 'the end record', place, END.size)
    mark, disk, start_disk, here, count, size, offset, comment = END.unpack(records)
    if mark != END_MARK:
        raise FormatError(f'{source.name}: this is no whole npz file: {looks_like(source)} ({source.size} bytes)')
    if disk or start_disk or here != count or comment:
        raise damaged(source, 'the end record', 'one disk, one count and no comment', records.hex(' '))
    if count == FULL16 or FULL32 in (size, offset):
        before = END64.size + LOCATOR64.size
        more = read(source, 'the zip64 end record', place - before, before) if place >= before else bytes(before)
        locator_mark, disk, at, disks = LOCATOR64.unpack_from(more, END64.size)
        if locator_mark == LOCATOR64_MARK:
            place -= before
            short = (count, size, offset)
            mark, length, _, _, here_disk, start_disk, here, count, size, offset = END64.unpack_from(more)
            found = (mark, length, here_disk, start_disk, here, disk, disks, at)
            agree = all(
                narrow in (full, wide)
                for narrow, full, wide in zip(short, (FULL16, FULL32, FULL32), (count, size, offset), strict=True)
            )
            if not agree or found != (END64_MARK, END64.size - 12, 0, 0, count, 0, 1, place):
                raise damaged(source, 'the zip64 end record', f'one whole record at byte {place}', more.hex(' '))
            records = more + records
    if offset + size != place or count * ENTRY.size > size:
        raise damaged(
            source,
            'the end record',
            f'a directory that ends at byte {place}',
            f'{count} entries in {size} bytes from byte {offset}',
        )
    return End(count, size, offset, records)


def read_entry(source: Source, directory: bytes, at: int) -> tuple[Entry, int]:
    """Reads the entry at position `at` of the directory; returns it and where the next one starts."""
    if at + ENTRY.size > len(directory):
        raise damaged(source, 'the directory', 'one more entry', 'its end')
    (
        mark,
        _,
        _,
        flag,
        method,
        _,
        _,
        crc,
        stored_size,
        size,
        name_len,
        extra_len,
        comment_len,
        disk,
        _,
        mode,
        offset,
    ) = ENTRY.unpack_from(directory, at)
    name_at = at + ENTRY.size
    extra_at = name_at + name_len
    end = extra_at + extra_len + comment_len
    if mark != ENTRY_MARK or disk or end > len(directory):
        raise damaged(source, 'the directory', f'an entry at byte {at} of it', directory[at : at + 60].hex(' '))
    wide = widened((size, stored_size, offset), directory[extra_at : extra_at + extra_len])
    if wide is None:
        raise damaged(source, 'the directory', 'a zip64 field with each large value', 'none, or a shorter one')
    size, stored_size, offset = wide
    return Entry(directory[name_at:extra_at], flag, method, crc, stored_size, size, offset, mode >> 16), end


def widened(values: tuple[int, ...], extra: bytes) -> tuple[int, ...] | None:
    """The values of a record, those too large for their fields taken from the zip64 field; None where it is short."""
    large = values.count(FULL32)
    if not large:
        return values
    field = extra_fields(extra).get(1, b'')
    if len(field) < 8 * large:
        return None
    found = iter(unpack_from(f'<{large}Q', field))
    return tuple(next(found) if value == FULL32 else value for value in values)


def extra_fields(extra: bytes) -> dict[int, bytes]:
    """The extra fields of a record by their ids; what is no whole field is left out."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        field, size = unpack_from('<HH', extra, at)
        if at + 4 + size > len(extra):
            break
        fields.setdefault(field, extra[at + 4 : at + 4 + size])
        at += 4 + size
    return fields


def last_entry(source: Source, end: End, name: bytes) -> Entry | None:
    """The last entry of the directory where it is called `name`, found without reading all the others."""
    longest = ENTRY.size + len(name) + 28
    size = min(end.size, longest)
    tail = read(source, 'the end of the directory', end.offset + end.size - size, size)
    for extra in (0, 12, 20, 28):
        at = size - ENTRY.size - len(name) - extra
        if at >= 0 and tail.startswith(ENTRY_MARK, at) and tail.startswith(name, at + ENTRY.size):
            entry, stop = read_entry(source, tail, at)
            if entry.name == name and stop == size:
                return entry
    return None


def first_is_aligned(source: Source) -> bool:
    """Whether the first local header carries the mark that objio leaves in each of its members."""
    if source.size < LOCAL.size:
        return False
    mark, *_, name_len, extra_len = LOCAL.unpack(read(source, 'the first local header', 0, LOCAL.size))
    if mark != LOCAL_MARK or LOCAL.size + name_len + extra_len > source.size:
        return False
    field = extra_fields(read(source, 'the first local header', LOCAL.size + name_len, extra_len)).get(ALIGNMENT_ID)
    return field is not None and field[:2] == ALIGNMENT.to_bytes(2, 'little')

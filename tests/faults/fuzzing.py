"""Files that lie somewhere inside, their lengths and checksums made right again, so that the lie reaches its reader."""

import contextlib
import json
import random
import re
import struct
import zlib
from copy import deepcopy
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from support_formats import mangled, npy, with_header

from objio.errors import ObjioError
from objio.formats import ArraySpec
from objio.formats.dtypes import WRITABLE
from objio.formats.layout import content_of
from objio.formats.names import MANIFEST, member_name
from objio.formats.zip_records import END, END64, ENTRY, LOCAL, LOCATOR64, Members, end_records

_NUMBERS = [0, 1, 2, 7, 8, 12, 20, 45, 63, 64, 65, 99, 255, 256, 0x800, 0xFFFE, 0xFFFF, 0x10000, 1 << 31, (1 << 32) - 2,
            (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]  # fmt: skip
_NAMES = ['', 'a', 'b', 'é', '😀', '\0', 'a\0', '\ud800', '..', '../a', '/a', 'a/', 'a//b', 'C:a', 'a.npy', 'a.NPY/b', '%41',
          'objio.json', 'OBJIO.JSON', 'names', '0', '1', '01', 'a\\b', '\n', 'x' * 4091, 'x' * 4092, 'é' * 3000]  # fmt: skip
_VALUES: list[Any] = [None, True, 0, -1, 1, 2**63, 2**64, 10**30, 1.5, -0.0, float('nan'), float('inf'), 1e308, '', 'a', '\ud800',
                      [], {}, [[]], {'a': 1}, [1, 2], [0, 2**62], [1] * 65, [0] * 64, 'float32', 'key<rbg>', 'int4']  # fmt: skip
_DESCRS = [b'<f8', b'>f8', b'|b1', b'<i2', b'|V0', b'|V2', b'<U0', b'<U3', b'>U3', b'|S5', b'|O', b'<M8[s]', b'<M8[25s]', b'<M8[0s]', b'<M8',
           b'<c16', b'<f16', b'<V1', b'<W4', b'>V2', b'<f2', b'<u16', b'', b"<f8', '<f8"]  # fmt: skip


def _some(rng: random.Random, likely: Any, others: list[Any]) -> Any:
    return likely if rng.random() < 0.9 else rng.choice(others)


def objio_file(rng: random.Random) -> bytes:
    """A file as objio lays it out, whose manifest says what it likes: often right, and then it has to be read."""
    labels = rng.choices(list(WRITABLE), k=rng.randrange(4))
    tree: dict[str, Any] = {
        'format': 'objio-npz',
        'version': 1,
        'arrays': [
            [_some(rng, f'w{index}', _NAMES), label, rng.choice([[], [2], [2, 3], [0], [1, 1, 2]])]
            for index, label in enumerate(labels)
        ],
        'aliases': {rng.choice(_NAMES): _some(rng, 'w0', _NAMES) for _ in range(rng.choice([0, 0, 1, 2]))},
        'metadata': {_some(rng, 'a', _NAMES): deepcopy(rng.choice(_VALUES)) for _ in range(rng.randrange(3))},
    }
    members = [_content(entry, rng) for entry in tree['arrays']]
    if rng.random() < 0.5:
        _spoil(tree[rng.choice(['arrays', 'aliases', 'metadata'])] or tree, rng)
    text = json.dumps(tree, ensure_ascii=False, separators=(',', ':')).encode('utf-8', 'surrogatepass')
    if rng.random() < 0.3:
        text = mangled(text, rng)
    names, heads, contents = map(list, zip(*members, (MANIFEST.encode(), b'', text), strict=True))
    layout = Members(names, heads, list(map(len, contents)))
    crcs = [zlib.crc32(content, zlib.crc32(head)) for head, content in zip(heads, contents, strict=True)]
    headers = layout.local_headers(0, len(layout), crcs)
    if rng.random() < 0.1:
        at = rng.randrange(len(headers))
        spoilt = bytearray(headers[at])
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        headers[at] = bytes(spoilt)
    body = b''.join(part for pair in zip(headers, contents, strict=True) for part in pair)
    directory = layout.directory(crcs)
    return body + directory + end_records(len(layout), len(directory), len(body))


def _content(entry: list[Any], rng: random.Random) -> tuple[bytes, bytes, bytes]:
    """The member of an array of the manifest: its name, its NPY header, and bytes of which some are no values."""
    name, label, shape = entry
    head, size = content_of(ArraySpec(label, tuple(shape)))
    try:
        member = member_name(name)
    except ObjioError:
        member = name.encode('utf-8', 'surrogatepass') + b'.npy'
    return member, head, rng.randbytes(size) if rng.random() < 0.3 else bytes(size)


def _spoil(tree: Any, rng: random.Random) -> None:
    """Puts a value where another stands, somewhere in a tree of lists and dicts."""
    while True:
        at = rng.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if not isinstance(tree[at], list | dict) or not tree[at] or rng.random() < 0.1:
            tree[at] = deepcopy(rng.choice(_VALUES + _NAMES))
            return
        tree = tree[at]


@dataclass(frozen=True)
class Member:
    """A member of a file by another writer."""

    name: bytes
    content: bytes
    deflated: bool = False
    streamed: bool = False  # sizes and checksum stand behind the content
    wide: bool = False  # sizes stand in a zip64 field
    spoilt: int = 0  # bits that are wrong in what is stored, which the checksum does not tell of


def zip_file(members: list[Member], *, wide: bool = False) -> bytes:
    """A zip file; with `wide` its end stands in zip64 records."""
    body, directory = bytearray(), bytearray()
    for member in members:
        raw = zlib.compress(member.content, wbits=-15) if member.deflated else member.content
        raw = (int.from_bytes(raw) ^ member.spoilt).to_bytes(len(raw))
        sizes = (0xFFFFFFFF,) * 2 if member.wide else (len(raw), len(member.content))
        extra = struct.pack('<HHQQ', 1, 16, len(member.content), len(raw)) if member.wide else b''
        flag = (0 if member.name.isascii() else 0x800) | (8 if member.streamed else 0)
        method, crc = 8 if member.deflated else 0, zlib.crc32(member.content)
        told = (0, 0, 0) if member.streamed else (crc, *sizes)
        directory += ENTRY.pack(b'PK\1\2', 20, 20, flag, method, 0, 33, crc, *sizes, len(member.name), len(extra), 0, 0,
                                0, 0, len(body)) + member.name + extra  # fmt: skip
        field = b'' if member.streamed else extra
        body += LOCAL.pack(b'PK\3\4', 20, flag, method, 0, 33, *told, len(member.name), len(field))
        body += member.name + field + raw
        if member.streamed:
            body += struct.pack('<4s3L', b'PK\7\x08', crc, len(raw), len(member.content))
    count, size, offset = len(members), len(directory), len(body)
    if not wide:
        return bytes(body + directory) + END.pack(b'PK\5\6', 0, 0, count, count, size, offset, 0)
    end = END64.pack(b'PK\6\6', 44, 45, 45, 0, 0, count, count, size, offset)
    end += LOCATOR64.pack(b'PK\6\7', 0, offset + size, 1)
    return bytes(body + directory) + end + END.pack(b'PK\5\6', 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def truths_and_a_lie(count: int, step: int) -> bytes:
    """So many right empty arrays, of shapes that differ by `step`, and behind them one whose header is none."""

    def named(name: str, shape: str) -> Member:
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        return Member(f'{name}.npy'.encode(), with_header(head))

    return zip_file(
        [*(named(f'{index:x}', f'(0, {index * step})') for index in range(count)), named('last', '(')], wide=True
    )


def foreign_file(rng: random.Random) -> bytes:
    """A file as NumPy or Objax writes it, some of whose NPY headers say what they like."""
    names = [_some(rng, f'w{index}', _NAMES) for index in range(rng.randrange(4))]
    contents = [_npy(rng) for _ in names]
    if rng.random() < 0.3:
        contents.append(_names(names, rng))
        names = [*map(str, range(len(names))), 'names']
    members = [
        Member(
            name.encode('utf-8', 'surrogatepass') + _some(rng, b'.npy', [b'', b'.txt', b'.npy/']),
            content,
            deflated=rng.random() < 0.4,
            streamed=rng.random() < 0.2,
            wide=rng.random() < 0.2,
            spoilt=0 if len(content) < 20 or rng.random() < 0.95 else 1 << rng.randrange(64),
        )
        for name, content in zip(names, contents, strict=True)
    ]
    return zip_file(members, wide=rng.random() < 0.1)


def _names(names: list[str], rng: random.Random) -> bytes:
    """The array of names of an Objax file, some of whose characters are none."""
    array = np.array([name.replace('\0', 'x').encode('utf-8', 'ignore').decode()[:40] for name in names], dtype='<U40')
    content = npy(array)
    if rng.random() < 0.3 and array.size:
        at = rng.randrange(content.index(b'\n'), len(content))
        content = content[:at] + rng.choice([b'\xff', b'\0', b'\xd8', b'\x11']) + content[at + 1 :]
    return content


def _npy(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        dtype = rng.choice(['<f8', '>i4', '|b1', '<c8', '<U2', '|S3', '<M8[s]', '<f2'])
        array = np.zeros(rng.choice([(2, 3), (6,), (), (0, 2)]), dtype)
        return npy(np.asfortranarray(array) if rng.random() < 0.3 else array)
    shape = rng.choice(
        [b'(2, 3)', b'(6,)', b'()', b'(0,)', b'(2L, 3L)', b'(99999999999, 9)', b'(4294967296, 4294967296)']
    )
    order = _some(rng, b'False', [b'True', b'0', b'None'])
    text = b"{'descr': '" + rng.choice(_DESCRS) + b"', 'fortran_order': " + order + b", 'shape': " + shape + b', }'
    if rng.random() < 0.3:
        text = mangled(text, rng)
    version = _some(rng, (1, 0), [(2, 0), (3, 0), (9, 0), (1, 1)])
    data = with_header(text.decode('latin-1'), rng.randbytes(rng.choice([0, 1, 8, 12, 18, 24, 48, 96])), version)
    return data if rng.random() < 0.9 else data[: rng.randrange(len(data) + 1)]


_RECORDS = {b'PK\3\4': LOCAL, b'PK\1\2': ENTRY, b'PK\5\6': END, b'PK\6\6': END64, b'PK\6\7': LOCATOR64}


def with_lying_records(data: bytes, rng: random.Random) -> bytes:
    """A file with numbers in its zip records that are not true, often the same in both records of a member."""
    result = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        mark, record = rng.choice(list(_RECORDS.items()))
        places = _places(data, mark)
        if not places or places[-1] + record.size > len(data):
            continue
        at = rng.randrange(len(places))
        fields = record.unpack_from(result, places[at])
        index = rng.randrange(1, len(fields))
        value = rng.choice([*_NUMBERS, fields[index] + 1, fields[index] - 1, len(data)])
        _set(result, record, places[at], index, value)
        entries = _places(data, b'PK\1\2')
        if record is LOCAL and at < len(entries) and rng.random() < 0.7:
            _set(result, ENTRY, entries[at], index + 1, value)  # it has one field more before these
    return bytes(result)


def _places(data: bytes, mark: bytes) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(mark), data)]


def _set(data: bytearray, record: Struct, at: int, index: int, value: int) -> None:
    """Sets a field of a record, to as many bits of the value as it has."""
    fields = list(record.unpack_from(data, at))
    for bits in (64, 32, 16):
        fields[index] = value % (1 << bits)
        with contextlib.suppress(struct.error):
            record.pack_into(data, at, *fields)
            return

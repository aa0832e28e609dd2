"""The table of contents of a safetensors file, and the index of several: JSON that is taken entry by entry.

What `json.loads` makes of a text of a hundred megabytes that lies can take thirty times as much memory.
"""

import json
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

METADATA = '__metadata__'

_INT = r'(?:0|[1-9]\d{0,19}+)'
_SHAPE = rf'\[((?:{_INT},){{0,63}}{_INT}|)\]'
# As safetensors itself, and objio, write an entry.
_USUAL = re.compile(
    rf'"([^"\\\x00-\x1f]{{1,4096}}+)":\{{"dtype":"(\w{{1,16}}+)","shape":{_SHAPE},"data_offsets":\[({_INT}),({_INT})\]\}}',
    re.ASCII,
)
# As any writer of JSON may: an object of a few short texts and lists.
_ANY = re.compile(r'\{(?:[^{}"\\]{0,2048}+"[^"\\]{0,32}+"){0,8}[^{}"\\]{0,2048}+\}')
_SPACE = re.compile(r'[ \t\n\r]*+')
LARGEST_VALUE = 1 << 17  # characters of what an index has besides names

Entry = tuple[str, tuple[int, ...], int, int]
"""The dtype's tag, the shape, and where the bytes start and end behind the table."""


def parse(text: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """Reads a table.

    Returns:
        the entry of each array, and the metadata.

    Raises:
        ValueError: it is no table of contents; the message says where.
    """
    entries: dict[str, Entry] = {}
    metadata: list[dict[str, str]] = []

    def entry(at: int) -> int:
        usual = _USUAL.match(text, at)
        if usual:
            name, tag, shape, start, end = usual.groups()
            found = tag, tuple(map(int, shape.split(','))) if shape else (), int(start), int(end)
            after = usual.end()
        else:
            name, after = _key(text, at)
            if name == METADATA:
                values, after = _texts(text, after, METADATA, {})
                metadata.append(values)
                return after
            found, after = _entry(text, after)
        if name in entries or name == METADATA:
            raise ValueError(f'at byte {at}: {name!r} stands there twice, or is no name of an array')
        entries[name] = found
        return after

    _all_items(text, 0, entry)
    if len(metadata) > 1:
        raise ValueError(f'{METADATA!r} stands there twice')
    return entries, metadata[0] if metadata else {}


def parse_index(text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Reads an index.

    Returns:
        the shard of each array, and the metadata.

    Raises:
        ValueError: it is no index; the message says where.
    """
    found: dict[str, Any] = {}
    shards: dict[str, str] = {}  # one string for all arrays of a shard
    left = LARGEST_VALUE

    def item(at: int) -> int:
        nonlocal left
        begun = at
        key, at = _key(text, at)
        if key in found:
            raise ValueError(f'at character {at}: {key!r} stands there twice')
        if key == 'weight_map':
            found[key], at = _texts(text, at, key, shards)
        else:
            found[key], length = _DECODER.raw_decode(text[at : at + LARGEST_VALUE])
            at += length
            left -= at - begun
            if left < 0:
                raise ValueError(f'expected at most {LARGEST_VALUE} characters beside the weight_map, found more')
        return at

    _all_items(text, _skip(text, 0), item)
    metadata = found.get('metadata', {})
    if 'weight_map' not in found or type(metadata) is not dict:
        raise ValueError("expected an object with the objects 'weight_map' and 'metadata'")
    return found['weight_map'], metadata


def _all_items(text: str, at: int, item: Callable[[int], int]) -> None:
    """Reads the object that a text is from `at` on; see `_items`."""
    end = _items(text, at, item)
    if _skip(text, end) != len(text):
        raise _wrong(text, end, 'nothing but spaces behind the table')


def _items(text: str, at: int, item: Callable[[int], int]) -> int:
    """Reads an object, each item with a function; returns the position behind it."""
    at = _skip(text, _expect(text, at, '{'))
    if text.startswith('}', at):
        return at + 1
    while True:
        at = _skip(text, item(at))
        if not text.startswith(',', at):
            return _expect(text, at, '}')
        at = _skip(text, at + 1)


def _texts(text: str, at: int, name: str, same: dict[str, str]) -> tuple[dict[str, str], int]:
    """Reads an object of texts.

    Args:
        text: the whole text.
        at: where the object starts.
        name: what it is, for errors.
        same: where equal values become one string.
    """
    values: dict[str, str] = {}

    def item(at: int) -> int:
        key, at = _key(text, at)
        if key in values:
            raise ValueError(f'{name!r} has {key!r} twice')
        value, at = _string(text, at)
        values[key] = same.setdefault(value, value)
        return at

    return values, _items(text, at, item)


def _entry(text: str, at: int) -> tuple[Entry, int]:
    found = _ANY.match(text, at)
    if found:
        pairs: list[tuple[str, Any]] = json.loads(found[0], object_pairs_hook=list)
        match sorted(pairs, key=itemgetter(0)):
            case [('data_offsets', [start, end]), ('dtype', str(tag)), ('shape', list(shape))] if all(
                type(size) is int and size >= 0 for size in (start, end, *shape)
            ):
                return (tag, tuple(shape), start, end), found.end()
    raise _wrong(text, at, 'dtype, shape and data_offsets of an array')


def _key(text: str, at: int) -> tuple[str, int]:
    key, at = _string(text, at)
    return key, _skip(text, _expect(text, _skip(text, at), ':'))


def _string(text: str, at: int) -> tuple[str, int]:
    if not text.startswith('"', at):
        raise _wrong(text, at, 'text in quotes')
    value, end = _DECODER.raw_decode(text, at)
    value.encode()  # no lone surrogates
    return str(value), end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('a key that stands there twice')
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _expect(text: str, at: int, mark: str) -> int:
    if not text.startswith(mark, at):
        raise _wrong(text, at, repr(mark))
    return at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _wrong(text: str, at: int, expected: str) -> ValueError:
    return ValueError(f'at character {at}: expected {expected}, found {text[at : at + 40]!r}')

"""The manifest of objio-npz 1, the member `objio.json`: one spelling for each content, and no other is read.

The spelling is that of `json.dumps(m, ensure_ascii=False, allow_nan=False, separators=(',', ':'))`.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quote
from math import isfinite
from sys import intern
from typing import Any

from objio.formats import ArraySpec
from objio.formats.json_text import DEEPEST, INTEGER_BITS, check_spelling

_HEAD = b'{"format":"objio-npz","version":1,"arrays":['
_ALIASES = b'],"aliases":{'
_METADATA = b'},"metadata":'
_VERSION = re.compile(rb'\{"format":"objio-npz","version":(\d{1,9}),')
# Bounded, and with one way to match a text, so that none makes the search slow or its stack deep. No group is
# possessive: before Python 3.11.5 those match wrongly, or crash (https://github.com/python/cpython/issues/106052).
_STRING = rb'"([^"\\]{0,4096}+(?:\\.[^"\\]{0,4096}+){0,4096})"'
_SIZE = rb'(?:0|[1-9]\d{0,19}+)'
_ARRAY = re.compile(
    rb'\[' + _STRING + rb',"([\w<>]{1,64}+)",\[((?:' + _SIZE + rb',){0,63}' + _SIZE + rb'|)\]\]', re.DOTALL
)
_ALIAS = re.compile(_STRING + b':' + _STRING, re.DOTALL)


def dump(specs: Mapping[str, ArraySpec], aliases: Mapping[str, str], metadata: Mapping[str, Any]) -> bytes:
    """The manifest's bytes. Names and metadata must have been checked."""
    arrays = ','.join([f'[{quote(name)},{_form(spec)}]' for name, spec in specs.items()])
    pairs = ','.join(f'{quote(name)}:{quote(target)}' for name, target in aliases.items())
    return b''.join((_HEAD, arrays.encode(), _ALIASES, pairs.encode(), _METADATA, _json(metadata), b'}'))


@lru_cache(maxsize=4096)
def _form(spec: ArraySpec) -> str:
    return f'"{spec.dtype}",[{",".join(map(str, spec.shape))}]'


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode()


def check_metadata(value: Any, path: str = 'metadata', depth: int = 0) -> None:
    """Checks that JSON gives `value` back as it is.

    Raises:
        TypeError: it does not; the message gives the path of the first value at fault.
    """
    kind = type(value)
    if depth > DEEPEST:
        raise TypeError(f'{path} is nested more than {DEEPEST} levels deep')
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f'{path} has the key {key!r}; JSON keeps keys of type str only')
            _check_text(key, f'a key of {path}')
            check_metadata(item, f'{path}[{key!r}]', depth + 1)
    elif kind is list:
        for index, item in enumerate(value):
            check_metadata(item, f'{path}[{index}]', depth + 1)
    elif kind is str:
        _check_text(value, path)
    elif kind is float:
        if not isfinite(value):
            raise TypeError(f'{path} is {value}, which JSON does not know; use None or a str')
    elif kind is int:
        if value.bit_length() > INTEGER_BITS:
            raise TypeError(f'{path} is an integer of more than 4,300 digits, which JSON readers refuse; use a str')
    elif kind is not bool and value is not None:
        raise TypeError(
            f'{path} is of type {kind.__module__}.{kind.__qualname__}, which JSON does not give back unchanged; '
            'use dict, list, str, int, float, bool or None'
        )


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f'{path} has a lone surrogate ({text!r}), which UTF-8 cannot hold') from error


def check_version(text: bytes) -> None:
    """Checks that a manifest starts as those of this version do.

    Raises:
        ValueError: it does not; the message says so where a newer objio wrote it.
    """
    if not text.startswith(_HEAD):
        version = _VERSION.match(text)
        if version and int(version[1]) > 1:
            raise ValueError(
                f'it was written by a newer objio (objio-npz version {int(version[1])}, this one reads 1); update objio'
            )
        raise ValueError(f'expected it to start with {_HEAD.decode()}, found {text[: len(_HEAD)]!r}')


def parse(text: bytes, add_array: Callable[[str, ArraySpec], None], add_alias: Callable[[str, str], None]) -> bytes:
    """Reads a manifest whose version was checked; the first array or alias that lies ends the reading.

    Returns:
        The metadata as JSON that is known to be right, not yet parsed: that can take thirty times as much memory.

    Raises:
        ValueError: the text is not a manifest as `dump` spells it, or what `add_array` and `add_alias` raise.
    """
    at = _items(text, len(_HEAD), _ARRAY, _ALIASES, lambda name, *form: add_array(_text(name), _spec(*form)))
    at = _items(text, at, _ALIAS, _METADATA, lambda name, target: add_alias(_text(name), _text(target)))
    metadata = text[at:-1]
    try:
        check_spelling(metadata)
        if not text.endswith(b'}'):
            raise ValueError('expected one more bracket behind it')
    except ValueError as error:
        raise ValueError(f'bad metadata: {error}') from error
    return metadata


def _items(text: bytes, at: int, item: re.Pattern[bytes], after: bytes, add: Callable[..., None]) -> int:
    """Reads items with a comma between them up to the bytes `after`; returns the position behind these."""
    if text.startswith(after, at):
        return at + len(after)
    match = item.match  # not `finditer`, which looks on for an item where there is none
    while found := match(text, at):
        end = found.end()
        add(*found.groups())
        if text[end : end + 1] != b',':
            if text.startswith(after, end):
                return end + len(after)
            at = end
            break
        at = end + 1
    raise ValueError(f'at byte {at}: expected an item or {after!r}, found {text[at : at + 40]!r}')


@lru_cache(maxsize=4096)
def _spec(dtype: bytes, shape: bytes) -> ArraySpec:
    # One string for each label: of a million forms each would have its own.
    return ArraySpec(intern(dtype.decode()), tuple(map(int, shape.split(b','))) if shape else ())


def _text(raw: bytes) -> str:
    text = raw.decode()
    if b'\\' in raw or not text.isprintable():
        text = json.loads(f'"{text}"')
        if quote(text)[1:-1] != raw.decode():
            raise ValueError(f'{raw[:80]!r} is not spelled as objio spells it')
    return text

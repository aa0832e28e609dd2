"""Checks the spelling of JSON before it is parsed, in little more memory than the text itself takes.

What `json.loads` makes of `[{},{},…]` takes thirty times the bytes of the text: too much for a text that lies.
"""

import re
from itertools import islice
from operator import eq

DEEPEST = 100  # levels
INTEGER_BITS = 14_284  # 4,300 decimal digits, which is what Python's own parser takes

# Bounded, so that no text makes the search slow or its stack deep. No group is possessive: before Python 3.11.5 those
# match wrongly, or crash (https://github.com/python/cpython/issues/106052).
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_ESCAPED = rb'(?:\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))' + _PLAIN + rb')'
_SHORT = rb'"' + _PLAIN + _ESCAPED + rb'{0,8}"'
_SIMPLE = rb'(?:' + _SHORT + rb'|(?:-?[1-9]\d{0,17}+|0)(?![\d.e])|true|false|null|\[\]|\{\})'
_PIECE_OF_STRING = re.compile(_PLAIN + _ESCAPED + rb'{0,1000}')
_SIMPLE_VALUE = re.compile(_SIMPLE)
_SIMPLE_ITEMS = re.compile(rb'(?:' + _SIMPLE + rb',){0,250}')
_SIMPLE_MEMBERS = re.compile(rb'(?:' + _SHORT + rb':' + _SIMPLE + rb',){0,250}')
_SIMPLE_MEMBER = re.compile(rb'(' + _SHORT + rb'):' + _SIMPLE + rb',')
_FLOATS = re.compile(rb'(?:-?\d{1,17}+[.e][\d.e+-]{1,22}+,){0,1000}')
_NUMBER = re.compile(rb'-?\d[\d.e+-]{0,4400}+')

Container = list[bytes] | None
"""The keys of an object that has begun, or None for a list."""


def check_spelling(text: bytes) -> None:
    """Checks that a text is what `json.dumps` gives for the object that it stands for.

    That is with `ensure_ascii=False, allow_nan=False, separators=(',', ':')`, nested at most `DEEPEST` levels deep, its
    integers of at most `INTEGER_BITS` bits.

    Raises:
        ValueError: it is not; the message gives the first byte at fault.

    Example:
        >>> check_spelling(b'{"a":[1,2.5]}')
        >>> check_spelling(b'{"a":[1,2.50]}')
        Traceback (most recent call last):
        ...
        ValueError: at byte 8: expected a number as Python writes it, found b'2.50]}'
    """
    text.decode()
    if not text.startswith(b'{'):
        raise _wrong(text, 0, 'an object')
    begun: list[Container] = []
    at = 0
    while True:
        if text.startswith((b'[', b'{'), at) and not text.startswith((b'[]', b'{}'), at):
            begun.append([] if text.startswith(b'{', at) else None)
            at = _next_value(text, at + 1, begun)
            continue
        at = _end_of_value(text, at)
        while begun and text.startswith(b']' if begun[-1] is None else b'}', at):
            _check_keys(text, at, begun.pop())
            at += 1
        if not begun:
            break
        if not text.startswith(b',', at):
            raise _wrong(text, at, 'a comma or a bracket')
        at = _next_value(text, at + 1, begun)
    if at != len(text):
        raise _wrong(text, at, 'the end')


def _next_value(text: bytes, at: int, begun: list[Container]) -> int:
    """Where the next value starts that takes a closer look, in the container that has begun last."""
    if len(begun) > DEEPEST:
        raise _wrong(text, at, f'at most {DEEPEST} levels')
    keys = begun[-1]
    if keys is None:
        at = _end(_SIMPLE_ITEMS, text, at)
        end = _end(_FLOATS, text, at)
        if end > at:
            _check_floats(text, at, text[at : end - 1])
        return end
    end = _end(_SIMPLE_MEMBERS, text, at)
    keys += _SIMPLE_MEMBER.findall(text, at, end)
    colon = _end_of_string(text, end)
    if not text.startswith(b':', colon):
        raise _wrong(text, colon, 'a colon')
    keys.append(text[end:colon])
    return colon + 1


def _end_of_value(text: bytes, at: int) -> int:
    if text.startswith(b'"', at):
        return _end_of_string(text, at)
    if simple := _SIMPLE_VALUE.match(text, at):
        return simple.end()
    number = _NUMBER.match(text, at)
    if number is None:
        raise _wrong(text, at, 'a value')
    if b'.' in number[0] or b'e' in number[0]:
        _check_floats(text, at, number[0])
    elif str(value := int(number[0])).encode() != number[0] or value.bit_length() > INTEGER_BITS:
        raise _wrong(text, at, 'an integer as Python writes it, of at most 4,300 digits')
    return number.end()


def _end_of_string(text: bytes, at: int) -> int:
    end = at + 1 if text.startswith(b'"', at) else len(text)
    while not text.startswith(b'"', end):
        piece = _end(_PIECE_OF_STRING, text, end)
        if piece == end:
            raise _wrong(text, at, 'text as objio spells it')
        end = piece
    return end + 1


def _check_floats(text: bytes, at: int, floats: bytes) -> None:
    numbers = floats.decode().split(',')
    if not all(map(eq, map(repr, map(float, numbers)), numbers)):
        raise _wrong(text, at, 'a number as Python writes it')


def _check_keys(text: bytes, at: int, keys: Container) -> None:
    if keys:
        keys.sort()
        if any(map(eq, keys, islice(keys, 1, None))):
            raise _wrong(text, at, 'an object with each key once')


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Where the match of a pattern ends that matches everywhere, if only nothing."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _wrong(text: bytes, at: int, expected: str) -> ValueError:
    return ValueError(f'at byte {at}: expected {expected}, found {text[at : at + 40]!r}')

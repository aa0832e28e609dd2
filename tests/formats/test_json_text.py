"""The spelling of JSON is checked without parsing it, with the same answer as parsing it and writing it again."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objio.formats import manifest
from objio.formats.json_text import check_spelling

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(max_size=9), children, max_size=5),
    max_leaves=30,
)
OBJECTS = st.dictionaries(st.text(max_size=9), VALUES, max_size=5)


def spelled(value: Any) -> bytes:
    """What objio writes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode()


def is_right(text: bytes) -> bool:
    """The definition: the text of an object that objio saves, as objio spells it."""
    try:
        value = json.loads(text)
        manifest.check_metadata(value)
        return type(value) is dict and spelled(value) == text
    except (ValueError, TypeError, RecursionError):
        return False


def is_accepted(text: bytes) -> bool:
    """The check at hand."""
    try:
        check_spelling(text)
    except ValueError:
        return False
    return True


@given(OBJECTS)
def test_what_objio_writes_is_accepted(value: dict[str, Any]) -> None:
    """Whatever an object holds, the text that `json.dumps` makes of it is right."""
    check_spelling(spelled(value))


TOKENS = [
    b'', b',', b':', b'[]', b'{}', b'[', b']', b'{', b'}', b'"', b'0', b'-', b'-0', b'00', b'1.0', b'1.50', b'1e5',
    b'1e+16', b'1E+16', b'1e999', b'1_0', b'9' * 4300, b'9' * 4301, b'8' + b'9' * 4300, b'NaN', b'Infinity', b'true',
    b'\\u0041', b'\\u001f', b'\\u001F', b'\\u0009', b'\\/', b'\\n', b'\n', b'\\ud800', b'\xed\xa0\x80', b'\xff', b' ',
    b'"a":1,', b'"a":1.5,', b'"":[],', b'1.5,', b'123456789012345678901234567890,', b'"' + b'\\n' * 3000 + b'"',
]  # fmt: skip


@given(OBJECTS, st.data())
def test_what_is_changed_is_accepted_only_where_it_is_right(value: dict[str, Any], data: st.DataObject) -> None:
    """With any of its tokens lost, doubled or replaced, a text is accepted exactly where it is right all the same."""
    tokens = re.findall(rb'\w+|\W', spelled(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(tokens) - 1))
        tokens[at] = data.draw(st.sampled_from([*TOKENS, tokens[at] * 2, tokens[-1 - at]]))
    text = b''.join(tokens)
    assert is_accepted(text) == is_right(text), text


@given(st.binary(max_size=20))
@example(b'{"a":1}}')
@example(b'{"a":' + b'[' * 100 + b'1' + b']' * 100 + b'}')
@example(b'{"a":' + b'[' * 99 + b'1' + b']' * 99 + b'}')
@example(b'{"a":' + b'[' * 100 + b']' * 100 + b'}')
@example(b'{"a":' + b'[' * 101 + b']' * 101 + b'}')
@example(b'{"a":[' + b'1.5,' * 5000 + b'1.5]}')
@example(b'{"a":[' + b'1.5,' * 5000 + b'1.50]}')
@example(b'{"a":"' + b'\\n' * 5000 + b'"}')
@example(b'{"' + b'\\n' * 5000 + b'":1}')
@example(b'{"' + b'\\n' * 5000 + b'":1,"b":2,"' + b'\\n' * 5000 + b'":1}')
@example(b'{"a":{"b":1,"c":{"b":1},"b":2}}')
@example(b'{"a":123456789012345678,"b":-1234567890123456789,"c":0.1}')
def test_any_bytes(text: bytes) -> None:
    """Bytes of any kind are accepted exactly where they are right."""
    assert is_accepted(text) == is_right(text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'[]', "at byte 0: expected an object, found b'\\[\\]'"),
        (b'{"a":1 }', "at byte 6: expected a comma or a bracket, found b' }'"),
        (b'{"a":NaN}', 'at byte 5: expected a value'),
        (b'{"a" :1}', 'at byte 4: expected a colon'),
        (b'{"a":"\\u0041"}', 'at byte 5: expected text as objio spells it'),
        (b'{"a":1.50}', 'at byte 5: expected a number as Python writes it'),
        (b'{"a":-0}', 'at byte 5: expected an integer as Python writes it'),
        (b'{"a":1,"a":1}', 'at byte 12: expected an object with each key once'),
        (b'{"a":1}x', 'at byte 7: expected the end'),
        (b'{"a":"\xed\xa0\x80"}', 'invalid continuation byte'),
    ],
)
def test_the_first_fault_is_named(text: bytes, message: str) -> None:
    """The error says what is wrong, and where."""
    with pytest.raises(ValueError, match=message):
        check_spelling(text)

import io
import posixpath
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support_formats import load, save

from objio.errors import UnsaveableError
from objio.formats.names import member_name

# Text made of what has a meaning in paths, zip files or the encoding itself is the text that goes wrong.
PIECES = ['/', '\\', '.', '..', '.npy', '.NPY', 'npy', ':', '%', '%2F', 'C', 'objio.json', 'OBJIO.JSON', 'a', ' ', '\n',
          '\x01', '\x7f', '~', 'é', '\x85', '\u2028', '\U0001f600', '"', "'", '*', '?', '(Sequential)[0](Linear).w']  # fmt: skip
NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(''.join),
    st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1, max_size=60),
)


@given(NAMES)
@example('.')
@example('..')
@example('/')
@example('.npy')
@example('a.npy/')
def test_every_name_comes_back(name: str) -> None:
    """Percent-decoding a member name without its `.npy` gives the name back."""
    member = member_name(name).decode()
    assert member.endswith('.npy')
    assert unquote(member[:-4], errors='strict') == name


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_two_names_never_share_a_member(names: list[str]) -> None:
    """The encoding is injective."""
    assert len(set(map(member_name, names))) == len(names)


@given(NAMES)
def test_a_member_name_is_a_plain_relative_path(name: str) -> None:
    """No member name leads out of a folder, names one, a drive or a second array, or holds what zip tools trip over."""
    member = member_name(name).decode()
    inner = member[:-4]
    assert not any(ord(char) < 32 or char in '\\\x7f' for char in member)
    assert not member.startswith('/')
    assert posixpath.normpath(member) == member
    assert '..' not in member.split('/')
    assert all(segment and segment != '.' for segment in inner.split('/'))
    assert not any(segment.lower().endswith('.npy') for segment in inner.split('/'))
    assert not (inner[1:2] == ':' and inner[0].isascii() and inner[0].isalpha())
    assert inner.lower() != 'objio.json'


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_numpy_finds_each_array_under_its_member_name(names: list[str]) -> None:
    """`np.load` gives every array, and `unquote` of its names gives those that were saved."""
    data = save({name: np.full(2, index) for index, name in enumerate(names)})
    assert list(load(data)) == names
    with np.load(io.BytesIO(data)) as arrays:
        found = {unquote(name): arrays[name] for name in arrays.files if name != 'objio.json'}
        assert list(found) == names
        for index, name in enumerate(names):
            np.testing.assert_array_equal(found[name], [index, index])


def test_names_that_mean_something_to_savez() -> None:
    """Names that `np.savez` takes for its own arguments, and then loses, are names like any other."""
    arrays = {name: np.full(2, index) for index, name in enumerate(['file', 'allow_pickle', 'arr_0', 'args', 'kwds'])}
    with np.load(io.BytesIO(save(arrays))) as found:
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    'name',
    ['(Sequential)[0](Linear).w', 'resnet/~/conv.w', 'params.Dense_0.kernel', 'é', 'a b', "['x']", 'ab:c', 'x.np'],
)
def test_ordinary_names_stand_for_themselves(name: str) -> None:
    """The names of Objax, Haiku, Flax and Equinox are their own member names."""
    assert member_name(name) == f'{name}.npy'.encode()


@pytest.mark.parametrize(
    ('name', 'member'),
    [
        ('50%', '50%25'),
        ('a\\b\n\x7f', 'a%5Cb%0A%7F'),
        ('/a//b/', '%2Fa/%2Fb%2F'),
        ('///', '%2F%2F%2F'),
        ('a//b', 'a/%2Fb'),
        ('a/./b/../c', 'a/%2E/b/%2E%2E/c'),
        ('a..b/.c./d', 'a..b/.c./d'),
        ('../.', '%2E%2E/%2E'),
        ('./...', '%2E/...'),
        ('a.npy/b.NPY', 'a%2Enpy/b%2ENPY'),
        ('a.npy.npy', 'a.npy%2Enpy'),
        ('.npy', '%2Enpy'),
        ('C:/x', 'C%3A/x'),
        ('CC:/x', 'CC:/x'),
        ('Objio.JSON', 'Objio%2EJSON'),
        ('objio.json/x', 'objio.json/x'),
        ('/.', '%2F.'),
    ],
)
def test_each_step_of_the_encoding(name: str, member: str) -> None:
    """The steps of the specification, one example each: they are frozen with the version."""
    assert member_name(name) == f'{member}.npy'.encode()


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('', 'empty'),
        ('a\0b', 'NUL'),
        ('a\ud800b', 'lone surrogate'),
        ('x' * 4092, 'takes 4096 bytes in the file, at most 4095'),
        ('é' * 2046, 'takes 4096 bytes'),
        (7, 'must be a str, got 7'),
    ],
)
def test_names_that_no_file_can_hold(name: object, message: str) -> None:
    """An impossible name is refused, and the message says why."""
    with pytest.raises(UnsaveableError, match=message):
        member_name(name)


def test_the_longest_name() -> None:
    """A member name of 4,095 bytes is the longest."""
    name = 'x' * 4091
    assert list(load(save({name: np.zeros(1)}))) == [name]

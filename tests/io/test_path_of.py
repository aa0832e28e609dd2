"""What every verb takes as a file: a path in any of its forms, or a file object."""

import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from objio.io.files import display_name, path_of


class Folder(os.PathLike[str]):
    def __init__(self, path: object) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path  # type: ignore[return-value]  # some break the protocol


@pytest.mark.parametrize(
    ('file', 'path'),
    [
        ('a.npz', 'a.npz'),
        (b'a.npz', 'a.npz'),
        (Path('b') / 'a.npz', os.path.join('b', 'a.npz')),
        (pathlib.PurePosixPath('/b/a.npz'), '/b/a.npz'),
        (Folder('a.npz'), 'a.npz'),
        (Folder(b'a.npz'), 'a.npz'),
        ('~/$HOME/[a] *.npz', '~/$HOME/[a] *.npz'),
        ('../b//./a.npz ', '../b//./a.npz '),
        ('', ''),
    ],
)
def test_a_path_is_taken_as_given(file: object, path: str) -> None:
    """A str, bytes or PathLike becomes a str; nothing in it is expanded, shortened or added."""
    assert path_of(file) == path  # type: ignore[arg-type]
    assert type(path_of(file)) is str  # type: ignore[arg-type]
    assert display_name(file) == path  # type: ignore[arg-type]


def test_bytes_that_are_no_text_name_the_same_file(tmp_path: Path) -> None:
    """A name of any bytes comes through to the system as it was."""
    name = os.fsencode(tmp_path) + b'/\xff\xfe.npz'
    path = path_of(name)  # type: ignore[arg-type]  # bytes work, though they are not promised
    assert path is not None
    assert os.fsencode(path) == name


def test_a_file_object_has_no_path(tmp_path: Path) -> None:
    """Whatever reads or writes is a file object, also one that has a name."""
    with open(tmp_path / 'a', 'wb') as a, tempfile.NamedTemporaryFile() as b, gzip.open(tmp_path / 'c', 'wb') as c:
        for file in (a, b, c, io.BytesIO()):
            assert path_of(file) is None  # type: ignore[arg-type]
        assert display_name(a) == str(tmp_path / 'a')
    assert display_name(io.BytesIO()) == '<BytesIO>'


@pytest.mark.parametrize('file', ['a\0.npz', b'a\0.npz', Path('a\0.npz'), Folder('a\0')])
def test_nul_in_a_path_is_refused(file: object) -> None:
    """The error shows the path; no system could open it."""
    with pytest.raises(ValueError, match=r'cannot contain NUL.*\\x00'):
        path_of(file)  # type: ignore[arg-type]


@pytest.mark.parametrize('file', [None, 3, 1.5, ['a.npz'], {'w': 1}, object()], ids=lambda file: type(file).__name__)
def test_what_is_no_file_is_refused(file: object) -> None:
    """The error says what was expected and what was given; a descriptor's number is no file either."""
    with pytest.raises(TypeError, match=rf'expected a path .* or a binary file object, got {type(file).__name__}'):
        path_of(file)  # type: ignore[arg-type]


def test_a_broken_path_is_refused() -> None:
    """An object whose `__fspath__` gives no path is the TypeError that `os` raises."""
    with pytest.raises(TypeError):
        path_of(Folder(3))


def test_it_needs_no_jax() -> None:
    """Telling a path from a file object does not import JAX."""
    code = "import sys\nfrom objio.io.files import path_of\nassert path_of('a') == 'a'\nassert 'jax' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, '-c', code], cwd=root, check=True, timeout=60)

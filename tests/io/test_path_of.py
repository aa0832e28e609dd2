"""What every verb takes as a file: a path in any of its forms, or a file object."""

import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from objio.io.files import FixedPath, display_name, path_of, path_of_folder


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
        ('a/$HOME/[a] *.npz', 'a/$HOME/[a] *.npz'),
        ('~backup.npz', '~backup.npz'),
        ('~root/a.npz', '~root/a.npz'),
        ('~~/a.npz', '~~/a.npz'),
        ('a~/b.npz', 'a~/b.npz'),
        ('./~/a.npz', './~/a.npz'),
        (' ~/a.npz', ' ~/a.npz'),
        ('./s3:/a.npz', './s3:/a.npz'),
        ('a:/b.npz', 'a:/b.npz'),
        ('s3:a.npz', 's3:a.npz'),
        (Path('c:/a.npz'), 'c:/a.npz'),
        ('../b//./a.npz ', '../b//./a.npz '),
        ('', ''),
    ],
)
def test_a_path_is_taken_as_given(file: object, path: str) -> None:
    """A str, bytes or PathLike becomes a str; nothing in it is expanded, shortened or added."""
    assert path_of(file) == path  # type: ignore[arg-type]
    assert type(path_of(file)) is str  # type: ignore[arg-type]
    assert display_name(file) == path  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('file', 'path'),
    [
        ('~', '/h'),
        ('~/', '/h/'),
        ('~/a.npz', '/h/a.npz'),
        ('~/.a/~/b', '/h/.a/~/b'),
        ('~/~', '/h/~'),
        (b'~/a.npz', '/h/a.npz'),
        (Path('~/a.npz'), '/h/a.npz'),
        (Path('~'), '/h'),
        (Folder('~/a'), '/h/a'),
        (Folder(b'~/a'), '/h/a'),
    ],
)
def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, file: object, path: str) -> None:
    """Alone or before a slash, in every kind of path; once, so that the result is a path as any other."""
    for home in ('/h', '/h/'):
        monkeypatch.setenv('HOME', home)
        assert path_of(file) == path  # type: ignore[arg-type]
        assert path_of_folder(file) == path  # type: ignore[arg-type]
        assert path_of(path) == path
    monkeypatch.setenv('HOME', '/')
    assert path_of('~/a') == '/a'


def test_without_home_the_system_knows_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variable HOME is not set, as in some services, the list of users has it."""
    monkeypatch.delenv('HOME', raising=False)
    monkeypatch.setattr('pwd.getpwuid', lambda _: SimpleNamespace(pw_dir='/of/the/user'))
    assert path_of('~/a.npz') == '/of/the/user/a.npz'


@pytest.mark.parametrize('home', [None, '', '~', 'home', './home'])
@pytest.mark.parametrize('file', ['~', '~/a.npz', Path('~/run')])
def test_a_home_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch, home: str | None, file: object) -> None:
    """No folder called `~` comes into being, and nothing in the working folder or below the root."""

    def nobody(_: int) -> None:
        raise KeyError('uid not found')

    monkeypatch.setattr('pwd.getpwuid', nobody)
    if home is None:
        monkeypatch.delenv('HOME', raising=False)
    else:
        monkeypatch.setenv('HOME', home)
    with pytest.raises(ValueError, match=r"'~.*absolute path of the home folder.*set HOME, or give the whole path"):
        path_of(file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    'file',
    [
        *('s3://bucket/a.npz', 'file:///a', b'gs://b/a', Path('s3://bucket/a.npz'), Path('hf+x://a'), Folder('az://a')),
        *(str(Path('s3://bucket/a.npz')), os.path.normpath('gs://b/a/'), str(Path('file:///a')), b'az:/a'),
    ],
)
def test_a_url_is_refused(file: object) -> None:
    """Also one that a Path has taken a slash from, which would name a folder `s3:` of the working folder."""
    for asked in (path_of, path_of_folder):
        with pytest.raises(ValueError, match='://.* is a URL, but objio reads and writes local files only so far'):
            asked(file)  # type: ignore[arg-type,operator]


def test_the_bytes_of_a_file_are_told_from_its_name() -> None:
    """The message is short, however large the file, and says how bytes are read."""
    with pytest.raises(ValueError, match=r'for the bytes of a file pass io\.BytesIO\(them\)') as info:
        path_of(b'PK\x03\x04\0' + bytes(10**6))  # type: ignore[arg-type]
    assert len(str(info.value)) < 500


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


@pytest.mark.parametrize('folder', [None, 3, ['a'], io.BytesIO()], ids=lambda folder: type(folder).__name__)
def test_what_is_no_folder_is_refused(folder: object) -> None:
    """A file object is no folder either."""
    with pytest.raises(TypeError, match=rf'expected the path of a folder .*, got {type(folder).__name__}'):
        path_of_folder(folder)  # type: ignore[arg-type]


def test_a_fixed_path_means_what_it_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was given where the program stays, absolute where it has gone elsewhere, and as given again when it is back."""
    monkeypatch.chdir(tmp_path)
    relative, absolute = FixedPath('a'), FixedPath('/a')
    assert (relative.path, absolute.path) == ('a', '/a')
    monkeypatch.chdir('/')
    assert (relative.path, absolute.path) == (str(tmp_path / 'a'), '/a')
    monkeypatch.chdir(tmp_path)
    assert relative.path == 'a'


def test_a_broken_path_is_refused() -> None:
    """An object whose `__fspath__` gives no path is the TypeError that `os` raises."""
    with pytest.raises(TypeError):
        path_of(Folder(3))


def test_it_needs_no_jax() -> None:
    """Telling a path from a file object does not import JAX."""
    code = "import sys\nfrom objio.io.files import path_of\nassert path_of('a') == 'a'\nassert 'jax' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, '-c', code], cwd=root, check=True, timeout=60)

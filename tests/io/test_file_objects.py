"""Verbs that write into a file object of the caller: what the caller has written before stays."""

import gzip
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np
import pytest

import objio

HEADER = b'{"width": 3}\n'
MODULE = objio.nn.Linear(3, 2)
ARRAYS = {'w': jnp.arange(3.0), 'b': jnp.ones((2, 2), jnp.bfloat16)}


def save(file: Any) -> None:
    objio.save_var_collection(file, ARRAYS, metadata={'epoch': 7})


def save_module(file: Any) -> None:
    objio.save_module(file, MODULE)


def convert(file: Any) -> None:
    source = io.BytesIO()
    np.savez(source, w=np.ones(3))
    objio.convert(source, file)


WRITERS = [save, save_module, convert]
OPENED: dict[str, Callable[[Path], IO[bytes]]] = {
    'wb': lambda path: open(path, 'wb'),
    'w+b': lambda path: open(path, 'w+b'),
    'xb, unbuffered': lambda path: open(path, 'xb', buffering=0),
    'BytesIO': lambda _: io.BytesIO(),
    'NamedTemporaryFile': lambda path: tempfile.NamedTemporaryFile(dir=path.parent),
    'SpooledTemporaryFile': lambda _: tempfile.SpooledTemporaryFile(1000),
}


def content(file: IO[bytes]) -> bytes:
    if isinstance(getattr(file, 'name', None), str):
        file.flush()
        return Path(file.name).read_bytes()
    file.seek(0)
    return file.read()


@pytest.mark.parametrize('kind', OPENED)
@pytest.mark.parametrize('write', WRITERS)
def test_what_stands_before_is_not_overwritten(tmp_path: Path, write: Callable[[Any], None], kind: str) -> None:
    """A file object that stands behind a header is refused: the header stays, and nothing is behind it."""
    with OPENED[kind](tmp_path / 'm.bin') as file:
        file.write(HEADER)
        with pytest.raises(ValueError, match='stands at position 13, but objio writes from position 0'):
            write(file)
        assert file.tell() == len(HEADER)
        assert content(file) == HEADER


@pytest.mark.parametrize('write', WRITERS)
def test_two_saves_into_one_file_object(write: Callable[[Any], None]) -> None:
    """After a save a file object stands at its end: the next one is refused, and `seek(0)` lets it replace the first."""
    file = io.BytesIO(b'old' * 100_000)
    write(file)
    first = file.getvalue()
    with pytest.raises(ValueError, match=f'stands at position {len(first)}'):
        write(file)
    assert file.getvalue() == first
    file.seek(0)
    write(file)
    assert file.getvalue() == first


def test_the_cure_of_the_error_works(tmp_path: Path) -> None:
    """A save behind a header, by way of memory, is read back behind it."""
    buffer = io.BytesIO()
    save(buffer)
    with open(tmp_path / 'm.bin', 'wb') as file:
        file.write(HEADER)
        file.write(buffer.getvalue())
    with open(tmp_path / 'm.bin', 'rb') as file:
        assert file.readline() == HEADER
        with objio.open(io.BytesIO(file.read())) as saved:
            np.testing.assert_array_equal(saved['w'], ARRAYS['w'])
            assert saved.metadata == {'epoch': 7}


@pytest.mark.parametrize('write', WRITERS)
def test_a_stream_follows_what_was_written(tmp_path: Path, write: Callable[[Any], None]) -> None:
    """What cannot go back, a compressor or a pipe, gets the bytes of the save behind the header."""
    whole = io.BytesIO()
    write(whole)
    with gzip.open(tmp_path / 'm.gz', 'wb') as file:
        file.write(HEADER)
        write(file)
    with gzip.open(tmp_path / 'm.gz') as file:
        assert file.read() == HEADER + whole.getvalue()
    ends = os.pipe()
    with open(ends[0], 'rb') as source, open(ends[1], 'wb') as file:
        file.write(HEADER)
        write(file)
        file.close()
        assert source.read() == HEADER + whole.getvalue()


UNSAVEABLE = {
    'an array of objects': lambda file: objio.save_var_collection(file, {'w': np.array([object()])}),
    'an empty name': lambda file: objio.save_var_collection(file, {'': jnp.ones(2)}),
    'metadata': lambda file: objio.save_var_collection(file, ARRAYS, metadata={'epoch': (1, 2)}),
    'a lambda in a module': lambda file: objio.save_module(file, with_lambda()),
    'no module': lambda file: objio.save_module(file, {'w': 1}),
    'a file that is none': lambda file: objio.convert(io.BytesIO(b'none'), file),
}


def with_lambda() -> objio.Module:
    module = objio.nn.Linear(3, 2)
    module.activation = lambda x: x
    return module


@pytest.mark.parametrize('kind', UNSAVEABLE)
def test_all_is_checked_before_the_first_byte(kind: str) -> None:
    """What cannot be saved leaves the file object as it was, content and position."""
    file = io.BytesIO(HEADER)
    with pytest.raises((ValueError, TypeError)):
        UNSAVEABLE[kind](file)
    assert (file.tell(), file.getvalue()) == (0, HEADER)


@pytest.mark.parametrize('read_by', ['path', 'file object', 'link'])
def test_a_file_is_not_converted_into_itself_in_place(tmp_path: Path, read_by: str) -> None:
    """A file object of the file that is read would be overwritten while it is read; the file stays whole."""
    path = tmp_path / 'a.npz'
    save(path)
    before = path.read_bytes()
    os.symlink(path, tmp_path / 'link.npz')
    with open(path, 'rb') as second, open(path, 'r+b') as file:
        source = {'path': path, 'file object': second, 'link': tmp_path / 'link.npz'}[read_by]
        with pytest.raises(ValueError, match='cannot be written while it is read'):
            objio.convert(source, file)
    assert path.read_bytes() == before


def test_a_read_goes_from_position_0_and_puts_the_position_back(tmp_path: Path) -> None:
    """Wherever a file object stands, all of it is read, and the position is the caller's again."""
    save(tmp_path / 'a.npz')
    for file in (io.BytesIO((tmp_path / 'a.npz').read_bytes()), open(tmp_path / 'a.npz', 'rb')):
        with file:
            file.seek(9)
            assert objio.verify(file)
            assert file.tell() == 9

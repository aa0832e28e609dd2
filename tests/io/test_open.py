"""Looking into files: `open` as a mapping of NumPy arrays, and `verify`."""

import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import tree_vars

import objio
from objio import TrainVar, VarCollection

FDS = Path('/dev/fd')
WITH_FDS = pytest.mark.skipif(not FDS.exists(), reason='nothing lists the open files of a process here')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three arrays, one of them under two names."""
    w = TrainVar(jnp.arange(6.0).reshape(2, 3))
    vc = VarCollection({'w': w, 'tied': w}) + tree_vars({'bf': jnp.ones(3, 'bfloat16'), 'n': 7})
    objio.save_var_collection(tmp_path / 'net.npz', vc, metadata={'epoch': [3]})
    return tmp_path / 'net.npz'


def test_an_open_file_is_a_mapping(path: Path) -> None:
    """Names, aliases among them, to arrays; dtypes and shapes without reading one."""
    with objio.open(path) as saved:
        assert list(saved) == ['w', 'bf', 'n', 'tied']
        assert (len(saved), 'tied' in saved, 'x' in saved, saved.get('x'), 3 in saved) == (4, True, False, None, False)
        assert saved.aliases == {'tied': 'w'}
        assert saved.metadata == {'epoch': [3]}
        assert saved.kind == 'objio-npz 1'
        assert saved.dtypes == {'w': 'float32', 'bf': 'bfloat16', 'n': 'int64', 'tied': 'float32'}
        assert saved.shapes == {'w': (2, 3), 'bf': (3,), 'n': (), 'tied': (2, 3)}
        assert saved['bf'].dtype == jnp.bfloat16
        assert (saved['n'].shape, int(saved['n'])) == ((), 7)
        np.testing.assert_array_equal(saved['tied'], saved['w'])
        assert {name: array.shape for name, array in saved.items()} == saved.shapes
        assert repr(saved) == f'<{path}: objio-npz 1, 3 arrays, 1 aliases>'


def test_each_array_is_ones_own(path: Path) -> None:
    """What was read can be written to, and reading again gives the file's values."""
    with objio.open(path) as saved:
        saved['w'][:] = 9
        assert saved['w'].sum() == 15
        assert saved['w'].ctypes.data % 64 == 0


def test_mapped_arrays_are_read_only_pages(path: Path) -> None:
    """With `mmap` nothing is copied: the arrays share the file's pages and cannot be written to."""
    with objio.open(path, mmap=True) as saved:
        one, other = saved['w'], saved['tied']
    assert np.shares_memory(one, other)
    with pytest.raises(ValueError, match='read-only'):
        one[:] = 9
    path.unlink()
    assert other.sum() == 15


def test_a_name_that_is_not_there_gives_its_neighbours(path: Path) -> None:
    """A KeyError that names the file, and what is called alike."""
    with objio.open(path) as saved:
        with pytest.raises(KeyError, match=r"net\.npz has no array 'tie'; near it are 'tied'"):
            _ = saved['tie']
        with pytest.raises(KeyError, match="has no array 'zzzzzz'"):
            _ = saved['zzzzzz']


@WITH_FDS
def test_a_closed_file_is_closed(path: Path) -> None:
    """Arrays stay; a new one is a ValueError that says why; the descriptor is gone, with or without `close`."""
    count = len(os.listdir(FDS))
    for mmap in [False, True]:
        with objio.open(path, mmap=mmap) as saved:
            array = saved['w']
        assert array.sum() == 15
        with pytest.raises(ValueError, match=r"net\.npz was closed; read 'bf' before"):
            _ = saved['bf']
        saved.close()
        assert saved.shapes['bf'] == (3,)
        del array, saved
        gc.collect()
        assert len(os.listdir(FDS)) == count
    array = objio.open(path)['w']
    gc.collect()
    assert len(os.listdir(FDS)) == count
    assert array.sum() == 15


@WITH_FDS
def test_a_file_that_cannot_be_read_is_not_left_open(tmp_path: Path) -> None:
    """An error while opening closes what was opened."""
    (tmp_path / 'x.npz').write_bytes(b'PK' * 100)
    count = len(os.listdir(FDS))
    for verb in [objio.open, objio.plan_load]:
        with pytest.raises(objio.FormatError):
            verb(tmp_path / 'x.npz', *[{}] * (verb is objio.plan_load))
    assert len(os.listdir(FDS)) == count


def test_a_file_object_stays_open_where_it_was(path: Path) -> None:
    """Reading leaves the caller's file object open, at the position it had."""
    for file in [io.BytesIO(path.read_bytes()), path.open('rb'), path.open('rb', buffering=0)]:
        with file:
            file.seek(5)
            with objio.open(file) as saved:
                assert saved['w'].sum() == 15
            assert not file.closed
            assert file.tell() == 5


def test_an_array_is_checked_when_it_is_read(path: Path) -> None:
    """Damage in one array leaves the others readable; `verify=False` does not look."""
    data = bytearray(path.read_bytes())
    with objio.open(path, mmap=True) as saved:
        at = data.index(saved['w'].tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    for mmap in [False, True]:
        with objio.open(path, mmap=mmap) as saved:
            assert saved['n'] == 7
            for name in ['w', 'tied']:
                with pytest.raises(objio.FormatError, match=r"net\.npz: 'w'.*checksum"):
                    _ = saved[name]
        with objio.open(path, mmap=mmap, verify=False) as saved:
            assert saved['w'].shape == (2, 3)


def test_opening_a_file_does_not_wait_for_jax(path: Path) -> None:
    """`open`, `verify` and `average` never import JAX."""
    code = f'import objio, sys; objio.open({str(path)!r})["w"]; objio.verify({str(path)!r}); objio.average([{str(path)!r}])'
    code += '; assert not {"jax", "jaxlib"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)})


def test_verify_finds_every_damaged_array(path: Path) -> None:
    """A report, true where all is whole, that names each damaged array; nothing is raised."""
    report = objio.verify(path)
    assert report
    assert str(report) == f'{path}: whole (objio-npz 1, 3 arrays, 0.0 MiB)'
    assert (report.arrays, report.nbytes, report.kind) == (3, 24 + 6 + 8, 'objio-npz 1')
    data = bytearray(path.read_bytes())
    with objio.open(path, mmap=True) as saved:
        for name in ['w', 'bf']:
            data[data.index(saved[name].tobytes())] ^= 1
    for file in [path, io.BytesIO(bytes(data))]:
        if file is path:
            path.write_bytes(data)
        report = objio.verify(file)
        assert not report
        assert [message.split(': ')[1] for message in report.damaged] == ["'w'", "'bf'"]
        assert 'damaged\n' in str(report)
    path.write_bytes(data[:-1])
    report = objio.verify(path)
    assert (bool(report), report.kind, len(report.damaged)) == (False, '', 1)
    with pytest.raises(FileNotFoundError):
        objio.verify(path.with_name('nowhere.npz'))


def test_verify_needs_little_memory(tmp_path: Path) -> None:
    """A file is checked a piece at a time, however large its arrays are."""
    objio.save_var_collection(tmp_path / 'x.npz', {'w': np.zeros(1 << 20)})
    asked: list[int] = []
    before = objio.io.arrays.allocate
    objio.io.arrays.allocate = lambda nbytes: asked.append(nbytes) or before(nbytes)
    try:
        assert objio.verify(tmp_path / 'x.npz')
    finally:
        objio.io.arrays.allocate = before
    assert not asked


def test_a_file_in_text_mode_is_refused(tmp_path: Path) -> None:
    """Text mode is one clear error, for reading and for writing, and changes nothing."""
    path = tmp_path / 'x.npz'
    objio.save_var_collection(path, {'w': 1})
    data = path.read_bytes()
    with path.open('r+', encoding='utf-8') as file:
        with pytest.raises(TypeError, match='text mode'):
            objio.open(file)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match='text mode'):
            objio.save_var_collection(file, {'w': 1})  # type: ignore[arg-type]
    assert path.read_bytes() == data

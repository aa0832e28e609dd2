"""Zip programs of other people accept what objio wrote."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from support_formats import Entry, entry, save, written

from objio.formats import ArraySpec

Tool = Callable[[str], str]
NAMES = [
    '(Sequential)[0](Linear).w',
    'é/\U0001f600',
    '../up',
    '/abs',
    'a//b/',
    'C:\\x',
    'x.npy',
    '50%',
    '\n',
    'objio.json',
]


@pytest.fixture(scope='module')
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with ordinary and with strange names, large, small, 0-d and empty arrays."""
    path = tmp_path_factory.mktemp('tools') / 'net.npz'
    arrays = {name: np.arange(index * 7, dtype=np.float32) for index, name in enumerate(NAMES)}
    arrays |= {'large': np.ones((300, 1000)), 'scalar': np.array(True), 'bf16': np.ones(3, ml_dtypes.bfloat16)}
    path.write_bytes(save(arrays, aliases={'tied': 'large'}, metadata={'step': 1}))
    return path


@pytest.fixture(scope='module')
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of so many members that its end is in zip64."""
    path = tmp_path_factory.mktemp('tools') / 'many.npz'
    item = entry('', np.ones(3, np.uint8))
    path.write_bytes(written([Entry(f'w{index}', ArraySpec('uint8', (3,)), item.blocks) for index in range(66_000)]))
    return path


@pytest.fixture(params=['usual', 'many'])
def path(request: pytest.FixtureRequest) -> Path:
    """Each of the two files."""
    return request.getfixturevalue(request.param)


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


def test_unzip(tool: Tool, path: Path) -> None:
    """Info-ZIP's `unzip -t` finds no error."""
    assert 'No errors detected in compressed data' in output(tool('unzip'), '-t', path)


def test_7zip(tool: Tool, path: Path) -> None:
    """`7z t` finds no error and no warning."""
    report = output(tool('7z'), 't', path)
    assert 'Everything is Ok' in report
    assert 'Warning' not in report


def test_python(path: Path) -> None:
    """`python -m zipfile -t` finds no error."""
    assert 'Done testing' in output(sys.executable, '-m', 'zipfile', '-t', path)


def test_busybox(tool: Tool, usual: Path) -> None:
    """busybox, which knows no zip64, lists and tests a usual file."""
    busybox = tool('busybox')
    listing = output(busybox, 'unzip', '-l', usual)
    assert f'{len(NAMES) + 4} files' in listing
    assert '%2E%2E/up.npy' in listing
    output(busybox, 'unzip', '-t', usual)


def test_java(tool: Tool, path: Path) -> None:
    """`java.util.zip` reads every member, by the directory and as a stream, with the right checksum."""
    lines = output(tool('java'), Path(__file__).with_name('ReadZip.java'), path).split('\n')
    with zipfile.ZipFile(path) as file:
        expected = f'{len(file.infolist())} {sum(info.file_size for info in file.infolist())}'
    assert lines[:2] == [expected, expected]


def test_unpacking_stays_in_its_folder(tool: Tool, usual: Path, tmp_path: Path) -> None:
    """`unzip` puts every member below the folder it unpacks into, and each of these files is an array for NumPy."""
    folder = tmp_path / 'a'
    output(tool('unzip'), '-q', usual, '-d', folder)
    files = [file for file in tmp_path.rglob('*') if file.is_file()]
    assert len(files) == len(NAMES) + 4
    assert all(folder in file.parents for file in files)
    for file in files:
        assert file.name == 'objio.json' or np.load(file).dtype.kind in 'fub'

"""Files that were written once are read, and written again to the same bytes, by every later version."""

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from support_formats import MemorySink, MemorySource, SeekableMemorySink, encoded, read_array, read_bytes
from support_golden import ALIASES, METADATA, arrays, content

from objio.formats import ArraySpec, dtypes, npz

DATA = Path(__file__).parents[1] / 'data'
GOLDEN = (DATA / 'objio-npz-1.npz').read_bytes()
OBJAX = json.loads((DATA / 'objax-1.8.0.json').read_text(encoding='utf-8'))


def test_the_golden_file_is_the_one_that_was_made() -> None:
    """Nobody wrote the golden file anew."""
    digest = 'e536152830580495b3ebfd6f61db944040b1278b8d317ad48198d59fc981b3e7'
    assert hashlib.sha256(GOLDEN).hexdigest() == digest


def test_version_1_is_read() -> None:
    """Each name, dtype, shape, byte, alias and metadatum of the golden file comes back."""
    archive = npz.decode(MemorySource(GOLDEN))
    assert archive.kind == 'objio-npz 1'
    assert list(archive.specs.items()) == [(name, ArraySpec(*known[:2])) for name, known in arrays().items()]
    for name, (_, _, data) in arrays().items():
        assert read_bytes(archive, name) == data
    assert archive.aliases == ALIASES
    assert json.dumps(archive.metadata) == json.dumps(METADATA)


@pytest.mark.parametrize('sink', [MemorySink, SeekableMemorySink])
def test_version_1_is_still_written_like_this(sink: type[MemorySink]) -> None:
    """The same content gives the bytes of the golden file."""
    target = sink()
    encoded(*content()).write(target)
    assert target.value() == GOLDEN


def test_the_golden_file_holds_every_dtype() -> None:
    """No dtype can be added to the format without a word in the golden file."""
    assert {label for label, _, _ in arrays().values()} == set(dtypes.WRITABLE)


def test_numpy_alone_reads_version_1() -> None:
    """With `np.load`, `json` and `unquote`, as the specification says, every stored number comes out."""
    with np.load(io.BytesIO(GOLDEN)) as loaded, zipfile.ZipFile(io.BytesIO(GOLDEN)) as file:
        manifest = json.loads(file.read('objio.json'))
        found = {unquote(name): loaded[name] for name in loaded.files if name != 'objio.json'}
    assert [tuple(item) for item in manifest['arrays']] == [
        (name, label, list(shape)) for name, (label, shape, _) in arrays().items()
    ]
    assert list(found) == list(arrays())
    for name, (_, shape, data) in arrays().items():
        assert found[name].shape[: len(shape)] == shape
        assert found[name].tobytes() == data


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('bool/2/6', [[False, True, False], [True, False, True]]),
        ('int2/2/6', [[1, -2, -1], [0, 1, -2]]),
        ('int4/2/6', [[4, -7, -2], [3, -8, -3]]),
        ('uint4/0/1', 15),
        ('int16/0/1', 2 + (39 << 8)),
        ('bfloat16/2/6', [[0x330E, 0x7D58, 0xC7A2], [0x11EC, 0x5B36, 0xA580]]),
        ('key<threefry2x32>/0/1', [0x8F6A4520, 0x23FED9B4]),
    ],
)
def test_values_of_the_golden_file(name: str, values: object) -> None:
    """Some arrays as values: a sign, a bit or an order that was misread would show."""
    array = read_array(npz.decode(MemorySource(GOLDEN)), name)
    array = array.view(np.uint16) if name.startswith('bfloat16') else array
    np.testing.assert_array_equal(array.astype(array.dtype if array.dtype.kind != 'V' else int), values)


@pytest.mark.parametrize('file', ['objax-1.8.0.npz', 'objax-seekable.npz'])
def test_a_file_of_objax_is_read(file: str) -> None:
    """What Objax 1.8.0 wrote comes back under its names: each variable once, under the first of its names."""
    archive = npz.decode(MemorySource((DATA / file).read_bytes()))
    assert archive.kind == 'Objax npz'
    assert archive.metadata == {}
    assert archive.aliases == {}
    first_names = {known['stored as'] for known in OBJAX['variables'].values()}
    assert set(archive.specs) == first_names
    assert any(known['reference'] for known in OBJAX['variables'].values())
    for name in first_names:
        known = OBJAX['variables'][name]
        assert archive.specs[name] == ArraySpec(known['dtype'], tuple(known['shape']))
        assert archive.nbytes(name) == 4 * math.prod(known['shape'])
        np.testing.assert_array_equal(read_array(archive, name).reshape(-1), known['values'])

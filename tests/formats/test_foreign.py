"""Files of `np.savez`, `np.savez_compressed` and Objax are read as NumPy reads them."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support_formats import MemorySource, load, read_array, read_bytes

from objio.errors import FormatError
from objio.formats import dtypes, npz


class Stream(io.BytesIO):
    """A file that can only be written on: zipfile then puts sizes and checksums behind the contents."""

    def seek(self, *_: Any) -> int:
        raise OSError('no way back')

    def tell(self) -> int:
        raise OSError('no way back')


WRITERS = [
    pytest.param(save, file, id=f'{save.__name__}-{file.__name__}')
    for save in (np.savez, np.savez_compressed)
    for file in (io.BytesIO, Stream)
]


def foreign(save: Callable[..., None], file: Callable[[], io.BytesIO], arrays: dict[str, np.ndarray]) -> bytes:
    target = file()
    save(target, **arrays)
    return target.getvalue()


@pytest.mark.parametrize(('save', 'file'), WRITERS)
@given(
    arrays=st.dictionaries(
        st.text('abc(/)[].', min_size=1, max_size=8).filter(lambda name: '..' not in name and name[0] != '/'),
        hnp.arrays(
            hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in 'biufcM' and dtype.char not in 'gG')
            | hnp.unicode_string_dtypes(max_len=4)
            | hnp.byte_string_dtypes(max_len=4),
            hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
        ),
        max_size=4,
    ),
    fortran=st.booleans(),
)
def test_what_numpy_writes_is_read(
    save: Callable[..., None], file: Callable[[], io.BytesIO], arrays: dict[str, np.ndarray], fortran: bool
) -> None:
    """Any arrays of numbers, text and dates, in any order of axes and bytes, come back under their names."""
    if fortran:
        arrays = {name: np.asfortranarray(array).reshape(array.shape) for name, array in arrays.items()}
    data = foreign(save, file, arrays)
    found = load(data)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder('<')
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder('<')).tobytes()


@pytest.mark.parametrize(('save', 'file'), WRITERS)
def test_large_members(save: Callable[..., None], file: Callable[[], io.BytesIO]) -> None:
    """Arrays larger than a piece come back, turned where they lie the other way round."""
    rng = np.random.default_rng(0)
    arrays = {
        'plain': rng.integers(0, 9, (700, 500)),
        'fortran': np.asfortranarray(rng.integers(0, 9, (300, 70, 11))),
        'big': rng.integers(0, 9, 300_000).astype('>i8'),
        'both': np.asfortranarray(rng.integers(0, 9, (600, 500)).astype('>c16')),
    }
    found = load(foreign(save, file, arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_dtypes_that_numpy_writes_but_does_not_know() -> None:
    """Arrays of `ml_dtypes` are found as raw bytes of their width, which a view turns back."""
    arrays = {
        'bfloat16': np.array([1, -2.5], ml_dtypes.bfloat16),
        'big-endian': np.array([1, -2.5], ml_dtypes.bfloat16),
        'float8_e5m2': np.array([1, -2], ml_dtypes.float8_e5m2),
        'float8_e4m3fn': np.array([1, -2], ml_dtypes.float8_e4m3fn),
        'int4': np.array([1, -2], ml_dtypes.int4),
    }
    turned = arrays['big-endian'].view(np.uint16).byteswap().view(arrays['bfloat16'].dtype.newbyteorder('>'))
    data = foreign(np.savez, io.BytesIO, arrays | {'big-endian': turned})
    archive = npz.decode(MemorySource(data))
    for name, array in arrays.items():
        assert archive.specs[name].dtype == f'V{array.itemsize}'
        np.testing.assert_array_equal(read_array(archive, name).view(array.dtype), array)


def test_a_file_without_arrays() -> None:
    """`np.savez` of nothing is an archive of nothing."""
    archive = npz.decode(MemorySource(foreign(np.savez, io.BytesIO, {})))
    assert dict(archive.specs) == {}
    assert archive.kind == 'numpy npz'


def test_unreadable_arrays_are_listed() -> None:
    """Python objects and records are listed and refused when read; the arrays beside them are read."""
    arrays = {'o': np.array([{}], object), 'r': np.zeros(2, 'i4,f4'), 'w': np.ones(3)}
    archive = npz.decode(MemorySource(foreign(np.savez, io.BytesIO, arrays)))
    assert {name: spec.dtype for name, spec in archive.specs.items()} == {
        'o': 'object',
        'r': 'structured',
        'w': 'float64',
    }
    np.testing.assert_array_equal(read_array(archive, 'w'), [1, 1, 1])
    with pytest.raises(FormatError, match="'o' holds Python objects; objio never unpickles"):
        read_bytes(archive, 'o')
    with pytest.raises(FormatError, match="'r' holds structured records"):
        read_bytes(archive, 'r')
    with pytest.raises(FormatError, match='never unpickles'):
        archive.mapped('o')


def test_old_spellings_of_the_header() -> None:
    """Headers of NPY 2.0 and 3.0, and of Python 2 with its long integers, are read."""
    files = {}
    for version in ((1, 0), (2, 0), (3, 0)):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.arange(6).reshape(2, 3), version)
        files[f'v{version[0]}'] = file.getvalue()
    files['long'] = files['v1'].replace(b'(2, 3), }  ', b'(2L, 3L), }')
    assert files['long'] != files['v1']
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as file:
        for name, content in files.items():
            file.writestr(f'{name}.npy', content)
    for array in load(data.getvalue()).values():
        np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize('signed', [True, False])
@pytest.mark.parametrize('wide', [True, False])
def test_all_four_data_descriptors(signed: bool, wide: bool) -> None:
    """What stands behind a streamed content, with and without a mark, in 4 or 8 bytes, is understood and compared."""
    content = io.BytesIO()
    np.save(content, np.arange(5))
    raw = content.getvalue()
    crc = zipfile.crc32(raw)
    descriptor = (b'PK\7\x08' if signed else b'') + struct.pack('<LQQ' if wide else '<LLL', crc, len(raw), len(raw))

    def whole(descriptor: bytes) -> bytes:
        local = struct.pack('<4s5H3L2H', b'PK\3\4', 20, 8, 0, 0, 33, 0, 0, 0, 5, 0) + b'a.npy'
        body = local + raw + descriptor
        entry = struct.pack('<4s6H3L5H2L', b'PK\1\2', 20, 20, 8, 0, 0, 33, crc, len(raw), len(raw), 5, 0, 0, 0, 0, 0, 0)
        end = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, 1, 1, len(entry) + 5, len(body), 0)
        return body + entry + b'a.npy' + end

    np.testing.assert_array_equal(load(whole(descriptor))['a'], np.arange(5))
    for at in range(len(descriptor)):
        changed = bytearray(descriptor)
        changed[at] ^= 1
        with pytest.raises(FormatError, match='up to the next member'):
            npz.decode(MemorySource(whole(bytes(changed))))


def test_members_are_inflated_only_when_they_are_read() -> None:
    """Opening a compressed file of 8 MB takes less than 1 MB of memory."""
    rng = np.random.default_rng(0)
    arrays = {f'w{index}': rng.integers(0, 4, 1_000_000, np.uint8) for index in range(8)}
    data = foreign(np.savez_compressed, io.BytesIO, arrays)
    tracemalloc.start()
    archive = npz.decode(MemorySource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    np.testing.assert_array_equal(read_array(archive, 'w7'), arrays['w7'])


def objax(names: Any, *values: np.ndarray, file: Callable[[], io.BytesIO] = Stream) -> bytes:
    return foreign(np.savez, file, {'names': np.array(names), **{str(i): value for i, value in enumerate(values)}})


@given(st.lists(st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0')), min_size=1, unique=True))
def test_objax_names_are_the_names(names: list[str]) -> None:
    """The numbered arrays of an Objax file have the names that its `names` give, in their order."""
    archive = npz.decode(MemorySource(objax(names, *(np.full(2, index) for index in range(len(names))))))
    assert archive.kind == 'Objax npz'
    assert list(archive.specs) == names
    for index, name in enumerate(names):
        np.testing.assert_array_equal(read_array(archive, name), [index, index])


@pytest.mark.parametrize(
    ('names', 'count'),
    [
        ([['a', 'b']], 2),
        ([1.5, 2.5], 2),
        ([b'a', b'b'], 2),
        (['a', 'a'], 2),
        (['a', 'b', 'c'], 2),
        (['a'], 2),
        ('a', 1),
        (['a\ud800', 'b'], 2),
        (np.array([0x110000, 97], '<u4').view('<U1'), 2),
        (np.array([0xFFFFFFFF, 97], '<u4').view('<U1'), 2),
    ],
)
def test_objax_names_that_do_not_fit(names: Any, count: int) -> None:
    """Names that are no list of as many different texts as there are arrays are a FormatError."""
    with pytest.raises(FormatError, match="'names' of an Objax file"):
        npz.decode(MemorySource(objax(names, *[np.zeros(1)] * count)))


def test_objax_names_are_no_bomb() -> None:
    """However much the arrays may become in memory, the names, which are read at once, may not become more than usual."""
    data = foreign(np.savez_compressed, io.BytesIO, {'names': np.array(['a', 'b' * 5_000_000]), '0': [], '1': []})
    assert len(data) < 200_000
    with pytest.raises(FormatError, match='would inflate to 4000'):
        npz.decode(MemorySource(data), max_bytes=1 << 40)


def test_objax_members_that_do_not_fit() -> None:
    """A number that is missing, or one too many, is a FormatError."""
    data = foreign(np.savez, io.BytesIO, {'names': np.array(['a', 'b']), '0': np.zeros(1), '2': np.zeros(1)})
    with pytest.raises(FormatError, match='the members of an Objax file'):
        npz.decode(MemorySource(data))


def test_a_numpy_file_with_an_array_called_names() -> None:
    """An array called `names` beside arrays with names of their own makes no Objax file."""
    data = foreign(np.savez, io.BytesIO, {'names': np.array(['a']), 'w': np.zeros(1)})
    assert list(npz.decode(MemorySource(data)).specs) == ['names', 'w']
    assert npz.decode(MemorySource(foreign(np.savez, io.BytesIO, {'names': np.zeros(3)}))).kind == 'numpy npz'


def test_stored_arrays_can_be_mapped() -> None:
    """An array that lies in the file as it is needed is mapped; one that does not is None."""
    arrays = {'x' * size: np.arange(4, dtype=np.int16) for size in range(1, 9)}
    archive = npz.decode(MemorySource(foreign(np.savez, io.BytesIO, arrays | {'turned': np.zeros((2, 2), '>i2')})))
    assert archive.mapped('turned') is None
    mapped = [archive.mapped(name) for name in arrays]
    assert None in mapped
    assert any(pages is not None and bytes(pages) == arrays['x'].tobytes() for pages in mapped)
    compressed = npz.decode(MemorySource(foreign(np.savez_compressed, io.BytesIO, arrays)))
    assert compressed.mapped('x') is None


def test_reading_checks_the_buffer() -> None:
    """A buffer of the wrong size is an error of the caller."""
    archive = npz.decode(MemorySource(foreign(np.savez, io.BytesIO, {'a': np.zeros(3, np.uint8)})))
    with pytest.raises(ValueError, match="'a' has 3 bytes, the buffer 4"):
        archive.read_into('a', memoryview(bytearray(4)))


def test_labels_of_foreign_dtypes_read_back() -> None:
    """Each label that a foreign file gives is one that `from_stored` knows."""
    arrays = {'u': np.array(['é']), 's': np.array([b'ab']), 'm': np.zeros(2, 'm8[ms]'), 'g': np.zeros(2, np.longdouble)}
    archive = npz.decode(MemorySource(foreign(np.savez, io.BytesIO, arrays)))
    for name, array in arrays.items():
        back = read_array(archive, name)
        assert back.dtype == array.dtype
        assert dtypes.stored(archive.specs[name].dtype).dtype == array.dtype

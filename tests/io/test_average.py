"""The mean of several saves: exact, rounded once, in little memory."""

import io
import math
import os
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_verbs import IMPLS, LABELS, array_of, bits, dtype_of, keys_of, tree_vars

import objio
from objio import MismatchError, TrainVar, VarCollection

FLOATS = [label for label in LABELS if 'float' in label]
OTHERS = [label for label in LABELS if 'float' not in label and 'complex' not in label]


def files_of(*values: Any) -> list[io.BytesIO]:
    """A file for each value, under the name 'x'."""
    files = []
    for value in values:
        files.append(io.BytesIO())
        objio.save_var_collection(files[-1], tree_vars({'x': value}))
    return files


def mean(*values: Any, weights: Any = None) -> np.ndarray[Any, Any]:
    """The mean of files with these values."""
    return objio.average(files_of(*values), weights)['x']


@pytest.mark.parametrize('label', FLOATS)
def test_a_mean_of_floats(label: str) -> None:
    """The mean of small whole numbers is exact where the dtype has it, of the dtype and shape of the files."""
    dtype = dtype_of(label)
    values = [1, 2, 4, 1] if label != 'float8_e8m0fnu' else [2, 2, 2, 2]
    result = mean(*(np.full((2, 3), value, dtype) for value in values))
    assert (result.dtype, result.shape) == (dtype, (2, 3))
    np.testing.assert_array_equal(result.astype('f4'), np.float32(2))


@pytest.mark.parametrize('label', FLOATS)
@given(data=st.data())
def test_a_mean_is_rounded_once(label: str, data: st.DataObject) -> None:
    """Two numbers of a dtype are summed and halved in float32 (float64 for itself), then rounded to the dtype."""
    dtype = dtype_of(label)
    raw = data.draw(st.binary(min_size=64, max_size=64))
    one, other = array_of(label, (4,), raw[:32]), array_of(label, (4,), raw[32:])
    wide = np.float64 if label == 'float64' else np.float32
    with np.errstate(all='ignore'):
        expected = one.astype(wide) / 2 + other.astype(wide) / 2
        total = (one.astype(wide) + other.astype(wide)) / 2
        expected = np.where(np.isfinite(total), total, expected).astype(dtype)
    np.testing.assert_array_equal(mean(one, other).astype('f8'), expected.astype('f8'))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=5))
def test_a_mean_of_float32_is_near_the_true_one(numbers: list[float]) -> None:
    """Within the rounding of each addition, and never infinite where the true mean is not."""
    true = sum(map(Fraction, numbers)) / len(numbers)
    result = float(mean(*(np.float32(number) for number in numbers)))
    assert math.isfinite(result)
    bound = len(numbers) * 2**-23 * max(map(abs, numbers)) + 2**-149
    assert abs(Fraction(result) - true) <= bound


def test_half_precision_is_summed_in_float32() -> None:
    """Two thousand and forty-eight and three ones: float16 and bfloat16 sums would lose the ones."""
    for dtype in [np.float16, dtype_of('bfloat16')]:
        result = mean(*(np.array([value], dtype) for value in [2048, 1, 1, 1, 1]))
        assert result[0] == np.float32(2052 / 5).astype(dtype)


def test_double_precision_is_summed_in_float64() -> None:
    """Float64 and both complex dtypes keep their digits."""
    assert mean(np.float64(1), np.float64(1 + 2**-50)) == 1 + 2**-51
    assert mean(np.complex128(1j), np.complex128(3 + 2**-40 * 1j)) == np.complex128(1.5 + (1 + 2**-40) / 2 * 1j)
    result = mean(np.array([1 + 3j], 'c8'), np.array([2 - 1j], 'c8'))
    assert (result.dtype, result[0]) == (np.complex64, 1.5 + 1j)


@pytest.mark.parametrize('label', ['float32', 'float64', 'complex64', 'complex128', 'bfloat16'])
def test_a_sum_that_is_too_large_does_not_spoil_the_mean(label: str) -> None:
    """Numbers near the largest of the dtype have a mean; infinities and NaN stay what they are."""
    dtype = dtype_of(label)
    real = np.zeros(1, dtype).real.dtype if dtype.kind == 'c' else dtype
    large = np.array([np.finfo(real).max if real.isbuiltin == 1 else 3.3e38, np.inf, -np.inf, np.nan, 1]).astype(dtype)
    result = mean(large, large, large)
    np.testing.assert_allclose(result[0].real.astype('f8'), large[0].real.astype('f8'), rtol=1e-2)
    assert [float(value.real) for value in result[1:3]] == [math.inf, -math.inf]
    assert math.isnan(result[3].real)
    assert result[4] == 1


def test_a_complex_mean_goes_part_by_part() -> None:
    """An infinite real part leaves the imaginary part alone."""
    one = np.array([complex(math.inf, 1), complex(1, -math.inf), complex(-0.0, 3)])
    for dtype in ['c16', 'c8']:
        for weights in [None, [1, 1]]:
            result = mean(one.astype(dtype), one.astype(dtype), weights=weights)
            np.testing.assert_array_equal(result.view(result.real.dtype), one.view('f8'))


def test_weights_are_ratios() -> None:
    """Only their ratios matter, negative ones extrapolate, and what has no weight has no say."""
    values = [np.array([1.0, -0.0]), np.array([3.0, -0.0]), np.array([np.inf, np.nan])]
    for weights in [(1, 3, 0), [0.25, 0.75, 0], np.array([10, 30, 0])]:
        result = mean(*values, weights=weights)
        assert result[0] == 2.5
        assert str(result[1]) == '-0.0'
    assert mean(*values, weights=[-1, 2, 0])[0] == 5
    assert mean(np.float32(1), np.float32(2), weights=[1e300, 1e300]) == 1.5


@pytest.mark.parametrize('label', [*OTHERS, *FLOATS, 'complex64'])
def test_one_file_is_its_own_mean(label: str) -> None:
    """The mean of one file has its very bits: NaNs, negative zeros and all; weights or not."""
    array = array_of(label, (16, 16), bytes(range(256)) * 16)
    for weights in [None, [3]]:
        assert bits(mean(array, weights=weights)) == bits(array)


@pytest.mark.parametrize('label', OTHERS)
def test_what_has_no_mean_comes_from_the_newest(label: str) -> None:
    """Bool and integer arrays are those of the last file, whatever the weights."""
    one, other = (array_of(label, (64,), bytes([seed] * 8) + bytes(range(256)) * 4) for seed in (0, 1))
    for weights in [None, [5, 1], [1, 0]]:
        assert bits(mean(one, other, weights=weights)) == bits(other)


@pytest.mark.parametrize('impl', IMPLS)
def test_keys_come_from_the_newest(impl: str) -> None:
    """As their words, like everywhere without JAX."""
    keys = [keys_of(impl, (2,), bytes([seed] * 64)) for seed in (1, 2)]
    np.testing.assert_array_equal(mean(*keys), jax.random.key_data(keys[1]))


@pytest.mark.parametrize(
    'shape', [(), (0,), (3, 0), (1,), (1 << 14,), ((1 << 14) + 1,), (1 << 18,), ((1 << 18) + 1,), (3, 300_001)]
)
def test_means_of_all_sizes(shape: tuple[int, ...]) -> None:
    """Also of arrays that end inside a piece, and of empty ones."""
    for dtype in ['f8', 'f4', 'f2', 'c16']:
        one = (np.arange(math.prod(shape)) % 7).reshape(shape).astype(dtype)
        result = mean(one, one + 2)
        assert (result.dtype, result.shape) == (one.dtype, shape)
        np.testing.assert_array_equal(result, one + 1)
        np.testing.assert_array_equal(mean(one, one + 2, weights=[1, 3]), one + 1.5)


def test_small_arrays_of_all_kinds_stay_apart() -> None:
    """Thousands of small arrays, with and without a mean, each come out under their own names."""
    saves: list[io.BytesIO] = []
    for save in (1, 2, 6):
        arrays: dict[str, Any] = {}
        for index in range(1000):
            arrays[f'w{index}'] = np.full(index % 7, index * save, np.float32)
            arrays[f'n{index}'] = np.int32(index * save)
        saves.append(io.BytesIO())
        objio.save_var_collection(saves[-1], tree_vars(arrays))
    means = objio.average(saves)
    assert list(means) == list(arrays)
    for index in range(1000):
        np.testing.assert_array_equal(means[f'w{index}'], np.full(index % 7, index * 3, np.float32))
        assert means[f'n{index}'] == index * 6


def test_many_files_take_no_more_memory(tmp_path: Path) -> None:
    """The pieces of 40 files take no more than those of five, whatever number of threads."""
    path = tmp_path / 'a.npz'
    objio.save_var_collection(path, {name: np.zeros(2 << 20, np.float32) for name in 'abc'})
    tracemalloc.start()  # it sees the pieces, not the pages of the result
    objio.average([path] * 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_aliases_have_means_too() -> None:
    """Names that share an array in every file share their mean; names that share it in some have means of their own."""
    files = []
    for tied in [True, True, False]:
        w = TrainVar(jnp.array([1.0, 2.0]))
        other = w if tied else TrainVar(jnp.array([4.0, 5.0]))
        files.append(io.BytesIO())
        objio.save_var_collection(files[-1], VarCollection({'a': w, 'b': other, 'c': w}))
    means = objio.average(files)
    assert set(means) == {'a', 'b', 'c'}
    np.testing.assert_array_equal(means['b'], [2, 3])
    np.testing.assert_array_equal(means['a'], [1, 2])
    assert means['c'] is means['a']
    assert means['b'] is not means['a']


def test_files_of_numpy_are_averaged(tmp_path: Path) -> None:
    """Stored, compressed, big-endian and Fortran arrays have one mean with those of objio."""
    array = np.arange(6, dtype='f4').reshape(2, 3)
    np.savez(tmp_path / 'a.npz', x=np.asfortranarray(array))
    np.savez_compressed(tmp_path / 'b.npz', x=array.astype('>f4') + 1)
    objio.save_var_collection(tmp_path / 'c.npz', {'x': array + 2})
    np.savez(tmp_path / 'd.npz', x=array + 3)
    paths = [tmp_path / f'{name}.npz' for name in 'abcd']
    np.testing.assert_array_equal(objio.average(paths)['x'], array + 1.5)


@pytest.mark.parametrize('dtype', ['bfloat16', 'longdouble'])
def test_numbers_that_are_none_to_numpy_are_refused(dtype: str, tmp_path: Path) -> None:
    """Raw bits that np.savez left have no mean, and the newest alone would pass for one."""
    paths = [tmp_path / f'{number}.npz' for number in range(2)]
    for path in paths:
        np.savez(path, x=np.ones(3, dtype_of(dtype)))
    with pytest.raises(ValueError, match=r'1\.npz: x: .*cannot be averaged'):
        objio.average(paths)


def test_text_comes_from_the_newest(tmp_path: Path) -> None:
    """Arrays that hold no numbers are those of the last file."""
    for number in range(2):
        np.savez(tmp_path / f'{number}.npz', x=np.ones(3), t=np.array([f'{number}']))
    means = objio.average([tmp_path / '0.npz', tmp_path / '1.npz'])
    assert means['t'].tolist() == ['1']


def test_every_difference_is_listed() -> None:
    """Names, shapes and dtypes must agree; one error lists what does not, in all files."""
    files = []
    for values in [
        {'a': np.zeros(2), 'b': np.zeros(2), 'c': 1},
        {'a': np.zeros(3), 'c': 1, 'd': 1},
        {'a': np.zeros(2), 'b': np.zeros(2, 'f4'), 'c': 1},
    ]:
        files.append(io.BytesIO())
        objio.save_var_collection(files[-1], tree_vars(values))
        files[-1].name = f'{len(files)}.npz'  # type: ignore[attr-defined]
    with pytest.raises(MismatchError) as info:
        objio.average(files)
    assert str(info.value).splitlines()[1:] == [
        '  b: float64 (2,) in 1.npz, float32 (2,) in 3.npz',
        '  a: float64 (3,) in 2.npz, float64 (2,) in 3.npz',
        '  d: int64 () in 2.npz, missing in 3.npz',
        '  b: missing in 2.npz, float32 (2,) in 3.npz',
    ]


@pytest.mark.parametrize('broken', [0, 1, 2])
def test_a_damaged_file_has_no_mean(broken: int, tmp_path: Path) -> None:
    """A flipped bit in any of the files is an error that names it; no descriptor stays open."""
    paths = [tmp_path / f'{number}.npz' for number in range(3)]
    for path in paths:
        objio.save_var_collection(path, {'n': 1, 'x': np.zeros(100_000)})
    data = bytearray(paths[broken].read_bytes())
    data[-1000] ^= 1
    paths[broken].write_bytes(data)
    count = len(os.listdir('/dev/fd')) if os.path.isdir('/dev/fd') else 0
    with pytest.raises(objio.FormatError, match=rf"{broken}\.npz: 'x'.*checksum"):
        objio.average(paths)
    assert not count or len(os.listdir('/dev/fd')) == count


@pytest.mark.parametrize(
    ('files', 'weights', 'error', 'words'),
    [
        ([], None, ValueError, 'at least one file'),
        ('a.npz', None, TypeError, 'a list of files'),
        (Path('a.npz'), None, TypeError, 'a list of files'),
        (io.BytesIO(), None, TypeError, 'a list of files'),
        (['nowhere.npz'], None, FileNotFoundError, 'nowhere'),
        (files_of(1.0, 2.0), [1], ValueError, 'expected 2 weights, one for each file, got 1'),
        (files_of(1.0, 2.0), [1, -1], ValueError, 'sum other than 0'),
        (files_of(1.0, 2.0), [1, float('nan')], ValueError, 'finite'),
        (files_of(1.0, 2.0), [1, float('inf')], ValueError, 'finite'),
        (files_of(1.0, 2.0), [1e308, 1e308], ValueError, 'finite'),
        (files_of(1.0, 2.0), '12', TypeError, 'a list of numbers'),
        (files_of(1.0, 2.0), {1, 2}, TypeError, 'a list of numbers'),
        (files_of(1.0, 2.0), {1: 0.5, 2: 0.5}, TypeError, 'a list of numbers'),
    ],
)
def test_what_cannot_be_averaged(files: Any, weights: Any, error: type[Exception], words: str) -> None:
    """No file, one file outside a list, weights that do not fit: one clear error each."""
    with pytest.raises(error, match=words):
        objio.average(files, weights)

"""Which dtype may become which: the letter of the rules, pair by pair."""

import io
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_verbs import IMPLS, LABELS, WORDS, array_of, bits, dtype_of, held, keys_of, same_objects, tree_vars

import objio
from objio import MismatchError, RandomState, StateVar, VarCollection

KINDS = {label: next(k for k in ('bool', 'float', 'complex', 'int') if k in label)[0] for label in LABELS}
CASTS = {('f', 'f'), ('c', 'c'), ('i', 'i'), ('b', 'i')}
LIMITS = {'int1': (-1, 0), 'int2': (-2, 1), 'int4': (-8, 7), 'uint1': (0, 1), 'uint2': (0, 3), 'uint4': (0, 15)}


def load(saved: Any, value: Any, **options: Any) -> tuple[Any, objio.LoadReport]:
    """Saves one value, loads it over another, and gives the result and the report."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'x': saved}))
    vc = tree_vars({'x': value})
    report = objio.load_var_collection(file, vc, **options)
    return vc['x'].value, report


def refused(saved: Any, value: Any, words: str = 'differ', **options: Any) -> None:
    """Checks that a value is not loaded over another, which stays."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'x': saved}))
    vc = tree_vars({'x': value})
    before = held(vc)
    with pytest.raises(MismatchError, match=words):
        objio.load_var_collection(file, vc, **options)
    assert same_objects(vc, before)


def limits(label: str) -> tuple[int, int]:
    """The least and the greatest number of an integer dtype."""
    return LIMITS.get(label) or (int(np.iinfo(label).min), int(np.iinfo(label).max))


@pytest.mark.parametrize('source', LABELS)
def test_every_pair_of_dtypes(source: str) -> None:
    """Without `cast` nothing changes its dtype; with it exactly the four ways of the rules, and never another."""
    array = np.ones(3, dtype_of(source)) if KINDS[source] == 'f' else np.zeros(3, dtype_of(source))  # all have these
    for target in LABELS:
        if target == source:
            continue
        into = array_of(target, (3,), bytes([1] * 48))
        refused(array, into, 'the dtypes differ')
        if (KINDS[source], KINDS[target]) in CASTS:
            result, report = load(array, into, cast=True)
            assert result.dtype == into.dtype
            assert report.converted == {'x': f'{source} -> {target} (cast)'}
        else:
            refused(array, into, 'the dtypes differ\n', cast=True)


@pytest.mark.parametrize(
    ('source', 'target'),
    [
        pair
        for pair in itertools.permutations(LABELS, 2)
        if (KINDS[pair[0]], KINDS[pair[1]]) in {('i', 'i'), ('b', 'i')}
    ],
)
def test_an_integer_is_cast_where_every_value_survives(source: str, target: str) -> None:
    """The limits of the target are in, one beyond is out, in whichever place of the array it stands."""
    (low, high), (least, greatest) = limits(target), (0, 1) if source == 'bool' else limits(source)
    fit = [number for number in {low, high, 0, -1, 1} if least <= number <= greatest and low <= number <= high]
    array = np.array(fit, np.int64 if least < 0 else np.uint64).astype(dtype_of(source))
    result, _ = load(array, np.zeros(len(fit), dtype_of(target)), cast=True)
    assert [int(number) for number in result] == fit
    for number in {low - 1, high + 1, least, greatest}:
        if least <= number <= greatest and not low <= number <= high:
            bad = np.append(array, np.array([number], np.int64 if number < 0 else np.uint64).astype(dtype_of(source)))
            refused(bad, np.zeros(len(bad), dtype_of(target)), f'the value {number} does not fit {target}', cast=True)


def test_a_value_that_does_not_fit_is_found_anywhere() -> None:
    """Long arrays are converted in blocks; the last element counts as the first."""
    for index in [0, 65_535, 65_536, 199_999]:
        array = np.zeros(200_000, 'i8')
        array[index] = 300
        refused(array, np.zeros(200_000, 'u1'), 'the value 300 does not fit uint8', cast=True)
    array[index] = 255
    result, _ = load(array.reshape(2, -1), np.zeros((2, 100_000), 'u1'), cast=True)
    assert (result.shape, result[-1, -1], int(result.sum())) == ((2, 100_000), 255, 255)


@pytest.mark.parametrize(
    ('source', 'target'),
    [('float64', 'float32'), ('float32', 'bfloat16'), ('float32', 'float8_e4m3fn'), ('float8_e4m3fn', 'float8_e5m2'),
     ('bfloat16', 'float16'), ('float8_e8m0fnu', 'float4_e2m1fn'), ('float16', 'float64'), ('complex128', 'complex64')],
)  # fmt: skip
@given(data=st.data())
def test_a_float_is_rounded_as_numpy_rounds_it(source: str, target: str, data: st.DataObject) -> None:
    """`cast=True` gives what `astype` gives, by way of a wider dtype where the two do not know each other.

    Where that makes a number infinite or NaN, or an infinity or NaN a number, it is refused.
    """
    array = array_of(source, (4,), data.draw(st.binary(min_size=64, max_size=64)))
    wide = array.astype('f4') if array.dtype.isbuiltin == 2 else array
    with np.errstate(all='ignore'):
        rounded = wide.astype(dtype_of(target))
        numbers, found = (x.view(x.real.dtype).astype('f8') for x in (wide, rounded))
        lost = (np.isnan(numbers) != np.isnan(found)) | (np.isinf(numbers) != np.isinf(found))
        if lost.any() or (target == 'float4_e2m1fn' and numbers.max() >= 7):
            refused(array, np.ones(4, dtype_of(target)), f'does not fit {target}', cast=True)
            return
        result, _ = load(array, np.ones(4, dtype_of(target)), cast=True)
        for part in ['real', 'imag'] if rounded.dtype.kind == 'c' else ['']:
            got, wanted = (np.asarray(getattr(x, part) if part else x).astype('f8') for x in (result, rounded))
            np.testing.assert_array_equal(got, wanted)  # one NaN is as good as another
            assert not ((np.signbit(got) != np.signbit(wanted)) & ~np.isnan(got)).any()


def test_a_cast_array_lands_on_the_device() -> None:
    """A JAX variable gets a JAX array of its own dtype, from a file of a wider one."""
    result, report = load(np.array([1.5, 2.5]), jnp.zeros(2, jnp.bfloat16), cast=True)
    assert isinstance(result, jax.Array)
    assert bits(result) == bits(jnp.array([1.5, 2.5], jnp.bfloat16))
    assert report.converted == {'x': 'float64 -> bfloat16 (cast)'}


NUMBERS = [
    (7, jnp.int32(0), 7), (np.int32(7), 0, 7), (-7, np.array(0, 'i1'), -7), (7, np.uint64(0), 7),
    (np.uint8(7), 0, 7), (1.5, jnp.float32(0), 1.5), (jnp.bfloat16(1.5), 0.0, 1.5), (1.5, jnp.float16(0), 1.5),
    (float('nan'), jnp.float32(0), float('nan')), (1j, jnp.complex64(0), 1j), (np.complex64(1j), 0j, 1j),
    (-0.0, jnp.bfloat16(0), -0.0), (float('inf'), jnp.float16(0), float('inf')),
]  # fmt: skip


@pytest.mark.parametrize(('saved', 'value', 'expected'), NUMBERS)
def test_a_python_number_and_a_0d_array_of_its_kind(saved: Any, value: Any, expected: Any) -> None:
    """They stand for each other in both directions, as a step count does before and after the first step."""
    result, report = load(saved, value)
    assert type(result) is type(value)
    assert getattr(result, 'dtype', None) == getattr(value, 'dtype', None)
    assert repr(complex(result)) == repr(complex(expected))
    assert list(report.converted) == ['x']
    assert report.converted['x'].endswith('(a 0-d array of the same kind)')


@pytest.mark.parametrize(
    ('saved', 'value', 'words'),
    [
        (2**31, jnp.int32(0), 'the value 2147483648 does not fit int32'),
        (-1, jnp.uint8(0), 'the value -1 does not fit uint8'),
        (2**63, np.int64(0), 'does not fit int64'),
        (0.1, jnp.float32(0), 'the value 0.1 does not fit float32; cast=True rounds it'),
        (1e300, jnp.float32(0), 'does not fit float32'),
        (0.1j, jnp.complex64(0), 'does not fit complex64'),
        (1, jnp.float32(0), 'the dtypes differ'),
        (1.0, jnp.int32(0), 'the dtypes differ'),
        (1, 1.0, 'the dtypes differ'),
        (1.0, 1, 'the dtypes differ'),
        (True, 1, 'the dtypes differ; cast=True converts'),
        (1, True, 'the dtypes differ'),
        (True, 1.0, 'the dtypes differ'),
        (1.0, 1j, 'the dtypes differ'),
        (1, np.zeros(1, 'i4'), 'the shapes differ'),
        (np.zeros(1, 'i8'), 1, 'the shapes differ'),
        (np.float32(1), jnp.bfloat16(0), 'the dtypes differ; cast=True converts'),
        (np.int32(1), jnp.int8(0), 'the dtypes differ; cast=True converts'),
    ],
)
def test_a_number_that_does_not_fit_is_refused(saved: Any, value: Any, words: str) -> None:
    """Another kind, another shape, a value that would change, or no Python number on either side."""
    refused(saved, value, words)


def test_a_number_is_rounded_only_when_asked() -> None:
    """`cast=True` rounds a Python float to the array's dtype, and a bool becomes an int."""
    assert load(0.1, jnp.float32(0), cast=True)[0] == jnp.float32(0.1)
    assert load(True, 0, cast=True)[0] == 1
    refused(1, True, cast=True)


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('shape', [(), (2,)])
def test_keys_and_their_words(impl: str, shape: tuple[int, ...]) -> None:
    """Words of a file without key dtypes become keys, reported; keys become words only with `cast`."""
    keys, words = keys_of(impl, shape, bytes(range(64))), np.ones((*shape, WORDS[impl]), 'u4')
    file, expected = io.BytesIO(), np.asarray(jax.random.key_data(keys))
    np.savez(file, x=expected)
    vc = tree_vars({'x': keys_of(impl, shape, bytes(64))})
    report = objio.load_var_collection(file, vc)
    assert bits(vc['x'].value) == bits(keys)
    assert jax.random.key_impl(vc['x'].value) == impl
    assert report.converted == {'x': f'uint32 -> key<{impl}> (key data, as keys)'}
    refused(keys, words, 'keys and their data; cast=True converts')
    result, report = load(keys, words, cast=True)
    np.testing.assert_array_equal(result, expected)
    assert report.converted == {'x': f'key<{impl}> -> uint32 (keys, as their data)'}


def test_words_of_an_objio_file_are_words() -> None:
    """A file that knows key dtypes says that these are no keys; `cast` overrides it."""
    words = np.arange(2, dtype='u4')
    refused(words, jax.random.key(0), 'keys and their data; cast=True converts')
    assert bits(load(words, jax.random.key(0), cast=True)[0])[2] == words.tobytes()


def test_words_of_another_shape_or_dtype_are_no_keys() -> None:
    """Only uint32 of exactly the keys' data shape is exchanged."""
    for words in [np.zeros(4, 'u4'), np.zeros((1, 2), 'u4'), np.zeros(2, 'i4'), np.zeros((), 'u4')]:
        file = io.BytesIO()
        np.savez(file, x=words)
        vc = tree_vars({'x': jax.random.key(0)})
        for cast in [False, True]:
            with pytest.raises(MismatchError):
                objio.load_var_collection(file, vc, cast=cast)


@pytest.mark.parametrize(('saved', 'wanted'), list(itertools.permutations(IMPLS, 2)))
def test_keys_of_another_implementation_are_refused(saved: str, wanted: str) -> None:
    """The words of one implementation mean nothing to another, even of the same size."""
    for cast in [False, True]:
        refused(keys_of(saved, (), bytes(64)), keys_of(wanted, (), bytes(64)), 'the dtypes differ', cast=cast)


def test_a_random_state_is_a_key() -> None:
    """A RandomState loads the words that older programs saved, and goes on from there."""
    file = io.BytesIO()
    np.savez(file, rng=np.array([1, 2], 'u4'))
    state = RandomState(0)
    objio.load_var_collection(file, VarCollection({'rng': state}))
    assert jax.random.key_data(state.value).tolist() == [1, 2]
    assert state.split(1).shape == (1,)


@pytest.mark.parametrize('label', ['bfloat16', 'float8_e4m3fn', 'int4', 'uint2'])
def test_raw_bits_of_np_savez(label: str) -> None:
    """What np.savez leaves of a dtype it does not know becomes that dtype only where the variable says so."""
    array, file = array_of(label, (4,), bytes(range(16))), io.BytesIO()
    np.savez(file, x=array)
    vc = tree_vars({'x': jnp.zeros(4, dtype_of(label))})
    report = objio.load_var_collection(file, vc)
    assert bits(vc['x'].value) == bits(array)
    void = f'V{array.itemsize}'
    assert report.converted == {'x': f'{void} -> {label} (raw bits of the dtype)'}
    for other in [np.zeros(4, 'f2'), np.zeros(4, 'f4'), np.zeros(4, 'u1'), np.zeros(4, '?')]:
        with pytest.raises(MismatchError, match=rf'{void} \(4,\)'):
            objio.load_var_collection(file, tree_vars({'x': other}), cast=True)


def test_a_state_var_keeps_its_dtype() -> None:
    """A load with `cast` never changes the dtype of a variable."""
    state = StateVar(jnp.zeros(2, jnp.bfloat16))
    file = io.BytesIO()
    objio.save_var_collection(file, {'s': np.ones(2)})
    objio.load_var_collection(file, VarCollection({'s': state}), cast=True)
    assert state.value.dtype == jnp.bfloat16

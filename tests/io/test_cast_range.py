"""`cast=True` rounds floats and complex numbers, and refuses what the dtype of the variable has no value for."""

import io
import math
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_verbs import dtype_of, held, same_objects, tree_vars, x64

import objio
from objio import MismatchError

FLOATS = [
    'float16',
    'float32',
    'float64',
    'bfloat16',
    'float8_e3m4',
    'float8_e4m3',
    'float8_e4m3b11fnuz',
    'float8_e4m3fn',
    'float8_e4m3fnuz',
    'float8_e5m2',
    'float8_e5m2fnuz',
    'float8_e8m0fnu',
    'float6_e2m3fn',
    'float6_e3m2fn',
    'float4_e2m1fn',
]
INF, NAN = math.inf, math.nan


def cast(values: Any, source: str, target: str) -> Any:
    """What a load with `cast=True` makes of numbers of one dtype, in a variable of NumPy of another."""
    file = io.BytesIO()
    array = np.array(values).astype(dtype_of(source))
    objio.save_var_collection(file, tree_vars({'w': array}))
    vc = tree_vars({'w': np.ones(array.shape, dtype_of(target))})
    objio.load_var_collection(file, vc, cast=True)
    return vc['w'].value


LOST: list[tuple[Any, str, str, str]] = [
    ([1.0, 1e300], 'float64', 'float32', r'1e\+300'),
    ([-1e300], 'float64', 'float32', r'-1e\+300'),
    ([1e5], 'float32', 'float16', '100000.0'),
    ([3.4e38], 'float32', 'bfloat16', r'3\.39999\d*e\+38'),
    ([3.4028e38, 1], 'float64', 'bfloat16', r'3\.4028e\+38'),
    ([1e6], 'bfloat16', 'float16', '999424.0'),
    ([500.0], 'float32', 'float8_e4m3fn', '500.0'),
    ([500.0], 'float16', 'float8_e4m3fn', '500.0'),
    ([1e6], 'float32', 'float8_e5m2', '1000000.0'),
    ([1e6], 'float32', 'float8_e5m2fnuz', '1000000.0'),
    ([17.0], 'float32', 'float8_e3m4', '17.0'),
    ([7.0], 'float32', 'float4_e2m1fn', '7.0'),
    ([-7.75], 'float32', 'float6_e2m3fn', '-7.75'),
    ([31.0], 'bfloat16', 'float6_e3m2fn', '31.0'),
    ([INF], 'float32', 'float8_e4m3fn', 'inf'),
    ([1.0, -INF], 'float32', 'float8_e4m3fnuz', '-inf'),
    ([INF], 'float32', 'float4_e2m1fn', 'inf'),
    ([NAN], 'float32', 'float6_e2m3fn', 'nan'),
    ([NAN], 'float8_e8m0fnu', 'float4_e2m1fn', 'nan'),
    ([0.0], 'float32', 'float8_e8m0fnu', '0.0'),
    ([-1.0], 'float32', 'float8_e8m0fnu', '-1.0'),
    ([1e39], 'float64', 'float8_e8m0fnu', r'1e\+39'),
    ([1 + 1e300j], 'complex128', 'complex64', r'\(1\+1e\+300j\)'),
    ([1j, 1e39], 'complex128', 'complex64', r'\(1e\+39\+0j\)'),
]


@pytest.mark.parametrize('case', range(len(LOST)))
def test_a_value_out_of_range_is_an_error_that_names_the_array(case: int) -> None:
    """What is finite, infinite or NaN stays that, or the load is refused with the name and the value."""
    values, source, target, shown = LOST[case]
    with pytest.raises(MismatchError, match=rf'w +{source} .* +{target} .* the value {shown} does not fit {target}'):
        cast(values, source, target)


@pytest.mark.parametrize(
    ('values', 'source', 'target', 'expected'),
    [
        ([1 / 3, 1e-300, -0.0], 'float64', 'float32', np.float32([1 / 3, 0, 0])),
        ([1e-10], 'float32', 'float16', [0]),
        ([65504, 65519.9], 'float64', 'float16', [65504, 65504]),
        ([INF, -INF, NAN], 'float64', 'float32', [INF, -INF, NAN]),
        ([INF, -INF, NAN], 'float32', 'bfloat16', [INF, -INF, NAN]),
        ([INF, NAN, 1e4], 'float32', 'float8_e5m2', [INF, NAN, 10240]),
        ([NAN, 448, 463], 'float32', 'float8_e4m3fn', [NAN, 448, 448]),
        ([6.9, -6.9], 'float32', 'float4_e2m1fn', [6, -6]),
        ([1e38], 'float16', 'float64', [INF]),
        ([complex(INF, NAN), 1e-300], 'complex128', 'complex64', [complex(INF, NAN), 0]),
    ],
)
def test_rounding_is_allowed(values: Any, source: str, target: str, expected: Any) -> None:
    """Also to zero, and to the largest number where that is nearest; infinities and NaN come where there are such."""
    with np.errstate(over='ignore'):
        found = cast(values, source, target)
    assert found.dtype == dtype_of(target)
    wide = found.astype(complex if target.startswith('complex') else float)
    np.testing.assert_array_equal(wide, expected)


@pytest.mark.parametrize('target', FLOATS)
@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_no_float_changes_its_class(target: str, values: list[float]) -> None:
    """Of any floats either all are as near as the dtype has them, or the load is refused."""
    numbers = np.array(values, np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
        plain = numbers.astype(dtype_of(target)).astype(float)
    try:
        found = cast(values, 'float32', target).astype(float)
    except MismatchError:
        largest = float(ml_dtypes.finfo(dtype_of(target)).max)
        special = not np.isfinite(plain).all()
        assert special or (np.abs(numbers) > largest).any() or np.isnan(numbers).any()
        return
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(numbers))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(numbers))


def test_all_or_nothing_and_all_in_one_table() -> None:
    """One array out of range keeps every variable as it was; the error lists each such array."""
    file = io.BytesIO()
    objio.save_var_collection(
        file,
        tree_vars({'a': np.float64([1]), 'b': np.float64([1e300]), 'c': np.float64([1, -1e39]), 'n': np.array([300])}),
    )
    vc = tree_vars({'a': jnp.zeros(1), 'b': jnp.zeros(1), 'c': np.zeros(2, 'f4'), 'n': jnp.zeros(1, 'int8')})
    before = held(vc)
    for load in (objio.load_var_collection, lambda *args, **options: objio.plan_load(*args, **options).apply()):
        with pytest.raises(MismatchError) as info:
            load(file, vc, cast=True)
        rows = [line.split()[0] for line in str(info.value).splitlines() if 'does not fit' in line][1:]
        assert rows == ['b', 'c', 'n']
        assert same_objects(vc, before)


def test_a_value_far_into_an_array_is_seen() -> None:
    """Each block of a large array is looked at."""
    values = np.ones(300_000)
    values[-1] = 1e300
    with pytest.raises(MismatchError, match=r'1e\+300'):
        cast(values, 'float64', 'float32')
    values[-1] = 1e5
    assert cast(values, 'float64', 'float32')[-1] == 1e5


def test_a_python_number_out_of_range_is_not_said_to_be_rounded() -> None:
    """Without `cast=True` a 0-d float64 that is too large is refused, and no cure is named that does not help."""
    file = io.BytesIO()
    objio.save_var_collection(file, {'lr': 1e300})
    vc = tree_vars({'lr': jnp.float32(0)})
    with pytest.raises(MismatchError, match=r'the value 1e\+300 does not fit float32\n') as info:
        objio.load_var_collection(file, vc)
    assert 'cast=True' not in str(info.value)
    with x64():
        vc = tree_vars({'lr': jnp.float64(0)})
        objio.load_var_collection(file, vc)
        assert vc['lr'].value == 1e300

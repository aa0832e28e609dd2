"""Variables calculate as their values do."""

import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio.variables import StateVar, TrainRef, TrainVar, TreeVar

BINARY = ['add', 'sub', 'mul', 'truediv', 'floordiv', 'mod', 'pow', 'matmul']
BITWISE = ['and_', 'or_', 'xor', 'lshift', 'rshift']
COMPARE = ['eq', 'ne', 'lt', 'le', 'gt', 'ge']


@pytest.mark.parametrize('name', [*BINARY, *COMPARE])
def test_arithmetic_is_that_of_the_values(name: str) -> None:
    """Each operator gives a JAX array, the same as on the values, with a variable on either side."""
    op = getattr(operator, name)
    a, b = jnp.array([5.0, 7.0, 2.0]), jnp.array([2.0, 3.0, 2.0])
    expected = op(a, b)
    for left, right in [
        (TrainVar(a), b),
        (a, StateVar(b)),
        (TrainVar(a), TrainRef(TrainVar(b))),
        (np.asarray(a), TrainVar(b)),
    ]:
        result = op(left, right)
        assert isinstance(result, jax.Array)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('name', BITWISE)
def test_bitwise_arithmetic_is_that_of_the_values(name: str) -> None:
    """The same for the operators of integers."""
    op = getattr(operator, name)
    a, b = jnp.array([5, 7]), jnp.array([2, 3])
    for left, right in [(StateVar(a), b), (a, StateVar(b)), (np.asarray(a), StateVar(b))]:
        np.testing.assert_array_equal(op(left, right), op(a, b))
    np.testing.assert_array_equal(~StateVar(a), ~a)


def test_python_numbers_and_functions_work_on_the_value() -> None:
    """Numbers on the left, unary operators, round, divmod, indexing, len, iteration, conversions, attributes."""
    var = StateVar(jnp.array([1.25, -2.0]))
    np.testing.assert_array_equal(2 - var, [0.75, 4])
    np.testing.assert_array_equal(2**var, 2**var.value)
    np.testing.assert_array_equal(
        [-var, +var, abs(var), round(var), round(var * 8, -1)],
        [
            [-1.25, 2],
            [1.25, -2],
            [1.25, 2],
            [1, -2],
            [10, -20],
        ],
    )
    for got, expected in zip(divmod(7, var), divmod(7, var.value), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert (float(var[0]), len(var), [float(x) for x in var]) == (1.25, 2, [1.25, -2.0])
    assert (float(StateVar(1.5)), int(StateVar(3))) == (1.5, 3)
    assert (var.sum(), var.T.shape) == (-0.75, (2,))
    np.testing.assert_array_equal(var.at[0].set(0), [0, -2])
    with pytest.raises(AttributeError, match="neither the StateVar nor its value has an attribute 'nonsense'"):
        _ = var.nonsense
    with pytest.raises(AttributeError, match="'StateVar' object has no attribute '_nonsense'"):
        _ = var._nonsense


def test_numpy_and_jax_take_a_variable_for_an_array() -> None:
    """`np.asarray`, `jnp.asarray`, `jnp.stack` and operators inside a compiled function read the value."""
    var = TrainVar(jnp.arange(3.0))
    for array in [np.asarray(var), jnp.asarray(var), jnp.stack([var])[0], np.array(var, dtype='f8')]:
        np.testing.assert_array_equal(array, [0, 1, 2])
    assert np.asarray(var, 'f8').dtype == np.float64
    assert isinstance(jnp.asarray(TreeVar(np.zeros(3, 'f4'))), jax.Array)
    np.testing.assert_array_equal(jax.jit(lambda x: x + var)(jnp.ones(3)), [1, 2, 3])


def test_an_in_place_operator_does_not_lose_the_variable() -> None:
    """`var += 1` would leave a plain array where the variable stood: it is refused."""
    var = kept = StateVar(jnp.zeros(3))
    for op in [
        operator.iadd,
        operator.isub,
        operator.imul,
        operator.itruediv,
        operator.ifloordiv,
        operator.imod,
        operator.ipow,
        operator.imatmul,
        operator.iand,
        operator.ior,
        operator.ixor,
        operator.ilshift,
        operator.irshift,
    ]:
        with pytest.raises(TypeError, match=re.escape('write var.assign(var.value + ...)')):
            op(var, 1)
    var.value += 1
    assert var is kept
    assert float(var.sum()) == 3


def test_a_variable_has_neither_truth_nor_hash() -> None:
    """`if var:` is an error that says what to ask; a variable is no key of a dict."""
    var = StateVar(True)
    with pytest.raises(TypeError, match='a StateVar has no truth value'):
        bool(var)
    with pytest.raises(TypeError, match='unhashable'):
        hash(var)

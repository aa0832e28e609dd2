"""What a variable holds, what may take its place, and what arithmetic with it gives."""

import copy
import re
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from objio.variables import BaseState, BaseVar, RandomState, StateVar, TrainRef, TrainVar, TreeVar, target

DTYPES = ['bool', 'int8', 'uint32', 'float16', 'bfloat16', 'float32', 'float8_e4m3fn', 'int4', 'complex64']


def test_the_family_is_that_of_objax() -> None:
    """What is trained is no state; references, states and random states are."""
    assert issubclass(TrainVar, BaseVar)
    assert not issubclass(TrainVar, BaseState)
    assert issubclass(TrainRef, BaseState)
    assert issubclass(RandomState, StateVar)
    assert issubclass(StateVar, BaseState)
    with pytest.raises(TypeError, match='abstract'):
        BaseVar()  # type: ignore[abstract]


@pytest.mark.parametrize('cls', [TrainVar, StateVar])
def test_a_variable_of_a_module_holds_a_jax_array(cls: Any) -> None:
    """NumPy arrays, big-endian ones too, lists and numbers become JAX arrays of JAX's choice, never weakly typed."""
    for given_value, dtype in [
        (np.ones((2, 3)), 'float32'),
        (np.ones((2, 3), '>f4'), 'float32'),
        ([[1, 2, 3], [4, 5, 6]], 'int32'),
        (1.5, 'float32'),
        (np.float16(2), 'float16'),
    ]:
        value = cls(given_value).value
        assert isinstance(value, jax.Array)
        assert value.dtype == dtype
        assert not value.weak_type
        np.testing.assert_array_equal(np.asarray(value, 'f8'), np.asarray(given_value, 'f8'))


def test_a_variable_takes_a_jax_array_as_it_is() -> None:
    """No copy is made of a JAX array, nor of an abstract one; another variable gives its value."""
    array = jnp.ones(3)
    assert TrainVar(array).value is array
    assert StateVar(TrainVar(array)).value is array
    abstract = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert StateVar(abstract).value is abstract


def test_a_variable_does_not_share_the_memory_of_numpy() -> None:
    """What happens later to the caller's NumPy array does not happen to the variable."""
    memory = np.zeros(4064, np.uint8)
    start = -memory.ctypes.data % 64  # where JAX would take the memory for its own, if asked to
    array = memory[start : start + 4000].view(np.float32)
    var = TrainVar(array)
    array[:] = 1
    assert float(var.sum()) == 0
    var.assign(array)
    array[:] = 2
    assert float(var.sum()) == 1000


@pytest.mark.parametrize('nothing', [None, object(), {}])
def test_a_variable_refuses_what_is_no_array(nothing: Any) -> None:
    """None and objects are errors at once."""
    with pytest.raises((TypeError, ValueError)):
        TrainVar(nothing)
    var = TrainVar(jnp.zeros(3))
    with pytest.raises(TypeError, match=re.escape('TrainVar: cannot assign a')):
        var.assign(nothing)


def test_a_train_var_is_changed_by_assign_alone() -> None:
    """Setting `.value` of a TrainVar is an error that says what to write."""
    var = TrainVar(jnp.zeros(3))
    with pytest.raises(ValueError, match=re.escape('use var.assign(tensor)')):
        var.value = jnp.ones(3)
    var.assign(jnp.ones(3))
    assert float(var.sum()) == 3


@pytest.mark.parametrize('cls', [TrainVar, StateVar, TreeVar])
@pytest.mark.parametrize(
    'wrong',
    [jnp.zeros(4), jnp.zeros((3, 1)), jnp.zeros(3, jnp.float16), np.zeros(3), jnp.zeros(()), 0.0, np.zeros(3, 'i4')],
    ids=lambda wrong: f'{np.asarray(wrong).dtype}{np.shape(wrong)}',
)
def test_a_wrong_shape_or_dtype_is_refused(cls: Any, wrong: Any) -> None:
    """The error names the class, what was given and what is held; the variable keeps its value."""
    before = jnp.arange(3.0)
    var = cls(before)
    with pytest.raises(ValueError, match=rf'^{cls.__name__}: cannot assign .*: the variable holds float32\[3\]'):
        var.assign(wrong)
    assert var.value is before
    if cls is not TrainVar:
        with pytest.raises(ValueError, match='cannot assign'):
            var.value = wrong
        assert var.value is before


def test_the_message_is_whole() -> None:
    """The text of the errors, word for word."""
    var = TrainVar(jnp.zeros(3))
    with pytest.raises(ValueError) as shape:
        var.assign(jnp.zeros((3, 2), jnp.bfloat16))
    assert str(shape.value) == (
        'TrainVar: cannot assign bfloat16[3,2]: the variable holds float32[3]; '
        'assign(..., check=False) gives the variable a new shape'
    )
    with pytest.raises(ValueError) as dtype:
        var.assign(np.zeros(3))
    assert str(dtype.value) == (
        'TrainVar: cannot assign float64[3]: the variable holds float32[3]; '
        'nothing is cast silently: convert the value first'
    )
    with pytest.raises(TypeError) as kind:
        var.assign([0.0, 0.0, 0.0])
    assert str(kind.value) == (
        'TrainVar: cannot assign a list: the variable holds float32[3]; assign an array of that shape and dtype'
    )


def test_a_check_can_be_left_out() -> None:
    """`check=False` gives a variable another shape and dtype."""
    var = TrainVar(jnp.zeros(3))
    var.assign(jnp.zeros((2, 2), jnp.int8), check=False)
    assert (var.shape, var.dtype, var.ndim) == ((2, 2), jnp.int8, 2)


@given(hnp.array_shapes(min_dims=0, min_side=0), st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0))
def test_exactly_the_same_shape_is_assigned(shape: tuple[int, ...], dtype: str, other: tuple[int, ...]) -> None:
    """Whatever has the variable's shape and dtype is assigned, from NumPy too; any other shape is refused."""
    var = StateVar(jnp.zeros(shape, dtype))
    new = np.ones(shape, jnp.dtype(dtype))
    var.assign(new)
    assert isinstance(var.value, jax.Array)
    assert var.dtype == new.dtype
    np.testing.assert_array_equal(np.asarray(var.value), new)
    if other != shape:
        with pytest.raises(ValueError, match='cannot assign'):
            var.assign(np.zeros(other, new.dtype))


@pytest.mark.parametrize(
    ('dtype', 'fits', 'fits_not'),
    [
        ('float32', [0.5, 1], [True, 1j]),
        ('bfloat16', [0.5, 1], [True, 1j]),
        ('int8', [1, -128], [0.5, 128, True]),
        ('uint32', [1], [-1, 2**32]),
        ('complex64', [1, 0.5, 1j], [True]),
        ('bool', [True], [1, 0.0]),
    ],
)
@pytest.mark.parametrize('make', [jnp.zeros, np.zeros])
def test_a_number_takes_the_dtype_of_the_variable(
    make: Any, dtype: str, fits: list[complex], fits_not: list[complex]
) -> None:
    """A Python number is assigned to a 0-d variable of its kind or a wider one, and only if it is in its range."""
    var = TreeVar(make((), jnp.dtype(dtype)))
    for number in fits:
        var.value = number
        assert type(var.value).__module__ == type(make(())).__module__
        assert (var.dtype, var.shape, complex(var.value)) == (jnp.dtype(dtype), (), complex(number))
    for number in fits_not:
        with pytest.raises(ValueError, match=re.escape(f'cannot assign {number!r}, a Python {type(number).__name__}')):
            var.value = number


def test_a_python_number_is_exchanged_within_its_kind() -> None:
    """A Python number gives way to a number of its type, or to a 0-d array of its kind; what was given is kept."""
    for number, arrays, wrong in [
        (3, [np.int64(4), jnp.array(4, 'uint8')], [True, 1.0, np.float32(1), jnp.ones(1, int)]),
        (3.0, [np.float16(4), jnp.array(4, 'bfloat16')], [3, np.int32(1), 1j]),
        (True, [np.bool_(True), jnp.array(True)], [1, np.int8(1)]),
        (1j, [np.complex64(1), jnp.array(1j)], [1.0, np.float32(1)]),
    ]:
        for new in [*arrays, number]:
            var = TreeVar(number)
            var.assign(new)
            assert var.value is new
        for new in wrong:
            var = TreeVar(number)
            with pytest.raises(ValueError, match=f'the variable holds Python {type(number).__name__}'):
                var.assign(new)
            assert var.value is number


def test_numpy_stays_numpy() -> None:
    """A leaf of a tree keeps its NumPy array, float64 too, and takes another one as it is."""
    leaf = np.arange(3.0)
    var = TreeVar(leaf)
    assert var.value is leaf
    new = leaf + 1
    var.assign(new)
    assert var.value is new
    with pytest.raises(ValueError, match='float32'):
        var.assign(jnp.zeros(3))
    var = TreeVar(np.arange(3, dtype='>i4'))
    var.assign(jnp.arange(3))
    assert (var.dtype, type(var.value)) == (np.dtype('int32'), type(jnp.zeros(())))


def test_an_abstract_variable_is_filled() -> None:
    """A variable that has only a shape and a dtype takes an array of these; NumPy's becomes JAX's."""
    var = StateVar(jax.ShapeDtypeStruct((3,), jnp.float32))
    with pytest.raises(ValueError, match=re.escape('the variable holds float32[3]')):
        var.assign(jnp.zeros(2))
    var.assign(np.ones(3, np.float32))
    assert isinstance(var.value, jax.Array)
    var.assign(jax.ShapeDtypeStruct((3,), jnp.float32))
    assert isinstance(var.value, jax.ShapeDtypeStruct)


def test_keys_are_told_from_their_words() -> None:
    """Typed keys do not mix with uint32 words, nor with keys of another implementation."""
    var = StateVar(jax.random.key(0))
    assert (var.shape, var.ndim) == ((), 0)
    var.assign(jax.random.key(1))
    for wrong in [jax.random.key(0, impl='rbg'), jnp.uint32(3)]:
        with pytest.raises(ValueError, match=re.escape('the variable holds key<threefry2x32>[]')):
            var.assign(wrong)
    abstract = StateVar(jax.ShapeDtypeStruct((2,), jax.random.key(0).dtype))
    with pytest.raises(ValueError, match=re.escape('holds key<threefry2x32>[2]')):
        abstract.assign(jnp.zeros((2,)))


def test_a_deleted_array_still_has_a_shape() -> None:
    """After its array was donated a variable prints and can be assigned again."""
    var = TrainVar(jnp.zeros(3))
    var.value.delete()
    assert repr(var) == 'objio.TrainVar(float32[3], deleted)'
    with pytest.raises(ValueError, match='cannot assign'):
        var.assign(jnp.zeros(2))
    var.assign(jnp.ones(3))
    assert float(var.sum()) == 3


def test_a_reference_stands_for_its_variable() -> None:
    """A TrainRef reads and writes what it refers to, with the same checks."""
    var = TrainVar(jnp.zeros(3))
    ref = TrainRef(TrainRef(var))
    ref.value = jnp.ones(3)
    assert ref.value is var.value
    ref.assign(jnp.full(3, 2.0))
    assert float(var.sum()) == 6
    with pytest.raises(ValueError, match=re.escape('TrainVar: cannot assign float32[4]')):
        ref.value = jnp.zeros(4)
    ref.assign(jnp.zeros(4), check=False)
    assert var.shape == (4,)
    assert target(ref) is var
    assert target(var) is var
    with pytest.raises(TypeError, match='expected a variable to refer to'):
        TrainRef(jnp.zeros(3))  # type: ignore[arg-type]


def test_only_a_variable_is_followed() -> None:
    """An attribute `ref` of another kind, or one of the value, is no reference."""

    class Odd:
        ref = 'nothing of ours'
        value = 1

        def assign(self, tensor: object) -> None: ...

    class WithRef(np.ndarray[Any, Any]):
        ref = StateVar(0)

    odd, var = Odd(), TreeVar(np.zeros(2).view(WithRef))
    assert target(odd) is odd
    assert target(var) is var


def test_variables_print_their_values() -> None:
    """The representation names the class as it is written, and the user's own class by its module."""

    class Mine(StateVar):
        pass

    assert repr(TrainVar(jnp.zeros(2))) == 'objio.TrainVar(Array([0., 0.], dtype=float32))'
    assert repr(TrainRef(StateVar(1))) == 'objio.TrainRef(ref=objio.StateVar(Array(1, dtype=int32)))'
    assert repr(Mine(1)) == f'{__name__}.Mine(Array(1, dtype=int32))'


def test_a_subclass_with_a_value_of_its_own_works() -> None:
    """Who derives from BaseVar gives it a `value`; `assign` checks and sets it."""
    store = {'x': jnp.zeros(2)}

    class Elsewhere(BaseState):
        @property
        def value(self) -> Any:
            return store['x']

        @value.setter
        def value(self, tensor: Any) -> None:
            store['x'] = tensor

    var = Elsewhere()
    var.assign(jnp.ones(2))
    assert float(store['x'].sum()) == 2
    with pytest.raises(ValueError, match='Elsewhere: cannot assign'):
        var.assign(jnp.ones(3))


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg', 'unsafe_rbg'])
def test_a_random_state_moves_on(impl: str) -> None:
    """Every split gives other keys; a seed starts the sequence anew, in the implementation the state has."""
    state = RandomState(jax.random.key(3, impl=impl))
    first, second = state.split(2), state.split(2)
    assert first.shape == (2,)
    words = np.asarray(jax.random.key_data(jnp.concatenate([first, second, state.value[None]])))
    assert len(np.unique(words, axis=0)) == 5
    state.seed(3)
    assert (state.split(2) == first).all()
    assert jax.random.key_impl(state.value) == impl


def test_a_random_state_is_made_of_a_seed() -> None:
    """An int or a 0-d key makes a state; words of a key, or several keys, are an error that names the way."""
    assert RandomState(7).value == jax.random.key(7)
    assert RandomState(np.int64(7)).value == jax.random.key(7)
    for wrong in [jnp.zeros(2, 'uint32'), jax.random.split(jax.random.key(0))]:
        with pytest.raises(TypeError, match='expected an int or one typed key, found'):
            RandomState(wrong)


def test_copies_do_not_share() -> None:
    """A shallow copy holds the same array, a deep one an array of its own on the same device; neither follows."""
    device = jax.devices()[0]
    var = TrainVar(jax.device_put(jnp.arange(3.0), device))
    shallow, deep = copy.copy(var), copy.deepcopy(var)
    assert shallow.value is var.value
    assert deep.value is not var.value
    assert deep.value.committed is var.value.committed is True
    var.assign(jnp.zeros(3))
    assert float(shallow.sum()) == float(deep.sum()) == 3
    key = copy.deepcopy(RandomState(5))
    assert (key.value == jax.random.key(5)).all()
    assert copy.deepcopy(TreeVar(ml_dtypes.bfloat16(1.5))).value == 1.5

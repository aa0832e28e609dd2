"""What a variable may hold, and when one value may take the place of another.

A value is a JAX array (a tracer and an array of typed keys among them), a NumPy array or scalar, a
`jax.ShapeDtypeStruct` where only shape and dtype are known yet, or a Python bool, int, float or complex.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SCALARS = (bool, int, float, complex)
ARRAYS = (jax.Array, jax.ShapeDtypeStruct)  # what JAX holds, or will hold
_KINDS: tuple[tuple[type, type], ...] = (
    (bool, np.bool_),
    (int, np.integer),
    (float, np.floating),
    (complex, np.complexfloating),
)


def is_scalar(value: Any) -> bool:
    """Whether a value is a Python number, also one of a class of its own that comes back from the bare number.

    Example:
        >>> import enum
        >>> is_scalar(enum.IntEnum('Mode', ['FAST']).FAST), is_scalar(np.float64(1))
        (True, False)
    """
    return type(value) in SCALARS or (
        isinstance(value, SCALARS) and not isinstance(value, np.generic) and _comes_back(value)
    )


def number_type(value: Any) -> type:
    """bool, int, float or complex, for a Python number of this type or of a subclass of it."""
    kind = type(value)
    return kind if kind in SCALARS else next(scalar for scalar in SCALARS if isinstance(value, scalar))


def _comes_back(value: Any) -> bool:
    """Whether a number of a class of its own can be made again of the bare number, with all that it has."""
    kind, plain = type(value), number_type(value)
    try:
        made = kind(plain(value))
        if made is value:
            return True
        alike = plain(made) == plain(value) or (value != value and made != made)  # noqa: PLR0124  # both NaN
        return type(made) is kind and alike and bool(made.__getstate__() == value.__getstate__())
    except Exception:  # noqa: BLE001  # the code of a foreign class
        return False


def is_tracer(value: Any) -> bool:
    """Whether a value stands for the many a transformation of JAX will put in its place."""
    return isinstance(value, jax.core.Tracer)


def is_value(value: Any) -> bool:
    """Whether a variable may hold it.

    Args:
        value: anything.

    Returns:
        True for a JAX or NumPy array, a NumPy scalar, a `jax.ShapeDtypeStruct` and a Python number.

    Example:
        >>> is_value(np.zeros(3)), is_value(1.5), is_value('adam')
        (True, True, False)
    """
    return is_scalar(value) or isinstance(value, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def is_key(value: Any) -> bool:
    """Whether a value is an array of typed random keys, or the shape of one."""
    dtype = getattr(value, 'dtype', None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def is_weak(value: Any) -> bool:
    """Whether a value that JAX holds or will hold is weakly typed: its dtype gives way, as that of a Python number."""
    return isinstance(value.dtype, np.dtype) and value.weak_type is True


def can_be_weak(dtype: Any) -> bool:
    """Whether JAX, as it is configured, has weakly typed arrays of a dtype: only where Python numbers get it."""
    if not isinstance(dtype, np.dtype) or dtype.isbuiltin != 1 or dtype.kind not in 'ifc':
        return False
    number = jnp.asarray(dtype.type(0).item())
    return bool(number.weak_type and number.dtype == dtype)


def weakly(array: jax.Array, sharding: Any = None) -> jax.Array:
    """The same array, weakly typed.

    Args:
        array: of a dtype that `can_be_weak`.
        sharding: where the result is to lie; None: where JAX puts it.
    """
    change: Callable[[jax.Array], jax.Array] = _weakly if sharding is None else jax.jit(_weakly, out_shardings=sharding)
    return change(array)


@jax.jit
def _weakly(array: jax.Array) -> jax.Array:
    return jnp.full(array.shape, array.dtype.type(0).item()).at[...].set(array)


def key_impl(value: Any) -> str:
    """The name of the implementation behind an array of typed keys, as `jax.random.wrap_key_data` takes it.

    A custom implementation has no name; it gives its description.
    """
    found: list[Any] = []
    # JAX names the implementation of arrays and tracers only, not of a ShapeDtypeStruct.
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), value)
    return str(found[0])


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a value; that of the keys, not of their words; () for a Python number."""
    return () if is_scalar(value) else tuple(value.shape)


def dtype_of(value: Any) -> Any:
    """The dtype of a value in native byte order, for NumPy's choice of one for a Python number."""
    dtype = np.dtype(number_type(value)) if is_scalar(value) else value.dtype
    return dtype.newbyteorder('=') if isinstance(dtype, np.dtype) else dtype


def label_of(value: Any) -> str:
    """The name of a value's dtype: 'float32', 'bfloat16', 'key<threefry2x32>'; 'Python int' for a Python number.

    For what no variable may hold it is the name of its type.
    """
    if is_scalar(value):
        return f'Python {type(value).__name__}'
    if not is_value(value):
        return type(value).__name__
    return f'key<{key_impl(value)}>' if is_key(value) else str(np.dtype(value.dtype).name)


def describe(value: Any) -> str:
    """A value's dtype and shape in one word.

    Example:
        >>> describe(np.zeros((3, 2), 'float32')), describe(7)
        ('float32[3,2]', 'Python int')
    """
    if is_scalar(value) or not is_value(value):
        return label_of(value)
    return f'{label_of(value)}[{",".join(map(str, shape_of(value)))}]'


def as_jax(value: Any) -> Any:
    """What a new variable of a module holds for `value`: a JAX array of its own.

    Arrays of JAX, tracers and `jax.ShapeDtypeStruct` are taken as they are. All else goes through `jnp.array`, with
    JAX's choice of a dtype (a float64 array becomes float32 unless x64 is enabled), but never weakly typed: after one
    compiled step a weak dtype would come back strong and cost a second compilation.
    """
    if isinstance(value, (jax.Array, jax.ShapeDtypeStruct)):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder('='))
    array = jnp.array(value)
    return array.astype(array.dtype)


def fitted(current: Any, new: Any, name: str) -> Any:
    """Checks that `new` may take the place of `current` and gives it in the form it is to be held.

    Shape and dtype must be the same. A Python number takes the dtype of the 0-d array it replaces where that is of
    its kind or wider (as in JAX's own arithmetic), and a 0-d array of the same kind may replace a Python number.
    What NumPy holds becomes a JAX array where it replaces one.

    Args:
        current: the value held now.
        new: the value to hold.
        name: what the error calls the variable.

    Returns:
        The value to hold.

    Raises:
        TypeError: `new` is no array and no number.
        ValueError: shape or dtype differ.
    """
    if isinstance(new, jax.Array) and isinstance(current, jax.Array):
        if new.dtype == current.dtype and new.shape == current.shape:
            return new  # at every step of a training, so at once
    elif not is_value(new):
        raise TypeError(
            f'{name}: cannot assign a {type(new).__name__}: the variable holds {describe(current)}; '
            'assign an array of that shape and dtype'
        )
    if not is_value(current):
        raise TypeError(f'{name}: cannot assign {describe(new)}: the variable holds a {describe(current)}, no array')
    if shape_of(new) != shape_of(current):
        cure = '; assign(..., check=False) gives the variable a new shape' if not is_scalar(current) else ''
        raise ValueError(f'{name}: cannot assign {describe(new)}: the variable holds {describe(current)}{cure}')
    if is_scalar(current):
        agree = _is_kind(dtype_of(new), number_type(current))
    elif is_scalar(new):
        return _number(current, new, name)
    else:
        agree = dtype_of(new) == dtype_of(current)
    if not agree:
        raise ValueError(
            f'{name}: cannot assign {describe(new)}: the variable holds {describe(current)}; '
            'nothing is cast silently: convert the value first'
        )
    if is_scalar(current) and type(current) not in SCALARS and not is_tracer(new):
        return type(current)(number_type(current)(new))  # an enum's member stays one
    if isinstance(new, (np.ndarray, np.generic)) and isinstance(current, (jax.Array, jax.ShapeDtypeStruct)):
        return as_jax(new)
    return new


def _is_kind(dtype: Any, scalar: type) -> bool:
    return any(scalar is python and jnp.issubdtype(dtype, kind) for python, kind in _KINDS)


def _number(current: Any, new: Any, name: str) -> Any:
    """The 0-d array that takes the place of `current` for the Python number `new`."""
    kind = number_type(new)
    wider = SCALARS[:1] if kind is bool else SCALARS[SCALARS.index(kind) :]
    try:
        if not any(_is_kind(current.dtype, scalar) for scalar in wider):
            raise OverflowError
        array = np.asarray(new, current.dtype)
    except OverflowError:
        raise ValueError(
            f'{name}: cannot assign {new!r}, a {label_of(new)}: the variable holds {describe(current)}'
        ) from None
    return as_jax(array) if isinstance(current, (jax.Array, jax.ShapeDtypeStruct)) else array

"""How variables and modules are pickled and copied: what is pickled is NumPy, never an object of JAX.

A file with objects of JAX in it names private classes of the JAX that wrote it and dies with them. So the state of
an object is handed to pickle with every JAX array in it as NumPy words and a dtype's name; shardings are left out,
and an array is put on the default device when it is loaded.
"""

import copy
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from objio.errors import UnsaveableError
from objio.variables.values import ARRAYS, can_be_weak, is_key, is_weak, key_impl, label_of, shape_of, weakly


class _Frozen:
    """Stands in a pickled state for a value that pickle must not see itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return thaw, _words(self.value)


def freeze(value: Any) -> Any:
    """The form in which an attribute goes to pickle: JAX's arrays, also those in lists, tuples and dicts, as NumPy."""
    if isinstance(value, (jax.Array, jax.ShapeDtypeStruct)):
        return _Frozen(value)
    if isinstance(value, (np.ndarray, np.generic)):
        # NumPy pickles a dtype of ml_dtypes by naming ml_dtypes; its bits and its name last longer.
        return _Frozen(value) if value.dtype.isbuiltin == 2 else value
    if type(value) not in (list, tuple, dict):
        return value
    parts = list(value.values() if type(value) is dict else value)
    frozen = [freeze(part) for part in parts]
    if all(new is old for new, old in zip(frozen, parts, strict=True)):
        return value  # the very object, so that what was shared stays shared
    return dict(zip(value, frozen, strict=True)) if type(value) is dict else type(value)(frozen)


def _words(value: Any) -> tuple[Any, ...]:
    """A value as its kind, its dtype's name, and NumPy words that pickle without help (or only a shape).

    Behind them stands True where it is weakly typed.
    """
    label = label_of(value)
    weak = (True,) if isinstance(value, ARRAYS) and is_weak(value) else ()
    if isinstance(value, jax.ShapeDtypeStruct):
        return 'shape', label, shape_of(value), *weak
    kind = 'jax' if isinstance(value, jax.Array) else 'numpy' if isinstance(value, np.ndarray) else 'scalar'
    if is_key(value):
        if not isinstance(jax.random.key_impl(value), str):
            raise UnsaveableError(
                f'cannot pickle random keys of the custom implementation {key_impl(value)}: '
                'expected one that jax.random.wrap_key_data knows by name; pickle jax.random.key_data(...) instead'
            )
        return kind, label, np.asarray(jax.random.key_data(value))
    words = np.asarray(value)
    if words.dtype.isbuiltin == 2:
        words = words.view(f'u{words.dtype.itemsize}')
    return kind, label, words, *weak


def thaw(kind: str, label: str, words: Any, weak: bool = False) -> Any:
    """Makes a value again from what was pickled.

    Args:
        kind: 'jax', 'numpy', 'scalar' or 'shape'.
        label: the name of the dtype.
        words: a NumPy array; for 'shape' a tuple of ints.
        weak: whether it was weakly typed; it is again, where JAX, as it is configured, has such arrays of its dtype.

    Returns:
        A JAX array on the default device, a NumPy array or scalar, or a `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: the array has 64 bits a number and this process has x64 off.
    """
    impl = label[4:-1] if label.startswith('key<') else None
    if kind == 'shape':
        dtype = jax.random.key(0, impl=impl).dtype if impl else np.dtype(label)
        return jax.ShapeDtypeStruct(words, dtype, weak_type=weak)  # type: ignore[no-untyped-call]
    if impl:
        return jax.random.wrap_key_data(jnp.array(words), impl=impl)
    values = words.view(np.dtype(label))
    if kind != 'jax':
        return values[()] if kind == 'scalar' else values
    array = jnp.array(values)
    if array.dtype != values.dtype:
        raise ValueError(
            f'the pickle holds a JAX array of {label}, which this process would narrow to {array.dtype}: '
            "enable it first with jax.config.update('jax_enable_x64', True)"
        )
    return weakly(array) if weak and can_be_weak(array.dtype) else array


class Portable:
    """Pickles its attributes as NumPy, and copies them as they are."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: freeze(value) for name, value in self.__dict__.items()}

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new

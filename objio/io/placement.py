"""Arrays of a file as the values of variables: of the kind each variable holds, and on the devices it lives on."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objio.variables.values import is_key, is_scalar, key_impl


def place(arrays: Iterable[np.ndarray[Any, Any]], values: Iterable[Any]) -> list[Any]:
    """Gives each array the form of the value it is to replace; returns when all of them are where they belong.

    A NumPy array or scalar and a Python number stay what they are; a `jax.Array` lands on the sharding of the old one
    where that was committed to it and stays free to move where it was not; a `ShapeDtypeStruct` becomes an array on
    its sharding, if it has one.

    Args:
        arrays: of the dtypes and shapes of the values; keys as their words. Memory at a multiple of 64 bytes is handed
            to the CPU client without a copy, so nobody may write to it afterwards. Each is asked for when the one
            before it is on its way, so no more than two wait in the memory of the host.
        values: what the variables hold now; a deleted array will do.
    """
    placed: list[Any] = []
    for array, value in zip(arrays, values, strict=True):
        placed.append(_placed(array, value))
        _settle(placed[-2:-1])
    _settle(placed[-1:])
    return placed


def narrowed(value: Any) -> bool:
    """Whether JAX, as it is configured, would silently make a smaller dtype of that of a value on a device."""
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct) or is_key(value):
        return False
    return bool(np.dtype(jax.dtypes.canonicalize_dtype(value.dtype)) != np.dtype(value.dtype))


def _settle(placed: list[Any]) -> None:
    for value in placed:
        if isinstance(value, jax.Array):
            value.block_until_ready()


def _placed(array: np.ndarray[Any, Any], value: Any) -> Any:
    if is_scalar(value):
        return type(value)(array.item())
    if isinstance(value, np.generic):
        return array[()]
    if isinstance(value, np.ndarray):
        return array
    sharding = _sharding(value)
    new: Any = array
    weak = not is_key(value) and value.weak_type
    if is_key(value):
        new = jax.random.wrap_key_data(jnp.asarray(array), impl=key_impl(value))
    if sharding is not None and not sharding.is_fully_addressable:
        return jax.make_array_from_callback(new.shape, sharding, lambda index: new[index])
    new = jax.device_put(new, sharding, may_alias=True)
    # Only where a weak dtype stays weak do the types of a compiled step, and so its results, stay the same.
    if weak and jnp.asarray(array.dtype.type(0).item()).dtype == array.dtype:
        new = jax.device_put(_weakly(new), sharding)
    return new


@jax.jit
def _weakly(array: jax.Array) -> jax.Array:
    return jnp.full(array.shape, array.dtype.type(0).item()).at[...].set(array)


def _sharding(value: Any) -> jax.sharding.Sharding | None:
    if isinstance(value, jax.Array):
        return value.sharding if value.committed else None
    return value.sharding  # type: ignore[no-any-return]  # a ShapeDtypeStruct, whose sharding may be None

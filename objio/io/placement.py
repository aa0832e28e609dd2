"""Arrays of a file as the values of variables: of the kind each variable holds, and on the devices it lives on."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objio.variables.values import is_key, is_scalar, key_impl


def place(arrays: Sequence[np.ndarray[Any, Any]], values: Sequence[Any]) -> list[Any]:
    """Gives each array the form of the value it is to replace; returns when all of them are where they belong.

    A NumPy array or scalar and a Python number stay what they are; a `jax.Array` lands on the sharding of the old one
    where that was committed to it and stays free to move where it was not; a `ShapeDtypeStruct` becomes an array on
    its sharding, if it has one.

    Args:
        arrays: of the dtypes and shapes of the values; keys as their words. Memory at a multiple of 64 bytes is handed
            to the CPU client without a copy, so nobody may write to it afterwards.
        values: what the variables hold now; a deleted array will do.
    """
    placed = [_placed(array, value) for array, value in zip(arrays, values, strict=True)]
    jax.block_until_ready([value for value in placed if isinstance(value, jax.Array)])  # type: ignore[no-untyped-call]
    return placed


def narrowed(dtype: np.dtype[Any]) -> bool:
    """Whether JAX, as it is configured, would silently make a smaller dtype of this one."""
    return bool(np.dtype(jax.dtypes.canonicalize_dtype(dtype)) != dtype)


def _placed(array: np.ndarray[Any, Any], value: Any) -> Any:
    if is_scalar(value):
        return type(value)(array.item())
    if isinstance(value, np.generic):
        return array[()]
    if isinstance(value, np.ndarray):
        return array
    sharding = _sharding(value)
    if is_key(value):
        keys = jax.random.wrap_key_data(jnp.asarray(array), impl=key_impl(value))
        return keys if sharding is None else jax.device_put(keys, sharding)
    if sharding is not None and not sharding.is_fully_addressable:
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
    if isinstance(value, jax.Array) and value.weak_type:
        # Only where a weak dtype stays weak do the types of a compiled step, and so its results, stay the same.
        array = jnp.full(array.shape, array.dtype.type(0).item()).at[...].set(array)  # type: ignore[assignment]
    return jax.device_put(array, sharding, may_alias=True)


def _sharding(value: Any) -> jax.sharding.Sharding | None:
    if isinstance(value, jax.Array):
        return value.sharding if value.committed else None
    return value.sharding  # type: ignore[no-any-return]  # a ShapeDtypeStruct, whose sharding may be None

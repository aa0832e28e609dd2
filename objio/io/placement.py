"""Arrays of a file as the values of variables: of the kind each variable holds, and on the devices it lives on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objio.variables.values import is_key, is_scalar, key_impl

_SMALL = 1 << 16  # bytes: below it the call costs more than the bytes
_MANY = 1500  # so many arrays of one form are worth the program that is compiled for them
_AT_ONCE = 50  # arrays a call of that program

Form = tuple[Any, tuple[int, ...]]


def place(arrays: Iterable[np.ndarray[Any, Any]], values: Sequence[Any]) -> list[Any]:
    """Gives each array the form of the value it is to replace; returns when all of them are where they belong.

    A NumPy array or scalar and a Python number stay what they are; a `jax.Array` lands on the sharding of the old one
    where that was committed to it and stays free to move where it was not; a `ShapeDtypeStruct` becomes an array on
    its sharding, if it has one.

    Args:
        arrays: of the dtypes and shapes of the values; keys as their words. Memory at a multiple of 64 bytes is handed
            to the CPU client without a copy, so nobody may write to it afterwards. Each is asked for when the one
            before it is on its way, so no more than two large ones wait in the memory of the host.
        values: what the variables hold now; a deleted array will do.
    """
    forms = [_small_form(value) for value in values]
    common = {form for form, count in Counter(forms).items() if form and count >= _MANY}
    placed: list[Any] = [None] * len(values)
    waiting: dict[Form, list[tuple[int, np.ndarray[Any, Any]]]] = {form: [] for form in common}
    on_its_way: Any = None
    for index, (array, value, form) in enumerate(zip(arrays, values, forms, strict=True)):
        if form in common:
            waiting[form].append((index, array))
            if len(waiting[form]) == _AT_ONCE:
                _place_together(waiting[form], placed)
        elif form:
            placed[index] = jnp.asarray(array)  # copies, in half the time that device_put takes to say so
        else:
            placed[index] = _placed(array, value)
            _settle(on_its_way)
            on_its_way = placed[index]
    for rest in waiting.values():
        for index, array in rest:
            placed[index] = jnp.asarray(array)
    for value in placed:
        _settle(value)
    return placed


def narrowed(value: Any) -> bool:
    """Whether JAX, as it is configured, would silently make a smaller dtype of that of a value on a device."""
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct) or is_key(value):
        return False
    return bool(np.dtype(jax.dtypes.canonicalize_dtype(value.dtype)) != np.dtype(value.dtype))


def _settle(value: Any) -> None:
    if isinstance(value, jax.Array):
        value.block_until_ready()


def _small_form(value: Any) -> Form | None:
    """Dtype and shape of a value that a small array takes the place of, free to move and strongly typed; else None."""
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct) or is_key(value) or value.weak_type:
        return None
    # JAX's quick ways in take what NumPy knows, and bfloat16; of int1 they make a buffer that it cannot read.
    plain = value.dtype.isbuiltin == 1 or value.dtype == jnp.bfloat16
    if not plain or value.size * value.dtype.itemsize > _SMALL or _sharding(value) is not None:
        return None
    return value.dtype, tuple(value.shape)


def _place_together(waiting: list[tuple[int, np.ndarray[Any, Any]]], placed: list[Any]) -> None:
    for (index, _), array in zip(waiting, _as_they_are(*(array for _, array in waiting)), strict=True):
        placed[index] = array
    waiting.clear()


@jax.jit
def _as_they_are(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    # A compiled function takes its arguments to the device faster than any other call: 5 us an array instead of 30.
    return arrays


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

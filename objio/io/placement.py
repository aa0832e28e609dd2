"""Arrays of a file as the values of variables: of the kind each variable holds, and on the devices it lives on."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objio.errors import MismatchError
from objio.io.arrays import SMALL
from objio.io.parts import Box, Parts
from objio.variables.values import ARRAYS, can_be_weak, is_key, is_scalar, is_weak, key_impl, weakly

_MANY = 500  # so many arrays of one form are worth the program that is compiled for them
_AT_ONCE = 8  # arrays a call of that program; with more it takes longer to compile than it gains

Form = tuple[Any, tuple[int, ...]]


def place(
    arrays: Iterable[np.ndarray[Any, Any] | Parts], values: Sequence[Any], weak: Sequence[bool] | None = None
) -> list[Any]:
    """Gives each array the form of the value it is to replace; returns when all of them are where they belong.

    A NumPy array or scalar and a Python number stay what they are; a `jax.Array` lands on the sharding of the old one
    where that was committed to it and stays free to move where it was not; a `ShapeDtypeStruct` becomes an array on
    its sharding, if it has one.

    Args:
        arrays: of the dtypes and shapes of the values; keys as their words. Memory at a multiple of 64 bytes is handed
            to the CPU client without a copy, so nobody may write to it afterwards. Each is asked for when the one
            before it is on its way, so no more than two large ones wait in the memory of the host. Or the parts of
            an array that `boxes_of` gives for its value.
        values: what the variables hold now; a deleted array will do.
        weak: which of the arrays that JAX will hold are to be weakly typed, where their dtype can be; None: those whose
            value is.
    """
    if weak is None:
        weak = [isinstance(value, ARRAYS) and is_weak(value) for value in values]
    forms = [None if to_weak else _small_form(value) for value, to_weak in zip(values, weak, strict=True)]
    waiting: dict[Form | None, list[tuple[int, Any]]] = {
        form: [] for form, count in Counter(forms).items() if form and count >= _MANY
    }
    placed: list[Any] = [None] * len(values)
    on_its_way: Any = None
    for index, (array, value, form) in enumerate(zip(arrays, values, forms, strict=True)):
        together = waiting.get(form)
        if together is not None:
            together.append((index, array))
            if len(together) == _AT_ONCE:
                _place_together(together, placed)
            continue
        new = _joined(array, value) if isinstance(array, Parts) else _placed(_own(array), value)
        # Only where a weak dtype stays weak do the types of a compiled step, and so its results, stay the same.
        if weak[index] and isinstance(new, jax.Array) and can_be_weak(new.dtype):
            new = weakly(new, _sharding(value))
        placed[index] = new
        if array.nbytes > SMALL:
            _settle(on_its_way)
            on_its_way = placed[index]
    for rest in waiting.values():
        for index, array in rest:
            placed[index] = _placed(_own(array), values[index])
    _settle(placed)
    return placed


def boxes_of(value: Any) -> frozenset[Box] | None:
    """The parts of an array that the devices of this process hold of a value; None where one of them is all of it.

    None also for typed keys, which are placed whole.
    """
    sharding = _sharding(value) if isinstance(value, ARRAYS) else None
    if sharding is None or is_key(value) or len(sharding.device_set) == 1:
        return None
    boxes = frozenset(_boxes(sharding, tuple(value.shape)).values())
    return None if tuple((0, size) for size in value.shape) in boxes else boxes


@lru_cache(maxsize=1024)  # the arrays of a model share a few of them
def _boxes(sharding: jax.sharding.Sharding, shape: tuple[int, ...]) -> dict[Any, Box]:
    """The part that each device of this process holds."""
    indices = sharding.addressable_devices_indices_map(shape)
    whole = (slice(None),) * len(shape)
    return {
        device: tuple(part.indices(size)[:2] for part, size in zip(index or whole, shape, strict=True))
        for device, index in indices.items()
    }


def _joined(parts: Parts, value: Any) -> jax.Array:
    boxes = _boxes(value.sharding, tuple(value.shape))
    shards = [jax.device_put(parts.arrays[box], device, may_alias=True) for device, box in boxes.items()]
    return jax.make_array_from_single_device_arrays(tuple(value.shape), value.sharding, shards)


def narrowed(dtype: Any) -> bool:
    """Whether JAX, as it is configured, would silently make a smaller dtype of that of a value on a device."""
    return isinstance(dtype, np.dtype) and bool(np.dtype(jax.dtypes.canonicalize_dtype(dtype)) != dtype)


def _settle(tree: Any) -> None:
    jax.block_until_ready(tree)  # type: ignore[no-untyped-call]  # JAX has no types for it


def _small_form(value: Any) -> Form | None:
    """Dtype and shape of a value that a small array takes the place of, free to move; else None."""
    form = _form_if_small(value.dtype, value.shape) if isinstance(value, ARRAYS) else None
    return None if form is None or _sharding(value) is not None else form


@lru_cache(maxsize=4096)  # one object for thousands of arrays
def _form_if_small(dtype: Any, shape: tuple[int, ...]) -> Form | None:
    # A compiled function takes what NumPy knows, and bfloat16; of int1 it makes a buffer that it cannot read.
    plain = isinstance(dtype, np.dtype) and (dtype.isbuiltin == 1 or dtype == jnp.bfloat16)
    return (dtype, shape) if plain and math.prod(shape) * dtype.itemsize <= SMALL else None


def _place_together(waiting: list[tuple[int, np.ndarray[Any, Any]]], placed: list[Any]) -> None:
    indices, arrays = zip(*waiting, strict=True)
    for index, array in zip(indices, _as_they_are(*arrays), strict=True):
        placed[index] = array
    waiting.clear()


@jax.jit
def _as_they_are(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    # A compiled function takes its arguments to the device faster than any other call: 7 us an array instead of 30.
    return arrays


def _placed(array: np.ndarray[Any, Any], value: Any) -> Any:
    if is_scalar(value):
        try:
            return type(value)(array.item())
        except ValueError as error:  # an enum without such a member, say
            raise MismatchError(f'{error}: the model holds {value!r} there; nothing was assigned') from error
    if isinstance(value, np.generic):
        return array[()]
    if isinstance(value, np.ndarray):
        return array
    sharding = _sharding(value)
    new: Any = array
    if is_key(value):
        new = jax.random.wrap_key_data(jnp.asarray(array), impl=key_impl(value))
    if sharding is not None and not sharding.is_fully_addressable:
        return jax.make_array_from_callback(new.shape, sharding, lambda index: new[index])
    return jax.device_put(new, sharding, may_alias=True)


def _own(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # A small one shares its block of memory with its neighbours: kept alone, it would keep all of them.
    return array.copy() if array.nbytes <= SMALL and array.flags.writeable else array


def _sharding(value: Any) -> jax.sharding.Sharding | None:
    if isinstance(value, jax.Array):
        return value.sharding if value.committed else None
    return value.sharding  # type: ignore[no-any-return]  # a ShapeDtypeStruct, whose sharding may be None

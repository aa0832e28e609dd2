"""Values of variables on their way into a file: NumPy and JAX arrays, typed keys and Python numbers as entries."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from objio.errors import UnsaveableError
from objio.formats import ArraySpec, Entry
from objio.formats.dtypes import WRITABLE, blocks, label_of
from objio.variables import VarCollection
from objio.variables.values import is_key, is_scalar, key_impl

_TRACED = 'is being traced and has no value; save and load outside of jit, grad and vmap'


class Held(np.ndarray[Any, np.dtype[Any]]):
    """The value of a `jax.Array` in a snapshot: read-only, and one object where the array was one."""


def entries_of(vc: VarCollection) -> tuple[list[Entry], dict[str, str]]:
    """The arrays to store, each once, and the names that share them.

    Stored once are a variable under several names, a `TrainRef` and its variable, and variables that hold the same
    `jax.Array` at this moment.

    Returns:
        the entries in collection order, and alias -> name of the entry that holds its array.

    Raises:
        UnsaveableError: a value cannot be stored; the message names its variable.
    """
    entries: list[Entry] = []
    aliases: dict[str, str] = {}
    stored_as: dict[int, str] = {}
    for name, names, variable in vc.groups():
        value = variable.value
        # Only a jax.Array never changes under its name, so only there does "the same object" mean "equal".
        home = stored_as.setdefault(id(value), name) if isinstance(value, jax.Array | Held) else name
        if home == name:
            entries.append(entry(name, value))
        if len(names) > 1 or home != name:
            aliases.update((other, home) for other in names if other != home)
    return entries, aliases


def entry(name: str, value: Any) -> Entry:
    """One value as an entry; its bytes are fetched when the entry's blocks are asked for.

    Raises:
        UnsaveableError: the value cannot be stored.
    """
    check_present(value, name)
    try:
        label, shape = describe(value)
    except UnsaveableError as error:
        raise UnsaveableError(f'{name}: {error}') from None

    def fetch() -> Iterator[memoryview]:
        return blocks(to_host(value), label)

    return Entry(ArraySpec(name, label, shape), fetch)


def describe(value: Any) -> tuple[str, tuple[int, ...]]:
    """The label of the dtype and the logical shape of a value, read without fetching it.

    Raises:
        UnsaveableError: the value is none that a file can hold.
    """
    if isinstance(value, jax.core.Tracer):
        raise UnsaveableError(_TRACED)
    if isinstance(value, jax.Array | jax.ShapeDtypeStruct):
        if is_key(value):
            return _key_label(value), tuple(value.shape)
        return label_of(np.dtype(value.dtype)), tuple(value.shape)
    if isinstance(value, np.ma.MaskedArray):
        raise UnsaveableError('a masked array cannot be saved, its mask would be lost; save .filled() and the mask')
    if isinstance(value, np.ndarray | np.generic):
        return label_of(value.dtype), value.shape
    if is_scalar(value):
        return label_of(_of_number(value).dtype), ()
    raise UnsaveableError(f'a value of type {type(value).__name__} cannot be saved; expected an array or a number')


def to_host(value: Any) -> np.ndarray[Any, Any]:
    """The value as a NumPy array, without a copy where the memory is the host's; keys as their words.

    The result must not be written to.
    """
    if isinstance(value, jax.Array):
        if is_key(value):
            value = jax.random.key_data(value)
        host = _one_copy(value)
        # JAX gives int1 to NumPy as bool.
        return host if host.dtype == value.dtype else host.astype(value.dtype)
    if is_scalar(value):
        return _of_number(value)
    return np.asarray(value)


def _one_copy(array: jax.Array) -> np.ndarray[Any, Any]:
    # A piece has no cache of its own: np.asarray of a whole array on an accelerator would keep the host's copy for as
    # long as the array lives.
    if array.is_fully_replicated:
        on_host = array.is_fully_addressable and all(device.platform == 'cpu' for device in array.devices())
        return np.asarray(array if on_host else array.addressable_data(0))
    host = np.empty(array.shape, array.dtype)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            host[shard.index] = np.asarray(shard.data)
    return host


def check_present(value: Any, name: str) -> None:
    """Checks that a value is there, and all of it on this host.

    Raises:
        UnsaveableError: it is not; the message names the variable.
    """
    if isinstance(value, jax.ShapeDtypeStruct):
        raise UnsaveableError(f'{name}: has a shape and a dtype but no value yet; load or assign it first')
    if isinstance(value, jax.core.Tracer):
        raise UnsaveableError(f'{name}: {_TRACED}')
    if isinstance(value, jax.Array):
        if value.is_deleted():
            raise UnsaveableError(
                f'{name}: its array was deleted, probably donated to a jitted function; assign the result first'
            )
        if not (value.is_fully_addressable or value.is_fully_replicated):
            raise UnsaveableError(
                f'{name}: its shards lie on several hosts, and one npz cannot hold them; gather it first '
                '(jax.experimental.multihost_utils.process_allgather), or save it in a format that every host writes '
                'its own shards of (.orbax)'
            )


def _key_label(keys: jax.Array | jax.ShapeDtypeStruct) -> str:
    implementation = key_impl(keys)
    label = f'key<{implementation}>'
    if label not in WRITABLE:
        raise UnsaveableError(
            f'PRNG keys of the implementation {implementation!r} cannot be saved, only those of JAX itself; '
            'save jax.random.key_data of them'
        )
    return label


def _of_number(number: complex) -> np.ndarray[Any, Any]:
    array = np.asarray(number)
    if array.dtype == object:
        raise UnsaveableError('an int that does not fit 64 bits cannot be saved; keep it in metadata= or as an array')
    return array

"""Values of variables on their way into a file: NumPy and JAX arrays, typed keys and Python numbers as bytes."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from objio.errors import UnsaveableError
from objio.formats import ArraySpec, Encoded
from objio.formats.dtypes import STRAIGHT, WRITABLE, blocks, label_of
from objio.io.files import File, lay_out
from objio.io.shards import EncodedShards
from objio.io.staging import Staging, assembled
from objio.messages import some
from objio.variables import VarCollection
from objio.variables.containers import attributes_of
from objio.variables.values import ARRAYS, is_key, is_scalar, is_weak, key_impl

_SMALL = 1 << 14  # bytes: below it a copy costs less than a view of bytes
_TRACED = 'is being traced and has no value; save and load outside of jit, grad and vmap'


class Held(np.ndarray[Any, np.dtype[Any]]):
    """The value of a `jax.Array` in a snapshot: read-only, and one object where the array was one.

    Attributes:
        weak_type: as `jax.Array` has it.
    """

    weak_type = False


_PLAIN = (np.ndarray, Held)


class OnHost(dict[jax.sharding.Sharding, bool]):
    """Whether arrays of a sharding lie whole in memory that NumPy can see; thousands of arrays share a few of them."""

    _last: jax.sharding.Sharding | None = None
    _answer = False

    def __getitem__(self, sharding: jax.sharding.Sharding) -> bool:
        # Nearly always the object that was asked for last: looking a sharding up by its value costs more than the rest.
        if sharding is not self._last:
            self._answer = super().__getitem__(sharding)
            self._last = sharding
        return self._answer

    def __missing__(self, sharding: jax.sharding.Sharding) -> bool:
        here = sharding.is_fully_replicated and sharding.is_fully_addressable
        devices: Any = sharding.device_set  # JAX has no types for them
        self[sharding] = answer = here and all(device.platform == 'cpu' for device in devices)
        return answer


class Contents(NamedTuple):
    """The arrays of a collection as a format takes them, each once, and the names that share them."""

    specs: dict[str, ArraySpec]  # in collection order
    aliases: dict[str, str]  # alias -> name of the array that it shares
    visible: dict[str, Any]  # arrays whose memory NumPy sees as it is stored: nearly all, on a CPU
    others: dict[str, Any]
    weak: list[str]  # the arrays that are weakly typed
    on_host: OnHost
    staging: Staging
    rest: Callable[[], Mapping[str, Any]]  # gives what a tree has besides arrays

    def blocks(self, name: str) -> Iterable[memoryview | bytes]:
        """The bytes of an array, fetched now; see `objio.formats.Blocks`."""
        value = self.visible.get(name)
        if value is not None:
            small: memoryview | np.ndarray[Any, Any]
            try:
                small = memoryview(value)  # costs half of NumPy's view
            except (BufferError, ValueError):  # replicas, or a dtype that Python does not know
                small = np.asarray(value)
            if small.nbytes <= _SMALL:
                return (small.tobytes(),)
            host = np.asarray(value)
        elif name in self.staging:
            host = self.staging.fetch(name)
        else:
            host = to_host(self.others[name], self.on_host)
        return blocks(host, self.specs[name].dtype)

    def laid_out(self, file: File, metadata: Mapping[str, Any]) -> Encoded | EncodedShards:
        """The file that holds them, ready for `objio.io.files.write`; see `objio.formats.Format.encode`."""
        return lay_out(file, self.specs, self.blocks, self.aliases, metadata, weak=self.weak, rest=self.rest)

    def frozen(self) -> 'Contents':
        """The same contents, whatever becomes of the variables and of their arrays."""
        visible = {name: np.asarray(value) for name, value in self.visible.items()}
        others = {name: self.staging.fetch(name) for name in self.staging.names()}
        others |= {name: unchanging(value, self.on_host) for name, value in self.others.items()}
        return self._replace(visible=visible, others=others, staging=Staging())


def contents_of(vc: VarCollection) -> Contents:
    """What is to be stored of a collection.

    Stored once are a variable under several names, a `TrainRef` and its variable, and variables that hold the same
    `jax.Array` at this moment.

    Raises:
        UnsaveableError: a value cannot be stored; the message names its variable.
    """
    contents = Contents({}, {}, {}, {}, [], OnHost(), Staging(), vc.rest)
    stored_as: dict[int, str] = {}
    usual = sharding = None  # class and sharding of an array of this host: most have those of the one before
    alive = []  # what is not kept elsewhere, so that its number is not given again
    for name, names, _, value in vc.held():
        # Only a jax.Array never changes under its name, so only there does "the same object" mean "equal".
        kind = type(value)
        is_array = kind is usual or isinstance(value, jax.Array)
        from_jax = is_array or isinstance(value, Held)
        home = stored_as.setdefault(id(value), name) if from_jax else name
        if home == name:
            try:
                if is_array:
                    if kind is usual and value.sharding is sharding and not value.is_deleted():
                        here = True  # what `check_array` would say, in half the time
                    elif here := check_array(value, contents.on_host):
                        usual, sharding = kind, value.sharding
                    spec = _spec_of_form(value.dtype, value.shape) or spec_of_array(value)
                else:
                    refuse_promise(value)
                    here, spec = False, describe(value)
            except UnsaveableError as error:
                raise UnsaveableError(f'{name}: {error}') from None
            contents.specs[name] = spec
            if from_jax and is_weak(value):
                contents.weak.append(name)
            if here and spec.dtype in STRAIGHT:
                contents.visible[name] = value
            elif is_array and not here:
                contents.staging.add(name, value)
                alive.append(value)
            else:
                contents.others[name] = value
        if len(names) > 1 or home != name:
            contents.aliases.update((other, home) for other in names if other != home)
    return contents


def describe(value: Any) -> ArraySpec:
    """The label of the dtype and the logical shape of a value, read without fetching it.

    Raises:
        UnsaveableError: the value is none that a file can hold.
    """
    if isinstance(value, ARRAYS):
        return spec_of_array(value)
    if isinstance(value, np.ma.MaskedArray):
        raise UnsaveableError('a masked array cannot be saved, its mask would be lost; save .filled() and the mask')
    if isinstance(value, (np.ndarray, np.generic)):
        if isinstance(value, np.ndarray) and type(value) not in _PLAIN:
            _check_plain(value)
        return _spec(label_of(value.dtype), value.shape)
    if is_scalar(value):
        return _spec(label_of(_of_number(value).dtype), ())
    raise UnsaveableError(f'a value of type {type(value).__name__} cannot be saved; expected an array or a number')


def _check_plain(array: np.ndarray[Any, Any]) -> None:
    """Checks that an array of a class of its own, one with a unit, say, has nothing that a file would lose."""
    own = [name for name, value in attributes_of(array) if value is not None and not callable(value)]
    if own and type(array).__module__.partition('.')[0] != 'numpy':
        raise UnsaveableError(
            f'a {type(array).__name__} is more than an array, its {some(own)} would be lost; save numpy.asarray(...) '
            'of it, and what it has besides under names of its own or in metadata='
        )


def spec_of_array(value: jax.Array | jax.ShapeDtypeStruct) -> ArraySpec:
    """What `describe` gives for what JAX holds or will hold."""
    if isinstance(value, jax.core.Tracer):
        raise UnsaveableError(_TRACED)
    return _spec_of_form(value.dtype, value.shape) or _spec(_key_label(value), tuple(value.shape))


# One object for thousands of arrays of one form.
_spec = lru_cache(maxsize=4096)(ArraySpec)


@lru_cache(maxsize=4096)
def _spec_of_form(dtype: Any, shape: tuple[int, ...]) -> ArraySpec | None:
    """What `spec_of_array` gives for all but keys."""
    return _spec(label_of(dtype), tuple(shape)) if isinstance(dtype, np.dtype) else None


def to_host(value: Any, on_host: OnHost) -> np.ndarray[Any, Any]:
    """The value as a NumPy array, without a copy where the memory is the host's; keys as their words.

    The result must not be written to.
    """
    if isinstance(value, jax.Array):
        array = value if isinstance(value.dtype, np.dtype) else jax.random.key_data(value)
        host = np.asarray(array) if on_host[array.sharding] else assembled(array)
        # JAX gives int1 to NumPy as bool.
        return host if host.dtype == array.dtype else host.astype(array.dtype)
    if is_scalar(value):
        return _of_number(value)
    return np.asarray(value)


def unchanging(value: Any, on_host: OnHost) -> Any:
    """What a value is now, whatever becomes of it: of an array of JAX a view where it lies on the host, else a copy.

    Such a view keeps the memory from being reused when the array is donated.
    """
    if is_key(value):
        return jnp.copy(value)
    if isinstance(value, jax.Array):
        return to_host(value, on_host)
    return value.copy() if isinstance(value, np.ndarray) else value


def check_array(array: jax.Array, on_host: OnHost) -> bool:
    """Checks that an array is there, and all of it on this host.

    Returns:
        whether it lies whole in memory that NumPy can see.

    Raises:
        UnsaveableError: it is not there.
    """
    if isinstance(array, jax.core.Tracer):
        raise UnsaveableError(_TRACED)
    if array.is_deleted():
        raise UnsaveableError('its array was deleted, probably donated to a jitted function; assign the result first')
    if on_host[array.sharding]:
        return True
    if not (array.is_fully_addressable or array.is_fully_replicated):
        raise UnsaveableError(
            'its shards lie on several hosts, and one npz cannot hold them; gather it first '
            '(jax.experimental.multihost_utils.process_allgather), or save it in a format that every host writes '
            'its own shards of (.orbax)'
        )
    return False


def refuse_promise(value: Any) -> None:
    """Raises UnsaveableError for a shape and a dtype that wait for a value."""
    if isinstance(value, jax.ShapeDtypeStruct):
        raise UnsaveableError('has a shape and a dtype but no value yet; load or assign it first')


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

"""Values of every kind that a variable can hold, and their bits, for the tests of the verbs."""

import contextlib
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

import objio
from objio.formats.dtypes import WRITABLE, from_stored
from objio.variables import TreeVar

LABELS = [label for label in WRITABLE if not label.startswith('key<')]
JAX_LABELS = [label for label in LABELS if not label.startswith('float6')]  # JAX puts those on no device
IMPLS = ['threefry2x32', 'threefry4x32', 'philox2x32', 'philox4x32', 'rbg', 'unsafe_rbg']
WORDS = {'threefry2x32': 2, 'threefry4x32': 4, 'philox2x32': 1, 'philox4x32': 2, 'rbg': 4, 'unsafe_rbg': 4}
SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (0,), (2, 0, 3), (2, 3), (3, 1, 2), (65,)]


def x64(on: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Turns 64-bit numbers of JAX on or off for a `with` block."""
    return jax.enable_x64(on)


def dtype_of(label: str) -> np.dtype[Any]:
    """The dtype in memory that a label stands for."""
    return np.dtype(getattr(ml_dtypes, label, label))


def array_of(label: str, shape: tuple[int, ...], raw: bytes) -> np.ndarray[Any, Any]:
    """An array of any dtype from arbitrary bytes: NaNs of every payload, denormals and negative zeros among them."""
    form = WRITABLE[label]
    raw = raw[: form.nbytes(shape)]
    if form.limits is not None:
        low, high = form.limits
        raw = bytes((low + byte % (high - low + 1)) % 256 for byte in raw)
    return from_stored(bytearray(raw), label, shape).copy()


def keys_of(impl: str, shape: tuple[int, ...], raw: bytes) -> jax.Array:
    """Typed keys of arbitrary words."""
    count = math.prod(shape) * WORDS[impl]
    words = np.frombuffer(raw[: count * 4], np.uint32).reshape(*shape, WORDS[impl])
    return jax.random.wrap_key_data(jnp.asarray(words), impl=impl)


def bits(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """What makes two values equal: dtype, shape and every bit; keys as their words."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    name = np.dtype(getattr(value, 'dtype', array.dtype)).name
    array = np.ascontiguousarray(array).reshape(array.shape)
    if name in ('int1', 'int2', 'int4', 'uint1', 'uint2', 'uint4'):
        array = array.astype(dtype_of(name)).astype(np.int8)  # JAX hands int1 out as bool; high bits mean nothing
    return name, array.shape, array.astype(array.dtype.newbyteorder('<')).tobytes()


def laid_out(array: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    """The same values in another order in memory."""
    if layout == 'fortran':
        return np.asfortranarray(array)
    if layout == 'strided':
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 1] = array
        return wide[..., 1]
    if layout == 'reversed' and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == 'big-endian' and array.dtype.isbuiltin == 1:
        return array.astype(array.dtype.newbyteorder('>'))
    if layout == 'unaligned':
        memory = np.zeros(array.nbytes + 1, np.uint8)
        memory[1:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return memory[1:].view(array.dtype).reshape(array.shape)
    if layout == 'read-only':
        array = array.copy()
        array.flags.writeable = False
    return array


@st.composite
def values(draw: st.DrawFn) -> Any:
    """Any value that a variable can hold and a file can store. Drawn where 64-bit numbers of JAX are on."""
    kind = draw(st.sampled_from(['jax', 'jax', 'numpy', 'numpy', 'scalar', 'number', 'keys']))
    if kind == 'number':
        ints = st.integers(-(2**63), 2**64 - 1)
        return draw(st.one_of(st.booleans(), ints, st.floats(), st.complex_numbers()))
    shape = () if kind == 'scalar' else draw(st.sampled_from(SHAPES))
    raw = draw(st.binary(min_size=16 * math.prod(shape), max_size=16 * math.prod(shape)))
    if kind == 'keys':
        return keys_of(draw(st.sampled_from(IMPLS)), shape, raw)
    array = array_of(draw(st.sampled_from(JAX_LABELS if kind == 'jax' else LABELS)), shape, raw)
    if kind == 'jax':
        return jax.device_put(array)
    if kind == 'scalar':
        return array[()]
    layouts = ['plain', 'fortran', 'strided', 'reversed', 'big-endian', 'unaligned', 'read-only']
    return laid_out(array, draw(st.sampled_from(layouts)))


def names() -> st.SearchStrategy[str]:
    """Any name that a file can hold."""
    plain = st.sampled_from(['(Sequential)[0](Linear).w', 'a/b', 'é', '../x', '0', 'names', 'file', 'w.npy', 'x%41'])
    return plain | st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), min_size=1, max_size=12)


def blank(value: Any) -> Any:
    """A value of the same kind, dtype and shape with other contents, to load into."""
    if isinstance(value, bool | int | float | complex):
        return type(value)(1)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        impl = jax.random.key_impl(value)
        return jax.random.wrap_key_data(jnp.full((*value.shape, WORDS[impl]), 7, jnp.uint32), impl=impl)
    if isinstance(value, jax.Array):
        return jax.device_put(np.ones(value.shape, value.dtype))
    array = np.ones(value.shape, value.dtype.newbyteorder('='))
    return array if isinstance(value, np.ndarray) else array[()]


def tree_vars(values: Mapping[str, Any]) -> objio.VarCollection:
    """Values as variables that hold them as they are, under names of any kind."""
    return objio.VarCollection({name: TreeVar(value) for name, value in values.items()})


def held(vc: objio.VarCollection) -> list[Any]:
    """The very objects that the variables hold."""
    return [variable.value for variable in vc]


def same_objects(vc: objio.VarCollection, before: list[Any]) -> bool:
    """Whether every variable holds the very object it held."""
    return all(variable.value is old for variable, old in zip(vc, before, strict=True))


class Pipe(io.RawIOBase):
    """A file object that cannot seek."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def saved(save: Callable[[Any], None], folder: Path) -> bytes:
    """What `save` writes: to a name, a file that can seek, and one that cannot, all of the same bytes."""
    save(folder / 'saved.npz')
    data = (folder / 'saved.npz').read_bytes()
    memory, pipe = io.BytesIO(), Pipe()
    save(memory)
    save(pipe)
    assert memory.getvalue() == data
    assert bytes(pipe.data) == data
    return data

"""What the label of a dtype means in a file: how its values become stored bytes and come back.

A *label* is the name that NumPy or `ml_dtypes` gives a dtype ('float32', 'bfloat16', 'int4', 'bool'), or
`key<IMPL>` for typed PRNG keys, which are stored as their words. Stored bytes are canonical: C order, little-endian,
and one form for each value, so that equal values make equal files.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from objio.errors import UnsaveableError

# A piece that was copied is still in the cache when its checksum is taken and it is written.
_PIECE = 1 << 20
_SMALL = 1 << 14  # bytes: below it a copy costs less than a view of bytes

_NATIVE = {
    'bool': '|b1',
    'int8': '|i1',
    'uint8': '|u1',
    'int16': '<i2',
    'uint16': '<u2',
    'int32': '<i4',
    'uint32': '<u4',
    'int64': '<i8',
    'uint64': '<u8',
    'float16': '<f2',
    'float32': '<f4',
    'float64': '<f8',
    'complex64': '<c8',
    'complex128': '<c16',
}
# NumPy does not know these dtypes, so their bits are stored as unsigned integers.
_BITS = {
    'bfloat16': '<u2',
    'float8_e3m4': '|u1',
    'float8_e4m3': '|u1',
    'float8_e4m3b11fnuz': '|u1',
    'float8_e4m3fn': '|u1',
    'float8_e4m3fnuz': '|u1',
    'float8_e5m2': '|u1',
    'float8_e5m2fnuz': '|u1',
    'float8_e8m0fnu': '|u1',
    'float6_e2m3fn': '|u1',
    'float6_e3m2fn': '|u1',
    'float4_e2m1fn': '|u1',
}
# `ml_dtypes` gives each of these a byte but looks at its low bits only, so their *values* are stored, one a byte.
_VALUES = {'int1': '|i1', 'int2': '|i1', 'int4': '|i1', 'uint1': '|u1', 'uint2': '|u1', 'uint4': '|u1'}
# The stored bytes that are a value of the dtype, where not every byte is one.
_LIMITS = {
    'bool': (0, 1),
    'float6_e2m3fn': (0, 63),
    'float6_e3m2fn': (0, 63),
    'float4_e2m1fn': (0, 15),
    'int1': (-1, 0),
    'int2': (-2, 1),
    'int4': (-8, 7),
    'uint1': (0, 1),
    'uint2': (0, 3),
    'uint4': (0, 15),
}
_KEY_WORDS = {'threefry2x32': 2, 'threefry4x32': 4, 'philox2x32': 1, 'philox4x32': 2, 'rbg': 4, 'unsafe_rbg': 4}
_KEY = re.compile(r'key<(\w+)>')


@dataclass(frozen=True)
class Stored:
    """How the values of one dtype stand in a file."""

    label: str
    descr: str  # what the NPY header says
    itemsize: int  # stored bytes of one number: of one word where there are words
    words: tuple[int, ...] = ()  # the axis that keys add at the end of the shape
    limits: tuple[int, int] | None = None  # smallest and largest stored byte, where not all bytes are values

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values in memory.

        Raises:
            TypeError: the installed `ml_dtypes` is too old to know the dtype.
        """
        if self.label not in _BITS and self.label not in _VALUES:
            return np.dtype(self.descr)
        scalar: type | None = getattr(ml_dtypes, self.label, None)
        if scalar is None:
            raise TypeError(f'ml_dtypes {ml_dtypes.__version__} does not know {self.label!r}; install a newer one')
        return np.dtype(scalar)

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """How many bytes an array of the logical `shape` takes in a file."""
        return prod(shape) * prod(self.words) * self.itemsize


def _table() -> dict[str, Stored]:
    descrs = _NATIVE | _BITS | _VALUES
    table = {
        label: Stored(label, descr, np.dtype(descr).itemsize, limits=_LIMITS.get(label))
        for label, descr in descrs.items()
    }
    table.update((f'key<{impl}>', Stored(f'key<{impl}>', '<u4', 4, (words,))) for impl, words in _KEY_WORDS.items())
    return table


WRITABLE = _table()  # label -> what objio writes; everything else is refused at save
# The labels of dtypes whose values stand in memory as they are stored, but for the byte order.
STRAIGHT = {label for label, form in WRITABLE.items() if form.limits is None and not form.words}

_BY_KIND = {(np.dtype(descr).kind, np.dtype(descr).itemsize): label for label, descr in _NATIVE.items()}
_BY_TYPE = {getattr(ml_dtypes, label): label for label in (*_BITS, *_VALUES) if hasattr(ml_dtypes, label)}


def stored(label: str) -> Stored:
    """How the dtype called `label` stands in a file.

    Besides the labels in `WRITABLE`, those that `foreign_label` gives are known, for reading alone.

    Raises:
        ValueError: there is no dtype with this label that a file could hold.

    Example:
        >>> stored('bfloat16').descr
        '<u2'
        >>> stored('key<threefry2x32>').words
        (2,)
    """
    return WRITABLE.get(label) or _foreign(label)


@lru_cache(maxsize=256)
def _foreign(label: str) -> Stored:
    if len(label) <= 64:
        try:
            dtype = np.dtype(label)
        except (TypeError, ValueError, SyntaxError):
            dtype = None
        if dtype is not None and foreign_label(dtype) == label:
            return Stored(label, dtype.str, dtype.itemsize)
    hint = '; custom PRNG implementations cannot be stored' if _KEY.fullmatch(label) else ''
    raise ValueError(f'no dtype is called {label!r} in a file{hint}')


@lru_cache(maxsize=256)
def _find(dtype: np.dtype[Any]) -> str | None:
    if dtype.type in _BY_TYPE:
        return _BY_TYPE[dtype.type]
    return _BY_KIND.get((dtype.kind, dtype.itemsize))


def label_of(dtype: np.dtype[Any]) -> str:
    """The label under which values of `dtype` are saved.

    Args:
        dtype: a dtype of NumPy or `ml_dtypes`, in either byte order.

    Raises:
        UnsaveableError: the dtype is none that objio writes: object, text, bytes, void, structured, datetime,
            longdouble, float0 and others.

    Example:
        >>> label_of(np.dtype('>f4'))
        'float32'
    """
    label = _find(dtype)
    if label is None:
        raise UnsaveableError(
            f'dtype {str(dtype)!r} cannot be saved; objio saves bool, integers, floats and complex numbers of NumPy '
            'and ml_dtypes, and typed PRNG keys'
        )
    return label


def foreign_label(dtype: np.dtype[Any]) -> str | None:
    """The label of a dtype found in a file that objio did not write, or None where its values cannot be read.

    What objio itself saves has its usual label; other plain dtypes have `np.dtype.str` without `|`: '<U5', 'V2',
    '<M8[s]'. Objects, structured dtypes and dtypes of no bytes have none.
    """
    label = _find(dtype)
    if label is None and dtype.kind in 'SUVMmfc' and dtype.names is None and dtype.subdtype is None and dtype.itemsize:
        label = dtype.newbyteorder('<').str.lstrip('|')
    return label


def blocks(array: np.ndarray[Any, Any], label: str) -> Iterable[memoryview | bytes]:
    """The stored bytes of `array`, in order, copying no more than 1 MiB at a time.

    Where the bytes in memory are already those of the file they are given as they are, without a copy but for small
    arrays.

    Args:
        array: of any shape, layout and byte order; for keys their words, `uint32` with the words as the last axis.
        label: what `label_of` gave, or `key<IMPL>`.

    Raises:
        TypeError: the array's dtype is not the one that the label stands for.
    """
    form = WRITABLE[label]
    dtype = form.dtype
    if array.dtype != dtype:
        if array.dtype.newbyteorder('=') != dtype:
            raise TypeError(f'blocks of {label!r} need an array of {dtype}, got one of {array.dtype}')
        if label in _BITS:
            array = array.view(np.dtype(form.descr).newbyteorder('>'))
    if form.limits is None and array.dtype == dtype:
        if array.nbytes <= _SMALL:
            return (array.tobytes(),)
        if array.flags.c_contiguous:
            return (array.reshape(-1).view(np.uint8).data,)
    return (_canonical(piece, form).reshape(-1).view(np.uint8).data for piece in _pieces(array))


def _pieces(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Cuts an array, along its leading axes, into pieces of at most `_PIECE` bytes in C order."""
    if array.nbytes <= _PIECE:
        if array.size:
            yield array
        return
    rows = _PIECE // (array.nbytes // len(array))
    if rows:
        for start in range(0, len(array), rows):
            yield array[start : start + rows]
    else:
        for row in array:
            yield from _pieces(row)


def _canonical(piece: np.ndarray[Any, Any], form: Stored) -> np.ndarray[Any, Any]:
    if form.label in _VALUES:
        return piece.astype(form.descr, order='C')
    if form.limits is None:
        if form.label in _BITS and piece.dtype == form.dtype:
            piece = piece.view(form.descr)
        return piece.astype(form.descr, order='C', copy=False)
    raw = np.ascontiguousarray(piece.view(np.uint8))
    high = form.limits[1]
    if raw.max() <= high:
        return raw
    # Any byte but 0 is True; of the small floats only the low bits count.
    return raw != 0 if form.label == 'bool' else raw & np.uint8(high)


def check_values(buffer: memoryview, form: Stored) -> None:
    """Checks that all stored bytes are values of the dtype.

    Raises:
        ValueError: some byte is none; the message gives the first.
    """
    if form.limits is None or not buffer.nbytes:
        return
    low, high = form.limits
    raw = np.frombuffer(buffer, form.descr if form.label in _VALUES else np.uint8)
    if raw.max() > high or (low < 0 and raw.min() < low):
        index = int(np.argmax((raw < low) | (raw > high)))
        raise ValueError(f'{form.label} is stored as {low} to {high}, found {raw[index]}')


def from_stored(buffer: Any, label: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array whose stored bytes `buffer` holds; a view of it, but for int1, int2 and int4.

    Args:
        buffer: all stored bytes of the array and nothing more, as any object with the buffer protocol.
        label: the label that the file gives.
        shape: the logical shape; keys come back as `uint32` with their words as one more axis.

    Example:
        >>> from_stored(bytes([0, 0, 128, 63]), 'float32', (1,))
        array([1.], dtype=float32)
    """
    form = stored(label)
    if label in _NATIVE:
        return np.ndarray(shape, form.dtype, buffer)
    flat = np.frombuffer(buffer, form.descr)
    if label in _BITS or (label in _VALUES and form.descr == '|u1'):
        flat = flat.view(form.dtype)
    elif label in _VALUES:
        flat = flat.astype(form.dtype)
    return flat.reshape(shape + form.words)

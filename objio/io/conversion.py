"""Which array of a file may become which variable, and how: the same dtype, or a stated exchange of dtypes."""

import enum
from typing import Any

import ml_dtypes
import numpy as np

from objio.errors import MismatchError
from objio.formats import ArraySpec
from objio.formats.dtypes import stored


class Exchange(enum.Enum):
    """How the array of a file becomes the value of a variable."""

    SAME = 'as it is'
    BITS = 'raw bits of the dtype'  # what np.savez leaves of a bfloat16 array
    KEY_DATA = 'key data, as keys'  # what a file without key dtypes has of a typed key
    KEYS = 'keys, as their data'
    SCALAR = 'a 0-d array of the same kind'
    CAST = 'cast'


def exchange(spec: ArraySpec, dtype: str, shape: tuple[int, ...], *, cast: bool, keyless: bool) -> Exchange | None:
    """How the array `spec` of a file becomes a variable of `dtype` and `shape`; None where it may not.

    Args:
        spec: label and logical shape in the file.
        dtype: the label of the variable's dtype.
        shape: the variable's logical shape.
        cast: whether the caller allowed a change of dtype.
        keyless: whether the file's format knows no key dtypes.
    """
    if is_key(dtype) and spec.dtype == 'uint32' and spec.shape == shape + stored(dtype).words:
        return Exchange.KEY_DATA if keyless or cast else None
    if is_key(spec.dtype) and dtype == 'uint32' and spec.shape + stored(spec.dtype).words == shape:
        return Exchange.KEYS if cast else None
    if spec.shape != shape:
        return None
    if spec.dtype == dtype:
        return Exchange.SAME
    if spec.dtype in ('V1', 'V2') and is_extended(dtype) and stored(dtype).dtype.itemsize == int(spec.dtype[1]):
        return Exchange.BITS
    if castable(spec.dtype, dtype) and cast:
        return Exchange.CAST
    # A Python number is stored as a 0-d array, and a step count is a Python int before the first step and an int32
    # after it: 0-d arrays of one kind stand for each other where the value survives.
    if shape == () and kind_of(spec.dtype) == kind_of(dtype) is not None:
        return Exchange.SCALAR
    return None


def castable(source: str, target: str) -> bool:
    """Whether `cast=True` covers the way: float to float, complex to complex, int or bool to int."""
    return (kind_of(source), kind_of(target)) in {('f', 'f'), ('c', 'c'), ('i', 'i'), ('b', 'i')}


def convert(array: np.ndarray[Any, Any], how: Exchange, dtype: str) -> np.ndarray[Any, Any]:
    """Does what `exchange` allowed.

    Args:
        array: the array of the file; keys as uint32 with their words as the last axis.
        how: what `exchange` said.
        dtype: the label of the variable's dtype.

    Returns:
        an array of the variable's dtype; keys as uint32 with their words as the last axis.

    Raises:
        MismatchError: a value does not survive; the message gives it.
    """
    if how in (Exchange.SAME, Exchange.KEY_DATA, Exchange.KEYS):
        return array
    target = stored(dtype).dtype
    if how is Exchange.BITS:
        return array.view(target)
    with np.errstate(over='ignore', invalid='ignore'):  # what is lost is looked for below
        result = array.astype(target)
    if how is Exchange.SCALAR or kind_of(dtype) == 'i':
        with np.errstate(over='ignore', invalid='ignore'):
            back = result.astype(array.dtype)
        both_nan = np.isnan(back) & np.isnan(array)
        # Between int64 and uint64 a number comes back the same though its sign was lost on the way.
        lost = ((back != array) & ~both_nan) | ((result < 0) != (array < 0) if kind_of(dtype) == 'i' else False)
        if lost.any():
            raise MismatchError(f'the value {array[lost][0]} does not fit {dtype}')
    return result


def is_key(label: str) -> bool:
    """Whether the label is that of typed PRNG keys."""
    return label.startswith('key<')


def is_extended(label: str) -> bool:
    """Whether NumPy itself lacks the dtype, so that `np.savez` leaves only its bits."""
    return not is_key(label) and hasattr(ml_dtypes, label)


def kind_of(label: str) -> str | None:
    """'b', 'i' (signed or not), 'f' or 'c'; None for keys and what is no number."""
    if label == 'bool':
        return 'b'
    for prefix, kind in (('int', 'i'), ('uint', 'i'), ('float', 'f'), ('bfloat', 'f'), ('complex', 'c')):
        if label.startswith(prefix):
            return kind
    return None

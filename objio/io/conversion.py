"""Which array of a file may become which variable, and how: the same dtype, or a stated exchange of dtypes."""

import enum
import math
from functools import lru_cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from objio.errors import MismatchError
from objio.formats import ArraySpec
from objio.formats.dtypes import stored
from objio.io.memory import allocate

_NUMBERS = ('bool', 'int64', 'uint64', 'float64', 'complex128')  # what NumPy makes of Python numbers
_BLOCK = 1 << 16  # elements; with what is computed of them well inside the second-level cache


class Exchange(enum.Enum):
    """How the array of a file becomes the value of a variable."""

    SAME = 'as it is'
    BITS = 'raw bits of the dtype'  # what np.savez leaves of a bfloat16 array
    KEY_DATA = 'key data, as keys'  # what a file without key dtypes has of a typed key
    KEYS = 'keys, as their data'
    SCALAR = 'a 0-d array of the same kind'
    CAST = 'cast'


def exchange(spec: ArraySpec, wanted: ArraySpec, *, number: bool = False, cast: bool, keyless: bool) -> Exchange | None:
    """How an array of a file becomes a variable; None where it may not.

    Args:
        spec: the array in the file.
        wanted: what a save of the variable would be.
        number: whether the variable holds a Python number.
        cast: whether the caller allowed a change of dtype.
        keyless: whether the file's format knows no key dtypes.
    """
    if spec == wanted:
        return Exchange.SAME
    dtype, shape = wanted
    if is_key(dtype) and spec.dtype == 'uint32' and spec.shape == shape + stored(dtype).words:
        return Exchange.KEY_DATA if keyless or cast else None
    if is_key(spec.dtype) and dtype == 'uint32' and spec.shape + stored(spec.dtype).words == shape:
        return Exchange.KEYS if cast else None
    if spec.shape != shape:
        return None
    if number and {spec.dtype, dtype} == {'int64', 'uint64'}:
        return Exchange.SAME  # a Python int has no size: NumPy's dtype for it goes by its value
    if spec.dtype in ('V1', 'V2') and is_extended(dtype) and stored(dtype).dtype.itemsize == int(spec.dtype[1]):
        return Exchange.BITS
    if castable(spec.dtype, dtype) and cast:
        return Exchange.CAST
    # A step count is a Python int before the first step and an int32 after it. The file keeps no sign of which 0-d
    # array was a Python number, only a dtype that NumPy gives to one.
    is_number = number or (shape == () and spec.dtype in _NUMBERS)
    return Exchange.SCALAR if is_number and kind_of(spec.dtype) == kind_of(dtype) is not None else None


def castable(source: str, target: str) -> bool:
    """Whether `cast=True` covers the way: float to float, complex to complex, int or bool to int.

    The values are another matter: each must survive, floats and complex numbers but for rounding; see `convert`.
    """
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
    values = array.reshape(-1)
    result = np.frombuffer(allocate(values.size * target.itemsize), np.uint8).view(target)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        if kind_of(dtype) == 'i':
            _check_range(block, dtype)
        with np.errstate(over='ignore', invalid='ignore'):  # a cast may round; what is out of range is seen below
            result[start : start + _BLOCK] = cast = _cast(block, target)
            if kind_of(dtype) in ('f', 'c'):
                _check_survival(block, cast, dtype)
            if how is Exchange.SCALAR and not np.array_equal(_cast(cast, block.dtype), block, equal_nan=True):
                raise MismatchError(f'the value {block[0]} does not fit {dtype}; cast=True rounds it')
    return result.reshape(array.shape)


def _cast(block: np.ndarray[Any, Any], target: np.dtype[Any]) -> np.ndarray[Any, Any]:
    # The small dtypes of ml_dtypes know the way to and from NumPy's own, not to each other.
    if block.dtype.isbuiltin == target.isbuiltin == 2:
        block = block.astype(np.int16 if block.dtype.name.startswith(('int', 'uint')) else np.float32)
    return block.astype(target)


class _Range(NamedTuple):
    """What a dtype of floats can hold."""

    low: float  # between these two every number is rounded at most
    high: float
    overflow: float  # from here on a number is rounded to one that is too large
    special: bool  # whether it has infinities and NaN


@lru_cache
def _range_of(dtype: np.dtype[Any]) -> _Range:
    about = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    high = float(about.max)
    low, special, huge = np.array([-1.0, np.nan, np.inf]).astype(dtype).astype(np.float64)
    # A dtype without infinities and NaN makes its largest number of all that is larger.
    overflow = high + 2.0 ** (math.floor(math.log2(high)) - about.nmant) / 2 if math.isfinite(huge) else math.inf
    return _Range(-high if low == -1 else float(about.tiny), high, overflow, np.isnan(special) and np.isinf(huge))


def _check_survival(block: np.ndarray[Any, Any], cast: np.ndarray[Any, Any], dtype: str) -> None:
    """Checks that a cast of floats or complex numbers rounds at most: what is finite, infinite or NaN stays that."""
    values, results = _reals(block), _reals(cast)
    target = _range_of(results.dtype)
    if target.special and target.high >= _range_of(values.dtype).high:
        return
    # NumPy compares halves and the dtypes of ml_dtypes a hundred times more slowly than it converts them.
    numbers = values if values.itemsize >= 4 else values.astype(np.float32)
    if numbers.min() >= target.low and numbers.max() <= target.high:
        return  # nothing infinite and no NaN among them, which no comparison holds for
    found = results.astype(np.float64)
    gone = np.isnan(numbers) != np.isnan(found)
    gone |= np.isinf(numbers) != np.isinf(found)
    gone |= np.abs(numbers) >= target.overflow if math.isfinite(target.overflow) else False
    if gone.any():
        value = block[int(np.argmax(gone)) * block.size // numbers.size]
        raise MismatchError(f'the value {value} does not fit {dtype}')


def _reals(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A flat array; of complex numbers the real and the imaginary part of each."""
    return array.view(array.real.dtype) if array.dtype.kind == 'c' else array


def _check_range(block: np.ndarray[Any, Any], dtype: str) -> None:
    form = stored(dtype)
    if form.limits is None:
        low, high = int(np.iinfo(form.dtype).min), int(np.iinfo(form.dtype).max)
    else:
        low, high = form.limits
    # Only the integers of NumPy itself are compared with numbers of any size.
    numbers = block if block.dtype.kind in 'iu' and block.dtype.isbuiltin == 1 else block.astype(np.int64)
    lost = (numbers < low) | (numbers > high)
    if lost.any():
        raise MismatchError(f'the value {numbers[lost][0]} does not fit {dtype}')


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

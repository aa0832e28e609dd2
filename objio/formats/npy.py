"""The header of an NPY array: written in one spelling, read in all that NumPy's own writer gives."""

import re
from dataclasses import dataclass
from math import prod
from struct import pack, unpack_from
from typing import Any

import numpy as np

from objio.formats.dtypes import foreign_label

MAGIC = b'\x93NUMPY'
_LONGEST = 1 << 16  # bytes of a header that is read; NumPy itself stops at 10,000
MOST_AXES = 64  # of a NumPy array

# The keys are sorted in every file that NumPy ever wrote; Python 2 spelt large integers with an `L`.
_HEADER = re.compile(
    rb"\{\s*'descr':\s*(?:'([^'\\]{1,64})'|(\[.*\]))\s*,\s*'fortran_order':\s*(True|False)\s*,"
    rb"\s*'shape':\s*\(((?:\d{1,20}L?\s*,\s*)*(?:\d{1,20}L?\s*)?)\)\s*,?\s*\}\s*",
    re.DOTALL,
)
# Not units of time with a count of 0: NumPy divides by it where it compares them, and the process is gone.
_DESCR = re.compile(r'[<>|][biufcSUV][1-9]\d{0,9}|[<>][Mm]8(?:\[(?:[1-9]\d{0,9})?[A-Za-z]{1,7}\])?')
_OBJECTS = ('|O', '|O8', '|T16')  # pickled: Python objects, and strings of any length
# What NumPy writes for dtypes of `ml_dtypes`, but does not read itself: only the width is known.
_WIDTHS = {'<f1': '|V1', '>f1': '|V1', '|f1': '|V1', '<V1': '|V1', '<V2': '|V2', '<W4': '|V4'}


@dataclass(frozen=True, slots=True)
class Header:
    """What an NPY header says."""

    size: int  # of the header itself, in bytes
    label: str  # of the dtype; 'object' or 'structured' where no values can be read
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any] | None  # as the values lie in the file; None where none can be read


def check_shape(shape: tuple[int, ...], itemsize: int) -> None:
    """Checks that NumPy can make such an array.

    Raises:
        ValueError: it has too many axes or bytes. An empty array counts without its axes of size 0.
    """
    if len(shape) > MOST_AXES or prod(size or 1 for size in shape) * itemsize >= 1 << 63:
        raise ValueError(
            f'expected at most {MOST_AXES} axes and less than 2**63 bytes, found shape {shape} with {itemsize} bytes an element'
        )


def header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The NPY 1.0 header of an array in C order, padded with spaces to a multiple of 64 bytes.

    Example:
        >>> header('<f4', (2, 3))[10:].rstrip()
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
    """
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    length = -(len(MAGIC) + 4 + len(text) + 1) % 64 + len(text) + 1
    return MAGIC + pack('<BBH', 1, 0, length) + text.ljust(length - 1).encode() + b'\n'


def header_size(start: bytes) -> int:
    """The size of a header whose first 12 bytes are given.

    Raises:
        ValueError: this is no NPY array of a version that NumPy writes, or its header is too large.
    """
    if not start.startswith(MAGIC) or len(start) < 10:
        raise ValueError(f'expected an NPY array, found {start[:8]!r}')
    version = (start[6], start[7])
    if version == (1, 0):
        size = 10 + int(unpack_from('<H', start, 8)[0])
    elif version in ((2, 0), (3, 0)) and len(start) >= 12:
        size = 12 + int(unpack_from('<I', start, 8)[0])
    else:
        raise ValueError(f'expected NPY version 1.0, 2.0 or 3.0, found {version[0]}.{version[1]}')
    if size > _LONGEST:
        raise ValueError(f'expected an NPY header of at most {_LONGEST} bytes, found one of {size}')
    return size


def parse(raw: bytes) -> Header:
    """Reads a whole header.

    Raises:
        ValueError: it is not spelled as NumPy spells it, or there is no such array.
    """
    text = raw[10 if raw[6] == 1 else 12 :]
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError(f'expected an NPY header as NumPy writes it, found {text[:120]!r}')
    descr, fields, order, axes = found.groups()
    shape = tuple(int(size.strip().rstrip(b'L')) for size in axes.split(b',') if size.strip())
    label, dtype = ('structured', None) if fields else _dtype(descr.decode('latin-1'))
    check_shape(shape, dtype.itemsize if dtype else 1)
    return Header(len(raw), label, shape, order == b'True', dtype)


def _dtype(descr: str) -> tuple[str, np.dtype[Any] | None]:
    if descr in _OBJECTS:
        return 'object', None
    if descr == '>V2':  # bfloat16 in big-endian order: NumPy's own void has '|'
        return 'V2', np.dtype('>u2')
    descr = _WIDTHS.get(descr, descr)
    try:
        dtype = np.dtype(descr) if _DESCR.fullmatch(descr) else None
    except (TypeError, ValueError):
        dtype = None
    label = None if dtype is None else foreign_label(dtype)
    if label is None:
        raise ValueError(f'expected the dtype of an array, found {descr!r}')
    return label, dtype

"""The header of an NPY array: written in one spelling, read in all that NumPy writes."""

from functools import lru_cache
from struct import pack

MAGIC = b'\x93NUMPY'
MOST_AXES = 64  # NumPy can hold no more


@lru_cache(maxsize=4096)
def header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The NPY 1.0 header of an array in C order, padded with spaces to a multiple of 64 bytes.

    Example:
        >>> header('<f4', (2, 3))[10:].rstrip()
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
    """
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    length = -(len(MAGIC) + 4 + len(text) + 1) % 64 + len(text) + 1
    return MAGIC + pack('<BBH', 1, 0, length) + text.ljust(length - 1).encode() + b'\n'

"""Where each byte of an objio-npz 1 file stands: a pure function of what the file holds, frozen by the version.

Writer and reader share it: the one fills in the arrays, the other compares.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from objio.formats import ArraySpec, npy
from objio.formats.dtypes import WRITABLE
from objio.formats.names import MANIFEST
from objio.formats.zip_records import Members

LARGEST_MANIFEST = 1 << 30  # bytes


@lru_cache(maxsize=4096)
def content_of(spec: ArraySpec) -> tuple[bytes, int]:
    """The NPY header of an array, and how many bytes follow it.

    Raises:
        ValueError: no file can hold such an array; the message says why.
    """
    form = WRITABLE.get(spec.dtype)
    if form is None:
        raise ValueError(f'objio-npz 1 has no dtype {spec.dtype!r}')
    shape = spec.shape + form.words
    npy.check_shape(shape, form.itemsize)
    return npy.header(form.descr, shape), prod(shape) * form.itemsize


def lay_out(names: Sequence[bytes], heads: Sequence[bytes], sizes: Sequence[int], manifest_size: int) -> Members:
    """The members of a file: the arrays, then the manifest.

    Args:
        names: what `member_names` gives.
        heads: what `content_of` gives for each array.
        sizes: the same.
        manifest_size: bytes of the manifest.

    Raises:
        ValueError: the arrays take more bytes than any file can hold.
    """
    return Members([*names, MANIFEST.encode()], [*heads, b''], [*sizes, manifest_size])


def manifest_alone(size: int, offset: int) -> Members:
    """The member that holds a manifest of `size` bytes and whose local header starts at `offset`."""
    return Members([MANIFEST.encode()], [b''], [size], offset)

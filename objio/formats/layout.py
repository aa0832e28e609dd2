"""Where each byte of an objio-npz 1 file stands: a pure function of what the file holds, frozen by the version.

Writer and reader share it: the one fills in the arrays, the other compares.
"""

from functools import lru_cache
from math import prod

from objio.formats import ArraySpec, npy
from objio.formats.dtypes import WRITABLE
from objio.formats.names import MANIFEST, member_name
from objio.formats.zip_records import Member

LARGEST_MANIFEST = 1 << 30  # bytes


def array_member(spec: ArraySpec, offset: int) -> Member:
    """The member that holds an array and whose local header starts at `offset`.

    Raises:
        ValueError: no file can hold such an array; the message says why.
    """
    try:
        head, nbytes = _content(spec.dtype, spec.shape)
    except ValueError as error:
        raise ValueError(f'{spec.name!r}: {error}') from error
    return Member(member_name(spec.name), offset, head, nbytes)


@lru_cache(maxsize=4096)
def _content(dtype: str, shape: tuple[int, ...]) -> tuple[bytes, int]:
    """The NPY header of an array, and how many bytes follow it."""
    form = WRITABLE.get(dtype)
    if form is None:
        raise ValueError(f'objio-npz 1 has no dtype {dtype!r}')
    shape += form.words
    npy.check_shape(shape, form.itemsize)
    return npy.header(form.descr, shape), prod(shape) * form.itemsize


def manifest_member(size: int, offset: int) -> Member:
    """The member that holds a manifest of `size` bytes and whose local header starts at `offset`."""
    return Member(MANIFEST.encode(), offset, b'', size)

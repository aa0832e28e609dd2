"""Where each byte of an objio-npz 1 file stands: a pure function of what the file holds, frozen by the version.

Writer and reader share it: the one fills in the arrays, the other compares.
"""

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
    form = WRITABLE.get(spec.dtype)
    if form is None:
        raise ValueError(f'{spec.name!r}: objio-npz 1 has no dtype {spec.dtype!r}')
    shape = spec.shape + form.words
    nbytes = prod(shape) * form.itemsize
    # An empty array too must be one that NumPy can make, which multiplies the axes that are not 0.
    if len(shape) > npy.MOST_AXES or (nbytes or prod(size or 1 for size in shape) * form.itemsize) >= 1 << 63:
        raise ValueError(f'{spec.name!r}: NumPy has no array of shape {shape} and {form.itemsize} bytes an element')
    return Member(member_name(spec.name), offset, npy.header(form.descr, shape), nbytes)


def manifest_member(size: int, offset: int) -> Member:
    """The member that holds a manifest of `size` bytes and whose local header starts at `offset`."""
    return Member(MANIFEST.encode(), offset, b'', size)

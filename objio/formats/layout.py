"""Where each byte of an objio-npz 1 file stands: a pure function of what the file holds, frozen by the version.

Writer and reader share it: the one fills in the arrays, the other compares.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any

from isal import isal_zlib

from objio.formats import ArraySpec, npy
from objio.formats.dtypes import WRITABLE
from objio.formats.names import MANIFEST, member_names
from objio.formats.zip_records import Members

LARGEST_MANIFEST = 1 << 30  # bytes
_MANY = 20_000  # arrays; up to here nothing is saved by making names and heads anew
_TOGETHER = 1 << 13  # of them


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


@lru_cache(maxsize=4096)
def crc_of_head(head: bytes) -> int:
    """The CRC-32 of an NPY header, which thousands of arrays share; that of the array goes on from it."""
    return int(isal_zlib.crc32(head))


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


class _MadeAnew(Sequence[bytes]):
    """Names or heads of members, made from names or specs of arrays whenever they are asked for."""

    def __init__(self, arrays: Iterable[Any], make: Callable[[Sequence[Any]], list[bytes]], manifest: bytes) -> None:
        self._arrays, self._make, self._manifest = list(arrays), make, manifest

    def __len__(self) -> int:
        return len(self._arrays) + 1

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self[at : at + _TOGETHER] for at in range(0, len(self), _TOGETHER))

    def __getitem__(self, which: Any) -> Any:
        if not isinstance(which, slice):
            return self[which : which + 1][0]
        some = self._arrays[which]
        made = self._make(some) if some else []
        return made if which.stop <= len(self._arrays) else [*made, self._manifest]


def lay_out_again(specs: Mapping[str, ArraySpec], sizes: Sequence[int], manifest_size: int) -> Members:
    """What `lay_out` gives for the arrays of a file, which may be a million, and lie: it takes little memory.

    Args:
        specs: the arrays.
        sizes: what `content_of` gives for each.
        manifest_size: bytes of the manifest.

    Raises:
        ValueError: a name cannot be one, or the arrays take more bytes than any file can hold.
    """
    if len(specs) <= _MANY:
        return lay_out(member_names(specs), _heads(specs.values()), sizes, manifest_size)
    names = _MadeAnew(specs, member_names, MANIFEST.encode())
    heads = _MadeAnew(specs.values(), _heads, b'')
    return Members(names, heads, array('q', chain(sizes, (manifest_size,))))


def _heads(specs: Iterable[ArraySpec]) -> list[bytes]:
    return [content_of(spec)[0] for spec in specs]


def manifest_alone(size: int, offset: int) -> Members:
    """The member that holds a manifest of `size` bytes and whose local header starts at `offset`."""
    return Members([MANIFEST.encode()], [b''], [size], offset)

"""What every writer of files needs: arrays that give the bytes they promised, in shapes that are shapes."""

from collections.abc import Iterator

from objio.errors import UnsaveableError
from objio.formats import ArraySpec, Blocks

_PIECE = 8 << 20  # bytes


def cut(block: memoryview, at: int) -> Iterator[memoryview]:
    """Cuts the bytes that come to stand from byte `at` of a file on, into pieces that end at multiples of 8 MiB there.

    The page cache takes a write in folios as large as its length and its alignment allow, up to 2 MiB; of pieces of 1 MiB
    that start anywhere it makes small ones, which can cost four times as much. Pieces of 8 MiB still let the disk begin
    early, tell progress, and are in the cache when they were summed.
    """
    start = 0
    while start < len(block):
        stop = start + _PIECE - (at + start) % _PIECE
        yield block[start:stop]
        start = stop


def sized(name: str, spec: ArraySpec, blocks: Blocks, promised: int) -> Iterator[memoryview]:
    """Yields the blocks of an array, exactly as many bytes as were promised.

    Raises:
        UnsaveableError: there are more, or at the end fewer.
    """
    size = 0
    for block in blocks(name):
        size += len(block)
        if size > promised:
            break
        yield memoryview(block)
    if size != promised:
        raise wrong_size(name, spec, promised, size)


def wrong_size(name: str, spec: ArraySpec, promised: int, size: int) -> UnsaveableError:
    """The error for an array whose blocks give other bytes than its shape and dtype say."""
    return UnsaveableError(
        f'{name!r}: its shape {spec.shape} and dtype {spec.dtype} take {promised} bytes, its blocks gave '
        f'{size}{" or more" if size > promised else ""}'
    )


def check_shape(name: str, spec: ArraySpec) -> None:
    """Checks that a shape is of whole numbers.

    Raises:
        UnsaveableError: it is not.
    """
    for axis in spec.shape:
        if type(axis) is not int or axis < 0:
            raise UnsaveableError(f'{name!r}: expected a shape of ints of at least 0, got {spec.shape}')

"""Writes files of formats without checksums: what stands between the arrays is given, the arrays go as they lie."""

from collections.abc import Mapping, Sequence

from objio.errors import UnsaveableError
from objio.formats import ArraySpec, Blocks, Sink
from objio.formats.writing import check_shape, cut, sized, wrong_size
from objio.messages import some

_LISTED = 10  # names in a message
_SMALL = 1 << 18  # up to here an array is gathered with its neighbours and written with them
_GATHERED = 1 << 17  # bytes of small arrays that are written together
_TOGETHER = 2048  # heads and arrays that are written together at most: each takes memory besides its bytes

Part = tuple[bytes, str, int]
"""What stands before an array, the array's name, and how many bytes its blocks have to give."""


class RawFile:
    """A file that is checked and laid out, but not yet written; see `objio.formats.Encoded`."""

    def __init__(
        self, specs: Mapping[str, ArraySpec], start: bytes, parts: Sequence[Part], blocks: Blocks, end: bytes = b''
    ) -> None:
        """Takes a layout.

        Args:
            specs: the arrays, for errors.
            start: what the file starts with.
            parts: then the arrays, each with what stands before it.
            blocks: gives the bytes of each array as the file has them.
            end: what stands behind the last array.
        """
        self._specs = specs
        self._start, self._parts, self._end = start, parts, end
        self._blocks = blocks
        self.size = len(start) + sum(len(head) + nbytes for head, _, nbytes in parts) + len(end)

    def write(self, sink: Sink) -> None:
        """Writes the file, from its first byte to its last; no large array is copied.

        Raises:
            UnsaveableError: an array gave other bytes than it had promised.
        """
        at = 0  # bytes that were written
        waiting = [self._start]
        size = len(self._start)
        for head, name, nbytes in self._parts:
            waiting.append(head)
            size += len(head)
            if nbytes <= _SMALL:
                content = b''.join(self._blocks(name))
                if len(content) != nbytes:
                    raise wrong_size(name, self._specs[name], nbytes, len(content))
                waiting.append(content)
                size += nbytes
            if nbytes > _SMALL or size >= _GATHERED or len(waiting) >= _TOGETHER:
                sink.write(b''.join(waiting))
                at += size
                waiting, size = [], 0
            if nbytes > _SMALL:
                for block in sized(name, self._specs[name], self._blocks, nbytes):
                    for piece in cut(block, at):
                        sink.write(piece)
                    at += len(block)
        sink.write(b''.join([*waiting, self._end]))


def refuse_aliases(aliases: Mapping[str, str], kind: str) -> None:
    """Checks that no array has a second name, for a format that stores each name with an array of its own.

    Raises:
        UnsaveableError: there are aliases; the message names them.
    """
    if aliases:
        pairs = some([f'{alias!r} of {name!r}' for alias, name in aliases.items()], _LISTED)
        raise UnsaveableError(
            f'{kind} stores no further names of an array, and these would be lost: {pairs}. Save as .npz, which keeps '
            'them; or save without these names; or give each an array of its own, as jnp.copy or '
            'objio.convert(…, copy_aliases=True) does'
        )


def refuse_dtypes(specs: Mapping[str, ArraySpec], held: object, kind: str) -> None:
    """Checks that a format has the dtype of every array.

    Args:
        specs: the arrays.
        held: the labels that it has.
        kind: what the format is called.

    Raises:
        UnsaveableError: it lacks some; the message names all arrays with them.
    """
    strange = [f'{name!r} ({spec.dtype})' for name, spec in specs.items() if spec.dtype not in held]  # type: ignore[operator]
    if strange:
        keys = any('(key<' in each for each in strange)
        cure = ' Of a key save jax.random.key_data(key): a load puts it back into a key.' if keys else ''
        raise UnsaveableError(
            f'{kind} cannot hold the dtype of: {some(strange, _LISTED)}. Save as .npz, which can, or convert first.{cure}'
        )


def check_names(specs: Mapping[str, ArraySpec]) -> None:
    """Checks that names are text that UTF-8 can hold, and shapes are shapes.

    Raises:
        UnsaveableError: one is not.
    """
    for name, spec in specs.items():
        if not isinstance(name, str) or not name:
            raise UnsaveableError(f'a name must be a str that is not empty, got {name!r}')
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UnsaveableError(f'{name!r}: a name cannot hold a lone surrogate; rename the variable') from error
        check_shape(name, spec)

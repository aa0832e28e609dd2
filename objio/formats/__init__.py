"""HOW one file's bytes lie: what every format takes and gives, and the suffix that chooses one.

A format turns named arrays into bytes and back. It knows neither JAX nor paths: arrays come to it as `ArraySpec`
(a label for the dtype, a logical shape) by name and `Blocks` of bytes, and leave it through an `Archive`; bytes go to a `Sink`
and come from a `Source`, which `objio.storage` provides. Every buffer is a `memoryview` of bytes.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable


class Sink(Protocol):
    """Where a format writes: one file that becomes visible whole, or a file object of the caller."""

    def write(self, buffer: memoryview | bytes) -> None:
        """Appends all of `buffer`."""
        ...


@runtime_checkable
class SeekableSink(Sink, Protocol):
    """A sink that can also fill in what was skipped, so that checksums need no second pass over the arrays."""

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        """Overwrites bytes already written, from `offset` of the file; the end stays where it was."""
        ...


class Source(Protocol):
    """What a format reads from. Safe to use from several threads."""

    name: str  # for messages only
    size: int  # in bytes

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fills all of `buffer` with the bytes from `offset`; FormatError where the file ends before that."""
        ...

    def map(self) -> memoryview | None:
        """The whole file as read-only pages, or None where it cannot be mapped."""
        ...


class ArraySpec(NamedTuple):
    """What a file says of an array besides its name."""

    dtype: str  # a label of `objio.formats.dtypes`
    shape: tuple[int, ...]  # the logical shape: that of the keys, not of their words


Blocks = Callable[[str], Iterable[memoryview | bytes]]
"""Gives the stored bytes, in order, of the array of a name; may be asked for twice."""


ReadRange = Callable[[int, memoryview], None]
"""Fills a buffer with the stored bytes of an array from a byte of it on."""


Allocate = Callable[[int], memoryview]
"""Gives fresh memory of so many bytes, whose first byte lies at a multiple of 64."""

Prepare = Callable[[int, int], None]
"""Is told the start and the end of each range of a buffer before it is written to; in whatever order, by any thread."""


class Encoded(Protocol):
    """A file that is checked and laid out, but not yet written."""

    size: int  # of the whole file in bytes

    def write(self, sink: Sink) -> None:
        """Writes the file, from its first byte to its last."""
        ...


class Archive(Protocol):
    """A file whose table of contents was read and checked; its arrays are read when asked for."""

    kind: str  # 'objio-npz 1', 'numpy npz', 'Objax npz', 'safetensors': for people
    keyless: bool  # whether the format knows no typed PRNG keys, so that they stand there as their words
    checksums: bool  # whether damage to the bytes of an array can be seen
    specs: Mapping[str, ArraySpec]  # in the file's order
    aliases: Mapping[str, str]  # name -> the name in `specs` that holds its bytes
    metadata: Mapping[str, Any]

    def nbytes(self, name: str) -> int:
        """How many stored bytes the array has: what `read_into` fills."""
        ...

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """Fills `buffer` with the stored bytes (C order, little-endian); FormatError where they are damaged.

        `prepare` may be told of ranges before they are filled.
        """
        ...

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """Yields the stored bytes of many small arrays, neighbours in the file from one read and one block of memory.

        Otherwise as `read_into`, or with `mmap` as `mapped`, where that can be.
        """
        ...

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """Yields the stored bytes in pieces as large as `buffer`, the rest at last; each may overwrite the one before.

        FormatError where they are damaged: after the last piece at the latest.
        """
        ...

    def ranges(self, name: str) -> ReadRange | None:
        """What reads some of the stored bytes and no others; None where they have to be inflated or turned first.

        Values are checked, a checksum is not.
        """
        ...

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """The stored bytes as read-only pages of the file, or None where they do not lie there as they are needed."""
        ...


class Format(Protocol):
    """What each module of this folder offers."""

    def encode(
        self, specs: Mapping[str, ArraySpec], blocks: Blocks, aliases: Mapping[str, str], metadata: Mapping[str, Any]
    ) -> Encoded:
        """Checks names, aliases and metadata and lays the file out; nothing is written yet."""
        ...

    def decode(self, source: Source, *, max_bytes: int | None = None) -> Archive:
        """Reads and checks the table of contents; `max_bytes` lifts the bound on what may be inflated."""
        ...


@runtime_checkable
class TreeFormat(Format, Protocol):
    """A format whose file is a tree, with places for what has no arrays."""

    def encode_tree(
        self,
        specs: Mapping[str, ArraySpec],
        blocks: Blocks,
        aliases: Mapping[str, str],
        metadata: Mapping[str, Any],
        rest: Mapping[str, Any],
    ) -> Encoded:
        """As `encode`; `rest` has the empty containers, as {}, the None and the text of a tree by name."""
        ...


_SUFFIXES = {'.npz': 'npz', '.safetensors': 'safetensors', '.msgpack': 'msgpack'}


def by_suffix(name: str) -> Format:
    """The format that the end of a file's name stands for; npz where there is none or it is unknown."""
    suffix = name[name.rfind('.') :].lower() if '.' in name else ''
    module = importlib.import_module(f'{__name__}.{_SUFFIXES.get(suffix, "npz")}')
    return cast(Format, module)

"""The mean of several saves, streamed: blocks of all files are added while they are in the cache."""

import contextlib
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from objio.errors import MismatchError
from objio.formats import Allocate, Archive, ArraySpec, Prepare, ReadRange
from objio.formats.dtypes import from_stored, stored
from objio.io.arrays import READERS, read_arrays
from objio.io.conversion import kind_of
from objio.io.files import File, opened
from objio.io.progress import Progress, counted
from objio.io.weak import recorded, weak_names

_PIECE = 1 << 20  # bytes: less keeps the interpreter busy, more leaves the cache
_ALIGNED = 1 << 14  # bytes: pieces of whole pages, and of whole elements
_PIECES = 10 << 20  # bytes of the pieces of all files and threads together, where there are many


class MeanArchive:
    """Several archives of the same names, shapes and dtypes as one whose arrays are their means.

    See `objio.formats.Archive`. Floats and complex numbers are averaged; everything else, metadata too, comes from the
    last archive.
    """

    kind = 'mean'
    aliases: Mapping[str, str]

    def __init__(self, archives: Sequence[tuple[Archive, str]], weights: Sequence[float] | None = None) -> None:
        self._archives = archives
        self.metadata = archives[-1][0].metadata
        self.keyless = archives[-1][0].keyless  # where everything comes from that has no mean
        self.checksums = all(archive.checksums for archive, _ in archives)
        self._weights = normalised(weights, len(archives))
        self._kept = threading.local()
        share = _PIECES // (len(archives) * READERS)
        self._piece = min(max(share - share % _ALIGNED, _ALIGNED), _PIECE)
        tables = [_names(archive) for archive, _ in archives]
        files = [file for _, file in archives]
        _compare(tables, files)
        _refuse_bits(tables[-1], files[-1])
        # An alias only says "equal at that save": two names share a mean where they share an array in every file.
        self._sources = {name: tuple(archive.aliases.get(name, name) for archive, _ in archives) for name in tables[-1]}
        first: dict[tuple[str, ...], str] = {}
        for name, sources in self._sources.items():
            first.setdefault(sources, name)
        self.aliases = {name: first[sources] for name, sources in self._sources.items() if first[sources] != name}
        self.specs: Mapping[str, ArraySpec] = {
            name: spec for name, spec in tables[-1].items() if name not in self.aliases
        }
        weak = weak_names(archives[-1][0])
        if weak:
            found = (name for name in self.specs if self._sources[name][-1] in weak)
            self.metadata = recorded(self.metadata, found, as_text=False)

    def nbytes(self, name: str) -> int:
        """See `Archive`."""
        return self._archives[-1][0].nbytes(self._sources[name][-1])

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """See `Archive`."""
        if not self._is_mean(name):
            self._archives[-1][0].read_into(self._sources[name][-1], buffer, verify=verify, prepare=prepare)
            return
        at = 0
        for pieces in zip(*self._streams(name, verify=verify), strict=True):
            size = len(pieces[0])
            if prepare is not None:
                prepare(at, at + size)
            self._mean_into(buffer[at : at + size], pieces, name)
            at += size

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """See `Archive`."""
        means = [name for name in names if self._is_mean(name)]
        streams = zip(
            *(
                archive.read_small([self._sources[name][index] for name in means], allocate, verify=verify)
                for index, (archive, _) in enumerate(self._archives)
            ),
            strict=True,
        )
        others = self._archives[-1][0].read_small(
            [self._sources[name][-1] for name in names if not self._is_mean(name)], allocate, verify=verify
        )
        for name in names:
            if not self._is_mean(name):
                yield next(others)
                continue
            buffer = allocate(self.nbytes(name))
            self._mean_into(buffer, next(streams), name)
            yield buffer

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """See `Archive`; a mean comes in pieces of the size that is quickest to compute."""
        if not self._is_mean(name):
            yield from self._archives[-1][0].pieces(self._sources[name][-1], buffer, verify=verify)
            return
        buffer = memoryview(bytearray(min(self._piece, self.nbytes(name))))
        for pieces in zip(*self._streams(name, verify=verify), strict=True):
            piece = buffer[: len(pieces[0])]
            self._mean_into(piece, pieces, name)
            yield piece

    def _streams(self, name: str, *, verify: bool) -> list[Iterator[memoryview]]:
        # Memory that was touched is kept for the next array: fresh memory costs more than what is read into it.
        if not hasattr(self._kept, 'buffers'):
            self._kept.buffers = [memoryview(bytearray(self._piece)) for _ in self._archives]
        return [
            archive.pieces(source, buffer, verify=verify)
            for (archive, _), source, buffer in zip(
                self._archives, self._sources[name], self._kept.buffers, strict=True
            )
        ]

    def _mean_into(self, buffer: memoryview, pieces: Sequence[memoryview], name: str) -> None:
        label = self.specs[name].dtype
        shape = (len(buffer) // stored(label).itemsize,)
        out, *arrays = (from_stored(piece, label, shape) for piece in (buffer, *pieces))
        _mean(arrays, self._weights, out)

    def ranges(self, name: str) -> ReadRange | None:
        """See `Archive`; a mean lies nowhere until it is computed."""
        return None if self._is_mean(name) else self._archives[-1][0].ranges(self._sources[name][-1])

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """See `Archive`; a mean lies nowhere."""
        return None

    def _is_mean(self, name: str) -> bool:
        return kind_of(self.specs[name].dtype) in ('f', 'c') and len(self._archives) > 1


def average(
    files: Iterable[File], weights: Sequence[float] | None = None, *, progress: Progress | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """The mean of the arrays of several files, name by name.

    Sums are kept in float32 (float64 for float64 and complex128), and each result is rounded once to the dtype of the
    files. Bool, integer and key arrays come from the last file: a mean of step counts or of random keys means nothing.
    The idea is that of stochastic weight averaging (Izmailov et al., "Averaging Weights Leads to Wider Optima and
    Better Generalization", 2018).

    Args:
        files: paths or binary file objects, the newest last; one is enough.
        weights: a number for each file, None for equal ones; only their ratios matter.
        progress: called with the bytes of the result that are there and those that will be.

    Returns:
        every name of the files, aliases too, with its mean: shape and dtype as in the files, typed keys as their
        data.

    Raises:
        MismatchError: names, shapes or dtypes of the files differ.
        FormatError: a file is damaged.
        ValueError: there is no file, or the weights do not fit.

    Example:
        >>> import numpy as np, objio
        >>> objio.save_var_collection('1.npz', {'w': np.float32([1, 2])})
        >>> objio.save_var_collection('2.npz', {'w': np.float32([3, 6])})
        >>> objio.average(['1.npz', '2.npz'])['w']
        array([2., 4.], dtype=float32)
    """
    with mean_of(files, weights) as archive:
        names = list(archive.specs)
        arrays = read_arrays(archive, names, {}, ahead=True, mmap=False, verify=True)
        means: dict[str, Any] = dict(
            zip(names, counted(arrays, list(map(archive.nbytes, names)), progress), strict=True)
        )
    return {name: means[archive.aliases.get(name, name)] for name in [*archive.specs, *archive.aliases]}


@contextlib.contextmanager
def mean_of(files: Iterable[File], weights: Sequence[float] | None = None) -> Iterator[MeanArchive]:
    """Opens several files as the archive of their means."""
    if isinstance(files, str | bytes | os.PathLike) or hasattr(files, 'read'):
        raise TypeError(f'expected a list of files, got the single file {files!r}; put it into a list')
    with contextlib.ExitStack() as stack:
        archives = [stack.enter_context(opened(file)) for file in files]
        if not archives:
            raise ValueError('expected at least one file to average, got none')
        yield MeanArchive(archives, weights)


def _mean(pieces: Sequence[np.ndarray[Any, Any]], weights: Sequence[float] | None, out: np.ndarray[Any, Any]) -> None:
    """Computes the mean of flat arrays of one dtype, rounded once to that of `out`, which is the same."""
    dtype = out.dtype
    if dtype.kind == 'c':
        # Part by part, since a complex product makes NaN of an infinite part and a zero.
        real = out.real.dtype
        _mean([piece.view(real) for piece in pieces], weights, out.view(real))
        return
    wide = accumulator(dtype)
    total = out if wide == dtype else np.empty(out.shape, wide)
    with np.errstate(over='ignore', invalid='ignore'):
        if weights is None:
            weights = [1 / len(pieces)] * len(pieces)
            try:
                # A sum may be too large for the accumulator where the mean is not.
                with np.errstate(over='raise'):
                    _sum(pieces, total)
                    np.divide(total, len(pieces), out=total)
            except FloatingPointError:
                _sum(pieces, total)
                np.divide(total, len(pieces), out=total)
                lost = ~np.isfinite(total)
                total[lost] = _weighted([piece[lost] for piece in pieces], weights)
        else:
            total[...] = _weighted(pieces, weights)
        if total is not out:
            out[...] = total.astype(dtype)


def _sum(pieces: Sequence[np.ndarray[Any, Any]], total: np.ndarray[Any, Any]) -> None:
    first, second, *others = (piece.astype(total.dtype, copy=False) for piece in pieces)
    np.add(first, second, out=total)
    for piece in others:
        np.add(total, piece, out=total)


def _weighted(pieces: Sequence[np.ndarray[Any, Any]], weights: Sequence[float]) -> np.ndarray[Any, Any]:
    # What has no weight has no say, not even an infinity.
    heard = [(piece, weight) for piece, weight in zip(pieces, weights, strict=True) if weight]
    wide = accumulator(pieces[0].dtype)
    total: np.ndarray[Any, Any]
    total, *others = (piece.astype(wide) * wide.type(weight) for piece, weight in heard)
    for product in others:
        total += product
    return total


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that values of `dtype`, which may be one of ml_dtypes, are summed in."""
    return np.promote_types(np.float32, dtype if dtype.isbuiltin == 1 else np.float32)


def _names(archive: Archive) -> dict[str, ArraySpec]:
    """What the archive says of every name, aliases too."""
    return dict(archive.specs) | {alias: archive.specs[name] for alias, name in archive.aliases.items()}


def _compare(tables: Sequence[Mapping[str, ArraySpec]], files: Sequence[str]) -> None:
    newest = tables[-1]
    differences = [
        f'  {name}: {_described(table.get(name))} in {file}, {_described(newest.get(name))} in {files[-1]}'
        for table, file in zip(tables[:-1], files, strict=False)
        for name in dict.fromkeys([*table, *newest])
        if table.get(name) != newest.get(name)
    ]
    if differences:
        raise MismatchError(
            'only saves of the same names, shapes and dtypes can be averaged; these differ:\n' + '\n'.join(differences)
        )


def _refuse_bits(table: Mapping[str, ArraySpec], file: str) -> None:
    for name, spec in table.items():
        if spec.dtype.startswith(('V', '<f', '<c')):
            raise ValueError(
                f'{file}: {name}: numbers of the dtype {spec.dtype!r} cannot be averaged, nor may they silently come '
                'from one file; np.savez leaves V1 or V2 of a dtype that NumPy lacks: load such files into a model '
                'and save that'
            )


def _described(spec: ArraySpec | None) -> str:
    return 'missing' if spec is None else f'{spec.dtype} {spec.shape}'


def weights_in_order(weights: Iterable[float]) -> list[float]:
    """The weights as a list.

    Raises:
        TypeError: they are a text, a set or a mapping, which give no number to each file in its turn.
    """
    if isinstance(weights, str | bytes | Set | Mapping):
        raise TypeError(f'weights: expected a list of numbers, one for each file in its turn, got {weights!r}')
    return [float(weight) for weight in weights]


def normalised(weights: Sequence[float] | None, count: int) -> list[float] | None:
    """The weights of `count` files with a sum of 1; None for equal ones."""
    if weights is None:
        return None
    numbers = weights_in_order(weights)
    if len(numbers) != count:
        raise ValueError(f'expected {count} weights, one for each file, got {len(numbers)}')
    try:
        total = math.fsum(numbers)
    except OverflowError:
        total = math.inf
    if not math.isfinite(total) or not total:
        raise ValueError(f'expected finite weights with a sum other than 0, got {numbers}')
    return [number / total for number in numbers]

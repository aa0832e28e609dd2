"""Telling a caller how far long work has come."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from objio.formats import SeekableSink, Sink

_T = TypeVar('_T')

Progress = Callable[[int, int], Any]
"""What `progress=` takes: it is called now and then with the bytes that are done and the bytes there are in all.

It is called in the thread of the verb, last with two equal numbers. What it raises ends the work as an error does.
"""


class _Reporting:
    def __init__(self, sink: Sink, progress: Progress, total: int) -> None:
        self._sink, self._progress, self._total = sink, progress, total
        self._done = 0

    def write(self, buffer: memoryview | bytes) -> None:
        self._sink.write(buffer)
        self._done += len(buffer)
        self._progress(self._done, self._total)


class _ReportingSeekable(_Reporting):
    _sink: SeekableSink

    def write_at(self, offset: int, buffer: memoryview | bytes) -> None:
        self._sink.write_at(offset, buffer)


def reporting(sink: Sink, progress: Progress | None, total: int) -> Sink:
    """The sink, or one that writes to it and tells after each write how far it is."""
    if progress is None:
        return sink
    return (_ReportingSeekable if isinstance(sink, SeekableSink) else _Reporting)(sink, progress, total)


def counted(arrays: Iterator[_T], sizes: Sequence[int], progress: Progress | None) -> Iterator[_T]:
    """Yields arrays of so many bytes and tells, when each has been read, how many bytes have been."""
    if progress is None:
        yield from arrays
        return
    done, total = 0, sum(sizes)
    for size in sizes:
        done += size
        # Without a name for the array: the next one must find the memory of what was only raw material.
        yield _and_tell(next(arrays), progress, done, total)


def _and_tell(array: _T, progress: Progress, done: int, total: int) -> _T:
    progress(done, total)
    return array

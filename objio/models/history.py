"""The metrics of a run: a line of JSON for each moment, appended as the run goes on and read whatever became of it.

A line reads `{"step": 3, "session": 1, "time": "…", "loss": 0.5}`. The sessions of a run are its start and each resume
of it. What an earlier session logged from the step on with which a later one begins counts no more: the run went back.
"""

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from objio.errors import FormatError
from objio.io.metrics import as_number, encode
from objio.io.retention import whole_number
from objio.io.texts import read_bytes
from objio.models.provenance import now

_LARGEST = 4 << 30  # bytes of a file of metrics

OWN = ('step', 'session', 'time')
"""What a line has beside metrics."""

Metrics = dict[str, dict[int, float]]
"""Name of a metric -> step -> value, by ascending step."""


class Log:
    """Appends to a file of metrics.

    A line is with the system when `append` returns, so that it outlives the process, and on the disk with the next
    `sync`.

    Args:
        path: of the file; a last line that was torn is cut off.
        session: the number of this session, counted from 1.
        earlier: what the sessions before it logged.

    Attributes:
        last: the last value of each metric, and the last step.
    """

    def __init__(self, path: str, session: int, earlier: Metrics | None = None) -> None:
        self._path = path
        self._session = session
        self._lock = threading.RLock()  # a signal handler that logs may interrupt who has it
        self.last: dict[str, Any] = {}
        self._began = False
        if earlier:
            self.last = {'step': max(step for values in earlier.values() for step in values), **last_of(earlier)}
        if session > 1:
            _cut_torn_line(path)

    def append(self, step: Any, metrics: Mapping[str, Any]) -> None:
        """Adds a line.

        Raises:
            TypeError: the step is no int, or a metric no number; nothing was written.
            ValueError: the step is negative, or a metric is called as what a line has anyway.
            OSError: the disk does not take the line; what was there before it stays.
        """
        step = whole_number(step, 'step', 0)
        for name in metrics:
            if name in OWN:
                raise ValueError(f'a metric cannot be called {name!r}, as each line has one; choose another name')
        encoded = encode(metrics)
        line = json.dumps({'step': step, 'session': self._session, 'time': now(), **encoded}, ensure_ascii=False)
        with self._lock:
            _append(self._path, line.encode() + b'\n')
            if not self._began and step <= self.last.get('step', -1):
                self.last = {}  # the run went back
            self._began = True
            self.last |= {'step': step} | {name: float(value) for name, value in encoded.items()}

    def sync(self) -> None:
        """Waits until the disk has every line."""
        if os.path.exists(self._path):
            fd = os.open(self._path, os.O_RDWR)  # Windows syncs only what may be written to
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def read(path: str) -> Metrics:
    """The metrics in a file; none where there is no file. A torn last line is passed over.

    Raises:
        FormatError: a line is damaged; the message gives its number.
    """
    try:
        lines = bytes(read_bytes(path, _LARGEST)).split(b'\n')[:-1]
    except FileNotFoundError:
        return {}
    rows = [_row(line, f'{path}, line {number}') for number, line in enumerate(lines, start=1)]
    starts: dict[int, int] = {}
    for row in rows:
        starts.setdefault(row['session'], row['step'])
    ends: dict[int, float] = {}
    end = float('inf')
    for session in sorted(starts, reverse=True):
        ends[session] = end
        end = min(end, starts[session])
    metrics: Metrics = {}
    for row in rows:
        if row['step'] < ends[row['session']]:
            for name, value in row.items():
                if name not in OWN:
                    metrics.setdefault(name, {})[row['step']] = float(value)
    return {name: dict(sorted(values.items())) for name, values in metrics.items()}


def last_of(metrics: Metrics) -> dict[str, float]:
    """The last value of each metric.

    Example:
        >>> last_of({'loss': {1: 0.5, 2: 0.25}})
        {'loss': 0.25}
    """
    return {name: next(reversed(values.values())) for name, values in metrics.items()}


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{where}: expected an object of JSON, found {line[:60]!r} ({error})') from error
    if not isinstance(row, dict) or type(row.get('step')) is not int or type(row.get('session')) is not int:
        raise FormatError(f'{where}: expected an object of JSON with a step and a session, found {line[:60]!r}')
    for name, value in row.items():
        if name not in OWN and as_number(value) is None:
            raise FormatError(f'{where}: expected a number for {name!r}, found {str(value)[:60]!r}')
    return row


def _append(path: str, line: bytes) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)
    fd = os.open(path, flags, 0o666)
    try:
        before = os.fstat(fd).st_size
        rest = line
        try:
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BaseException as error:
            os.ftruncate(fd, before)
            if isinstance(error, OSError):
                error.filename = path
            raise
    finally:
        os.close(fd)


def _cut_torn_line(path: str) -> None:
    try:
        content = read_bytes(path, _LARGEST)
    except FileNotFoundError:
        return
    whole = content.rfind(b'\n') + 1
    if whole < len(content):
        os.truncate(path, whole)

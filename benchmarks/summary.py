"""From the times of all rounds to what a table says: medians, spreads, and ratios taken round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

NUMPY_OPERATIONS = {'open', 'mean'}  # what they give is NumPy's, whoever gives it


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the greatest value beside it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> 'Spread | None':
        """The spread of the values that there are, None if there are none."""
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known)) if known else None


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        title: who.
        role: 'objio', 'peer' or 'limit'.
        numpy: it ends with NumPy arrays where others end with arrays of JAX.
        durable: it syncs before it returns.
        seconds: how long.
        rounds: how often it was timed, where that is less often than others were; otherwise 0.
        done: how long until all was written, for saves in the background.
        peak: bytes of memory above the arrays.
        against_peer: how many times as fast as the fastest peer.
        against_limit: how many times as fast as the limit.
        limit: the limit's title.
        error: why there is nothing to say.
    """

    title: str
    role: str
    numpy: bool
    durable: bool
    seconds: Spread | None
    rounds: int
    done: Spread | None
    peak: Spread | None
    against_peer: Spread | None
    against_limit: Spread | None
    limit: str
    error: str

    @property
    def label(self) -> str:
        """The title, with what sets the row apart from others."""
        if self.role == 'limit':
            return f'limit: {self.title}'
        few = f'{self.rounds} round' + 's' * (self.rounds > 1)
        facts = {'synced': self.durable, 'NumPy arrays': self.numpy, few: self.rounds}
        notes = [note for note, holds in facts.items() if holds]
        return self.title + (f' ({", ".join(notes)})' if notes else '')


def speedup(row: dict[str, Any], other: dict[str, Any] | None) -> Spread | None:
    """How many times as fast a row was as another, each round compared with itself."""
    if other is None or row['error'] or other['error']:
        return None
    pairs = zip(row['seconds'], other['seconds'], strict=False)
    return Spread.of([theirs / mine if mine and theirs else None for mine, theirs in pairs])


def fastest_peer(rows: list[dict[str, Any]], operation: str) -> dict[str, Any] | None:
    """The peer with the least median, of those whose arrays end where the operation asks."""
    peers = [
        row
        for row in rows
        if row['role'] == 'peer' and not row['error'] and (not row['numpy'] or operation in NUMPY_OPERATIONS)
    ]
    return min(peers, key=lambda row: median(row['seconds']), default=None)


def lines(rows: list[dict[str, Any]], operation: str) -> list[Line]:
    """The rows of one table: objio's, the peers' from fast to slow, the limits'.

    Args:
        rows: of one operation, as `Run.measure` gives them.
        operation: its key.
    """
    peer = fastest_peer(rows, operation)
    by_title = {row['title']: row for row in rows}
    most = max((len(row['seconds']) for row in rows), default=0)
    found = []
    for row in rows:
        whole = not row['error']
        found.append(
            Line(
                row['title'],
                row['role'],
                row['numpy'] and operation not in NUMPY_OPERATIONS,
                row['durable'],
                Spread.of(row['seconds']) if whole else None,
                len(row['seconds']) if len(row['seconds']) < most else 0,
                Spread.of(row.get('done', [])) if whole else None,
                Spread.of(row['peak']) if whole else None,
                speedup(row, peer),
                speedup(row, by_title.get(row['limit'])),
                row['limit'],
                row['error'],
            )
        )
    order = {'objio': 0, 'peer': 1, 'limit': 2}
    return sorted(found, key=lambda line: (order[line.role], line.seconds.median if line.seconds else float('inf')))

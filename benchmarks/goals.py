"""What objio has set itself, each held against one run."""

from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import DURABLE
from benchmarks.summary import Spread, fastest_peer, speedup

PEER = 'the fastest peer'


@dataclass(frozen=True)
class Goal:
    """One promise about speed or memory.

    Attributes:
        text: what it says.
        workload: where it is measured.
        operation: the same.
        title: objio's row.
        against: the row that it is a multiple of, `PEER`, or '' for milliseconds, or 'MiB'.
        must: what has to be reached: at least so many times as fast, or at most so many milliseconds or MiB; 0: nothing.
        goal: what is aimed at; None: no more than that.
    """

    text: str
    workload: str
    operation: str
    title: str
    against: str
    must: float
    goal: float | None = None

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.against in ('', 'MiB')


_READ = 'read, huge pages, 2 threads'
_PLACE = 'place one by one'

GOALS = (
    Goal('save, durable', 'gpt2-f32', 'save', 'objio', 'write, fsync', 1.0, 1.2),
    Goal('save, durable', 'gpt2-f32', 'save', 'objio', DURABLE, 0.9),
    Goal('save, durable', 'gpt2-f32', 'save', 'objio', PEER, 0.0, 1.2),
    Goal('save, not durable', 'gpt2-f32', 'save', 'objio, durable=False', PEER, 1.2, 2.5),
    Goal('load, checked', 'gpt2-f32', 'load', 'objio', PEER, 1.5, 3.0),
    Goal('load, mapped, checked', 'gpt2-f32', 'load', 'objio, mmap=True', PEER, 5.0, 15.0),
    Goal('blocking part of a background save', 'background', 'background', 'objio.Checkpoint', '', 3.0, 1.0),
    # One of the two is enough.
    Goal('blocking part of a background save', 'background', 'background', 'objio.Checkpoint', PEER, 0.0, 50.0),
    *(
        goal
        for name in ('many-1k', 'many-256')
        for goal in (
            Goal('load', name, 'load', 'objio', _PLACE, 1.0, 2.5),
            Goal('load', name, 'load', 'objio', PEER, 1.0),
            Goal('save, not durable', name, 'save', 'objio, durable=False', PEER, 0.8, 1.0),
            Goal('save, durable', name, 'save', 'objio', PEER, 0.8, 1.0),
        )
    ),
    *(
        Goal(f'{text} {suffix}', name, operation, f'objio {suffix}{row}', against, 1.0)
        for name in ('formats', 'formats-1k')
        for suffix, against in (('.safetensors', 'safetensors.flax'), ('.msgpack', 'flax msgpack'))
        for text, operation, row in (('save, not durable,', 'save', ', durable=False'), ('load', 'load', ''))
    ),
    Goal('open a 4 GiB file, one array of 1 MiB', 'collection-4g', 'open', 'objio.open', '', 5.0),
    Goal('mean of five saves', 'mean', 'mean', 'objio.average', 'np.savez, np.load and add', 6.0),
    Goal('mean of five saves', 'mean', 'mean', 'objio.average', 'read', 0.0, 0.5),
    Goal('memory of a save', 'collection-4g', 'save', 'objio', 'MiB', 16.0),
    Goal('memory of a load', 'collection-4g', 'load', 'objio', 'MiB', 16.0),
    Goal('memory of a resume', 'resume', 'resume', 'objio', 'MiB', 16.0),
    Goal('memory of a mean', 'mean', 'mean', 'objio.average', 'MiB', 16.0),
    Goal('import objio', 'import', 'import', 'import objio', 'import jax', 1 / 1.1),
)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was found."""

    goal: Goal
    workload: str
    found: Spread

    @property
    def word(self) -> str:
        """What was reached: 'goal', 'must', or neither."""
        if self.goal.goal is not None and self._reached(self.goal.goal):
            return 'goal'
        if not self.goal.must:
            return 'below the goal'
        return 'must' if self._reached(self.goal.must) else 'missed'

    def _reached(self, value: float) -> bool:
        return self.found.median <= value if self.goal.at_most else self.found.median >= value


def verdicts(workloads: list[dict[str, Any]]) -> list[Verdict]:
    """Every goal that the measured workloads allow to judge."""
    by_name = {workload['name']: workload for workload in workloads}
    found = []
    for goal in GOALS:
        workload = by_name.get(goal.workload, {})
        rows = workload.get('operations', {}).get(goal.operation, [])
        row = next((row for row in rows if row['title'] == goal.title and not row['error']), None)
        spread = None if row is None else _spread(goal, row, rows)
        if spread is not None:
            found.append(Verdict(goal, workload['title'], spread))
    return found


def _spread(goal: Goal, row: dict[str, Any], rows: list[dict[str, Any]]) -> Spread | None:
    if goal.against == '':
        return Spread.of([None if seconds is None else seconds * 1e3 for seconds in row['seconds']])
    if goal.against == 'MiB':
        return Spread.of([None if peak is None else peak / 2**20 for peak in row['peak']])
    other = (
        fastest_peer(rows, goal.operation)
        if goal.against == PEER
        else next((row for row in rows if row['title'] == goal.against), None)
    )
    return speedup(row, other)

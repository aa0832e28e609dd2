"""Runs the jobs of a workload in rounds, each in a process of its own, in an order that is shuffled every time."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders import DURABLE, LIMITS, Library, Way, libraries
from benchmarks.worker import paths, remove
from benchmarks.workloads import Workload

ROOT = Path(__file__).parents[1]
TIMEOUT = 900  # seconds for one job

Tell = Callable[[str], None]
Job = dict[str, Any]


def run_job(job: Job) -> dict[str, Any]:
    """Runs one job in a fresh process.

    Args:
        job: see `worker.work`.

    Returns:
        its answer; `error` says why there is none.
    """
    environment = {**os.environ, 'JAX_PLATFORMS': os.environ.get('JAX_PLATFORMS', 'cpu')}
    # In a session of its own, so that Ctrl-C comes here first and the temporary folder is removed once nothing writes.
    with subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.worker', json.dumps(job)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            return {'error': f'took more than {TIMEOUT} s'}
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        last = err.strip().splitlines()[-1:] or ['']
        return {'error': f'ended with status {process.returncode} {last[0][:160]}'.strip()}
    return dict(json.loads(out.splitlines()[-1]))


class Run:
    """One workload being measured.

    Args:
        set_name: the key of `SETS` that the workload is in.
        workload: what is measured.
        folder: an empty folder on the disk that is measured; nothing is left in it.
        disk: bytes of the disk that may be taken at a time.
        rng: shuffles.
        rounds: how many.
        do: runs one job.
    """

    def __init__(
        self,
        set_name: str,
        workload: Workload,
        folder: Path,
        *,
        disk: int,
        rng: random.Random,
        rounds: int,
        do: Callable[[Job], dict[str, Any]] = run_job,
    ) -> None:
        self._run_job = do
        self._set, self._workload, self._folder = set_name, workload, folder
        self._rng, self.rounds = rng, rounds
        chosen = libraries() if workload.libraries is None else {name: libraries()[name] for name in workload.libraries}
        if workload.libraries is None:
            # torch is a peer of its own, since its wheel takes gigabytes; the formats of others have tables of their own.
            for name in ('torch', 'objio .safetensors', 'objio .msgpack'):
                chosen.pop(name)
        self._ways = {name: _ways(library, workload) for name, library in chosen.items()}
        self._libraries = {name: library for name, library in chosen.items() if self._ways[name]}
        # Where all files find room, the saves of a round stand close together, and so do its loads.
        self._together = len(self._libraries) * workload.copies * workload.tree.nbytes <= disk
        self._rows = {
            (name, way.operation, way.title): _row(library, way, workload)
            for name, library in self._libraries.items()
            for way in self._ways[name]
        }

    @property
    def jobs(self) -> int:
        """How many timed jobs there are in all rounds."""
        return sum(self._rounds(name, title) for name, _, title in self._rows)

    def measure(self, tell: Tell) -> dict[str, Any]:
        """Runs every round.

        Args:
            tell: called with the name of each timed job before it starts.

        Returns:
            what was measured, ready for JSON.
        """
        for number in range(self.rounds):
            for group in self._groups(number):
                for job in self._order(group, number):
                    self._do(*job, number, tell)
                if not self._together:
                    self._clear(group)
        self._clear(list(self._libraries))
        operations: dict[str, list[dict[str, Any]]] = {}
        for (_, operation, _), row in self._rows.items():
            operations.setdefault(operation, []).append(row)
        tree = self._workload.tree
        return {
            'name': self._workload.name,
            'title': self._workload.title,
            'group': self._workload.group,
            'arrays': len(tree.shapes),
            'bytes': tree.nbytes,
            'copies': self._workload.copies,
            'picked_bytes': tree.only(self._workload.names).nbytes,
            'rounds': self.rounds,
            'operations': operations,
        }

    def _rounds(self, name: str, title: str) -> int:
        fewer = self._workload.fewer
        return min(self.rounds, fewer.get(title, fewer.get(name, self.rounds)))

    def _groups(self, number: int) -> list[list[str]]:
        """The libraries of a round, those together whose files are there together."""
        names = list(dict.fromkeys(name for name, _, title in self._rows if number < self._rounds(name, title)))
        self._rng.shuffle(names)
        return [names] if self._together else [[name] for name in names]

    def _order(self, group: list[str], number: int) -> Iterator[tuple[str, Way | None]]:
        """The jobs of a group in a round: everything that writes, shuffled, then everything that reads, shuffled."""
        ways = [(name, way) for name in group for way in self._ways[name] if number < self._rounds(name, way.title)]
        self._rng.shuffle(ways)
        writes = [(name, way) for name, way in ways if way.operation in ('save', 'background', 'held', 'import')]
        reads = [(name, way) for name, way in ways if (name, way) not in writes]
        yield from writes
        for name in dict.fromkeys(name for name, _ in reads):
            if not any(os.path.exists(path) for path in self._paths(name)):
                yield name, None
        yield from reads

    def _do(self, name: str, way: Way | None, number: int, tell: Tell) -> None:
        job = {
            'set': self._set,
            'workload': self._workload.name,
            'library': name,
            'operation': 'make' if way is None else way.operation,
            'title': '' if way is None else way.title,
            'path': str(self._path(name)),
            'check': number == 0,
        }
        if way is None:
            self._run_job(job)  # what it could not write, the reading job reports
            return
        row = self._rows[name, way.operation, way.title]
        if not row['error']:
            tell(f'{self._workload.title}: {way.operation}, {way.title}')
            answer = self._run_job(job)
            row['error'] = answer.pop('error', '')
            if not row['error']:
                for key, value in answer.items():
                    row.setdefault(key, [None] * number).append(value)

    def _path(self, name: str) -> Path:
        return self._folder / f'{self._workload.name}-{name.replace(" ", "-").replace(",", "")}{self._suffix(name)}'

    def _suffix(self, name: str) -> str:
        return self._libraries[name].suffix

    def _paths(self, name: str) -> list[str]:
        return paths(str(self._path(name)), self._workload.copies)

    def _clear(self, names: list[str]) -> None:
        for name in names:
            for path in self._paths(name):
                remove(path)


def _ways(library: Library, workload: Workload) -> list[Way]:
    def chosen(way: Way) -> bool:
        return (
            way.operation in workload.operations
            and (not way.most or workload.tree.nbytes <= way.most)
            and way.title not in workload.without
        )

    return [way for way in library.ways if chosen(way)]


def _row(library: Library, way: Way, workload: Workload) -> dict[str, Any]:
    limit = way.limit or workload.limits.get(way.operation) or LIMITS.get(way.operation, '')
    return {
        'title': way.title,
        'library': library.name,
        'role': library.role,
        'numpy': way.numpy,
        'durable': way.limit == DURABLE or way.title.endswith('fsync'),
        'limit': limit,
        'seconds': [],
        'peak': [],
        'error': '',
    }

"""Two runs beside each other: what differs in their settings, metrics and provenance."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objio.models.leaves import differing, flat
from objio.models.run import Run, find
from objio.models.run_table import aligned, shown

Pairs = dict[str, tuple[Any, Any]]
_OF_ONE_START = {'pid', 'start', 'end', 'error', 'state', 'settings'}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `print` it. Where a run has no value, None stands.

    Attributes:
        runs: the two names.
        settings: dotted name -> both values, where they differ.
        metrics: name -> both last values, where they differ.
        provenance: dotted name, such as 'git.commit' or 'packages.jax' -> both values, where they differ.
    """

    runs: tuple[str, str]
    settings: Pairs
    metrics: Pairs
    provenance: Pairs

    def __bool__(self) -> bool:
        return bool(self.settings or self.metrics or self.provenance)

    def __str__(self) -> str:
        lines: list[list[str]] = [['', *self.runs]]
        for title in ('settings', 'metrics', 'provenance'):
            pairs: Pairs = getattr(self, title)
            if pairs:
                lines.append([title])
                lines += [
                    [f'  {name}', *('-' if value is None else shown(value) for value in both)]
                    for name, both in pairs.items()
                ]
        return '\n'.join(aligned(lines)) if self else f'{self.runs[0]} and {self.runs[1]} do not differ'


def compare(a: Run | str, b: Run | str, root: str | os.PathLike[str] = 'storage') -> Comparison:
    """Lays two runs beside each other.

    Args:
        a: a run, or its name.
        b: another one.
        root: the folder of the runs, for names.

    Raises:
        FileNotFoundError: there is no such run.
        FormatError: a file of a run is damaged.

    Example:
        >>> import objio
        >>> for lr in 0.1, 0.01:
        ...     with objio.Saver(objio.nn.Linear(3, 1), {'lr': lr, 'width': 3}, run=f'lr-{lr}') as saver:
        ...         saver.log(step=1, loss=lr * 2)
        >>> print(objio.compare('lr-0.1', 'lr-0.01'))
                  lr-0.1  lr-0.01
        settings
          lr      0.1     0.01
        metrics
          loss    0.2     0.02
    """
    one, other = find(a, root), find(b, root)
    return Comparison(
        runs=(one.name, other.name),
        settings=_pairs(one.settings, other.settings),
        metrics=_pairs(one.last, other.last),
        provenance=_pairs(_provenance(one), _provenance(other)),
    )


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    return {name: (a.get(name), b.get(name)) for name in differing([a, b])}


def _provenance(run: Run) -> dict[str, Any]:
    facts = {name: value for name, value in run.provenance.items() if name not in _OF_ONE_START}
    return {name: ' '.join(value) if isinstance(value, list) else value for name, value in flat(facts)}

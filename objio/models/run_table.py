"""Tables of runs, for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from objio.io.best_mode import Mode, best_mode
from objio.models.leaves import differing
from objio.models.run import Run


def table(runs: Sequence[Run], modes: Mapping[str, Mode]) -> str:
    """The runs under each other; see `Runs.table`."""
    readable = [run for run in runs if not run.damaged]
    settings = differing([run.settings for run in readable])
    metrics = list(dict.fromkeys(name for run in readable for name in run.metrics))
    best = {name: modes.get(name, best_mode(name)) for name in metrics}
    head = ['run', 'state', *settings]
    for name, mode in best.items():
        head += [name, f'{name} {mode}'] if mode else [name]
    lines = [head]
    for run in runs:
        if run.damaged:
            lines.append([run.name, run.state])
            continue
        own = run.settings
        cells = [run.name, run.state, *(shown(own[name]) if name in own else '-' for name in settings)]
        for name, mode in best.items():
            there = name in run.metrics
            cells.append(shown(run.last[name]) if there else '-')
            if mode:
                cells.append(shown(run.best(name, mode)) if there else '-')
        lines.append(cells)
    return '\n'.join([*aligned(lines), *(f'{run.name}: {run.damaged}' for run in runs if run.damaged)])


def shown(value: Any) -> str:
    """A value in a cell: numbers to four digits."""
    if isinstance(value, float):
        return f'{value:.4g}'
    return value if isinstance(value, str) and value.isprintable() and value else repr(value)


def aligned(lines: Iterable[Sequence[str]], gap: str = '  ') -> list[str]:
    """Lines of cells, each column as wide as it must be."""
    lines = list(lines)
    widths = [max(len(line[place]) for line in lines if place < len(line)) for place in range(max(map(len, lines)))]
    return [gap.join(f'{cell:{width}}' for cell, width in zip(line, widths, strict=False)).rstrip() for line in lines]

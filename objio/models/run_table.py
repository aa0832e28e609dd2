"""Tables of runs, for people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from objio.models.leaves import differing
from objio.models.run import Run

_GREATER_IS_BETTER = (
    'acc accuracy auc auroc bleu correct f1 hits iou likelihood map mrr ndcg precision psnr r2 recall return returns '
    'reward rewards rouge score ssim success top1 top5'
)


def table(runs: Sequence[Run], modes: Mapping[str, str]) -> str:
    """The runs under each other; see `Runs.table`."""
    readable = [run for run in runs if not run.damaged]
    settings = differing([run.settings for run in readable])
    metrics = list(dict.fromkeys(name for run in readable for name in run.metrics))
    best = {name: modes.get(name, best_mode(name)) for name in metrics}
    head = ['run', 'state', *settings]
    for name, mode in best.items():
        head += [name, f'{name} {mode}']
    lines = [head]
    for run in runs:
        if run.damaged:
            lines.append([run.name, run.state])
            continue
        own = run.settings
        cells = [run.name, run.state, *(shown(own[name]) if name in own else '-' for name in settings)]
        for name, mode in best.items():
            there = name in run.metrics
            cells += [shown(run.last[name]), shown(run.best(name, mode))] if there else ['-', '-']
        lines.append(cells)
    return '\n'.join([*aligned(lines), *(f'{run.name}: {run.damaged}' for run in runs if run.damaged)])


def best_mode(metric: str) -> str:
    """What is best of a metric, as far as its name tells: the least, unless one of its words says otherwise.

    Example:
        >>> best_mode('val_accuracy'), best_mode('loss')
        ('max', 'min')
    """
    words = set(re.findall(r'[a-z]+\d*', re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', metric).lower()))
    return 'max' if words & set(_GREATER_IS_BETTER.split()) and not words & {'loss', 'error'} else 'min'


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

"""Two pictures of a run: bars for GPT-2, lines for growth."""

from pathlib import Path
from typing import Any

from benchmarks.report import against_size
from benchmarks.summary import Line, Spread, lines

_COLOURS = {'objio': ('tab:blue', 'tab:cyan'), 'peer': ('tab:gray', 'black'), 'limit': ('tab:orange', 'tab:red')}


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draws what the run has data for.

    Args:
        results: of a run.
        folder: where the PNG files go.

    Returns:
        their paths.
    """
    import matplotlib as mpl

    mpl.use('agg')
    workloads = {workload['name']: workload for workload in results['workloads']}
    drawn = []
    if 'gpt2-f32' in workloads:
        drawn.append(_bars(workloads['gpt2-f32'], folder / 'benchmark-gpt2.png'))
    grown = [workload for workload in results['workloads'] if workload['group']]
    if grown:
        drawn.append(_growth(grown, folder / 'benchmark-growth.png'))
    return drawn


def _bars(workload: dict[str, Any], path: Path) -> Path:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, (save, load) = plt.subplots(1, 2, figsize=(12, 5.5), layout='constrained')
    for axes, operation in ((save, 'save'), (load, 'load')):
        found = [line for line in lines(workload['operations'][operation], operation) if line.seconds][::-1]
        speeds = [_speed(line, workload['bytes']) for line in found]
        spread = [[s.median - s.low for s in speeds], [s.high - s.median for s in speeds]]
        axes.barh(
            [line.label.removeprefix('limit: ') for line in found],
            [speed.median for speed in speeds],
            color=[_COLOURS[line.role][0] for line in found],
            xerr=spread,
            ecolor='black',
            capsize=2,
            error_kw={'linewidth': 0.8},
        )
        axes.set(title=operation, xlabel='GiB/s')
        if operation == 'load':
            axes.set_xscale('log')  # mapped files are too fast for the same ruler
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter('{x:g}')
            axes.xaxis.set_minor_formatter('')
        axes.grid(axis='x', alpha=0.3)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour, _ in _COLOURS.values()]
    figure.legend(handles, ['objio', 'peers', 'limits of the machine'], loc='outside lower center', ncols=3)
    figure.suptitle(f'{workload["title"]}: medians of {workload["rounds"]} rounds, from the least to the most')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _speed(line: Line, nbytes: int) -> Spread:
    if line.seconds is None:
        raise ValueError(f'{line.title} has no times')
    median, low, high = (nbytes / 2**30 / s for s in (line.seconds.median, line.seconds.high, line.seconds.low))
    return Spread(median, low, high)


def _growth(workloads: list[dict[str, Any]], path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(12, 9), layout='constrained')
    for row, (group, across) in enumerate((('bytes', 'MiB in 16 arrays'), ('count', 'arrays of 256 B'))):
        points = [workload for workload in workloads if workload['group'] == group]
        for axes, operation in zip(grid[row], ('save', 'load'), strict=True):
            series: dict[tuple[str, str], list[tuple[float, Spread]]] = {}
            for workload in points:
                x = workload['bytes'] / 2**20 if group == 'bytes' else workload['arrays']
                for line in against_size(workload, operation):
                    if line.seconds:
                        series.setdefault((line.role, line.label), []).append((x, line.seconds))
            seen = dict.fromkeys(_COLOURS, 0)
            for (role, label), found in sorted(series.items()):
                xs = [x for x, _ in found]
                ys = [spread.median * 1e3 for _, spread in found]
                ends = [[(s.median - s.low) * 1e3 for _, s in found], [(s.high - s.median) * 1e3 for _, s in found]]
                style = {'objio': '-', 'peer': '--', 'limit': ':'}[role]
                colour = _COLOURS[role][seen[role] % 2]
                seen[role] += 1
                axes.errorbar(xs, ys, yerr=ends, color=colour, linestyle=style, marker='.', capsize=2, label=label)
            axes.set(xscale='log', yscale='log', xlabel=across, ylabel='ms', title=operation)
            axes.grid(alpha=0.3)
            axes.legend(fontsize='small')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path

"""Tables of a run in Markdown, as they stand in README.md, on the site and on the terminal."""

from typing import Any

from benchmarks.goals import verdicts
from benchmarks.summary import Line, Spread, lines
from benchmarks.workloads import OPERATIONS

BEGIN = '<!-- results: written by `make bench`, not by hand -->'
END = '<!-- end of the results -->'
_NO_SPEED = ('import', 'held')  # what moves no bytes from one place to another


def document(results: dict[str, Any]) -> str:
    """Everything that a whole run found, for README.md."""
    workloads, grown = results['workloads'], _grown(results)
    parts = _found(results, '../docs/assets')
    for workload in workloads:
        if not workload['group']:
            parts += workload_tables(workload)
    if grown:
        parts += [*_growth_plot('../docs/assets'), *growth(grown)]
    return '\n\n'.join(parts)


def overview(results: dict[str, Any]) -> str:
    """What a run found in short, for the site."""
    parts = _found(results, '../assets')
    for workload in results['workloads']:
        if workload['name'] == 'background':
            parts += workload_tables(workload)
    if _grown(results):
        parts += _growth_plot('../assets')
    return '\n\n'.join(parts)


def _found(results: dict[str, Any], assets: str) -> list[str]:
    """Where it was measured, the goals, and the plot of GPT-2."""
    workloads = results['workloads']
    parts = [_where(results), '## Goals', *goals(workloads)]
    if any(workload['name'] == 'gpt2-f32' for workload in workloads):
        parts += ['## GPT-2 124M at a glance', f'![Saving and loading GPT-2 124M, GiB/s]({assets}/benchmark-gpt2.png)']
    return parts


def _grown(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [workload for workload in results['workloads'] if workload['group']]


def _growth_plot(assets: str) -> list[str]:
    return ['## Growth', f'![Milliseconds by size and by number of arrays]({assets}/benchmark-growth.png)']


def rewritten(page: str, found: str, begin: str = BEGIN, end: str = END) -> str:
    """A page with what stands between its two marks replaced by what a run found.

    Raises:
        ValueError: the page lacks a mark.
    """
    head, opened, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f'the page has no place for the results: expected {begin!r} and after it {end!r}')
    return f'{head}{begin}\n\n{found}\n\n{end}{tail}'


def workload_tables(workload: dict[str, Any]) -> list[str]:
    """A heading and a table for each operation."""
    parts = [f'## {workload["title"]}']
    size = f'{workload["bytes"] / 2**20:,.1f} MiB in {workload["arrays"]:,} arrays, {workload["rounds"]} rounds.'
    if 'import' not in workload['operations']:
        parts.append(size)
    for operation, rows in workload['operations'].items():
        moved = workload['bytes'] * workload['copies']
        if operation in ('pick', 'open'):
            moved = workload['picked_bytes']
        parts += [f'### {OPERATIONS[operation]}', _lines_table(lines(rows, operation), operation, moved)]
        failed = [f'- {row["title"]}: {row["error"]}' for row in rows if row['error']]
        if failed:
            parts.append('Not there, and why:\n\n' + '\n'.join(failed))
    return parts


def goals(workloads: list[dict[str, Any]]) -> list[str]:
    """A table of the goals that could be judged."""
    rows = []
    for verdict in verdicts(workloads):
        goal, unit = verdict.goal, ''
        if goal.at_most:
            unit = ' MiB' if goal.against else ' ms'
        sign = '≤' if goal.at_most else '≥'
        against = '' if goal.at_most else goal.against
        aim = '' if goal.goal is None else f'{sign} {goal.goal:.2g}{unit}'
        must = f'{sign} {goal.must:.2g}{unit}' if goal.must else ''
        rows.append([verdict.workload, goal.text, against, must, aim, _spread(verdict.found) + unit, verdict.word])
    return [table(['', '', 'times as fast as', 'must', 'goal', 'found', 'reached'], rows, left=3)] if rows else []


def growth(workloads: list[dict[str, Any]]) -> list[str]:
    """A table for each kind of growth and each operation, a row for each size."""
    parts = []
    for group in dict.fromkeys(workload['group'] for workload in workloads):
        points = [workload for workload in workloads if workload['group'] == group]
        for operation in points[0]['operations']:
            cells = {each['title']: against_size(each, operation) for each in points}
            columns = list(dict.fromkeys(line.label for lines_ in cells.values() for line in lines_))
            rows = []
            for title, found in cells.items():
                times = {line.label: line.seconds for line in found}
                rows.append([title, *(_milliseconds(times.get(column)) for column in columns)])
            parts.append(table([f'{OPERATIONS[operation]}, ms', *columns], rows))
    return parts


def against_size(workload: dict[str, Any], operation: str) -> list[Line]:
    """The rows that are worth following while the work grows: everyone's, and the limits that they are held against."""
    found = [line for line in lines(workload['operations'][operation], operation) if line.seconds]
    held = {line.limit for line in found if line.role != 'limit'}
    return [line for line in found if line.role != 'limit' or line.title in held]


def table(head: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table whose columns are aligned, so that it can be read as it stands.

    Args:
        head: names of the columns.
        rows: cells.
        left: how many columns are text; the others are numbers and stand at the right.
    """
    widths = [max(3, *(len(row[i]) for row in [head, *rows])) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f'| {" | ".join(padded)} |'

    rule = [('-' * width if i < left else '-' * (width - 1) + ':') for i, width in enumerate(widths)]
    return '\n'.join([line(head), line(rule), *map(line, rows)])


def _lines_table(found: list[Line], operation: str, moved: int) -> str:
    head = ['', 'ms', 'least to most', 'GiB/s', 'vs the fastest peer', 'vs its limit', 'MiB above the arrays']
    if operation == 'background':
        head[3] = 'ms until written'
    if operation in _NO_SPEED:
        head[3] = ''
    rows = []
    for line in found:
        if line.seconds is None:
            continue
        speed = f'{moved / line.seconds.median / 2**30:.2f}'
        if operation == 'background':
            speed = _milliseconds(line.done)
        rows.append(
            [
                f'**{line.label}**' if line.role == 'objio' else line.label,
                _milliseconds(line.seconds),
                '' if line.rounds == 1 else f'{_number(line.seconds.low * 1e3)} to {_number(line.seconds.high * 1e3)}',
                '' if operation in _NO_SPEED else speed,
                _spread(line.against_peer),
                _spread(line.against_limit),
                '' if line.peak is None else f'{line.peak.median / 2**20:.0f}',
            ]
        )
    empty = [i for i in range(1, len(head)) if not any(row[i] for row in rows)]
    keep = [i for i in range(len(head)) if i not in empty]
    return table([head[i] for i in keep], [[row[i] for i in keep] for row in rows])


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ''
    return f'{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})'


def _milliseconds(spread: Spread | None) -> str:
    return '' if spread is None else _number(spread.median * 1e3)


def _number(value: float) -> str:
    """Three digits, which is more than a busy machine can tell."""
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def _where(results: dict[str, Any]) -> str:
    place, versions = results['machine'], results['versions']
    measured = f'objio at {results["commit"]}. ' if results['commit'] else ''
    return (
        f'{results["date"]}, {results["minutes"]:.0f} minutes: {place["processor"]}, {place["cores"]} cores, {place["memory"]} of memory, '
        f'{place["filesystem"]}, {place["system"]}, Python {place["python"]}. {measured}'
        + ', '.join(f'{name} {version}' for name, version in versions.items() if version != 'not installed')
        + '.'
    )

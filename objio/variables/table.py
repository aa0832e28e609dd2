"""A collection as people read it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from objio.variables.values import dtype_of, is_value, label_of, shape_of

_MIB = 2**20


def table(groups: Sequence[tuple[str, Sequence[str], Any]], names: Iterable[str], unsaved: Mapping[str, Any]) -> str:
    """Lays out names, shapes, dtypes and sizes.

    Args:
        groups: canonical name, all names and the variable, for each variable.
        names: all names in the collection's order.
        unsaved: the leaves of a tree that are no variables, by name.

    Returns:
        A header, a line a name, a line of totals, and a line for each unsaved leaf.
    """
    variables = {name: var for name, _, var in groups}
    canonical = {other: name for name, called, _ in groups for other in called}
    rows = [('name', 'shape', 'dtype', 'MiB')]
    numbers = total = 0
    for name in names:
        if name not in variables:
            rows.append((name, f'= {canonical[name]}', '', ''))
            continue
        value = variables[name].value
        if not is_value(value):
            rows.append((name, 'no array', label_of(value), ''))
            continue
        size = math.prod(shape_of(value))
        nbytes = size * dtype_of(value).itemsize
        numbers, total = numbers + size, total + nbytes
        rows.append((name, str(shape_of(value)), label_of(value), f'{nbytes / _MIB:.2f}'))
    # A reference's line is no wider than its text: its second column does not count.
    widths = [max(len(row[i]) for row in rows if i == 0 or not row[1].startswith('=')) for i in range(3)]
    lines = [
        '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    called = f' under {len(rows) - 1} names' if len(rows) - 1 != len(variables) else ''
    count = f'{len(variables)} variable{"s" if len(variables) != 1 else ""}{called}'
    lines.append(f'{count}, {numbers:,} numbers, {total / _MIB:.2f} MiB')
    lines += [f'not saved, part of the tree only: {name!r}: {leaf!r}' for name, leaf in unsaved.items()]
    return '\n'.join(line.rstrip() for line in lines)

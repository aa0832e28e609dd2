"""Reads the page "Errors and cures"."""

import builtins
import re
from pathlib import Path

import objio

PAGE = Path(__file__).parents[1] / 'docs' / 'reference' / 'errors.md'


def rows_of(*sections: str) -> dict[str, str]:
    """Maps the first cell of each row in some sections of the page to its second, the error."""
    found = {}
    for section in re.split(r'^## ', PAGE.read_text(encoding='utf-8'), flags=re.MULTILINE)[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            if section.splitlines()[0] in sections and line.startswith('|') and len(cells) == 3:
                found[cells[0].replace('`', '')] = cells[1]
    return {what: error for what, error in found.items() if error != 'Error' and not set(what) <= set('- ')}


def error_of(cell: str) -> tuple[type[BaseException], ...]:
    """The exceptions that a cell of the page names."""
    names = re.findall(r'`([A-Z]\w+)`', cell)
    found = [getattr(objio, name, None) or getattr(builtins, name, None) for name in names]
    return tuple(kind for kind in found if kind is not None)

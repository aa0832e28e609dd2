"""Reads what a run has counted, and writes it down."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.report import table
from faults.plan import PLAN, Beside, Row

BEGIN = '<!-- figures: written by `make faults`, not by hand -->'
END = '<!-- end of the figures -->'


@dataclass
class Found:
    """What a run found for one row."""

    count: int = 0
    seconds: float = 0
    details: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)


@dataclass
class Results:
    """What a run found.

    Attributes:
        rows: by the key of the row; a row that no test counted for has no entry.
        beside: cells of the table beside other libraries.
        failed: names of tests that failed and count for no row.
    """

    rows: dict[str, Found] = field(default_factory=lambda: defaultdict(Found))
    beside: list[Beside] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def read(xml: Path) -> Results:
    """Collects the figures that the tests have put into pytest's JUnit file."""
    results = Results()
    for case in ET.parse(xml).iter('testcase'):
        properties = [(node.get('name'), node.get('value', '')) for node in case.iter('property')]
        keys = [value for name, value in properties if name == 'row']
        broken = case.find('failure') is not None or case.find('error') is not None
        skipped = case.find('skipped')
        if broken and not keys:
            results.failed.append(case.get('name', ''))
        for key in keys:
            found = results.rows[key]
            found.seconds += float(case.get('time', 0)) / len(keys)
            if broken:
                found.failed.append(case.get('name', ''))
            elif skipped is not None:
                found.not_run.append(skipped.get('message', ''))
        for name, value in properties:
            if name == 'figure':
                noted = json.loads(value)
                results.rows[noted['row']].count += noted['count']
                if noted['detail'] and noted['detail'] not in results.rows[noted['row']].details:
                    results.rows[noted['row']].details.append(noted['detail'])
            elif name == 'beside':
                results.beside.append(Beside(**json.loads(value)))
    return results


def missing(results: Results, *, allow_skip: bool = False) -> list[str]:
    """What keeps a run from being a proof: a line for each row that failed, or has no figure, or too small a one.

    Args:
        results: of the run.
        allow_skip: whether a row that says why it was not run is enough.
    """
    lines = [f'{name} failed' for name in results.failed]
    for row in PLAN:
        found = results.rows.get(row.key, Found())
        if found.failed:
            lines.append(f'{row.key}: {", ".join(found.failed)} failed')
        elif found.not_run and allow_skip:
            continue
        elif found.count < row.least:
            lines.append(f'{row.key}: expected at least {row.least:,} {row.unit}, counted {found.count:,}')
    return lines


def _figure(row: Row, found: Found) -> str:
    if found.failed:
        return 'FAILED'
    if found.not_run:
        return f'not run: {"; ".join(dict.fromkeys(found.not_run))}'
    return f'{found.count:,} {row.unit}' if found.count else 'no figure'


def figures(results: Results) -> str:
    """The table of the plan, each row with what was counted."""
    cells = []
    for row in PLAN:
        found = results.rows.get(row.key, Found())
        cells.append([row.proof, row.promise, _figure(row, found), f'{row.least:,}', f'{found.seconds:,.0f} s'])
    return table(['what was done', 'what held each time', 'this run', 'at least', 'took'], cells, left=2)


def details(results: Results) -> str:
    """What the tests say beyond their counts: seeds, the system calls by name, the guards."""
    found = {row: results.rows[row.key].details for row in PLAN if row.key in results.rows}
    return '\n'.join(f'- **{row.proof}**: {" · ".join(texts)}' for row, texts in found.items() if texts)


def beside(results: Results) -> str:
    """A table with a line for each fault and a column for each library, objio first."""
    libraries = sorted({cell.library for cell in results.beside}, key=lambda name: (name != 'objio', name.lower()))
    outcomes = {(cell.fault, cell.library): cell.outcome for cell in results.beside}
    faults = dict.fromkeys(cell.fault for cell in results.beside)
    rows = [[fault, *(outcomes.get((fault, library), '') for library in libraries)] for fault in faults]
    return table(['', *libraries], rows, left=1 + len(libraries))


def document(results: Results, where: str) -> str:
    """What stands between the two marks of the page."""
    return '\n\n'.join(
        [where, figures(results), '## Beside other libraries', beside(results), '## Details', details(results)]
    )

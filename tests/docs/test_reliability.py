"""The figures on the page about reliability are those of a whole run, or there are none."""

import re
from pathlib import Path

import pytest

from faults.plan import PLAN, Beside, Row
from faults.report import BEGIN, END, Found, Results, document

PAGE = Path(__file__).parents[2] / 'docs' / 'reliability.md'


def published(page: str) -> str:
    """What a run wrote between the marks."""
    head, begin, rest = page.partition(BEGIN)
    found, end, tail = rest.partition(END)
    assert head
    assert begin
    assert end
    assert not tail.strip()
    return found.strip()


def faults(text: str) -> list[str]:
    """What keeps a text from being that of a whole run: a line for each row of the plan that is amiss."""
    found = []
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    for row in PLAN:
        lines = [line for line in cells if line[0] == row.proof]
        count = re.fullmatch(rf'([\d,]+) {re.escape(row.unit)}', lines[0][2]) if len(lines) == 1 else None
        if count is None or int(count[1].replace(',', '')) < row.least or lines[0][1] != row.promise:
            found.append(f'{row.key}: {lines}')
    beside = text.partition('## Beside other libraries')[2].partition('##')[0]
    libraries = beside.strip().partition('\n')[0].count('|') - 2
    if libraries < 4 or '| objio ' not in beside.strip().partition('\n')[0]:
        found.append(f'beside: {libraries} libraries')
    return found


def test_the_page_shows_a_whole_run() -> None:
    """Each row of the plan has its figure, none was passed over, and other libraries stand beside."""
    text = published(PAGE.read_text(encoding='utf-8'))
    assert not text or faults(text) == []


LIBRARIES = ['objio', 'Orbax', 'safetensors', 'Flax msgpack']


def run(change: Row | None = None, **fields: object) -> str:
    """What a run writes in which one row may have gone another way."""
    results = Results()
    for row in PLAN:
        results.rows[row.key] = Found(count=row.least, seconds=1, details=['seed 3'])
        if row == change:
            vars(results.rows[row.key]).update(fields)
    results.beside += [Beside('power cut', library, '0 of 10') for library in LIBRARIES]
    return document(results, 'on a machine')


def test_a_whole_run_is_seen() -> None:
    """The test above can pass: a run that counted what it had to is one."""
    assert faults(run()) == []


@pytest.mark.parametrize('row', PLAN, ids=lambda row: row.key)
def test_what_is_amiss_is_seen(row: Row) -> None:
    """And it can fail: for a row that counted too little, failed, or was passed over."""
    for fields in ({'count': row.least - 1}, {'failed': ['test_x']}, {'not_run': ['no root']}, {'count': 0}):
        (fault,) = faults(run(row, **fields))
        assert row.key in fault
    assert 'beside: ' in faults(run().replace('objio', 'another'))[-1]

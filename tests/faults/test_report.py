"""What a run of the proofs prints and publishes."""

from pathlib import Path

import pytest

from faults.plan import PLAN
from faults.report import beside, figures, missing, read

_CASE = """<testcase name="test_{name}" time="2.5"><properties><property name="row" value="{row}"/>{properties}
</properties>{ending}</testcase>"""


def case(row: str, count: int | None = None, ending: str = '', name: str = 'a') -> str:
    properties = ''
    if count is not None:
        noted = f'{{"row": "{row}", "count": {count}, "detail": "seed 3"}}'.replace('"', '&quot;')
        properties = f'<property name="figure" value="{noted}"/>'
    return _CASE.format(name=name, row=row, properties=properties, ending=ending)


@pytest.fixture
def whole() -> list[str]:
    """The cases of a run in which every row has its figure."""
    return [case(row.key, row.least) for row in PLAN]


def results(tmp_path: Path, cases: list[str]) -> object:
    path = tmp_path / 'figures.xml'
    path.write_text(f'<testsuites><testsuite>{"".join(cases)}</testsuite></testsuites>')
    return read(path)


def test_a_run_with_every_figure_is_a_proof(tmp_path: Path, whole: list[str]) -> None:
    """Nothing is missing, and each row of the table shows its count."""
    found = results(tmp_path, whole)
    assert missing(found) == []
    assert '2,000 kills' in figures(found)
    assert found.rows['bits'].details == ['seed 3']


def test_counts_of_one_row_are_added(tmp_path: Path, whole: list[str]) -> None:
    """A row may be counted by several tests."""
    found = results(tmp_path, [*whole, case('bits', 7)])
    assert found.rows['bits'].count == 50_007
    assert found.rows['bits'].seconds == 5.0


@pytest.mark.parametrize('allow_skip', [False, True])
def test_a_row_without_a_figure_is_no_proof(tmp_path: Path, whole: list[str], allow_skip: bool) -> None:
    """No figure, one too small and a failure are named, whatever may be skipped."""
    ending = '<failure message="lost"/>'
    found = results(tmp_path, [*whole[1:-2], case(PLAN[-2].key, 1), case(PLAN[-1].key, 99, ending, 'guards')])
    assert missing(found, allow_skip=allow_skip) == [
        'kill-calls: expected at least 2,000 kills, counted 0',
        'controls: expected at least 3 recipes, counted 1',
        'guards: test_guards failed',
    ]
    assert 'FAILED' in figures(found)
    assert 'no figure' in figures(found)


def test_a_skipped_row_says_why(tmp_path: Path, whole: list[str]) -> None:
    """It is a proof only where skipping is allowed, and the table gives the reason."""
    found = results(tmp_path, [*whole[1:], case('kill-calls', ending='<skipped message="needs root"/>')])
    assert missing(found) == ['kill-calls: expected at least 2,000 kills, counted 0']
    assert missing(found, allow_skip=True) == []
    assert 'not run: needs root' in figures(found)


def test_a_failure_outside_the_plan_is_no_proof(tmp_path: Path, whole: list[str]) -> None:
    """A test that counts for no row must hold too."""
    found = results(tmp_path, [*whole, '<testcase name="test_b"><error message="x"/></testcase>'])
    assert missing(found) == ['test_b failed']


def test_the_table_beside_others_begins_with_objio(tmp_path: Path) -> None:
    """A line for each fault, a column for each library, empty where a library was not tried."""
    cells = [('flips', 'flax', '3 of 9'), ('flips', 'objio', '0 of 9'), ('cuts', 'objio', '0 of 5')]
    noted = [
        f'{{"fault": "{fault}", "library": "{library}", "outcome": "{outcome}"}}'.replace('"', '&quot;')
        for fault, library, outcome in cells
    ]
    properties = ''.join(f'<property name="beside" value="{value}"/>' for value in noted)
    found = results(tmp_path, [f'<testcase name="t"><properties>{properties}</properties></testcase>'])
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in beside(found).splitlines()]
    assert [lines[0], *lines[2:]] == [['', 'objio', 'flax'], ['flips', '0 of 9', '3 of 9'], ['cuts', '0 of 5', '']]

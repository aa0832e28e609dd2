"""The page of public reports and the tests of them are of one mind."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'reference' / 'reports.md'
REPORT = re.compile(r'([A-Za-z][\w/-]*)#(\d+)((?:, #\d+)*)')


def reports(text: str) -> set[str]:
    """The reports that a text names, such as `flax#1091`; `ray#1, #2` names two."""
    found = set()
    for project, number, more in REPORT.findall(text):
        found |= {f'{project}#{each}' for each in (number, *re.findall(r'\d+', more))}
    return found


def test_each_report_of_the_page_has_a_test() -> None:
    """What the page tells of a report, a test that names it in its first lines shows, and the other way round."""
    tests = '\n'.join(path.read_text(encoding='utf-8') for path in (ROOT / 'tests' / 'reports').glob('*.py'))
    page = PAGE.read_text(encoding='utf-8')
    assert reports(page) == reports(tests)
    assert len(reports(page)) >= 34


def test_each_kind_has_three_reports() -> None:
    """Each kind of fault was tried with reports of at least three users."""
    rows = re.findall(r'^\| (\[.*) \| .* \| ([A-Z][a-z ]+) \|$', PAGE.read_text(encoding='utf-8'), re.MULTILINE)
    kinds = {kind: set[str]().union(*(reports(report) for report, of in rows if of == kind)) for _, kind in rows}
    assert sorted(kinds) == [
        'Best', 'Directories', 'Files', 'Loads', 'Metadata', 'Numbers', 'Program', 'State not saved'
    ]  # fmt: skip
    assert {kind for kind, named in kinds.items() if len(named) < 3} == set()

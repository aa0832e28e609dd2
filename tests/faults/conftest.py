"""What every proof shares: how much of it to run, and where its figures go."""

import json
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from faults import saving, tracing
from faults.plan import ROWS, Beside
from faults.saving import Nursery

FULL = os.environ.get('FAULTS') == 'full'

# A program that imports atheris, which only the full run has.
collect_ignore = ['fuzz_target.py']


def pytest_configure(config: pytest.Config) -> None:
    """Says what the marks mean."""
    config.addinivalue_line('markers', 'proves(row): the row of faults/plan.py that this test counts for')
    config.addinivalue_line('markers', 'full: takes long, or needs what `make faults` installs; only there')


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class) -> Generator[None, Any, Any]:
    """What is marked `full` is a test of `make faults`, and none of the short version."""
    found = yield
    if FULL or not isinstance(found, list):
        return found
    return [item for item in found if not item.get_closest_marker('full')]


@pytest.fixture(autouse=True)
def _row(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Notes the row before the test begins, so that a skipped or failed one has its place in the table too."""
    for mark in request.node.iter_markers('proves'):
        record_property('row', ROWS[mark.args[0]].key)


@pytest.fixture
def amount() -> Callable[[Any, Any], Any]:
    """`amount(short, full)`: how many of something to try in this run."""
    return lambda short, full: full if FULL else short


@pytest.fixture
def seed() -> int:
    """A seed of this run, printed, and so seen where a test fails."""
    seed = int.from_bytes(os.urandom(4))
    print('seed', seed)
    return seed


@pytest.fixture(scope='session')
def needs() -> Callable[[object, str], None]:
    """`needs(condition, what)`: skips a test where the machine lacks what it needs, such as root."""

    def needs(condition: object, what: str) -> None:
        if not condition:
            pytest.skip(f'needs {what}')

    return needs


@pytest.fixture(scope='module')
def nursery(needs: Callable[[object, str], None]) -> Iterator[Nursery]:
    """Where saves are forked from, to be traced."""
    needs(tracing.AVAILABLE, 'Linux on x86-64')
    with saving.nursery() as process:
        yield process


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`figure(row, count, detail)`: what a proof has counted; the counts of one row are added up."""

    def note(row: str, count: int, detail: str = '') -> None:
        record_property('figure', json.dumps({'row': ROWS[row].key, 'count': count, 'detail': detail}))

    return note


@pytest.fixture
def beside(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """`beside(fault, library, outcome)`: a cell of the table that shows other libraries under the same fault."""

    def note(fault: str, library: str, outcome: str) -> None:
        record_property('beside', json.dumps(vars(Beside(fault, library, outcome))))

    return note

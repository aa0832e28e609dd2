import os
import shutil
from collections.abc import Callable, Generator

import pytest
from hypothesis import settings

# What made the golden files needs libraries of its own.
collect_ignore = ['data']

# The clock of a shared machine says nothing about an example; what CI sees, everybody can see again.
settings.register_profile('objio', deadline=None, derandomize='CI' in os.environ, print_blob=True)
settings.load_profile('objio')

_MISSING = 'missing program'
_ALSO = ':/usr/sbin:/sbin'  # as `make system` looks; not every root has them on the path


@pytest.fixture
def tool(record_property: Callable[[str, object], None]) -> Callable[[str], str]:
    """`tool(name)`: the path of a program of the system; a test is skipped where `make system` has not installed it."""

    def find(name: str) -> str:
        path = shutil.which(name, path=os.environ.get('PATH', os.defpath) + _ALSO)
        if path is None:
            record_property(_MISSING, name)
            pytest.skip(f'{name} is missing')
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With NO_SKIP=1, as in CI, a test that is skipped is a failure, whatever the machine lacks."""
    report = yield
    if os.environ.get('NO_SKIP') == '1' and report.skipped and not hasattr(report, 'wasxfail'):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = 'failed'
        report.longrepr = f'{reason}; NO_SKIP=1 lets no test be skipped (`make system` installs the programs)'
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """The last line of a run names the programs that tests were skipped for, and the command that installs them."""
    yield
    terminal = session.config.pluginmanager.get_plugin('terminalreporter')
    if terminal is None:  # a process of xdist, whose reports go to the one that has a terminal
        return
    lacking = [dict(report.user_properties).get(_MISSING) for report in terminal.stats.get('skipped', [])]
    programs = sorted({str(name) for name in lacking if name is not None})
    if programs:
        count = len(lacking) - lacking.count(None)
        terminal.ensure_newline()
        terminal.write_line(
            f'{count} tests were skipped, as these programs are missing: {", ".join(programs)}. '
            'To install them: make system'
        )

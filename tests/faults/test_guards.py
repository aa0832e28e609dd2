"""Each guard of objio is there for a reason: without it, some test fails."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from faults import (
    guards_checkpoints,
    guards_folders,
    guards_foreign,
    guards_formats,
    guards_interop,
    guards_io,
    guards_models,
    guards_recording,
    guards_runs,
    guards_shards,
    guards_storage,
    guards_unsaved,
)
from faults.guards import Guard

ROOT = Path(__file__).parents[2]
ROOMS = {
    'storage': guards_storage.GUARDS,
    'formats': guards_formats.GUARDS,
    'foreign': guards_foreign.GUARDS,
    'interop': guards_interop.GUARDS,
    'io': guards_io.GUARDS,
    'folders': guards_folders.GUARDS,
    'recording': guards_recording.GUARDS,
    'shards': guards_shards.GUARDS,
    'models': guards_models.GUARDS,
    'checkpoints': guards_checkpoints.GUARDS,
    'runs': guards_runs.GUARDS,
    'unsaved': guards_unsaved.GUARDS,
}
GUARDS = [guard for guards in ROOMS.values() for guard in guards]

# An installed objio must not be tested in place of the copy.
_RUN = """
import sys
from pathlib import Path
import objio, pytest
if Path(objio.__file__).parents[1] != Path.cwd():
    sys.exit(f'the copy in {Path.cwd()} was to be tested, but objio is {objio.__file__}')
sys.exit(pytest.main(sys.argv[1:]))
"""


class Copy:
    """A copy of objio and its tests, from which a guard can be taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seconds = itertools.count(1)
        for name in ('objio', 'tests'):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', 'faults'))
        for name in ('conftest.py', 'pyproject.toml'):
            shutil.copy2(ROOT / name, folder)

    def run(self, *tests: str) -> tuple[dict[str, int], str]:
        """Runs tests up to the first that fails; pytest's exit status and its counts, and what it printed."""
        xml = self.folder / 'result.xml'
        xml.unlink(missing_ok=True)
        options = ['-q', '-x', '--tb=short', '-p', 'no:cacheprovider', f'--basetemp={self.folder / "tmp"}']
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(('PYTEST_', 'FAULTS', 'NO_SKIP'))
        }
        process = subprocess.run(
            [sys.executable, '-c', _RUN, *options, f'--junitxml={xml}', *(f'tests/{test}' for test in tests)],
            cwd=self.folder,
            env=kept | {'PYTHONPATH': str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
        counts = {'status': process.returncode}
        if xml.exists():
            suite = next(ET.parse(xml).iter('testsuite'))
            counts |= {name: int(suite.get(name, 0)) for name in ('failures', 'errors', 'skipped')}
        return counts, process.stdout

    @contextmanager
    def without(self, guard: Guard) -> Iterator[None]:
        """Takes the guard away, and puts it back."""
        path = self.folder / 'objio' / guard.file
        whole, before = path.read_text(encoding='utf-8'), path.stat().st_mtime
        path.write_text(whole.replace(guard.old, guard.new), encoding='utf-8')
        # Python goes by time and size: what it compiled of one form of the file must not be taken for another.
        os.utime(path, (before, before + next(self._seconds)))
        try:
            yield
        finally:
            path.write_text(whole, encoding='utf-8')
            os.utime(path, (before, before))


@pytest.fixture(scope='module')
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp('guards'))


def test_every_guard_is_where_the_table_says() -> None:
    """A guard whose text was changed is updated in the table, never silently no longer removed."""
    for guard in GUARDS:
        count = (ROOT / 'objio' / guard.file).read_text(encoding='utf-8').count(guard.old)
        assert count == 1, f'{guard.name!r}: update faults/guards_*.py: {count} times in {guard.file}: {guard.old}'
        assert (ROOT / 'tests' / guard.test.partition('::')[0]).exists(), guard
    assert len({(guard.file, guard.old, guard.new) for guard in GUARDS}) == len(GUARDS)
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


@pytest.mark.full
@pytest.mark.proves('guards')
@pytest.mark.parametrize('room', ROOMS)
def test_with_every_guard_in_place_the_tests_pass(copy: Copy, room: str) -> None:
    """What the tests below see is the guard that is missing, and nothing else."""
    counts, output = copy.run(*dict.fromkeys(guard.test for guard in ROOMS[room]))
    assert counts == {'status': 0, 'failures': 0, 'errors': 0, 'skipped': 0}, output


@pytest.mark.full
@pytest.mark.proves('guards')
@pytest.mark.parametrize('guard', GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_a_test_fails(copy: Copy, guard: Guard, figure: Callable[..., None]) -> None:
    """A test fails, by an assertion or an exception of its own; that none can be collected is not enough."""
    with copy.without(guard):
        counts, output = copy.run(guard.test)
    assert counts['status'] == 1, output
    assert counts['failures'] == 1, output
    figure('guards', 1, guard.name)

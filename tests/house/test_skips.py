"""A machine that lacks programs skips the tests that need them, and says so once; CI lets no test be skipped."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / 'tools' / 'system.sh'
SAMPLE = """
import pytest


@pytest.mark.parametrize('name', ['no-such-program', 'nor-this-one', 'no-such-program'])
def test_with_a_program(tool, name):
    tool(name)


@pytest.fixture(params=[1, 2])
def made(tool):
    tool('zzz')


def test_whose_fixture_has_a_program(made):
    raise AssertionError


def test_without_a_machine():
    pytest.skip('no such machine')


@pytest.mark.skipif(True, reason='another system')
def test_of_another_system():
    raise AssertionError


@pytest.mark.xfail(reason='known')
def test_that_is_known_to_fail():
    raise AssertionError


def test_that_passes():
    pass
"""


def run_sample(folder: Path, *options: str, no_skip: str | None = None) -> tuple[int, list[str]]:
    """Runs the tests above with the conftest of all tests; the exit status, and the lines of the output."""
    shutil.copy2(ROOT / 'tests' / 'conftest.py', folder)
    (folder / 'test_sample.py').write_text(SAMPLE, encoding='utf-8')
    (folder / 'pytest.ini').write_text('[pytest]\n', encoding='utf-8')
    # In CI pytest repeats every reason in its summary.
    ours = ('PYTEST_', 'NO_SKIP', 'CI', 'BUILD_NUMBER')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ended = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *options],
        cwd=folder,
        env=kept | ({} if no_skip is None else {'NO_SKIP': no_skip}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout.splitlines()


@pytest.mark.parametrize('options', [(), ('-ra',), ('-n', '2'), ('-qq',)], ids=' '.join)
def test_the_last_line_names_the_programs_and_the_cure(tmp_path: Path, options: tuple[str, ...]) -> None:
    """One line, whoever ran the tests: how many were skipped for want of which programs, and what installs them."""
    status, lines = run_sample(tmp_path, *options)
    assert status == 0
    assert lines[-1] == (
        '5 tests were skipped, as these programs are missing: no-such-program, nor-this-one, zzz. '
        'To install them: make system'
    )
    assert sum('make system' in line for line in lines) == 1
    assert options == ('-qq',) or '1 passed, 7 skipped, 1 xfailed' in lines[-2]


def test_where_nothing_is_missing_there_is_no_such_line(tmp_path: Path) -> None:
    """Nor where tests are skipped for other reasons."""
    status, lines = run_sample(tmp_path, '-k', 'passes or machine')
    assert status == 0
    assert '1 passed, 1 skipped' in lines[-1]


@pytest.mark.parametrize('options', [(), ('-n', '2')], ids=' '.join)
def test_with_no_skip_whatever_is_skipped_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    """For want of a program, in a fixture too, of a machine or of a system; what is known to fail is as it was."""
    status, lines = run_sample(tmp_path, *options, no_skip='1')
    assert status == 1
    assert re.search('4 failed, 1 passed, 1 xfailed, 3 errors', lines[-1])
    assert sum('zzz is missing; NO_SKIP=1 lets no test be skipped' in line for line in lines) == 2


@pytest.mark.parametrize('no_skip', ['', '0'])
def test_no_skip_can_be_switched_off(tmp_path: Path, no_skip: str) -> None:
    """As `make faults NO_SKIP=0` does."""
    assert run_sample(tmp_path, no_skip=no_skip)[0] == 0


def test_programs_of_the_administrator_are_found_without_their_folder_on_the_path(
    tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root is without it after a plain `su`; else the last line named a program that `make system` finds."""
    name = min(path.name for path in Path('/sbin').iterdir() if path.is_file() and os.access(path, os.X_OK))
    monkeypatch.setenv('PATH', '/nowhere')
    try:
        assert os.access(tool(name), os.X_OK)
    except pytest.skip.Exception as skipped:
        pytest.fail(str(skipped))


def test_make_says_of_a_python_that_is_not_there_what_to_do(tmp_path: Path) -> None:
    """A bare machine may have none, or call it otherwise."""
    command = [
        shutil.which('make') or 'make',
        '--no-print-directory',
        f'VENV={tmp_path}',
        'PYTHON=python9.9 -B',
        'test',
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert 'there is no python9.9 -B; name another with: make PYTHON=' in ended.stderr
    assert list(tmp_path.iterdir()) == []


def asked_for() -> set[str]:
    """The programs that tests ask for by name."""
    texts = (path.read_text(encoding='utf-8') for path in (ROOT / 'tests').rglob('*.py') if path != Path(__file__))
    return {name for text in texts for name in re.findall(r"\btool\('([^']+)'\)", text)}


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A folder of programs with what the script itself needs, and an apt-get that notes what it is asked for."""
    for program in ('sh', 'id'):
        os.symlink(shutil.which(program) or program, tmp_path / program)
    fake(tmp_path / 'apt-get', f'echo "$@" >> {tmp_path}/asked')
    return tmp_path


def fake(path: Path, text: str = '') -> None:
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n', encoding='utf-8')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def install(folder: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of the script that looks for programs in one folder only."""
    script = SYSTEM.read_text(encoding='utf-8')
    assert ':/usr/sbin:/sbin' in script
    script = script.replace(':/usr/sbin:/sbin', '')
    command = [folder / 'sh', '-c', script, 'system.sh', *programs]
    return subprocess.run(command, env={'PATH': str(folder)}, capture_output=True, text=True, timeout=60)


def test_make_system_installs_all_that_tests_ask_for(shell: Path) -> None:
    """With no program named the script looks for each that a test names, and asks for the packages of those missing."""
    fake(shell / 'id', 'echo 0')
    assert len(asked_for()) > 5
    for program in asked_for():
        before = (shell / 'asked').read_text(encoding='utf-8') if (shell / 'asked').exists() else ''
        assert install(shell, program).returncode == 0, program
        assert len((shell / 'asked').read_text(encoding='utf-8')) > len(before)
        fake(shell / program)
    (shell / 'asked').unlink()
    for program in ('mkfs.ext4', 'mkfs.xfs'):
        fake(shell / program)
    assert install(shell).returncode == 0
    assert not (shell / 'asked').exists()
    (shell / '7z').unlink()
    (shell / 'java').unlink()
    assert install(shell).returncode == 0
    assert 'p7zip-full default-jre-headless' in (shell / 'asked').read_text(encoding='utf-8')


def test_make_system_says_what_it_cannot_install(shell: Path) -> None:
    """To a user who is not root the command, elsewhere than on Debian the programs; an unknown program is an error."""
    fake(shell / 'id', 'echo 1000')
    ended = install(shell, '7z', 'strace')
    assert ended.returncode == 1
    assert ended.stderr == 'Missing: 7z strace. Only root may install them: sudo apt-get install p7zip-full strace\n'
    assert not (shell / 'asked').exists()
    (shell / 'apt-get').unlink()
    ended = install(shell, '7z', 'strace')
    assert ended.returncode == 1
    assert ended.stderr.startswith('Missing: 7z strace. Install them with the package manager of this system')
    ended = install(shell, 'strace', 'frobnicate')
    assert ended.returncode == 2
    assert 'no package is known for the program frobnicate' in ended.stderr


def test_make_test_leaves_no_test_out() -> None:
    """No option, mark or setting deselects tests of the run; what takes long is a target of its own."""
    make = (ROOT / 'Makefile').read_text(encoding='utf-8')
    assert 'PYTEST_ARGS ?= -n 2\n' in make
    assert '-m pytest $(PYTEST_ARGS)\n' in make
    for path in [ROOT / 'pyproject.toml', *(ROOT / 'tests').rglob('conftest.py')]:
        text = path.read_text(encoding='utf-8')
        assert 'pytest_deselected' not in text, path
        assert not re.search(r"addopts.*'-(m|k)|--deselect|--ignore", text), path

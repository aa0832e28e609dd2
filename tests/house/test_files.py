"""What the project's files look like, and what is in the package that people install."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 400  # lines


def test_a_file_can_be_read_in_one_sitting() -> None:
    """No file of code or tests is longer than 400 lines."""
    too_long = {}
    for folder in ['objio', 'tests', 'docs', 'benchmarks']:
        for path in (ROOT / folder).rglob('*.py'):
            lines = len(path.read_text(encoding='utf-8').splitlines())
            if lines > LONGEST:
                too_long[str(path.relative_to(ROOT))] = lines
    assert too_long == {}


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    """A wheel holds objio's modules, py.typed, the licence and its own metadata."""
    build = [sys.executable, '-m', 'hatchling', 'build', '-t', 'wheel', '-d', str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    info = wheel.name.removesuffix('-py3-none-any.whl') + '.dist-info'
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'objio').rglob('*.py')}
    metadata = {f'{info}/{name}' for name in ('METADATA', 'WHEEL', 'RECORD', 'licenses/LICENSE')}
    assert names == modules | {'objio/py.typed'} | metadata

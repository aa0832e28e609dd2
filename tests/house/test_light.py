"""What a program pays for `import objio`, and what it pays before it can read a file; each in a fresh process."""

import subprocess
import sys
from pathlib import Path

import numpy as np


def modules_after(code: str, folder: Path) -> set[str]:
    """The modules that a fresh process holds after `code`, beyond those it started with."""
    program = f"""
import sys
before = set(sys.modules)
{code}
print(*sorted(set(sys.modules) - before), sep='\\n')
"""
    result = subprocess.run(
        [sys.executable, '-c', program], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    return set(result.stdout.split())


def roots(modules: set[str]) -> set[str]:
    """The packages that modules belong to, without those of Python itself."""
    return {name.split('.')[0] for name in modules} - sys.stdlib_module_names


def test_import_objio_imports_objio_alone(tmp_path: Path) -> None:
    """`import objio` loads one file: none of its own rooms, no NumPy, no JAX."""
    modules = modules_after('import objio', tmp_path)
    assert roots(modules) == {'objio'}
    assert {name for name in modules if name.startswith('objio')} == {'objio'}


def test_a_file_is_read_without_jax(tmp_path: Path) -> None:
    """`objio.open` reads an array and leaves JAX out of the process."""
    np.savez(tmp_path / 'a.npz', w=np.arange(3.0))
    code = "import objio\nwith objio.open('a.npz') as saved:\n    assert saved['w'].sum() == 3"
    assert 'jax' not in roots(modules_after(code, tmp_path))


def test_files_are_averaged_and_verified_without_jax(tmp_path: Path) -> None:
    """`objio.average` and `objio.verify` leave JAX out of the process."""
    np.savez(tmp_path / 'a.npz', w=np.arange(3.0))
    code = "import objio\nassert objio.average(['a.npz', 'a.npz'])['w'].sum() == 3\nobjio.verify('a.npz')"
    assert 'jax' not in roots(modules_after(code, tmp_path))


def test_jax_is_seen_where_it_is(tmp_path: Path) -> None:
    """The tests above can fail: a variable does bring JAX."""
    assert 'jax' in roots(modules_after('import objio\nobjio.TrainVar', tmp_path))

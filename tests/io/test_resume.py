"""A run that was killed and started again ends as one that never was, to the last bit."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import support_training

import objio

STEPS = 60


def start(folder: Path, mode: str) -> subprocess.Popen[bytes]:
    """Starts the training in a process of its own."""
    # The schedules of optax mix dtypes.
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'JAX_NUMPY_DTYPE_PROMOTION': 'standard'}
    command = [sys.executable, support_training.__file__, str(folder), str(STEPS), mode]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def started_from(process: subprocess.Popen[bytes]) -> int:
    """The index that the run says it resumed from."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def finish(folder: Path, mode: str) -> int:
    """Runs the training to its end; gives the index it resumed from."""
    with start(folder, mode) as process:
        idx = started_from(process)
        process.communicate(timeout=300)
    assert process.returncode == 0
    return idx


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.skipif(os.name == 'nt', reason='SIGKILL is of POSIX')
def test_a_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    """Killed by SIGKILL at a random moment after the first save, resumed by another process: files of equal bytes."""
    seed = int.from_bytes(os.urandom(4))
    print(f'the moment of the kill is drawn from the seed {seed}')
    # A save in the background is whole when the next one returns: the sixth character, the second `e`.
    moment = random.Random(seed).randint(6, 3 * STEPS - 30)
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    # Saves in the background are cut at every stage: the program is long past them when they are written.
    with start(killed, 'background') as process:
        assert started_from(process) == 0
        assert process.stdout is not None
        seen = process.stdout.read(moment)
        process.kill()
    assert process.returncode == -9
    saved = objio.Checkpoint(killed, verbose=False).idxs()
    assert saved
    assert saved[-1] >= seen.count(b'e') - 1  # the last one may be in flight
    assert finish(killed, 'foreground') == saved[-1]
    assert finish(whole, 'foreground') == 0
    assert files(killed) == files(whole)

"""A sweep that is killed again and again comes to the same end as one that nobody disturbed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support_sweep
from support_sweep import EPOCHS, TRAINING

import objio

FULL = os.environ.get('FAULTS') == 'full'
RUNS, KILLS = (12, 10) if FULL else (4, 2)
ENVIRONMENT = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}

REUSED = """
import numpy as np
import objio
from support_sweep import TRAINING, digits

model = objio.runs('storage').best('accuracy', 'max').load()

np.save('again.npy', model.predict(digits()[0][TRAINING:]))
print(model.directory.name, model.config.width, model.config.lr)
"""


def start() -> subprocess.Popen[str]:
    """A process that does what is left of the sweep in the working folder."""
    command = [sys.executable, support_sweep.__file__, 'storage', str(RUNS)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def kill_at_random(chance: random.Random) -> str:
    """Kills a process of the sweep at some moment; gives the last line that it said, '' where it had ended."""
    with start() as process:
        assert process.stdout is not None
        said = ''
        for _ in range(chance.randint(1, 3 * EPOCHS)):
            said = process.stdout.readline()
        time.sleep(chance.random() * 0.01)  # so that it dies within what comes after the line
        process.kill()
    return said


def test_a_sweep_that_is_killed_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is whole and the same, bit for bit, as without a kill; the best is used again in one line elsewhere."""
    monkeypatch.chdir(tmp_path)
    seed = int.from_bytes(os.urandom(4))
    print('seed', seed)
    chance = random.Random(seed)
    for _ in range(KILLS):
        print('killed after', kill_at_random(chance).strip())
    with start() as process:
        process.communicate()
    assert process.returncode == 0

    Path('undisturbed').mkdir()
    support_sweep.sweep('undisturbed/storage', RUNS)
    runs, reference = objio.runs(), objio.runs('undisturbed/storage')
    assert {run.name for run in runs} == {f'run-{number}' for number in range(RUNS)}
    print(runs)
    for run in runs:
        check_whole(run)
        assert run.metrics == reference[run.name].metrics
        assert run.config == reference[run.name].config
        assert same_arrays(run.path / 'model.npz', reference[run.name].path / 'model.npz')

    best = runs.best('accuracy', 'max')
    command = [sys.executable, '-c', REUSED]
    output = subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert output.split() == [best.name, str(best.config['width']), str(best.config['lr'])]
    assert Path('again.npy').read_bytes() == Path('said', f'{best.name}.npy').read_bytes()
    assert best.last['accuracy'] > 0.6


def check_whole(run: Any) -> None:
    """A run that ended, whatever happened before: its files, its history and its model are whole and of one state."""
    assert run.state == 'finished'
    assert [session['state'] for session in run.sessions[:-1]] == ['running'] * (len(run.sessions) - 1)
    files = {'.lock', 'provenance.json', 'metrics.jsonl', 'model.npz', 'config.json'}
    assert set(os.listdir(run.path)) == files
    assert objio.verify(run.path / 'model.npz')
    assert list(run.metrics['loss']) == list(run.metrics['accuracy']) == list(range(1, EPOCHS + 1))
    assert run.saved == {'step': EPOCHS, **run.last}
    model = run.load()  # which compares config.json with what the weights carry
    assert model.config.to_dict() == run.config
    images, _ = support_sweep.digits()
    np.testing.assert_array_equal(model.predict(images[TRAINING:]), np.load(Path('said', f'{run.name}.npy')))


def same_arrays(file: Path, other: Path) -> bool:
    """Whether two files hold the same arrays, bit for bit."""
    with objio.open(file) as a, objio.open(other) as b:
        return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)

"""The whole life of a run, for kills to befall, and what must hold wherever it ended."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import objio
from faults import saving_models
from faults.saving_models import Told
from faults.tracing import mark
from objio.models import saver

STEPS = 2


def warm(folder: Path) -> None:
    """Lets a process read all code, and ask neither JAX nor git: no fork takes their threads or children along."""
    quiet()
    saving_models.warm(folder)
    for _ in range(2):
        live(folder / 'warm', lambda line: None)


def quiet() -> None:
    """Lets a run come from nowhere."""
    saver.provenance = lambda devices: {'start': '2021-05-25', 'pid': os.getpid(), 'host': 'here', 'packages': {}}
    saver.devices = list
    logging.getLogger('objio').addHandler(logging.NullHandler())


def live(folder: Path, say: Callable[[str], None]) -> None:
    """A run from its beginning, or from where it was, to its end; says what is acknowledged."""
    model = Told(folder / 'nowhere')
    mark()
    run = objio.Saver(model, run='a', root=folder / 'storage', resume=True)
    start = run.restore()
    say('begun')
    for step in range(start + 1, STEPS + 1):
        model.become(step)
        run.log(step=step, loss=step)
        say(f'logged {step}')
        run.save(pickle=step == 1)
        say(f'saved {step}')
    run.close()
    say('ended')
    mark()


def try_to_live(folder: Path, say: Callable[[str], None]) -> None:
    """The same; says that the disk failed where it does."""
    try:
        live(folder, say)
    except OSError as error:
        say(f'error {error.errno}')
        mark()


def check(folder: Path, said: list[str]) -> str:
    """What must hold wherever the run stands: what was acknowledged is there, and whole.

    Returns:
        the state of the run; '' where there is none.
    """
    storage = folder / 'storage'
    runs = objio.runs(storage) if storage.is_dir() else []
    if not runs:
        assert 'begun' not in said
        assert not storage.is_dir() or set(os.listdir(storage)) <= {'a'}
        return ''
    (run,) = runs
    assert run.damaged == ''
    assert ('ended' not in said) or run.state == 'finished'
    loss = run.metrics.get('loss', {})
    assert loss == {step: float(step) for step in loss}
    assert {int(line.split()[1]) for line in said if line.startswith('logged')} <= set(loss)
    acknowledged = max((int(line.split()[1]) for line in said if line.startswith('saved')), default=0)
    if (run.path / 'model.npz').exists():
        model = run.load()
        assert run.saved is not None
        assert model.weights() == {model.config.value} == {run.saved['step']}
        assert model.config.value in (acknowledged, acknowledged + 1)
        assert model.config.value in loss
    else:
        assert acknowledged == 0
    return run.state


def check_end(folder: Path) -> None:
    """What must hold when the run was started again and came to its end: nothing is left of the kill."""
    assert check(folder, ['begun', f'logged {STEPS}', f'saved {STEPS}', 'ended']) == 'finished'
    files = {'.lock', 'provenance.json', 'metrics.jsonl', 'model.npz', 'config.json'}
    assert set(os.listdir(folder / 'storage' / 'a')) == files
    assert set(os.listdir(folder / 'storage')) == {'a'}
    copy = json.loads((folder / 'storage' / 'a' / 'config.json').read_text())
    assert copy['values']['value'] == STEPS

"""Ctrl-C comes during each system call of a save."""

import functools
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from faults import saving
from faults.saving import NEW, SCENES, Nursery, look, prepare
from faults.tracing import Fault, Signal, trace

pytestmark = pytest.mark.usefixtures('nursery')  # without it, nothing here can be run


@pytest.mark.proves('interrupts')
@pytest.mark.parametrize('key', ['file', *(pytest.param(key, marks=pytest.mark.full) for key in ('first', 'crowded'))])
def test_ctrl_c_at_any_call(nursery: Nursery, tmp_path: Path, figure: Callable[..., None], key: str) -> None:
    """KeyboardInterrupt comes out; the old saves or the new one are there, whole, and the same process saves again."""
    scene, folder = SCENES[key], tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder, again=True)
    both = scene.before | scene.after
    empty = 0
    for place in count(1):
        prepare(scene, folder)
        fault = Fault(Signal(signal.SIGINT), place)
        ended = nursery.run(trace, job, fault, between=functools.partial(look, scene, folder))
        if not ended.struck:
            break
        assert ended.status == 0
        assert ended.said[-2:] == ['KeyboardInterrupt None', 'saved again']
        found = ended.seen.saves
        assert found == scene.before or both.items() >= found.items() >= scene.after.items()
        # In the instant in which a file has been made and Python does not know yet, nobody can remove it.
        assert len(ended.seen.temporary) <= 1
        empty += len(ended.seen.temporary)
        after = look(scene, folder)
        assert after.temporary == []
        assert after.saves[NEW + 1] == NEW + 1
    assert empty <= 2
    figure('interrupts', place - 1, f'{scene}: {place - 1} calls; {empty} times the next save removed an empty file')

"""A run that saves without end, until it is killed."""

import functools
import os
import signal
import time
from pathlib import Path

import numpy as np

import objio
from faults.saving import ckpt_of, tree
from faults.tracing import Say, run


def train(folder: Path, cells: int, background: bool, say: Say) -> None:
    """Resumes, and saves one index after the other; says each as soon as it is acknowledged."""
    ckpt = ckpt_of(folder, keep_ckpts=3, background=background)
    vc = objio.VarCollection.from_tree(tree(0, cells))
    idx, _ = ckpt.restore(vc)
    assert all(np.all(np.asarray(tensor) == idx) for tensor in vc.tensors())
    say(f'resumed {idx}')
    while True:
        idx += 1
        ckpt.save(tree(idx, cells), idx=idx)
        if not background:
            say(f'saved {idx}')
        elif idx > 1:
            say(f'saved {idx - 1}')  # `save` has waited for the one before


def kill_after(lines: int, seconds: float, folder: Path, cells: int, background: bool) -> list[str]:
    """Kills such a run some time after it has said so many lines; returns all that it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        run(functools.partial(train, folder, cells, background), writing, traced=False)
    os.close(writing)
    os.waitpid(pid, os.WUNTRACED)
    os.kill(pid, signal.SIGCONT)
    said = b''
    with os.fdopen(reading, 'rb', buffering=0) as pipe:
        while said.count(b'\n') < lines and (piece := pipe.read(4096)):
            said += piece
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        return (said + pipe.read()).decode().splitlines()

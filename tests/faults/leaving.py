"""Programs that leave, each in its own way, while a save is written in the background; forked, to import JAX once."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import objio

POLITE = ('end', 'exit', 'exception', 'interrupt')  # Python finishes its threads
RUDE = ('_exit', 'terminate', 'kill')


def numbers(idx: int) -> objio.VarCollection:
    """Arrays that all hold one number, some MiB together, so that writing them takes a while."""
    return objio.VarCollection.from_tree({'a': np.full(1 << 20, idx, 'float32'), 'b': np.full(300, idx), 'n': idx})


def leave(way: str, folder: Path, delay: float) -> None:
    """Saves twice, and leaves the program some seconds after the second save was begun."""
    ckpt = objio.Checkpoint(folder, background=True, verbose=False)
    ckpt.save(numbers(1), idx=1)
    ckpt.wait()
    ckpt.save(numbers(2), idx=2)
    time.sleep(delay)
    match way:
        case 'exit':
            sys.exit(3)
        case 'exception':
            raise LookupError('the training has a fault')
        case 'interrupt':
            os.kill(os.getpid(), signal.SIGINT)
        case '_exit':
            os._exit(3)
        case 'terminate':
            os.kill(os.getpid(), signal.SIGTERM)
        case 'kill':
            os.kill(os.getpid(), signal.SIGKILL)


def main(folders: list[str]) -> None:
    """Forks a program for each folder `<number>-<way>-<delay in microseconds>`, one after the other."""
    for folder in folders:
        pid = os.fork()
        if not pid:
            _, way, delay = Path(folder).name.split('-')
            leave(way, Path(folder), int(delay) / 1e6)
            return
        os.waitpid(pid, 0)


if __name__ == '__main__':
    main(sys.argv[1:])

"""Processes that save until they are done or killed, and say outside of the disk which saves were acknowledged.

`Savers` talks to a program, this file, that imports the libraries once and forks a process for each job, before JAX
has started in it.
"""

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from faults.disks import own_mounts
from faults.recipes import RECIPES, Recipe

_KILL_ME_WITH_MY_PARENT = 1


@dataclass(frozen=True)
class Job:
    """What one process does: save in several folders by turns.

    Attributes:
        recipe: a name of `recipes.RECIPES`.
        folders: the runs.
        acks: a file that gets a line for each acknowledged save: the number of the folder, the index, and the time.
        first: the first index.
        last: the last one; None: goes on until it is killed.
        size: of the array, in words.
        keep: how many saves stay.
    """

    recipe: str
    folders: list[str]
    acks: str
    first: int = 1
    last: int | None = None
    size: int = 1000
    keep: int = 1

    def acknowledged(self, before: float = math.inf) -> list[int]:
        """The newest index of each folder that was acknowledged before a moment of `time.monotonic`, or 0."""
        newest = [0] * len(self.folders)
        for line in self._lines():
            if line[0] != 'error' and float(line[2]) < before:
                newest[int(line[0])] = int(line[1])
        return newest

    def errors(self) -> list[str]:
        """What stopped the process."""
        return [' '.join(line[1:]) for line in self._lines() if line[0] == 'error']

    def _lines(self) -> list[list[str]]:
        path = Path(self.acks)
        text = path.read_text(encoding='utf-8') if path.exists() else ''
        return [line.split() for line in text.splitlines()]


class Savers:
    """A program that runs jobs; a context manager that ends it and whatever it runs.

    Args:
        recipes: what it will be asked to run.
    """

    def __init__(self, *recipes: str) -> None:
        own_mounts()  # before a process begins that is to see them
        environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'PYTHONWARNINGS': 'ignore'}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *recipes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C ends it through its parent
        )

    def start(self, *jobs: Job) -> None:
        """Starts jobs; returns when each is about to save."""
        self._ask('start', [asdict(job) for job in jobs])

    def finish(self) -> None:
        """Waits until all jobs have come to their end."""
        self._ask('finish')

    def kill(self) -> None:
        """Ends all jobs with SIGKILL."""
        self._ask('kill')

    def load(self, recipe: str, folders: list[str], size: int, keep: int = 1) -> list[tuple[int, str]]:
        """Loads the newest save of each folder: its index, or -1 and the name of the error."""
        return [(idx, error) for idx, error in self._ask('load', [recipe, folders, size, keep])]

    def _ask(self, verb: str, arguments: Any = None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, arguments]) + '\n')
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # and its children with it
        self._process.communicate()


def _serve(recipes: list[str]) -> None:
    _end_with_parent()
    for recipe in recipes:
        RECIPES[recipe].prepare()
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # libraries may print
    children: list[int] = []
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        answer = None
        if verb == 'start':
            begun = [_forked(_save, Job(**job)) for job in arguments]
            children += [child for child, _ in begun]
            for _, ready in begun:
                _told(ready)
        elif verb == 'load':
            child, told = _forked(_load, *arguments)
            answer = json.loads(_told(told))
            os.waitpid(child, 0)
        else:
            if verb == 'kill':
                for child in children:
                    os.kill(child, signal.SIGKILL)
            for child in children:
                os.waitpid(child, 0)
            children.clear()
        answers.write(json.dumps(answer) + '\n')
        answers.flush()


def _forked(task: Any, *arguments: Any) -> tuple[int, int]:
    """Runs a task in a process; returns that process, and a pipe into which it tells something."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            _end_with_parent()
            os.close(reader)
            task(writer, *arguments)
            status = 0
        except BaseException:  # noqa: BLE001  # the fork must not go on with its parent's work
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    return child, reader


def _told(pipe: int) -> bytes:
    with open(pipe, 'rb') as told:
        return told.read()


def _save(ready: int, job: Job) -> None:
    acks = os.open(job.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        runs = _recipes(job.recipe, job.folders, job.size, job.keep)
        os.close(ready)
        for idx in count(job.first):
            if job.last is not None and idx > job.last:
                break
            for number, run in enumerate(runs):
                done = run.save(idx)
                os.write(acks, f'{number} {done} {time.monotonic()}\n'.encode())
    except BaseException as error:
        told = f'{error!r} {error.__cause__!r}'.replace('\n', ' ')
        os.write(acks, f'error {told}\n'.encode())
        raise


def _load(answer: int, recipe: str, folders: list[str], size: int, keep: int) -> None:
    found = []
    for folder in folders:
        try:
            (run,) = _recipes(recipe, [folder], size, keep)
            found.append((run.load(), ''))
        except Exception as error:  # noqa: BLE001  # whatever the library raises is what is asked
            found.append((-1, type(error).__name__))
    os.write(answer, json.dumps(found).encode())
    os.close(answer)


def _recipes(recipe: str, folders: list[str], size: int, keep: int) -> list[Recipe]:
    jax.devices()  # takes a moment at its first use
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    return [RECIPES[recipe](Path(folder), size, keep) for folder in folders]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_KILL_ME_WITH_MY_PARENT, signal.SIGKILL)


if __name__ == '__main__':
    _serve(sys.argv[1:])

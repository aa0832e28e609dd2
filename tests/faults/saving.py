"""Whole saves for faults to befall: what is in the folder before, what is done, what may be there afterwards."""

import contextlib
import errno
import functools
import logging
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
from support_checkpoint import save_with_any_metadata

import objio
from faults.tracing import Ended, Fault, Kill, Say, mark, trace

NEW = 5
"""The index that is saved, and the value of every variable of it."""

_STALE = '.objio-left by a dead writer.tmp'
_DAMAGED = b'PK, and then the power went'
_CELLS = 300
_SAVE = re.compile(r'(\d{10})\.npz')


@dataclass(frozen=True)
class Scene:
    """A save with all that happens around it.

    Attributes:
        key: its name.
        before: index -> value, of the files that are there.
        after: the same, once the save has returned.
        policy: for Checkpoint; None: the file is saved by `save_var_collection` itself.
        cells: how many numbers the array of the new save has; others are small.
        on_device: the arrays are JAX's.
        crowded: a dead writer's file is there, too, and a damaged one in the place of the new.
    """

    key: str
    before: dict[int, int]
    after: dict[int, int]
    policy: dict[str, Any] | None = field(default_factory=lambda: {'keep_ckpts': 2})
    cells: int = _CELLS
    on_device: bool = False
    crowded: bool = False

    def __str__(self) -> str:
        return self.key


_SAME = {'before': {3: 3, 4: 4}, 'after': {4: 4, 5: 5}}
SCENES = {
    scene.key: scene
    for scene in (
        Scene('file', {5: 4}, {5: 5}, policy=None),
        Scene('checkpoint', **_SAME),
        Scene('background', **_SAME, policy={'keep_ckpts': 2, 'background': True}),
        Scene('first', {}, {5: 5}),
        Scene(
            'crowded',
            {1: 1, 2: 2, 3: 3, 4: 4},
            {1: 1, 4: 4, 5: 5},
            policy={'keep_ckpts': 1, 'keep_every': 4, 'keep_best': 1, 'best_metric': 'loss'},
            crowded=True,
        ),
        Scene('again', {4: 4, 5: 4}, {4: 4, 5: 5}),
        Scene('not durable', **_SAME, policy={'keep_ckpts': 2, 'durable': False}),
        Scene('large', **_SAME, cells=17 << 19),  # 34 MiB: reserved, and handed to the disk on the way
        Scene('jax', **_SAME, policy={'keep_ckpts': 2, 'background': True}, on_device=True),
    )
}


def tree(value: int, cells: int = _CELLS) -> dict[str, Any]:
    """Variables that all hold `value`."""
    return {'w': np.full(cells, value, 'float32'), 'b': np.full((2, 3), value, 'float32'), 'step': value}


def blank(scene: Scene, value: int | None) -> objio.VarCollection:
    """Variables that hold -1, of the shapes that a save with this value has."""
    return objio.VarCollection.from_tree(tree(-1, scene.cells if value == NEW else _CELLS))


def ckpt_of(folder: Path, **policy: Any) -> objio.Checkpoint:
    """A Checkpoint that says nothing."""
    return objio.Checkpoint(folder, verbose=False, **policy)


def path_of(folder: Path, idx: int) -> Path:
    """Where a save of the folder stands."""
    return folder / 'ckpt' / f'{idx:010d}.npz'


@functools.cache
def _bytes_of(value: int, folder: Path) -> bytes:
    path = folder.parent / 'model.npz'
    metadata = {'objio.metrics': {'loss': value}}
    save_with_any_metadata(path, tree(value), metadata)
    data = path.read_bytes()
    path.unlink()
    return data


def prepare(scene: Scene, folder: Path) -> None:
    """Makes the folder what it is before the save."""
    inside = folder / 'ckpt'
    if not scene.before:
        for path in inside.iterdir() if inside.exists() else ():
            path.unlink()
        for path in (inside, folder):
            if path.exists():
                path.rmdir()
        return
    inside.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(inside):
        (inside / name).unlink()
    for idx, value in scene.before.items():
        path_of(folder, idx).write_bytes(_bytes_of(value, folder))
    if scene.crowded:
        (inside / _STALE).write_bytes(b'half')
        path_of(folder, NEW).write_bytes(_DAMAGED)


def save(scene: Scene, folder: Path, say: Say, *, again: bool = False) -> None:
    """The save, between two marks: says 'saved' as soon as it is acknowledged, or else what was raised.

    Args:
        scene: what is saved.
        folder: of the run.
        say: takes the lines.
        again: once more after that, into the next index and by the same Checkpoint.
    """
    values = tree(NEW, scene.cells)
    if scene.on_device:
        values = jax.device_put(values)
    try:
        mark()
        ckpt = None
        if scene.policy is None:
            objio.save_var_collection(path_of(folder, NEW), values)
        else:
            ckpt = ckpt_of(folder, **scene.policy)
            metrics = {'loss': NEW} if 'keep_best' in scene.policy else None
            ckpt.save(values, idx=NEW, metrics=metrics)
            ckpt.wait()
        say('saved')
    except (OSError, objio.SaveFailed, KeyboardInterrupt, SystemExit) as error:
        cause = error.__cause__ if isinstance(error, objio.SaveFailed) else error
        say(f'{type(cause).__name__} {errno.errorcode.get(getattr(cause, "errno", None) or 0)}')
    finally:
        mark()
    if again:
        ckpt = ckpt or ckpt_of(folder)
        ckpt.save(tree(NEW + 1), idx=NEW + 1, metrics={'loss': NEW + 1})
        ckpt.wait()
        say('saved again')


@dataclass(frozen=True)
class Look:
    """What is in a folder of saves.

    Attributes:
        saves: index -> value, each file read to its last byte.
        temporary: names of temporary files, without that of the dead writer.
    """

    saves: dict[int, int]
    temporary: list[str]


def look(scene: Scene, folder: Path) -> Look:
    """Reads every file of the folder, with objio and without; raises where one is neither whole nor expected."""
    saves, temporary, damaged = {}, [], set()
    inside = folder / 'ckpt'
    for name in sorted(os.listdir(inside)) if inside.exists() else ():
        path = inside / name
        if name.startswith('.objio-') and name.endswith('.tmp'):
            temporary += [name] if name != _STALE else []
        elif path.stat().st_size == len(_DAMAGED) and path.read_bytes() == _DAMAGED:
            damaged.add(path.stat().st_ino)  # until its place is taken it has two names
        else:
            idx = int(_SAVE.fullmatch(name)[1])
            objio.verify(path)
            with np.load(path) as arrays:
                saves[idx] = _value_of(arrays[key] for key in ('w', 'b', 'step'))
    assert len(damaged) == scene.crowded, "a damaged file is nobody's to delete"
    return Look(saves, temporary)


def _value_of(arrays: Iterable[Any]) -> int:
    (value,) = {int(extreme) for array in arrays for extreme in (np.min(array), np.max(array))}
    return value


def check(scene: Scene, folder: Path, *, acknowledged: bool) -> Look:
    """What must hold wherever a save ended: the old state or the new one, and the way on from there.

    Returns:
        what was found before anything was tidied up.
    """
    found = look(scene, folder)
    before, after = scene.before, scene.after
    assert found.saves in (before, after) or before.items() | after.items() >= found.saves.items() >= after.items()
    if acknowledged:
        assert found.saves == after
    assert len(found.temporary) <= 1
    go_on(scene, folder, found.saves)
    return found


def go_on(scene: Scene, folder: Path, saves: dict[int, int]) -> None:
    """The next run: it tidies up, restores the newest save, and saves."""
    ckpt = ckpt_of(folder)
    assert not [name for name in os.listdir(folder / 'ckpt') if name.endswith('.tmp')]
    assert ckpt.idxs() == sorted(saves)
    newest = max(saves, default=0)
    vc = blank(scene, saves.get(newest))
    assert ckpt.restore(vc) == ((newest, str(path_of(folder, newest))) if saves else (0, ''))
    assert _value_of(vc.tensors()) == saves.get(newest, -1)
    ckpt.save(tree(NEW + 1), idx=NEW + 1)
    assert ckpt.idxs() == [*sorted(saves), NEW + 1][-5:]
    assert look(scene, folder) == Look({**{idx: saves[idx] for idx in sorted(saves)[-4:]}, NEW + 1: NEW + 1}, [])


class Nursery:
    """A process that has read all code once and started no thread, for saves to be forked from."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context('spawn'), initializer=_warm)

    def start(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> 'Future[Any]':
        """Calls a function there, and does not wait."""
        return self._pool.submit(function, *arguments, **options)

    def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Calls a function there."""
        return self.start(function, *arguments, **options).result(timeout=120)

    def kills(
        self, job: Callable[[Say], None], calls: Iterable[str], before: Callable[[], None], *, after: bool
    ) -> Iterator[tuple[str, Ended]]:
        """Kills a job at each of its system calls, one at a time; yields the name of the call and how the job ended.

        Args:
            job: as for `faults.tracing.trace`.
            calls: their names. By name, because threads take turns in ever another order.
            before: called before each time.
            after: whether the kill comes right after the call, and not before it.
        """
        for name in dict.fromkeys(calls):
            for place in count(1):
                before()
                ended = self.run(trace, job, Fault(Kill(after), place, among=frozenset({name})))
                if not ended.struck:
                    break
                if ended.status:  # else it was the last call of a thread, which does not come back
                    assert ended.status == -signal.SIGKILL
                    yield name, ended

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown()


def _warm() -> None:
    # To ask JAX starts its threads, and no fork takes them along.
    jax.process_index = lambda: 0
    logging.getLogger('objio').addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / 'run'
        for key in ('file', 'checkpoint', 'background', 'crowded'):
            prepare(SCENES[key], folder)
            save(SCENES[key], folder, lambda line: None)
            go_on(SCENES[key], folder, look(SCENES[key], folder).saves)


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery for the time of a block."""
    process = Nursery()
    try:
        yield process
    finally:
        process.close()

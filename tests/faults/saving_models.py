"""A model whose settings tell what its weights must be, and whole saves of it for kills to befall."""

import errno
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import objio
from faults.tracing import mark

OLD, NEW = 4, 5
"""The value in the save that is there before, and in the one that is made."""


class Told(objio.Model):
    """A model whose every number is the setting `value`; of NumPy alone, since no fork takes JAX's threads along."""

    class Config(objio.Config):
        cells: int = 3
        value: int = objio.mutable(0)

    def build(self) -> None:
        self.numbers = objio.VarCollection.from_tree(self.tree())

    def tree(self) -> dict[str, Any]:
        """The weights as they have to be."""
        return {'w': np.full(self.config.cells, self.config.value, 'float32'), 'b': np.float64(self.config.value)}

    def become(self, value: int) -> None:
        """Sets the setting and every weight."""
        self.config.value = value
        self.build()

    def weights(self) -> set[int]:
        """The different numbers among the weights."""
        return {int(number) for array in self.numbers.tensors() for number in np.unique(array)}


@dataclass(frozen=True)
class Scene:
    """A save of a model.

    Attributes:
        key: its name.
        there: whether the directory is there with an older save.
        how: called with a model, saves it, and waits until that is done.
        below: the directory, below the scene's folder.
        stale: whether the copy of the settings is that of another save.
    """

    key: str
    there: bool
    how: Callable[[Any], None]
    below: str = 'model'
    stale: bool = False

    def __str__(self) -> str:
        return self.key


def _plain(model: Told) -> None:
    model.save()


def _background(model: Told) -> None:
    model.save(background=True)
    model.wait()


def _fleeting(model: Told) -> None:
    model.save(durable=False)


SCENES = {
    scene.key: scene
    for scene in (
        Scene('first', False, _plain),
        Scene('again', True, _plain),
        Scene('deep', False, _plain, below='a/b/model'),
        Scene('stale', True, _plain, stale=True),
        Scene('background', True, _background),
        Scene('first in background', False, _background),
        Scene('not durable', True, _fleeting),
        Scene('first, not durable', False, _fleeting),
    )
}


def prepare(scene: Scene, folder: Path) -> None:
    """Makes the folder what it is before the save."""
    for path in sorted(folder.rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if scene.there:
        model = Told(folder / scene.below, cells=3, value=OLD - 1)
        model.save()
        copy = (folder / scene.below / 'config.json').read_bytes()
        model.become(OLD)
        model.save()
        if scene.stale:
            (folder / scene.below / 'config.json').write_bytes(copy)


def save(scene: Scene, folder: Path, say: Callable[[str], None]) -> None:
    """The save, between two marks: says 'saved' when it is acknowledged."""
    model = Told(folder / scene.below)
    model.become(NEW)
    mark()
    scene.how(model)
    say('saved')
    mark()


def try_to_save(scene: Scene, folder: Path, say: Callable[[str], None]) -> None:
    """The same; says what was raised where it fails."""
    try:
        save(scene, folder, say)
    except (OSError, objio.SaveFailed) as error:
        cause = error.__cause__ if isinstance(error, objio.SaveFailed) else error
        say(f'{type(cause).__name__} {errno.errorcode[cause.errno]}')
        mark()


def check(scene: Scene, folder: Path, *, acknowledged: bool) -> int | None:
    """What must hold wherever a save ended: settings that belong to the weights, of the old save or of the new one.

    Returns:
        the value that was found; None where there is no directory.
    """
    directory = folder / scene.below
    left = [path for path in folder.rglob('.objio-*.tmp') if path.parent in (directory, directory.parent)]
    assert len(left) <= 1
    there = directory.is_dir()
    assert there or not scene.there
    if there:
        assert {'config.json', 'model.npz'} <= set(os.listdir(directory)), 'whole or not at all'
        assert objio.verify(directory / 'model.npz')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = Told(directory)
    found = model.config.value if there else None
    assert found in ((NEW, OLD) if scene.there else (NEW, None))
    assert found == NEW or not acknowledged
    assert model.weights() == {found or 0}
    assert Told(directory, value=7).config.value == 7
    # The way on: the next save, and nothing is left of the one that was killed.
    model.become(NEW + 1)
    model.save()
    again = Told(directory)
    assert (again.config.value, again.weights()) == (NEW + 1, {NEW + 1})
    assert sorted(os.listdir(directory)) == ['config.json', 'model.npz']
    left = [path for path in folder.rglob('.objio-*.tmp') if path.parent != directory]
    assert left == [] or there, 'the folder of a killed first save goes with the next one'
    return found


def warm(folder: Path) -> None:
    """Reads all code that a save runs, before anything is forked."""
    jax.process_index = lambda: 0  # to ask JAX starts its threads
    logging.getLogger('objio').addHandler(logging.NullHandler())
    for scene in SCENES.values():
        prepare(scene, folder)
        save(scene, folder, lambda line: None)
        check(scene, folder, acknowledged=True)

"""Ways to save, objio's and others', all with the same three calls: what the power cuts are tried on.

Each is written as its own documentation shows it. Libraries are imported where a recipe is made, in the process that
needs them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from objio import Checkpoint, VarCollection, load_var_collection, save_var_collection, storage
from objio.storage import handles, local

Values = dict[str, np.ndarray[Any, Any]]


class WrongValuesError(Exception):
    """What was loaded was never saved."""


def values(idx: int, size: int) -> Values:
    """What a save of this index holds: an array of `size` words, each of which depends on the index, and the index."""
    words = np.arange(size, dtype='uint32') * np.uint32(2654435761) + np.uint32(idx)
    return {'w': words, 'step': np.array(idx, 'int32')}


def index_of(found: Mapping[str, Any]) -> int:
    """The index whose values these are; WrongValuesError where they are no save's."""
    idx = int(np.asarray(found['step']))
    whole = np.asarray(found['w'])
    if whole.dtype != np.uint32 or not np.array_equal(whole, values(idx, whole.size)['w']):
        raise WrongValuesError(f'not the values of index {idx}')
    return idx


class Recipe:
    """Saves of one run.

    Args:
        folder: of the run; it exists.
        size: of the array, in words.
        keep: how many saves stay, where the recipe has several.
    """

    def __init__(self, folder: Path, size: int, keep: int = 1) -> None:
        self.folder = folder
        self.size = size
        self.keep = keep

    @classmethod
    def prepare(cls) -> None:
        """Imports what the recipe needs, so that processes forked afterwards begin at once."""

    def save(self, idx: int) -> int:
        """Saves; returns the index of the newest save that is acknowledged by now."""
        raise NotImplementedError

    def load(self) -> int:
        """Loads what the recipe takes for the newest save; its index, 0 where there is none."""
        raise NotImplementedError


class Objio(Recipe):
    """`objio.Checkpoint`."""

    background = False
    durable = True

    def __init__(self, folder: Path, size: int, keep: int = 1) -> None:
        super().__init__(folder, size, keep)
        self.ckpt = Checkpoint(folder, keep_ckpts=keep, verbose=False, background=self.background, durable=self.durable)

    def save(self, idx: int) -> int:
        self.ckpt.save(VarCollection.from_tree(values(idx, self.size)), idx=idx)
        return idx

    def load(self) -> int:
        vc = VarCollection.from_tree(values(0, self.size))
        if not self.ckpt.restore(vc)[0]:
            return 0
        return index_of(vc.to_tree())


class ObjioBackground(Objio):
    """The same in a thread; every second save is waited for, the others by the save that comes next."""

    background = True

    def save(self, idx: int) -> int:
        super().save(idx)
        if idx % 2:
            return idx - 1
        self.ckpt.wait()
        return idx


class ObjioOnePath(Recipe):
    """`objio.save_var_collection` to the same path again and again."""

    def __init__(self, folder: Path, size: int, keep: int = 1) -> None:
        super().__init__(folder, size, keep)
        self.path = folder / 'best.npz'

    def save(self, idx: int) -> int:
        save_var_collection(self.path, values(idx, self.size))
        return idx

    def load(self) -> int:
        if not self.path.exists():
            return 0
        vc = VarCollection.from_tree(values(0, self.size))
        load_var_collection(self.path, vc)
        return index_of(vc.to_tree())


class ObjioNotDurable(Objio):
    """`objio.Checkpoint` with `durable=False`."""

    durable = False


class ObjioWithoutSync(Objio):
    """objio whose every sync does nothing, as under eatmydata, and whose bytes are not handed to the disk early."""

    def save(self, idx: int) -> int:
        with mock.patch.object(os, 'fsync'), mock.patch.object(handles, 'start_writeback'):
            return super().save(idx)


class ObjioWithoutFolderSync(Objio):
    """objio that syncs its files, and no folder."""

    def save(self, idx: int) -> int:
        with mock.patch.object(local, 'sync_folder'), mock.patch.object(storage, 'sync_folder'):
            return super().save(idx)


class Objax(Recipe):
    """Objax's: `np.savez` to `<name>.tmp`, a rename, then the older ones are deleted."""

    def names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.endswith('.npz'))

    def save(self, idx: int) -> int:
        path = self.folder / f'{idx:010d}.npz'
        self.write(path, idx)
        for name in self.names()[: -self.keep]:
            (self.folder / name).unlink()
        return idx

    def write(self, path: Path, idx: int) -> None:
        temporary = f'{path}.tmp'
        with open(temporary, 'wb') as file:
            np.savez(file, **values(idx, self.size))
        os.rename(temporary, path)

    def load(self) -> int:
        names = self.names()
        return self.read(self.folder / names[-1]) if names else 0

    def read(self, path: Path) -> int:
        with np.load(path) as found:
            return index_of(found)


class OneTemporaryName(Objax):
    """The same under one path, as two writers might use it."""

    def save(self, idx: int) -> int:
        self.write(self.folder / 'a.npz', idx)
        return idx


class InPlace(Objax):
    """`np.savez` to the path itself."""

    def save(self, idx: int) -> int:
        np.savez(self.folder / 'a.npz', **values(idx, self.size))
        return idx


class Orbax(Recipe):
    """Orbax's CheckpointManager, saving before it returns."""

    def __init__(self, folder: Path, size: int, keep: int = 1) -> None:
        super().__init__(folder, size, keep)
        import orbax.checkpoint as ocp

        self.ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder, options=options)

    @classmethod
    def prepare(cls) -> None:
        import orbax.checkpoint  # noqa: F401

    def save(self, idx: int) -> int:
        self.manager.save(idx, args=self.ocp.args.StandardSave(values(idx, self.size)))
        self.manager.wait_until_finished()
        return idx

    def load(self) -> int:
        step = self.manager.latest_step()
        if step is None:
            return 0
        return index_of(self.manager.restore(step, args=self.ocp.args.StandardRestore(values(0, self.size))))


class _Files(Recipe):
    """A library that writes to the path it is given: a new one for each save, or always the same."""

    one_path = False

    def save(self, idx: int) -> int:
        self.write(self.folder / f'{0 if self.one_path else idx:010d}', idx)
        return idx

    def load(self) -> int:
        paths = sorted(self.folder.iterdir())
        return index_of(self.read(paths[-1])) if paths else 0

    def write(self, path: Path, idx: int) -> None:
        raise NotImplementedError

    def read(self, path: Path) -> Mapping[str, Any]:
        raise NotImplementedError


class Safetensors(_Files):
    """`safetensors.flax.save_file`."""

    @classmethod
    def prepare(cls) -> None:
        import safetensors.flax  # noqa: F401

    def write(self, path: Path, idx: int) -> None:
        from safetensors.flax import save_file

        save_file(values(idx, self.size), path)

    def read(self, path: Path) -> Mapping[str, Any]:
        from safetensors.flax import load_file

        return load_file(path)


class Equinox(_Files):
    """`equinox.tree_serialise_leaves`."""

    @classmethod
    def prepare(cls) -> None:
        import equinox  # noqa: F401

    def write(self, path: Path, idx: int) -> None:
        import equinox

        equinox.tree_serialise_leaves(path, values(idx, self.size))

    def read(self, path: Path) -> Mapping[str, Any]:
        import equinox

        return equinox.tree_deserialise_leaves(path, values(0, self.size))


class FlaxMsgpack(_Files):
    """`flax.serialization.to_bytes`, written to a file."""

    @classmethod
    def prepare(cls) -> None:
        import flax.serialization  # noqa: F401

    def write(self, path: Path, idx: int) -> None:
        from flax.serialization import to_bytes

        path.write_bytes(to_bytes(values(idx, self.size)))

    def read(self, path: Path) -> Mapping[str, Any]:
        from flax.serialization import from_bytes

        return from_bytes(values(0, self.size), path.read_bytes())


_FILES: dict[str, type[_Files]] = {'safetensors': Safetensors, 'Equinox': Equinox, 'Flax msgpack': FlaxMsgpack}
RECIPES: dict[str, type[Recipe]] = {
    'objio': Objio,
    'objio in the background': ObjioBackground,
    'objio to one path': ObjioOnePath,
    'objio, durable=False': ObjioNotDurable,
    'objio without sync': ObjioWithoutSync,
    "objio without the folder's sync": ObjioWithoutFolderSync,
    'Orbax': Orbax,
    **_FILES,
    'np.savez (Objax)': Objax,
    'one temporary name': OneTemporaryName,
    'in place': InPlace,
    **{f'{peer} to one path': type(peer, (recipe,), {'one_path': True}) for peer, recipe in _FILES.items()},
}

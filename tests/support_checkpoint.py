"""A small model, and folders of saves, for the tests of Checkpoint."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import objio
from objio.io.contents import contents_of
from objio.io.files import write
from objio.io.subjects import to_save


def save_with_any_metadata(file: Path | str, vc: Any, metadata: dict[str, Any]) -> None:
    """Saves as another program may: with whatever stands under the keys that are objio's own."""
    write(file, contents_of(to_save(vc)).laid_out(file, metadata), durable=False)


def model(value: float = 0.0) -> objio.VarCollection:
    """Two variables that hold `value`, and a step count."""
    return objio.VarCollection.from_tree(
        {'w': np.full((2, 3), value, 'float32'), 'b': np.full(3, value, 'float32'), 'step': int(value)}
    )


def value_of(vc: objio.VarCollection) -> float:
    """The value that all variables of the model agree on."""
    values = {float(number) for tensor in vc.tensors() for number in np.ravel(tensor)}
    (value,) = values
    return value


def fill(ckpt: objio.Checkpoint, *idxs: int, **options: Any) -> None:
    """Saves the model with each index as its value."""
    for idx in idxs:
        ckpt.save(model(idx), idx=idx, **options)


def names(folder: Path | str) -> list[str]:
    """The names in a folder, sorted, hidden ones too."""
    return sorted(os.listdir(folder))


def cut(path: Path | str) -> None:
    """Cuts a file in half: what its table of contents shows."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])


def flip(path: Path | str) -> None:
    """Changes one bit of an array: what only its checksum shows."""
    data = bytearray(Path(path).read_bytes())
    with objio.open(path) as saved:
        at = data.index(np.ascontiguousarray(saved['w']).tobytes())
    data[at] ^= 1
    Path(path).write_bytes(data)


def with_functions(save: Callable[..., Any], load: Callable[..., Any], **constants: Any) -> type[objio.Checkpoint]:
    """A subclass with functions and constants of its own."""
    functions = {'SAVE_FN': staticmethod(save), 'LOAD_FN': staticmethod(load)}
    return type('Custom', (objio.Checkpoint,), functions | constants)

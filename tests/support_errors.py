"""Reads the page "Errors and cures", and provokes what it says."""

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import objio

PAGE = Path(__file__).parents[1] / 'docs' / 'reference' / 'errors.md'


def rows_of(*sections: str) -> dict[str, str]:
    """Maps the first cell of each row in some sections of the page to its second, the error."""
    found = {}
    for section in re.split(r'^## ', PAGE.read_text(encoding='utf-8'), flags=re.MULTILINE)[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            if section.splitlines()[0] in sections and line.startswith('|') and len(cells) == 3:
                found[cells[0].replace('`', '')] = cells[1]
    return {what: error for what, error in found.items() if error != 'Error' and not set(what) <= set('- ')}


def error_of(cell: str) -> tuple[type[BaseException], ...]:
    """The exceptions that a cell of the page names."""
    names = re.findall(r'`([A-Z]\w+)`', cell)
    found = [getattr(objio, name, None) or getattr(builtins, name, None) for name in names]
    return tuple(kind for kind in found if kind is not None)


class Page:
    """Some sections of the page, and a function for each of their rows that provokes what it says."""

    def __init__(self, *sections: str) -> None:
        self.rows = rows_of(*sections)
        self.cases: dict[str, Callable[[Any], object]] = {}

    def case(self, row: str) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
        """Enters a function as what a row of the page describes."""

        def enter(function: Callable[[Any], object]) -> Callable[[Any], object]:
            self.cases[row] = function
            return function

        return enter

    def check(self, row: str, world: Any, *, replaced: bool = False) -> None:
        """Checks that the error is the one that the page names, and that the model and the files are as they were.

        Args:
            row: of the page.
            world: what `make_world` gave.
            replaced: whether the error comes after the new file is in place.
        """
        expected = error_of(self.rows[row])
        before, weights = files(), jax.tree.map(np.asarray, world.vc.tensors())
        old = Path('net.npz').read_bytes()
        if expected:
            with pytest.raises(expected) as info:
                self.cases[row](world)
            assert isinstance(info.value, expected)
            assert len(str(info.value)) > 10
        else:
            self.cases[row](world)
        assert files() == before
        assert replaced or Path('net.npz').read_bytes() == old
        for value, weight in zip(world.vc.tensors(), weights, strict=True):
            np.testing.assert_array_equal(value, weight, strict=True)


def make_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A small model, its file, and a folder of checkpoints, in the working folder."""
    monkeypatch.chdir(folder)
    net = objio.nn.Linear(3, 2)
    vc = net.vars()
    objio.save_var_collection('net.npz', vc)
    ckpt = objio.Checkpoint('run', verbose=False)
    ckpt.save(vc, idx=1)
    ckpt.save(vc, idx=2)
    (folder / 'folder').mkdir()
    data = (folder / 'net.npz').read_bytes()
    (folder / 'cut.npz').write_bytes(data[:-100])
    (folder / 'notes.npz').write_text('not weights', encoding='utf-8')
    net.b.assign(net.b.value + 7)
    return SimpleNamespace(net=net, vc=vc, ckpt=ckpt, data=data, patch=monkeypatch)


def tree(**leaves: Any) -> objio.VarCollection:
    """A collection of leaves."""
    return objio.VarCollection.from_tree(leaves)


def files() -> list[str]:
    """Every file in and under the working folder."""
    return sorted(str(path) for path in Path().rglob('*') if path.is_file())

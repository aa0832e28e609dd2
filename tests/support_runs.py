"""Small models, and a look at all files, for the tests of runs."""

from pathlib import Path
from typing import Any

import numpy as np

import objio


class Net(objio.Module):
    """A plain module that is made from two settings."""

    def __init__(self, nin: int = 3, nout: int = 2) -> None:
        self.layer = objio.nn.Linear(nin, nout)


class Line(objio.Model):
    """A model with an immutable and a mutable setting."""

    class Config(objio.Config):
        width: int = 3
        lr: float = objio.mutable(0.1, gt=0)

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)


def content(folder: str = '.') -> dict[str, bytes]:
    """Every file below a folder, and what is in it; folders end in a slash."""
    return {
        str(path) + '/' * path.is_dir(): b'' if path.is_dir() else path.read_bytes() for path in Path(folder).rglob('*')
    }


def assert_equal(a: Any, b: Any) -> None:
    """Two modules have the same weights, bit for bit."""
    assert a.vars().keys() == b.vars().keys()
    for value, other in zip(a.vars().tensors(), b.vars().tensors(), strict=True):
        np.testing.assert_array_equal(value, other, strict=True)

"""A small model for the tests of models, and a look into its folder."""

import os
from pathlib import Path

import objio


class Wide(objio.Model):
    """A model whose shapes come from its settings."""

    class Config(objio.Config):
        width: int = 4
        note: str = objio.mutable('')

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 2)


def listed(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(os.listdir(folder))

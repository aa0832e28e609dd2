"""What the programs of the public reports share: a small model, trees as collections, and what the log said."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import objio


class Line(objio.Model):
    """A model of one layer."""

    class Config(objio.Config):
        """Its settings."""

        width: int = 1
        lr: float = objio.mutable(0.1)

    layer: objio.nn.Linear

    def build(self) -> None:
        """Makes the layer."""
        self.layer = objio.nn.Linear(self.config.width, 1)


def tree_of(**leaves: Any) -> objio.VarCollection:
    """A collection of a tree, to load into."""
    return objio.VarCollection.from_tree(leaves)


@contextmanager
def told() -> Iterator[list[str]]:
    """What objio says in its log meanwhile."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger('objio')
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        log.removeHandler(handler)
        log.setLevel(level)

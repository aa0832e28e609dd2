"""Which values stand in for a variable's own while `pure` runs a function.

They lie over the variables of one thread and leave the variables themselves alone: another thread, one that writes a
save say, always reads the variables' own values, and nothing has to be put back.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Frames(threading.local):
    """The running calls of `pure` in one thread, outermost first: `id` of a variable -> the value that stands in."""

    def __init__(self) -> None:
        self.stack: list[dict[int, Any]] = []


_frames = _Frames()


def frame_of(variable: object) -> dict[int, Any] | None:
    """The innermost running frame that binds a variable, or None."""
    if not _frames.stack:
        return None
    key = id(variable)
    frame: dict[int, Any]  # mypy sees no further than threading.local
    for frame in reversed(_frames.stack):
        if key in frame:
            return frame
    return None


def is_running() -> bool:
    """Whether `pure` runs a function in this thread."""
    return bool(_frames.stack)


@contextmanager
def bound(frame: dict[int, Any]) -> Iterator[None]:
    """Lays values over the variables for the length of a `with` block; what is assigned in it stays in `frame`."""
    _frames.stack.append(frame)
    try:
        yield
    finally:
        _frames.stack.pop()

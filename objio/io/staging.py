"""Arrays on their way from accelerators to the host: the next ones are copied while this one is written."""

from collections import deque
from typing import Any

import jax
import numpy as np

_STAGED = 64 << 20  # bytes on their way or waiting, where the next array alone is not larger

Piece = tuple[Any, jax.Array]  # where it belongs in the whole array, and what belongs there


class Staging:
    """Arrays that will be fetched in the order in which they were added."""

    def __init__(self) -> None:
        self._arrays: dict[str, jax.Array] = {}
        self._waiting: deque[str] = deque()
        self._begun: dict[str, list[Piece]] = {}
        self._staged = 0  # bytes of what has begun

    def add(self, name: str, array: jax.Array) -> None:
        """Adds an array; typed keys will come as their words."""
        self._arrays[name] = array if isinstance(array.dtype, np.dtype) else jax.random.key_data(array)
        self._waiting.append(name)

    def names(self) -> list[str]:
        """The names, in order."""
        return list(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def fetch(self, name: str) -> np.ndarray[Any, Any]:
        """The array on the host; copies of those that come after it have begun by then.

        Args:
            name: one that was added. In another order, or a second time, nothing is copied ahead.
        """
        array = self._arrays[name]
        if self._waiting and self._waiting[0] == name:
            self._begin(self._waiting.popleft())
        pieces = self._begun.pop(name, None)
        if pieces is not None:
            self._staged -= array.nbytes
        while self._waiting:
            size = self._arrays[self._waiting[0]].nbytes
            if self._begun and self._staged + size > _STAGED:
                break
            self._begin(self._waiting.popleft())
        return _joined(array, pieces or _pieces(array))

    def _begin(self, name: str) -> None:
        self._begun[name] = pieces = _pieces(self._arrays[name])
        self._staged += self._arrays[name].nbytes
        for _, piece in pieces:
            piece.copy_to_host_async()


def assembled(array: jax.Array) -> np.ndarray[Any, Any]:
    """An array that lies on an accelerator, or on several devices, as one on the host."""
    return _joined(array, _pieces(array))


def _pieces(array: jax.Array) -> list[Piece]:
    """Pieces that make up an array, each element once."""
    # A piece has no cache of its own: np.asarray of a whole array on an accelerator would keep the host's copy for as
    # long as the array lives.
    if array.is_fully_replicated:
        return [(..., array.addressable_data(0))]
    return [(shard.index, shard.data) for shard in array.addressable_shards if shard.replica_id == 0]


def _joined(array: jax.Array, pieces: list[Piece]) -> np.ndarray[Any, Any]:
    if array.is_fully_replicated:
        host = np.asarray(pieces[0][1])
        # JAX gives int1 to NumPy as bool.
        return host if host.dtype == array.dtype else host.astype(array.dtype)
    host = np.empty(array.shape, array.dtype)
    for index, piece in pieces:
        host[index] = np.asarray(piece)
    return host

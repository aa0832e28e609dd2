"""Arrays that are not in the memory of the host: the next ones are on their way while this one is written."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio.io import staging
from objio.io.staging import Staging

Log = list[tuple[str, float]]


class Piece:
    """What lies on a device: it notes when its copy begins and when it is waited for."""

    def __init__(self, array: jax.Array, log: Log) -> None:
        self.array, self.log = array, log

    def copy_to_host_async(self) -> None:
        self.log.append(('begin', float(self.array[0])))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.log.append(('wait', float(self.array[0])))
        return np.asarray(self.array)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What happened to the pieces, in order; at most 100 bytes are staged."""
    events: Log = []
    monkeypatch.setattr(staging, '_pieces', lambda array: [(..., Piece(array, events))])
    monkeypatch.setattr(staging, '_STAGED', 100)
    return events


def staged(*sizes: int) -> Staging:
    """Arrays of so many numbers, each full of its own place."""
    waiting = Staging()
    for place, size in enumerate(sizes):
        waiting.add(f'{place}', jnp.full(size, place, jnp.float32))
    return waiting


def test_the_next_arrays_are_on_their_way_while_one_is_written(log: Log) -> None:
    """Copies begin before an array is waited for, as many as fit into the bound, and each once."""
    waiting = staged(10, 10, 10, 10, 10)
    for place in range(5):
        np.testing.assert_array_equal(waiting.fetch(f'{place}'), np.full(10, place, np.float32))
    assert log == [
        *[('begin', 0), ('begin', 1), ('begin', 2), ('wait', 0)],
        *[('begin', 3), ('wait', 1)],
        *[('begin', 4), ('wait', 2)],
        *[('wait', 3), ('wait', 4)],
    ]


def test_an_array_beyond_the_bound_goes_alone(log: Log) -> None:
    """One that is larger than what may be staged is begun when nothing else is on its way."""
    waiting = staged(10, 10, 1000, 10)
    for place in range(4):
        waiting.fetch(f'{place}')
    assert log == [
        *[('begin', 0), ('begin', 1), ('wait', 0)],
        *[('begin', 2), ('wait', 1)],
        *[('begin', 3), ('wait', 2)],
        ('wait', 3),
    ]


@pytest.mark.parametrize('order', ['012012', '210', '0021'])
def test_arrays_come_in_any_order_and_again(order: str) -> None:
    """What is asked for is what comes, whatever was asked for before."""
    waiting = staged(3, 4, 5)
    for name in order:
        np.testing.assert_array_equal(waiting.fetch(name), np.full(3 + int(name), int(name), np.float32))


def test_keys_come_as_their_words() -> None:
    """A typed key on a device is fetched as what a file stores of it."""
    waiting, key = Staging(), jax.random.key(7)
    waiting.add('key', key)
    np.testing.assert_array_equal(waiting.fetch('key'), jax.random.key_data(key))
    assert 'key' in waiting
    assert 'other' not in waiting

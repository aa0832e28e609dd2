"""Arrays that are not in the memory of the host: the next ones are on their way while this one is written."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import IMPLS, JAX_LABELS, array_of, keys_of, x64

import objio
from objio.io import contents, staging
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


class Fresh:
    """A variable of another library that makes its value anew whenever it is asked."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @property
    def value(self) -> jax.Array:
        return jax.random.key(self.seed)

    def assign(self, tensor: Any) -> None:
        raise AssertionError


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No array lies in the memory of the host."""
    monkeypatch.setattr(contents.OnHost, '__missing__', lambda self, sharding: False)


def test_whatever_lies_elsewhere_is_saved_as_it_is() -> None:
    """Arrays of every dtype and keys of every kind give the bytes that they give from the host."""
    with x64():
        values: dict[str, Any] = {
            label: jax.device_put(array_of(label, (3, 2), bytes(range(96)))) for label in JAX_LABELS
        }
    values |= {impl: keys_of(impl, (2,), bytes(range(32))) for impl in IMPLS}
    files = [io.BytesIO(), io.BytesIO()]
    for file, here in zip(files, (False, True), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contents.OnHost, '__missing__', lambda self, sharding, here=here: here)
            objio.save_var_collection(file, values)
    assert files[0].getvalue() == files[1].getvalue()
    files[0].seek(0)
    assert len(np.load(files[0]).files) == len(values) + 1


@pytest.mark.usefixtures('elsewhere')
def test_values_made_anew_are_not_taken_for_one() -> None:
    """A key that lived for a moment only leaves no name for the next one that gets its place in memory."""
    file = io.BytesIO()
    tied = Fresh(50)
    objio.save_var_collection(file, {f'{seed}': Fresh(seed) for seed in range(50)} | {'tied': tied, 'tie': tied})
    with objio.open(file) as saved:
        assert saved.aliases == {'tie': 'tied'}
        for seed in range(50):
            np.testing.assert_array_equal(saved[f'{seed}'], jax.random.key_data(jax.random.key(seed)))


@pytest.mark.usefixtures('elsewhere')
def test_a_background_save_of_what_lies_elsewhere_is_a_copy(tmp_path: Any) -> None:
    """What is on a device is copied before `save` returns, so that a donation cannot reach it."""
    vc = objio.VarCollection.from_tree({'w': jnp.arange(1000.0), 'k': jax.random.key(3)})
    with objio.Checkpoint(tmp_path, background=True) as ckpt:
        ckpt.save(vc, idx=1)
        vc['w'].value.delete()
    with objio.open(tmp_path / 'ckpt' / '0000000001.npz') as saved:
        np.testing.assert_array_equal(saved['w'], np.arange(1000.0, dtype=np.float32))
        np.testing.assert_array_equal(saved['k'], jax.random.key_data(jax.random.key(3)))

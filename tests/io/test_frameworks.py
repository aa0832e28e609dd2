"""The trainings of Flax, Equinox and Haiku: every bit comes back, and a resumed run is the uninterrupted one."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from support_frameworks import CASES, Case
from support_trees import check_same, drawn, restored

import objio

STEPS = 6


@pytest.fixture(scope='module', params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """The training of one framework, compiled once."""
    # The frameworks are written for JAX's defaults.
    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        yield CASES[request.param]()


def train(case: Case, folder: Path, seed: int, interrupted: int | None = None) -> Any:
    """Trains from the newest save, or from the start, and saves after every second step."""
    with objio.Checkpoint(folder, verbose=False, background=True) as ckpt:
        ckpt.restore(vc := objio.VarCollection.from_tree(case.make(seed)))
        tree = vc.to_tree()
        for number in range((ckpt.latest() or 0) + 1, STEPS + 1):
            tree = case.step(tree, case.batch(number))
            if number == interrupted:
                raise KeyboardInterrupt
            if number % 2 == 0:
                ckpt.save(tree, number)
        return tree


def test_every_bit_comes_back(case: Case, tmp_path: Path) -> None:
    """Arbitrary bits in every array of a state are saved, and restored into the state of another seed."""
    state = drawn(case.make(0))
    objio.save_var_collection(tmp_path / 'state.npz', state)
    check_same(restored(partial(objio.load_var_collection, tmp_path / 'state.npz'), case.make(1)), state)


def test_a_resumed_run_ends_like_an_uninterrupted_one(case: Case, tmp_path: Path) -> None:
    """Interrupted between two saves, with donated buffers and saves in the background, and resumed from another seed."""
    through = train(case, tmp_path / 'through', seed=0)
    with pytest.raises(KeyboardInterrupt):
        train(case, tmp_path / 'resumed', seed=0, interrupted=STEPS - 1)
    assert objio.Checkpoint(tmp_path / 'resumed', verbose=False).idxs() == [2, STEPS - 2]
    check_same(train(case, tmp_path / 'resumed', seed=1), through)
    for idx in range(2, STEPS + 1, 2):
        name = Path('ckpt', f'{idx:010}.npz')
        assert (tmp_path / 'resumed' / name).read_bytes() == (tmp_path / 'through' / name).read_bytes()


def test_names_are_paths(case: Case, tmp_path: Path) -> None:
    """They are what people call the parts of a model, from release to release, and NumPy reads them."""
    objio.save_var_collection(tmp_path / 'state.npz', case.make(0))
    with np.load(tmp_path / 'state.npz') as saved:
        assert set(case.names) <= set(saved.files)


class Tied(nnx.Module):
    """Two layers with one kernel."""

    def __init__(self, seed: int) -> None:
        self.a, self.b = (nnx.Linear(2, 2, rngs=nnx.Rngs(seed)) for _ in range(2))
        self.b.kernel = self.a.kernel


def test_a_shared_variable_of_nnx_stands_once(tmp_path: Path) -> None:
    """A state has it under its first name, and stays tied; as a tree, the module itself would come apart."""
    old, new = Tied(0), Tied(1)
    objio.save_var_collection(tmp_path / 'tied.npz', nnx.state(old))
    load = partial(objio.load_var_collection, tmp_path / 'tied.npz')
    nnx.update(new, restored(load, nnx.state(new)))
    with objio.open(tmp_path / 'tied.npz') as saved:
        assert set(saved) == {'a.bias.value', 'a.kernel.value', 'b.bias.value'}
    assert new.b.kernel is new.a.kernel
    np.testing.assert_array_equal(new.b.kernel[...], old.b.kernel[...])
    apart = objio.VarCollection.from_tree(new).to_tree()
    assert apart.b.kernel is not apart.a.kernel

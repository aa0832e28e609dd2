"""A loading function of the user's own that assigns less than there is: the log of `restore` says so."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_checkpoint import with_functions

import objio
from objio import VarCollection


def tree() -> VarCollection:
    """Arrays of JAX and NumPy, and a Python number."""
    return VarCollection.from_tree({'a': jnp.ones(2), 'b': np.ones(2), 'c': jnp.zeros(()), 'steps': 3})


def nothing(file: str, vc: VarCollection) -> None:
    """Reads and forgets."""
    objio.open(file).close()


def by_name(file: str, vc: VarCollection) -> None:
    """Takes the names that both have, as people do."""
    with objio.open(file) as saved:
        for name, variable in vc.items():
            if name in saved and name != 'c':
                variable.assign(jnp.asarray(saved[name]) if name != 'b' else saved[name])


def in_place(file: str, vc: VarCollection) -> None:
    """Fills arrays of NumPy, and gives all others."""
    with objio.open(file) as saved:
        for name, variable in vc.items():
            if name == 'b':
                variable.value[...] = saved[name]
            elif name != 'steps':
                variable.value = jnp.asarray(saved[name])
        vc['steps'].value = 3


def whole(file: str, vc: VarCollection) -> None:
    """Loads all, and returns no report."""
    objio.load_var_collection(file, vc)


def reported(file: str, vc: VarCollection) -> Any:
    """Leaves out what it is to leave out, and says so in its report."""
    return objio.load_var_collection(file, vc, skip='c')


@pytest.mark.parametrize(
    ('load', 'said'),
    [
        (nothing, 'LOAD_FN did not assign 2 of 4 variables, which kept their values: a, c'),
        (by_name, 'LOAD_FN did not assign 1 of 4 variables, which kept their values: c'),
        (in_place, ''),
        (whole, ''),
        (reported, ''),
    ],
    ids=lambda x: getattr(x, '__name__', ''),
)
@pytest.mark.parametrize('idx', [None, 1])
def test_a_function_that_assigns_less_is_told(
    load: Callable[..., Any], said: str, idx: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a warning in the log that names the variables; what may have been changed in place is not told."""
    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    ckpt.save(tree(), 1)
    caplog.clear()
    ckpt.restore(tree(), idx)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.partition(': ')[2] for message in warned] == ([said] if said else [])


def test_a_function_of_pickles_that_finds_none_of_the_names_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All variables of a module keep their values, and the log says which."""

    def save(file: str, vc: VarCollection) -> None:
        with open(file, 'wb') as stream:
            pickle.dump({f'old{name}': np.asarray(value) for name, value in vc.named_tensors().items()}, stream)

    def load(file: str, vc: VarCollection) -> None:
        with open(file, 'rb') as stream:
            content = pickle.load(stream)
        for name, variable in vc.items():
            variable.assign(content.get(name, variable.value))

    ckpt = with_functions(save, load)(tmp_path)
    ckpt.save(objio.nn.Linear(2, 2), 5)
    ckpt.restore(objio.nn.Linear(2, 2))
    assert 'did not assign 2 of 2 variables, which kept their values: (Linear).b, (Linear).w' in caplog.text

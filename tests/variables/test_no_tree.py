"""What JAX cannot take apart at all: the error of from_tree says where it is and what helps."""

import collections
import re
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from objio.errors import UnsaveableError
from objio.variables import Module, StateVar, VarCollection

LOOP: list[Any] = [1.0]
LOOP.append({'again': LOOP})
NESTED: dict[str, Any] = {}
NESTED['me'] = [NESTED]
DEEP: Any = np.ones(1)
for _ in range(2_000):
    DEEP = types.SimpleNamespace(a=DEEP)


@pytest.mark.parametrize(
    ('tree', 'said'),
    [
        (
            {1: jnp.ones(1), 'a': jnp.ones(1)},
            'the dict at the root has keys that JAX cannot sort, of the types int, str',
        ),
        ({'x': [{None: 1, 'a': 2}]}, "the dict at ['x'][0] has keys that JAX cannot sort, of the types NoneType, str"),
        (
            types.SimpleNamespace(a=collections.deque([{(1,): 1, 2: 2}])),
            'the dict at .a[0] has keys that JAX cannot sort, of the types int, tuple',
        ),
        ({'a': {1j: 1, 2j: 2}}, "the dict at ['a'] has keys that JAX cannot sort, of the types complex"),
        (LOOP, 'the tree that was given has no end'),
        (NESTED, 'the tree that was given has no end'),
        ({'opt': types.SimpleNamespace(history=LOOP)}, "the tree at ['opt'].history has no end"),
    ],
    ids=['root', 'inside', 'in a container', 'complex', 'loop', 'loop of dicts', 'loop in a container'],
)
def test_a_tree_that_jax_refuses_is_refused_with_its_place(tree: Any, said: str) -> None:
    """Keys of several types and circles, which JAX answers with errors of its own."""
    with pytest.raises(UnsaveableError, match=re.escape(said)):
        VarCollection.from_tree(tree)


def test_a_tree_that_is_too_deep_is_refused() -> None:
    """Containers in containers, more than Python can go through."""
    with pytest.raises(UnsaveableError, match='nested too deeply'):
        VarCollection.from_tree({'a': DEEP})


def test_an_ordered_dict_may_have_keys_of_any_kind() -> None:
    """It needs no sorting, so the way out that the error names works."""
    tree = collections.OrderedDict({1: jnp.ones(1), 'a': jnp.zeros(1), None: 2})
    assert VarCollection.from_tree(tree).to_tree() == tree


class Key:
    """An object without a name of its own."""


class Keyed(Module):
    """Variables in dicts whose keys are objects."""

    def __init__(self) -> None:
        self.by_object = {Key(): StateVar(0), Key(): StateVar(1), 'a': StateVar(2)}
        self.by_function = {self.__init__: StateVar(3), test_an_ordered_dict_may_have_keys_of_any_kind: StateVar(4)}
        self.by_type = {int: StateVar(5), (1, len): StateVar(6)}


def test_names_hold_no_address_of_memory() -> None:
    """What a key of a dict is called is the same in the next program, so that a save can be loaded there."""
    first, second = Keyed(), Keyed()
    assert list(first.vars().keys()) == list(second.vars().keys())
    assert not [name for name in first.vars().keys() if '0x' in name]  # noqa: SIM118  # iterating gives variables
    assert [variable.value.item() for variable in second.vars()] == list(range(7))

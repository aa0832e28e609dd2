"""Trees of every kind of node, and what makes two trees the same, for the tests of trees."""

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from hypothesis import strategies as st
from support_verbs import bits, blank

import objio
from objio.variables.values import is_value


class Moments(NamedTuple):
    """What an optimizer keeps."""

    count: Any
    mu: Any


@jax.tree_util.register_pytree_with_keys_class
class Slot:
    """A node of the user's own, which names its children."""

    def __init__(self, array: Any, note: str) -> None:
        self.array, self.note = array, note

    def tree_flatten_with_keys(self) -> Any:
        return [(jax.tree_util.GetAttrKey('array'), self.array)], self.note

    @classmethod
    def tree_unflatten(cls, note: str, children: Any) -> 'Slot':
        return cls(*children, note)


@jax.tree_util.register_pytree_node_class
class Pair:
    """A node of the user's own, whose children have no names: JAX counts them."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second

    def tree_flatten(self) -> Any:
        return (self.first, self.second), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> 'Pair':
        return cls(*children)


@partial(jax.tree_util.register_dataclass, data_fields=['weights', 'step'], meta_fields=['activation', 'width'])
@dataclasses.dataclass(frozen=True)
class Layer:
    """A dataclass with fields that are static."""

    weights: Any
    step: Any
    activation: Callable[..., Any] = abs
    width: int = 3


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any tree of these leaves; None, which is a node without leaves, among them."""
    return st.recursive(
        leaves | st.none(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(st.sampled_from(['a', 'b', 'c', '(x)']), inner, max_size=3),
            st.dictionaries(st.integers(-1, 12), inner, max_size=3),
            st.builds(Moments, inner, inner),
            st.builds(lambda inner: OrderedDict(z=inner, y=inner), inner),
            st.builds(lambda inner: defaultdict(list, z=inner), inner),
            st.builds(Slot, inner, st.just('note')),
            st.builds(Pair, inner, inner),
            st.builds(Layer, inner, inner, st.sampled_from([abs, len]), st.integers(0, 3)),
        ),
        max_leaves=8,
    )


def emptied(tree: Any) -> Any:
    """The same tree with other values, to load into."""
    return jax.tree.map(lambda leaf: blank(leaf) if is_value(leaf) else leaf, tree)


def drawn(tree: Any, seed: int = 0) -> Any:
    """The same tree with bits drawn at random in every array of numbers: NaNs of every payload among them."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = rng.integers(2**32, size=jax.random.key_data(leaf).shape, dtype=np.uint32)
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        if not isinstance(leaf, jax.Array | np.ndarray) or leaf.dtype == bool:
            return leaf
        if isinstance(leaf, jax.Array) and leaf.weak_type:
            return leaf + 1  # arbitrary bits would not be weakly typed
        array = np.frombuffer(rng.bytes(leaf.nbytes), leaf.dtype).reshape(leaf.shape)
        return jax.device_put(array) if isinstance(leaf, jax.Array) else array.copy()

    return jax.tree.map(draw, tree)


def restored(load: Callable[[objio.VarCollection], Any], into: Any) -> Any:
    """The tree `into` with what `load` loads."""
    load(vc := objio.VarCollection.from_tree(into))
    return vc.to_tree()


def check_same(new: Any, old: Any) -> None:
    """Fails where a node's type, something static, or a leaf's kind, dtype, shape or any bit of it differs."""
    found, structure = jax.tree.flatten(new)
    expected, wanted = jax.tree.flatten(old)
    assert structure == wanted
    for leaf, other in zip(found, expected, strict=True):
        if is_value(other):
            assert type(leaf) is type(other)
            assert bits(leaf) == bits(other)
            assert getattr(leaf, 'weak_type', False) == getattr(other, 'weak_type', False)
        else:
            assert leaf is other

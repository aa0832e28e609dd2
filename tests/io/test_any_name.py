"""Objects that answer to every name are no modules for it, and asking them changes nothing."""

import collections
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import objio
from objio import UnsaveableError, VarCollection
from objio.nn import Linear


class Items(dict[str, Any]):
    """A dict whose keys are attributes: another name is a KeyError, where Python expects an AttributeError."""

    __getattr__ = dict.__getitem__


class Lenient(dict[str, Any]):
    """Another name is None."""

    __getattr__ = dict.get


class Itself(dict[str, Any]):
    """A dict that is its own attributes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Growing(collections.UserDict[str, Any]):
    """Another name is made when it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'data':
            raise AttributeError(name)
        return self.data.setdefault(name, len)


class Broken:
    """An object whose attributes fail in a way of their own."""

    def __init__(self) -> None:
        self.w = jnp.ones(2)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Wrapper:
    """An object that passes on what it is asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize('kind', [Items, Lenient, Itself, Growing])
@pytest.mark.parametrize('wrap', [lambda tree: tree, lambda tree: {'opt': [tree]}], ids=['root', 'inside'])
def test_a_dict_with_attributes_is_saved_as_a_dict(
    kind: Callable[..., Any], wrap: Callable[[Any], Any], tmp_path: Any
) -> None:
    """It comes back with its own type and has the keys that it had."""
    tree = wrap(kind(w=np.ones(2), inner=kind(b=1.5)))
    objio.save_var_collection(tmp_path / 'x.npz', tree)
    vc = VarCollection.from_tree(wrap(kind(w=np.zeros(2), inner=kind(b=0.0))))
    objio.load_var_collection(tmp_path / 'x.npz', vc)
    back = vc.to_tree()
    for found in (tree, back):
        own = found['opt'][0] if 'opt' in found else found
        assert type(own) is type(own['inner']) is kind
        assert list(own) == ['w', 'inner']
        assert own['w'].tolist() == [1, 1]
        assert dict(own['inner']) == {'b': 1.5}


def test_asking_the_keys_of_flax_makes_no_key(tmp_path: Any) -> None:
    """`rngs.vars()` would be a new key; the state of the keys is saved as it is, and goes on from there."""
    rngs = nnx.Rngs(0, params=1)
    objio.save_var_collection(tmp_path / 'x.npz', rngs)
    vc = VarCollection.from_tree(nnx.Rngs(5, params=6))
    objio.load_var_collection(tmp_path / 'x.npz', vc)
    same, fresh = vc.to_tree(), nnx.Rngs(0, params=1)
    assert rngs.params() == same.params() == fresh.params()


def test_what_only_seems_to_have_variables_is_refused_by_name(tmp_path: Any) -> None:
    """An object whose attributes fail holds data that no tree leads to."""
    with pytest.raises(UnsaveableError, match=r"the leaf at \['a'\] is a Broken, .* its float32\[2\] at .w would not"):
        objio.save_var_collection(tmp_path / 'x.npz', {'a': Broken()})


def test_a_wrapper_that_passes_on_the_variables_of_a_module_has_them(tmp_path: Any) -> None:
    """As do a module and an object with a `vars` among its attributes."""
    module = Linear(1, 1)
    bare = type('Bare', (), {})()
    bare.vars = lambda: module.vars()  # noqa: PLW0108  # no method
    for subject in (Wrapper(module), module, bare):
        objio.save_var_collection(tmp_path / 'x.npz', subject)
        assert len(objio.load_var_collection(tmp_path / 'x.npz', subject).matched) == 2

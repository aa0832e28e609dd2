"""Collections that were saved once give the same bytes in every later version: names, order, aliases and metadata."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import objio
from objio import Module, ModuleList, RandomState, StateVar, TrainRef, TrainVar, VarCollection


def ramp(*shape: int, dtype: Any = 'float32') -> Any:
    """An array of JAX that counts from 0."""
    return jnp.asarray(np.arange(np.prod(shape), dtype=np.float64).reshape(shape).astype(dtype))


class Layer(Module):
    """Two variables and settings."""

    def __init__(self, nin: int, nout: int) -> None:
        self.nin, self.sizes = nin, [nin, nout]
        self.w = TrainVar(ramp(nin, nout))
        self.b = TrainVar(ramp(nout))


class Listed(Module):
    """Holds its layers as attributes and, for its loop, in containers too."""

    def __init__(self) -> None:
        self.layers = []
        self.first, self.second = Layer(2, 3), Layer(3, 1)
        self.layers += [self.first, self.second]
        self.by_name = {'first': self.first, 'w': self.second.w}
        self.pair = (self.first, (self.second.b,))


class Tied(Module):
    """One variable under two names, and references."""

    def __init__(self) -> None:
        self.ref = TrainRef(TrainVar(ramp(2)))
        self.embed = Layer(4, 2)
        self.out = self.embed
        self.weights = TrainRef(self.embed.w)
        self.twin = StateVar(self.embed.b.value)
        self.rng = RandomState(7)


class Wrapper(Module):
    """A module that takes the place of another."""

    def __init__(self, module: Module) -> None:
        self.calls = StateVar(3)
        self.__wrapped__ = module


class Own(Module):
    """A module that says itself what its variables are."""

    def __init__(self) -> None:
        self.table = {'x': TrainVar(ramp(2)), 'y': TrainVar(ramp(3))}

    def vars(self, scope: str = '') -> VarCollection:
        return VarCollection((f'{scope}{name}', var) for name, var in self.table.items())


class Moments(NamedTuple):
    """The state of an optimizer."""

    count: Any
    mu: Any


def sequential() -> Any:
    """The network of README."""
    return ModuleList([Layer(4, 3), jax.nn.relu, ModuleList([Layer(3, 2), StateVar(1)]), 'note'])


TREE = {
    'opt': [Moments(3, {'a': ramp(2, 2), 'b': 0.5}), Moments(True, {'a': 2j, 'b': np.float64(1)})],
    'key': jax.random.key(1),
    'keys': jax.random.split(jax.random.key(2, impl='rbg'), 2),
    'small': [ramp(3, dtype=kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, 'bool')],
    'host': np.arange(6).reshape(2, 3).T,
    'empty': np.zeros((0, 2), np.uint8),
    'name': 'adam',
    'act': len,
}
SUBJECTS: dict[str, tuple[Callable[[], Any], str, str]] = {
    'layer': (lambda: Layer(2, 3), 'npz', '8a7a3423958f0a18'),
    'modules in attributes and containers': (Listed, 'npz', '59ff1a32d1e27a61'),
    'ties and references': (Tied, 'npz', 'dc495994a7b2f017'),
    'sequential': (sequential, 'npz', 'b6cce1aa2d073121'),
    'wrapper': (lambda: Wrapper(ModuleList([Wrapper(Layer(1, 1))])), 'npz', 'f9bb34ed37b8a604'),
    'own vars': (lambda: ModuleList([Own()]), 'npz', 'ac20d46d4fa4772c'),
    'a sum': (lambda: Layer(2, 2).vars('a') + Tied().vars('b'), 'npz', '3cb1d005ccee5c48'),
    'renamed': (lambda: Tied().vars().rename({'(Tied)': 'net', '(Layer)': ''}), 'npz', '53eb668af99d73ab'),
    'tree': (lambda: TREE, 'npz', '9339e9fefdcd09fe'),
    'tree with a scope': (lambda: VarCollection.from_tree(TREE, 'état/', '/'), 'npz', '14544ac0b7586625'),
    'arrays by name': (lambda: {'a.b': np.float32(3), 'c': ramp(2, 0, 3)}, 'npz', '8146c923bba5bf64'),
    'number': (lambda: {'step': 12, 'big': 2**63, 'nan': float('nan')}, 'npz', 'e6894f53fcabc334'),
    'safetensors': (
        lambda: {'w': ramp(2, 3), 'h': ramp(4, dtype=ml_dtypes.bfloat16)},
        'safetensors',
        '6079becbfce28a45',
    ),
    'msgpack': (lambda: TREE['opt'], 'msgpack', '2ed1dfa250e417c1'),
}
METADATA = {'epoch': 3, 'names': ['é', None, 1e-7]}


def digest(path: str, subject: Any, **options: Any) -> str:
    """The SHA-256 of what a save of the subject writes, short."""
    objio.save_var_collection(path, subject, **options)
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


@pytest.mark.parametrize('name', SUBJECTS)
def test_bytes_stay_what_they_were(name: str, tmp_path: Any) -> None:
    """The bytes of each collection are those that version 0.1 wrote."""
    make, suffix, expected = SUBJECTS[name]
    options = {'metadata': METADATA} if suffix == 'npz' else {}  # the others keep less beside arrays
    assert digest(f'{tmp_path}/x.{suffix}', make(), **options) == expected

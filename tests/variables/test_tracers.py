"""What is traced stays inside: a variable holds a tracer only where a running `pure` or its own life ends with it."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio.nn import BatchNorm0D, Dropout, Linear
from objio.random import DEFAULT_GENERATOR, Generator
from objio.variables import StateVar, TrainRef, TrainVar, VarCollection, pure


@pytest.mark.parametrize('transform', [jax.jit, jax.grad, jax.vmap])
def test_a_tracer_is_refused_where_it_would_be_lost(transform: Any) -> None:
    """Without pure, assigning inside a transformation is an error at once; the variable keeps its value."""
    state, trained, before = StateVar(jnp.zeros(())), TrainVar(jnp.zeros(())), jnp.zeros(())
    state.value = before

    def set_value(x: jax.Array) -> jax.Array:
        state.value = x
        return x

    def assign(x: jax.Array) -> jax.Array:
        trained.assign(x, check=False)
        return x

    def through_reference(x: jax.Array) -> jax.Array:
        TrainRef(state).value = x
        return x

    x = jnp.zeros(3) if transform is jax.vmap else 0.0
    for f in [set_value, assign, through_reference]:
        with pytest.raises(TypeError, match=r'inside a transformation of JAX .* add its collection to pure'):
            transform(f)(x)
    with pytest.raises(TypeError, match='add its collection to pure'):
        transform(lambda x: VarCollection({'a': state}).assign([x]))(x)
    assert state.value is before


def test_a_tracer_is_refused_where_another_variable_is_bound() -> None:
    """A running pure helps only the variables of its own collection."""
    net, stray = BatchNorm0D(3), StateVar(0.0)

    def f(x: jax.Array) -> None:
        net(x, training=True)
        stray.value = x.sum()

    with pytest.raises(TypeError, match='StateVar: cannot assign'):
        jax.jit(pure(f, net.vars()))(net.vars().named_tensors(), jnp.ones((2, 3)))
    assert float(stray) == 0


def test_unbound_random_keys_name_the_default_generator() -> None:
    """Dropout in a compiled function without its generator's variables says which collection to add."""
    drop = Dropout(0.5)
    with pytest.raises(TypeError, match=re.escape('objio.random.DEFAULT_GENERATOR.vars()')):
        jax.jit(lambda x: drop(x, training=True))(jnp.ones(3))
    g = jax.jit(pure(functools.partial(drop, training=True), DEFAULT_GENERATOR.vars()))
    before = DEFAULT_GENERATOR.key.value
    _, new = g(DEFAULT_GENERATOR.vars().named_tensors(), jnp.ones(3))
    assert (new['(Generator)._key'] != before).all()
    assert (DEFAULT_GENERATOR.key.value == before).all()


def test_a_generator_first_used_inside_keeps_a_key() -> None:
    """The lazily made key of a generator is an array, not a tracer, even where it is first asked for under jit."""
    generator = Generator(3)
    jax.jit(lambda: (generator.key, 0)[1])()
    assert (generator.key.value == jax.random.key(3)).all()


def test_variables_made_inside_work_inside() -> None:
    """A model that is built and used within one compiled function needs no pure."""

    def build_and_run(x: jax.Array) -> jax.Array:
        net = BatchNorm0D(3)
        net.running_mean.value = x.mean(0, keepdims=True)
        net(x, training=True)
        return net.running_mean.value

    np.testing.assert_allclose(jax.jit(build_and_run)(jnp.ones((4, 3))), jnp.ones((1, 3)))


def test_a_model_is_built_abstractly() -> None:
    """`jax.eval_shape` of a constructor gives shapes without computing, the default generator passed through."""
    build = pure(lambda: Linear(1000, 10**6).vars().named_tensors(), DEFAULT_GENERATOR.vars())
    shapes, _ = jax.eval_shape(build, DEFAULT_GENERATOR.vars().named_tensors())
    assert shapes['(Linear).w'].shape == (1000, 10**6)

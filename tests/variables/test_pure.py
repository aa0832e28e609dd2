"""Functions with variables as pure functions: under every transformation, in every thread, after every failure."""

import functools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objio.functional import relu
from objio.nn import BatchNorm0D, Dropout, Linear, Sequential
from objio.random import Generator
from objio.variables import Module, RandomState, StateVar, TrainRef, TrainVar, VarCollection, pure


class Counter(Module):
    """Multiplies by its weight, counts its calls, and keeps the last result."""

    def __init__(self) -> None:
        self.w = TrainVar(jnp.full(3, 2.0))
        self.calls = StateVar(0)
        self.last = StateVar(jnp.zeros(3))

    def __call__(self, x: jax.Array, *, scale: float = 1) -> jax.Array:
        self.calls.value += 1
        self.last.value = x * self.w.value * scale
        return self.last.value.sum()


class Foreign:
    """A variable of another library."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def assign(self, tensor: Any) -> None:
        self.value = tensor


def values(vc: VarCollection) -> dict[str, np.ndarray[Any, Any]]:
    """A collection's values as NumPy."""
    return {name: np.asarray(value) for name, value in vc.named_tensors().items()}


@pytest.mark.parametrize('wrap', [lambda g: g, jax.jit, lambda g: jax.jit(g, donate_argnums=0)])
def test_names_go_in_and_the_same_come_out(wrap: Any) -> None:
    """The result and every new value come out; the variables are as they were until these are assigned."""
    net = Counter()
    vc = net.vars()
    before = vc.tensors()
    g = wrap(pure(net))
    result, new = g(jax.tree.map(jnp.copy, vc.named_tensors()), jnp.ones(3), scale=0.5)
    assert type(new) is dict
    assert new.keys() == vc.named_tensors().keys()
    assert float(result) == 3
    assert all(old is now for old, now in zip(before, vc.tensors(), strict=True))
    vc.assign(new)
    assert (int(net.calls), float(net.last.sum())) == (1, 3)


def test_a_function_uses_any_collection() -> None:
    """A plain function takes the collection it is given, references and tied names among it."""
    w = TrainVar(jnp.ones(2))
    ref = TrainRef(w)

    def halve() -> None:
        ref.value *= 0.5

    g = pure(halve, VarCollection({'ref': ref, 'w': w, 'tied': w}))
    result, new = jax.jit(g)({'w': jnp.full(2, 8.0)})
    assert result is None
    assert list(new) == ['w']
    np.testing.assert_array_equal(new['w'], [4, 4])
    np.testing.assert_array_equal(w.value, [1, 1])


def test_names_are_checked() -> None:
    """Missing and unknown names are refused before the function runs; so is what is no dict, and a missing vars()."""
    net = Counter()
    g = pure(net)
    tensors = net.vars().named_tensors()
    with pytest.raises(
        ValueError, match=re.escape("pure(Counter): expected the 3 names of named_tensors(); missing: '(Counter).w'")
    ):
        g({name: value for name, value in tensors.items() if name != '(Counter).w'}, jnp.ones(3))
    with pytest.raises(ValueError, match="unknown: 'x'"):
        g({**tensors, 'x': 1}, jnp.ones(3))
    with pytest.raises(
        TypeError, match=re.escape('pure(Counter): expected a dict of arrays by name first, found list')
    ):
        g(list(tensors.values()), jnp.ones(3))
    with pytest.raises(TypeError, match=re.escape('pure: halve has no vars(); pass the collection')):
        pure(functools.update_wrapper(lambda: None, type('F', (), {'__name__': 'halve'})()))
    assert int(net.calls) == 0


def test_the_variables_survive_an_exception() -> None:
    """What a function assigned before it raised is forgotten, also under jit."""
    net = Counter()
    before = net.vars().tensors()

    def fail(x: jax.Array) -> None:
        net(x)
        raise RuntimeError('in the middle')

    for wrap in [lambda g: g, jax.jit]:
        with pytest.raises(RuntimeError, match='in the middle'):
            wrap(pure(fail, net.vars()))(net.vars().named_tensors(), jnp.ones(3))
    assert all(old is now for old, now in zip(before, net.vars().tensors(), strict=True))


def test_inside_assign_checks_against_what_was_passed_in() -> None:
    """The bound value counts, not the variable's own: lower precision and other shapes go in without `check=False`."""
    net = Counter()
    tensors = net.vars().named_tensors()
    half = {name: value.astype('bfloat16') if value.dtype == jnp.float32 else value for name, value in tensors.items()}
    _, new = jax.jit(pure(net))(half, jnp.ones(3, 'bfloat16'))
    assert new['(Counter).last'].dtype == jnp.bfloat16
    with pytest.raises(
        ValueError, match=re.escape('StateVar: cannot assign float32[3]: the variable holds bfloat16[3]')
    ):
        pure(lambda: net.last.assign(jnp.zeros(3)), net.vars())(half)
    assert net.last.dtype == jnp.float32


def test_gradients() -> None:
    """A loss of params and state gives the gradient of the one and the new values of the other."""
    net = Counter()
    vc, g = net.vars(), pure(net)
    params, state = vc.named_tensors(TrainVar), vc.named_tensors(is_not=TrainVar)

    def loss(params: dict[str, jax.Array], x: jax.Array) -> Any:
        result, new = g(params | state, x)
        return result**2, {name: new[name] for name in state}

    gradients, new_state = jax.jit(jax.grad(loss, has_aux=True))(params, jnp.ones(3))
    np.testing.assert_allclose(gradients['(Counter).w'], [12, 12, 12])
    assert int(new_state['(Counter).calls']) == 1
    vc.subset(TrainVar).assign({'(Counter).w': params['(Counter).w'] - 0.25 * gradients['(Counter).w']})
    np.testing.assert_allclose(net.w.value, [-1, -1, -1])


def test_vectorized() -> None:
    """Under vmap each example sees and leaves its own values, the variables' shapes among them."""
    net = Counter()
    result, new = jax.vmap(pure(net), in_axes=(None, 0))(net.vars().named_tensors(), jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(result, [6, 24])
    np.testing.assert_array_equal(new['(Counter).last'], [[0, 2, 4], [6, 8, 10]])
    assert net.last.shape == (3,)


def test_sharded(tmp_path: Path) -> None:
    """Under shard_map each device sees its own part of a variable; the variables keep shape and sharding."""
    code = """
import jax, jax.numpy as jnp
jax.config.update('jax_num_cpu_devices', 4)
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from objio.variables import StateVar, VarCollection, pure
mesh = jax.make_mesh((4,), ('x',), axis_types=(AxisType.Auto,))
sharding = NamedSharding(mesh, P('x'))
state = StateVar(jax.device_put(jnp.arange(8.0), sharding))
vc = VarCollection({'s': state})
def f():
    assert state.shape == (2,)
    state.value = state.value + jax.lax.axis_index('x')
    return state.value.sum(keepdims=True)
g = jax.jit(jax.shard_map(pure(f, vc), mesh=mesh, in_specs=({'s': P('x')},), out_specs=(P('x'), {'s': P('x')})))
sums, new = g(vc.named_tensors())
assert state.shape == (8,)
vc.assign(new)
assert state.value.sharding.is_equivalent_to(sharding, 1)
print(sums.tolist(), state.value.tolist())
"""
    env = {**os.environ, 'JAX_NUMPY_DTYPE_PROMOTION': 'standard'}
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout == '[1.0, 7.0, 13.0, 19.0] [0.0, 1.0, 3.0, 4.0, 6.0, 7.0, 9.0, 10.0]\n'


def test_scanned() -> None:
    """The values are the carry of a scan, random keys among them."""
    net = Sequential([Counter(), lambda x: x + jax.random.uniform(net[2]()), Generator(0)])
    g = pure(lambda x: net[1](net[0](x)), net.vars())

    def body(carry: Any, x: jax.Array) -> Any:
        result, carry = g(carry, x)
        return carry, result

    last, results = jax.jit(lambda tensors, xs: jax.lax.scan(body, tensors, xs))(
        net.vars().named_tensors(), jnp.zeros((5, 3))
    )
    assert int(last['(Sequential)[0](Counter).calls']) == 5
    assert len(set(results.tolist())) == 5


def test_nested() -> None:
    """A pure function inside another binds its own variables anew and lets the other's through."""
    outer, inner = StateVar(0.0), StateVar(0.0)
    g_inner = pure(
        lambda: (outer.assign(outer.value + inner.value), inner.assign(inner.value + 1)), VarCollection({'i': inner})
    )

    def both() -> Any:
        inner.value += 10
        _, new = g_inner({'i': inner.value * 2})
        return new['i'], inner.value

    g = jax.jit(pure(both, VarCollection({'o': outer, 'i': inner})))
    (from_inner, seen), new = g({'o': jnp.float32(1), 'i': jnp.float32(2)})
    assert (float(from_inner), float(seen)) == (25, 12)
    assert {name: float(value) for name, value in new.items()} == {'o': 25, 'i': 12}
    assert (float(outer), float(inner)) == (0, 0)


def test_random_keys_come_back() -> None:
    """Splitting inside moves the key that comes out, as it would outside."""
    state = RandomState(0)
    expected = RandomState(0)
    g = jax.jit(pure(lambda: state.split(2), VarCollection({'r': state})))
    keys, new = g({'r': state.value})
    assert (keys == expected.split(2)).all()
    assert new['r'] == expected.value
    assert state.value == jax.random.key(0)


def test_foreign_variables_are_bound_and_given_back() -> None:
    """A variable of another library holds what was passed in while the function runs, and its own value after."""
    own = jnp.zeros(2)
    foreign, ours = Foreign(own), StateVar(jnp.zeros(2))

    def f(x: jax.Array) -> jax.Array:
        foreign.assign(foreign.value + x)
        ours.value = foreign.value
        return foreign.value.sum()

    g = pure(f, {'f': foreign, 'o': ours})  # a mapping as another library's collection is one
    for wrap in [lambda g: g, jax.jit]:
        result, new = wrap(g)({'f': jnp.ones(2), 'o': jnp.zeros(2)}, jnp.ones(2))
        assert (float(result), float(new['f'].sum()), float(new['o'].sum())) == (4, 4, 4)
        assert foreign.value is own
    with pytest.raises(TypeError):
        g({'f': jnp.ones(2), 'o': jnp.zeros(2)}, object())
    assert foreign.value is own


def test_threads_do_not_see_each_other() -> None:
    """While one thread runs a pure function, others read and assign the variables' own values."""
    state = StateVar(0.0)
    vc = VarCollection({'s': state})
    inside, outside = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    seen: dict[str, Any] = {}

    def f() -> None:
        state.value += 1
        inside.wait()
        outside.wait()
        seen['late'] = state.value
        state.value += 1

    def run() -> None:
        seen['result'] = pure(f, vc)({'s': jnp.float32(100)})[1]['s']

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait()
    seen['other'] = float(state)
    state.value = 7.0
    outside.wait()
    thread.join()
    assert {name: float(value) for name, value in seen.items()} == {'other': 0, 'late': 101, 'result': 102}
    assert float(state) == 7


def test_many_threads_trace_at_once() -> None:
    """The same module can be compiled and run in many threads."""
    net = Counter()
    tensors = net.vars().named_tensors()
    results: list[float] = []

    def run(scale: float) -> None:
        g = jax.jit(pure(lambda x: net(x, scale=scale), net.vars()))
        results.extend(float(g(tensors, jnp.ones(3))[0]) / scale for _ in range(5))

    threads = [threading.Thread(target=run, args=(float(scale),)) for scale in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [6.0] * 20
    assert (int(net.calls), float(net.last.sum())) == (0, 0)


def test_jit_finds_arguments_by_name() -> None:
    """The signature is the function's own with the tensors in front, so static and donated names can be told."""
    net = Sequential([Linear(3, 3), Dropout(0.5, Generator(0))])

    def step(x: jax.Array, training: bool, tensors: int = 0) -> jax.Array:
        return net(x, training=training)

    g = pure(step, net.vars())
    assert g.__name__ == 'pure(step)'
    compiled = jax.jit(g, static_argnames='training')
    y, _ = compiled(net.vars().named_tensors(), jnp.ones((2, 3)), training=False)
    z, _ = compiled(net.vars().named_tensors(), jnp.ones((2, 3)), False, tensors=1)
    np.testing.assert_array_equal(y, z)


def test_a_function_without_a_signature_is_taken() -> None:
    """Some functions of C tell no signature; they are called all the same."""
    assert pure(max, {})({}, 3, 4) == (4, {})


def test_scalars_of_a_tree_go_through() -> None:
    """A Python number of a tree goes in and comes out as an array, and is assigned back."""
    vc = VarCollection.from_tree({'step': 0, 'rate': 0.5})
    step = vc['step']
    g = jax.jit(pure(lambda: step.assign(step.value + 1), vc))
    for _ in range(3):
        vc.assign(g(vc.named_tensors())[1])
    assert {name: float(value) for name, value in vc.to_tree().items()} == {'step': 3, 'rate': 0.5}


@jax.numpy_dtype_promotion('standard')  # Optax multiplies numbers of different kinds
def test_a_training_loop_needs_nothing_else() -> None:
    """Donated values and an optimizer's state beside the module: named_tensors, assign and a pure step learn a line."""
    keys = Generator(1)
    net = Sequential([Linear(2, 16), BatchNorm0D(16), relu, Dropout(0.9, keys), Linear(16, 1)])
    model = net.vars()
    optimizer = optax.adam(0.05)
    opt = VarCollection.from_tree(optimizer.init(model.named_tensors(TrainVar)), scope='opt/', separator='/')
    predict = pure(net, model)
    traced = []

    def loss(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
        prediction, new = predict(params | state, x, training=True)
        return jnp.mean((prediction[:, 0] - y) ** 2), {name: new[name] for name in state}

    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        traced.append(x.shape)
        params, state = model.named_tensors(TrainVar), model.named_tensors(is_not=TrainVar)
        (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(params, state, x, y)
        updates, opt_state = optimizer.update(gradients, opt.to_tree(), params)
        model.assign(optax.apply_updates(params, updates) | state)
        opt.assign(jax.tree.leaves(opt_state))
        return value

    vc = model + opt
    compiled = jax.jit(pure(step, vc), donate_argnums=0)
    x = jax.random.normal(jax.random.key(0), (64, 2))
    losses = []
    for _ in range(60):
        value, new = compiled(vc.named_tensors(), x, x[:, 0] - 2 * x[:, 1])
        vc.assign(new)
        losses.append(float(value))
    assert losses[-1] < losses[0] / 4
    assert int(opt['opt/0/count'].value) == 60
    assert type(opt.to_tree()) is type(optimizer.init({}))
    assert len(traced) == 1

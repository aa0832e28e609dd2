"""The states of all of Optax's optimizers, those of a coming release too, are saved and restored."""

import inspect
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from support_trees import check_same, drawn, restored

import objio

PARAMS = {'dense': {'kernel': jnp.ones((3, 2)), 'bias': jnp.zeros(2, jnp.bfloat16)}, 'scale': jnp.ones(())}
LABELS = {'dense': {'kernel': 'a', 'bias': 'b'}, 'scale': 'a'}
MASK = jax.tree.map(lambda label: label == 'a', LABELS)


def value(*_: Any, **__: Any) -> Any:
    """What an optimizer measures."""
    return jnp.ones(())


# What Optax asks for besides a learning rate.
ARGUMENTS: dict[str, Callable[[], Any]] = {
    'adaptive_grad_clip': lambda: optax.adaptive_grad_clip(0.1),
    'add_noise': lambda: optax.add_noise(0.1, 0.9, key=jax.random.key(0)),
    'apply_if_finite': lambda: optax.apply_if_finite(optax.adam(0.1), 3),
    'chain': lambda: optax.chain(optax.clip(0.1), optax.adam(optax.cosine_decay_schedule(0.1, 9)), optax.trace(0.9)),
    'clip': lambda: optax.clip(0.1),
    'clip_by_block_rms': lambda: optax.clip_by_block_rms(0.1),
    'clip_by_global_norm': lambda: optax.clip_by_global_norm(0.1),
    'conditionally_mask': lambda: optax.conditionally_mask(optax.adam(0.1), lambda step, **_: step > 1),
    'conditionally_transform': lambda: optax.conditionally_transform(optax.adam(0.1), lambda step, **_: step > 1),
    'differentially_private_aggregate': lambda: optax.contrib.differentially_private_aggregate(
        0.1, 0.1, jax.random.key(0)
    ),
    'dpsgd': lambda: optax.contrib.dpsgd(0.1, 0.1, 0.1, seed=0),
    'ema': lambda: optax.ema(0.9),
    'flatten': lambda: optax.flatten(optax.adam(0.1)),
    'freeze': lambda: optax.freeze(MASK),
    'inject_hyperparams': lambda: optax.inject_hyperparams(optax.adam)(optax.cosine_decay_schedule(0.1, 9)),
    'inject_stateful_hyperparams': lambda: optax.inject_stateful_hyperparams(optax.adam)(0.1),
    'lookahead': lambda: optax.lookahead(optax.adam(0.1), 3, 0.5),
    'masked': lambda: optax.masked(optax.adam(0.1), MASK),
    'measure_with_ema': lambda: optax.measure_with_ema(value, 0.9),
    'mechanize': lambda: optax.contrib.mechanize(optax.adam(0.1)),
    'monitor': lambda: optax.monitor({'norm': value}),
    'multi_transform': lambda: optax.multi_transform({'a': optax.adam(0.1), 'b': optax.sgd(0.1, 0.9)}, LABELS),
    'named_chain': lambda: optax.named_chain(('clip', optax.clip(0.1)), ('adam', optax.adam(0.1))),
    'noisy_sgd': lambda: optax.noisy_sgd(0.1, key=jax.random.key(0)),
    'partition': lambda: optax.partition({'a': optax.adam(0.1), 'b': optax.sgd(0.1, 0.9)}, LABELS),
    'sam': lambda: optax.contrib.sam(optax.adam(0.1), optax.sgd(0.1)),
    'scale': lambda: optax.scale(0.1),
    'scale_by_backtracking_linesearch': lambda: optax.scale_by_backtracking_linesearch(3),
    'scale_by_schedule': lambda: optax.scale_by_schedule(optax.cosine_decay_schedule(0.1, 9)),
    'scale_by_zoom_linesearch': lambda: optax.scale_by_zoom_linesearch(3),
    'schedule_free': lambda: optax.contrib.schedule_free(optax.adam(0.1), 0.1),
    'selective_transform': lambda: optax.selective_transform(optax.adam(0.1), freeze_mask=MASK),
    'snapshot': lambda: optax.snapshot('norm', value),
    'split_real_and_imaginary': lambda: optax.contrib.split_real_and_imaginary(optax.adam(0.1)),
    'stateless': lambda: optax.stateless(lambda updates, _: updates),
    'stateless_with_tree_map': lambda: optax.stateless_with_tree_map(lambda update, _: update),
    'trace': lambda: optax.trace(0.9),
    'with_extra_args_support': lambda: optax.with_extra_args_support(optax.adam(0.1)),
    # A class, not a function.
    'MultiSteps': lambda: optax.MultiSteps(optax.adam(0.1), 2),
}
# Functions that do not say what they return, and return no optimizer.
OTHERS = {
    'matrix_inverse_pth_root',
    'schedule_free_eval_params',
    'sigmoid_binary_cross_entropy',
    'update_infinity_moment',
    'update_moment',
    'update_moment_per_elem_norm',
}


def optimizers() -> dict[str, Callable[..., Any]]:
    """What Optax makes public and says to return a `GradientTransformation`, or says nothing of."""
    found = {'MultiSteps': optax.MultiSteps}
    for module in [optax, optax.contrib]:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = inspect.signature(function).return_annotation
            unknown = returned is inspect.Signature.empty and name not in OTHERS
            if not name.startswith('_') and (unknown or 'GradientTransformation' in str(returned)):
                found[name] = function
    return found


def built(name: str) -> Any:
    """An optimizer of that name."""
    if name in ARGUMENTS:
        return ARGUMENTS[name]()
    function = optimizers()[name]
    return function(0.1) if 'learning_rate' in inspect.signature(function).parameters else function()


@pytest.fixture(autouse=True)
def _optax_mixes_dtypes() -> Any:
    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        yield


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # an optimizer on its way out has a state too
@pytest.mark.parametrize('name', sorted(optimizers()))
def test_a_state_comes_back(name: str) -> None:
    """Arbitrary bits in every array of the state, restored into a fresh one, give the same state."""
    fresh = built(name).init(PARAMS)
    state = drawn({'opt': fresh, 'epoch': 3})
    file = io.BytesIO()
    objio.save_var_collection(file, state)
    check_same(restored(partial(objio.load_var_collection, file), {'opt': fresh, 'epoch': 0}), state)


def test_none_is_forgotten() -> None:
    """The list is Optax's own, and what is said about single functions is about functions that exist."""
    found = optimizers()
    assert {'adam', 'adamw', 'lbfgs', 'sgd', 'muon', 'scale_by_factored_rms', 'dog'} <= set(found)
    assert set(ARGUMENTS) <= set(found)
    assert all(hasattr(optax, name) or hasattr(optax.contrib, name) for name in OTHERS)


def test_the_state_after_a_step_fits_a_fresh_one() -> None:
    """Counts, moments, schedules and injected hyperparameters keep their dtypes from step to step."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.inject_hyperparams(optax.adamw)(optax.cosine_decay_schedule(0.1, 9)),
        optax.masked(optax.ema(0.9), MASK),
    )
    params = jax.tree.map(lambda array: array.astype(jnp.float32), PARAMS)
    fresh = optimizer.init(params)
    _, state = jax.jit(optimizer.update)(params, fresh, params)
    file = io.BytesIO()
    objio.save_var_collection(file, state)
    check_same(restored(partial(objio.load_var_collection, file), fresh), state)

"""Activations, poolings and losses: their values, their gradients, and that pickle finds them."""

import copy
import math
import pickle
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio import functional
from objio.functional import loss

X = jnp.array([-3.0, -1.0, -0.25, 0.0, 0.5, 2.0])


def sigmoid(x: float) -> float:
    """The logistic function, in Python."""
    return 1 / (1 + math.exp(-x))


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
ACTIVATIONS = {
    'sigmoid': sigmoid,
    'log_sigmoid': lambda x: math.log(sigmoid(x)),
    'relu': lambda x: max(x, 0),
    'leaky_relu': lambda x: max(x, 0.01 * x),
    'elu': lambda x: x if x > 0 else math.exp(x) - 1,
    'celu': lambda x: x if x > 0 else math.exp(x) - 1,
    'selu': lambda x: SCALE * (x if x > 0 else ALPHA * (math.exp(x) - 1)),
    'gelu': lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    'swish': lambda x: x * sigmoid(x),
    'softplus': lambda x: math.log1p(math.exp(x)),
    'tanh': math.tanh,
}
FUNCTIONS = [(functional, n) for n in functional.__all__ if n != 'loss'] + [(loss, n) for n in loss.__all__]


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_activations(name: str) -> None:
    """Each is what its docstring says, element by element, and passes a gradient."""
    f = getattr(functional, name)
    np.testing.assert_allclose(f(X), [ACTIVATIONS[name](float(x)) for x in X], rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: f(x).sum())(X)).all()


def test_arguments_of_activations() -> None:
    """Slopes and the exact gelu."""
    np.testing.assert_allclose(functional.leaky_relu(X, 0.5), [max(x, 0.5 * x) for x in X.tolist()])
    np.testing.assert_allclose(functional.elu(X, 2)[:3], 2 * (np.exp(X[:3]) - 1), rtol=1e-5)
    np.testing.assert_allclose(functional.celu(X, 2)[:3], 2 * (np.exp(X[:3] / 2) - 1), rtol=1e-5)
    exact = [x / 2 * (1 + math.erf(x / math.sqrt(2))) for x in X.tolist()]
    np.testing.assert_allclose(functional.gelu(X, approximate=False), exact, rtol=1e-5, atol=1e-6)


def test_along_an_axis() -> None:
    """Softmax, its logarithm and logsumexp, without overflow, along any axis."""
    x = jnp.array([[1.0, 2.0, 3.0], [1000.0, 1000.0, 1000.0]])
    np.testing.assert_allclose(functional.softmax(x)[1], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(functional.softmax(x, axis=0)[1], [1, 1, 1])
    np.testing.assert_allclose(jnp.exp(functional.log_softmax(x)), functional.softmax(x), rtol=1e-4)
    np.testing.assert_allclose(functional.logsumexp(x, axis=1)[1], 1000 + math.log(3))
    assert functional.logsumexp(x).shape == ()


def test_shapes() -> None:
    """Flatten keeps the batch; one_hot adds an axis and gives zeros for what is out of range."""
    assert functional.flatten(jnp.zeros((4, 3, 2, 1))).shape == (4, 6)
    assert functional.one_hot(jnp.array([[0, 2, 5]]), 3).tolist() == [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]


def brute_pool(x: Any, reduce: Any, fill: float, *, size: Any, strides: Any, pad: Any) -> Any:
    """Pooling by hand."""
    x = np.pad(np.asarray(x), [(0, 0), (0, 0), *pad], constant_values=fill)
    rows = range(0, x.shape[2] - size[0] + 1, strides[0])
    columns = range(0, x.shape[3] - size[1] + 1, strides[1])
    return np.stack(
        [np.stack([reduce(x[:, :, r : r + size[0], c : c + size[1]]) for c in columns], -1) for r in rows], -2
    )


@pytest.mark.parametrize(
    ('arguments', 'size', 'strides', 'pad'),
    [
        ({}, (2, 2), (2, 2), [(0, 0), (0, 0)]),
        ({'size': 3, 'strides': 1}, (3, 3), (1, 1), [(0, 0), (0, 0)]),
        ({'size': (1, 2), 'strides': (2, 1), 'padding': 1}, (1, 2), (2, 1), [(1, 1), (1, 1)]),
        ({'size': 3, 'padding': (0, 1)}, (3, 3), (3, 3), [(0, 1), (0, 1)]),
        ({'size': 3, 'padding': ((0, 1), (2, 0))}, (3, 3), (3, 3), [(0, 1), (2, 0)]),
        ({'size': 3, 'strides': 1, 'padding': 'same'}, (3, 3), (1, 1), [(1, 1), (1, 1)]),
    ],
)
def test_pooling(arguments: Any, size: Any, strides: Any, pad: Any) -> None:
    """Windows, steps and paddings of every form agree with pooling by hand, and gradients pass."""
    x = jax.random.normal(jax.random.key(0), (2, 3, 6, 5))
    mean = brute_pool(x, lambda w: w.mean((2, 3)), 0, size=size, strides=strides, pad=pad)
    greatest = brute_pool(x, lambda w: w.max((2, 3)), -np.inf, size=size, strides=strides, pad=pad)
    np.testing.assert_allclose(functional.average_pool_2d(x, **arguments), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(functional.max_pool_2d(x, **arguments), greatest)
    for pool in [functional.average_pool_2d, functional.max_pool_2d]:
        assert jax.grad(lambda x, pool=pool: pool(x, **arguments).sum())(x).shape == x.shape


def test_a_wrong_padding_is_refused() -> None:
    """A misspelt word shows what can be written."""
    with pytest.raises(ValueError, match="expected 'SAME', 'VALID' or numbers of pixels, found 'full'"):
        functional.max_pool_2d(jnp.zeros((1, 1, 4, 4)), padding='full')


def test_losses() -> None:
    """Each is what its docstring says, in numbers."""
    logits = jax.random.normal(jax.random.key(0), (4, 3))
    probabilities = functional.softmax(jax.random.normal(jax.random.key(1), (4, 3)))
    log_p = np.log(np.asarray(functional.softmax(logits), 'f8'))
    np.testing.assert_allclose(
        loss.cross_entropy_logits(logits, probabilities), -(np.asarray(probabilities) * log_p).sum(-1), rtol=1e-5
    )
    labels = jnp.array([0, 2, 1, 1])
    np.testing.assert_allclose(
        loss.cross_entropy_logits_sparse(logits, labels),
        [-log_p[i, k] for i, k in enumerate(labels.tolist())],
        rtol=1e-5,
    )
    np.testing.assert_allclose(loss.cross_entropy_logits_sparse(logits, 1), -log_p[:, 1], rtol=1e-5)
    assert float(loss.l2(jnp.array([[1.0], [2.0]]))) == 2.5
    yes = np.asarray(functional.sigmoid(logits), 'f8')
    np.testing.assert_allclose(
        loss.sigmoid_cross_entropy_logits(logits, probabilities),
        -(np.asarray(probabilities) * np.log(yes) + (1 - np.asarray(probabilities)) * np.log(1 - yes)),
        rtol=1e-4,
    )
    extreme = loss.sigmoid_cross_entropy_logits(jnp.array([1000.0, -1000.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(extreme, [1000, 1000])


@pytest.mark.parametrize(
    ('f', 'reference'),
    [
        (loss.mean_squared_error, lambda x, y: (x - y) ** 2),
        (loss.mean_absolute_error, lambda x, y: abs(x - y)),
        (loss.mean_squared_log_error, lambda x, y: (np.log1p(x) - np.log1p(y)) ** 2),
    ],
)
def test_mean_errors_keep_the_axes_they_are_told(f: Any, reference: Any) -> None:
    """By default the batch, none, several, or counted from the end."""
    x = jnp.arange(24.0).reshape(2, 3, 4)
    expected = reference(np.asarray(x), np.ones((2, 3, 4)))
    for keep, axes in [((0,), (1, 2)), (None, (0, 1, 2)), ((), (0, 1, 2)), ((0, -1), (1,))]:
        np.testing.assert_allclose(f(x, jnp.ones((2, 3, 4)), keep), expected.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(f(x, jnp.ones((2, 3, 4))), expected.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize('name', [name for name in loss.__all__ if name not in {'l2', 'cross_entropy_logits_sparse'}])
def test_shapes_must_agree(name: str) -> None:
    """(n, 1) against (n,) would be an n-by-n table of differences: both shapes are in the error."""
    with pytest.raises(ValueError, match=re.escape(f'{name}: expected two arrays of one shape, found (4, 1) and (4,)')):
        getattr(loss, name)(jnp.zeros((4, 1)), jnp.zeros(4))


def test_sparse_labels_must_fit() -> None:
    """Labels that are probabilities by mistake are told where they belong."""
    with pytest.raises(
        ValueError, match=re.escape('expected labels of shape (4,) for logits of shape (4, 3), found (4, 3)')
    ):
        loss.cross_entropy_logits_sparse(jnp.zeros((4, 3)), jnp.zeros((4, 3)))


@pytest.mark.parametrize(('module', 'name'), FUNCTIONS, ids=[name for _, name in FUNCTIONS])
def test_pickle_finds_every_function(module: Any, name: str) -> None:
    """Pickled by name, so that a network of them can be pickled; those of jax.nn cannot."""
    f = getattr(module, name)
    pickled = pickle.dumps(f)
    assert module.__name__.encode() in pickled
    assert pickle.loads(pickled) is f
    assert copy.deepcopy(f) is f

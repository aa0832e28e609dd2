"""The usual losses. Arrays that are compared must have the same shape: nothing is broadcast by accident."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

__all__ = [
    'cross_entropy_logits',
    'cross_entropy_logits_sparse',
    'l2',
    'mean_absolute_error',
    'mean_squared_error',
    'mean_squared_log_error',
    'sigmoid_cross_entropy_logits',
]


def cross_entropy_logits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy between softmax(logits) and the probabilities of the classes.

    Args:
        logits: shape (batch, ..., classes).
        labels: probabilities of the same shape that sum to 1 along the last axis.

    Returns:
        A loss for each entry, in nats, of shape (batch, ...).

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> print(cross_entropy_logits(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]])))
        [0.6931472]
    """
    _same_shape('cross_entropy_logits', logits, labels)
    return jax.nn.logsumexp(logits, axis=-1) - (logits * labels).sum(-1)


def cross_entropy_logits_sparse(logits: jax.Array, labels: jax.Array | int) -> jax.Array:
    """The cross-entropy between softmax(logits) and the true classes.

    Args:
        logits: shape (batch, ..., classes).
        labels: the index of the true class in [0, classes), of shape (batch, ...); or one int for all.

    Returns:
        A loss for each entry, in nats, of shape (batch, ...).

    Raises:
        ValueError: the shape of `labels` is not that of `logits` without its last axis.

    Example:
        >>> print(cross_entropy_logits_sparse(jnp.zeros((2, 4)), jnp.array([0, 3])))
        [1.3862944 1.3862944]
    """
    if isinstance(labels, int):
        true = logits[..., labels]
    elif labels.shape != logits.shape[:-1]:
        raise ValueError(
            f'cross_entropy_logits_sparse: expected labels of shape {logits.shape[:-1]} for logits of shape '
            f'{logits.shape}, found {labels.shape}; probabilities of the classes go to cross_entropy_logits'
        )
    else:
        true = jnp.take_along_axis(logits, labels[..., None], -1).squeeze(-1)
    return jax.nn.logsumexp(logits, axis=-1) - true


def sigmoid_cross_entropy_logits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy between sigmoid(logits) and the probabilities of yes, for each element.

    Args:
        logits: any shape.
        labels: probabilities, of the same shape.

    Returns:
        A loss for each element, in nats.

    Raises:
        ValueError: the shapes differ.
    """
    _same_shape('sigmoid_cross_entropy_logits', logits, labels)
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def l2(x: jax.Array) -> jax.Array:
    """Half the sum of squares, a scalar.

    Example:
        >>> float(l2(jnp.array([3.0, 4.0])))
        12.5
    """
    return 0.5 * (x**2).sum()


def mean_squared_error(x: jax.Array, y: jax.Array, keep_axis: Iterable[int] | None = (0,)) -> jax.Array:
    """The mean of the squared differences.

    Args:
        x: any shape.
        y: the same shape.
        keep_axis: the axes not to average over; None: average over all.

    Returns:
        An array with the kept axes only.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> print(mean_squared_error(jnp.ones((2, 3)), jnp.zeros((2, 3))))
        [1. 1.]
    """
    _same_shape('mean_squared_error', x, y)
    return _mean((x - y) ** 2, keep_axis)


def mean_absolute_error(x: jax.Array, y: jax.Array, keep_axis: Iterable[int] | None = (0,)) -> jax.Array:
    """The mean of the absolute differences; see `mean_squared_error`."""
    _same_shape('mean_absolute_error', x, y)
    return _mean(jnp.abs(x - y), keep_axis)


def mean_squared_log_error(y_true: jax.Array, y_pred: jax.Array, keep_axis: Iterable[int] | None = (0,)) -> jax.Array:
    """The mean of the squared differences of log(1 + y); see `mean_squared_error`."""
    _same_shape('mean_squared_log_error', y_true, y_pred)
    return _mean((jnp.log1p(y_true) - jnp.log1p(y_pred)) ** 2, keep_axis)


def _mean(losses: jax.Array, keep_axis: Iterable[int] | None) -> jax.Array:
    kept = {axis % losses.ndim for axis in keep_axis or ()}
    return losses.mean([axis for axis in range(losses.ndim) if axis not in kept])


def _same_shape(name: str, x: jax.Array, y: jax.Array) -> None:
    if x.shape != y.shape:
        raise ValueError(f'{name}: expected two arrays of one shape, found {x.shape} and {y.shape}')

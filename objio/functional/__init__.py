"""The usual activations and poolings, and the losses in `objio.functional.loss`.

They are plain functions of this module: pickle finds them again by name, as it cannot those of `jax.nn`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from objio.functional import loss
from objio.functional.windows import Padding, Size, pair, pixels

__all__ = [
    'average_pool_2d',
    'celu',
    'elu',
    'flatten',
    'gelu',
    'leaky_relu',
    'log_sigmoid',
    'log_softmax',
    'logsumexp',
    'loss',
    'max_pool_2d',
    'one_hot',
    'relu',
    'selu',
    'sigmoid',
    'softmax',
    'softplus',
    'swish',
    'tanh',
]


def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function 1 / (1 + exp(-x)), for each element.

    Example:
        >>> float(sigmoid(jnp.zeros(())))
        0.5
    """
    return jax.nn.sigmoid(x)


def log_sigmoid(x: jax.Array) -> jax.Array:
    """log(sigmoid(x)), for each element, without overflow."""
    return jax.nn.log_sigmoid(x)


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), for each element.

    Example:
        >>> print(relu(jnp.array([-1.0, 2.0])))
        [0. 2.]
    """
    return jax.nn.relu(x)


def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    """Gives x where x >= 0, else negative_slope * x, for each element."""
    return jax.nn.leaky_relu(x, negative_slope)


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """Gives x where x > 0, else alpha * (exp(x) - 1), for each element."""
    return jax.nn.elu(x, alpha)


def celu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """Gives x where x > 0, else alpha * (exp(x / alpha) - 1), for each element."""
    return jax.nn.celu(x, alpha)


def selu(x: jax.Array) -> jax.Array:
    """The scaled elu of self-normalizing networks (Klambauer et al., 2017), for each element."""
    return jax.nn.selu(x)


def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    """Multiplies x by the normal distribution's share below x, for each element.

    Args:
        x: any shape.
        approximate: by tanh, as JAX does; else exactly, by the error function.

    Returns:
        An array of the shape of `x`.
    """
    return jax.nn.gelu(x, approximate)


def swish(x: jax.Array) -> jax.Array:
    """Multiplies x by sigmoid(x), for each element; also called silu."""
    return jax.nn.swish(x)


def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)), for each element, without overflow."""
    return jax.nn.softplus(x)


def tanh(x: jax.Array) -> jax.Array:
    """The hyperbolic tangent, for each element."""
    return jnp.tanh(x)


def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """exp(x), divided by its sum along an axis.

    Example:
        >>> print(softmax(jnp.zeros(4)))
        [0.25 0.25 0.25 0.25]
    """
    return jax.nn.softmax(x, axis)


def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """log(softmax(x, axis)), without overflow."""
    return jax.nn.log_softmax(x, axis)


def logsumexp(x: jax.Array, axis: int | Sequence[int] | None = None) -> jax.Array:
    """log(sum(exp(x))) along axes (None: all), without overflow."""
    return jax.nn.logsumexp(x, axis)


def one_hot(x: jax.Array, num_classes: int) -> jax.Array:
    """Class indices as vectors that are 1 at the index and 0 elsewhere.

    Args:
        x: integers in [0, num_classes), of any shape; others give a vector of zeros.
        num_classes: the length of the vectors.

    Returns:
        A float array of shape (*x.shape, num_classes).

    Example:
        >>> print(one_hot(jnp.array([0, 2]), 3))
        [[1. 0. 0.]
         [0. 0. 1.]]
    """
    return jax.nn.one_hot(x, num_classes)


def flatten(x: jax.Array) -> jax.Array:
    """An array of shape (n, ...) as one of shape (n, product of the rest)."""
    return x.reshape(x.shape[0], -1)


def average_pool_2d(
    x: jax.Array,
    size: Size = 2,
    strides: Size | None = None,
    padding: Padding = 'VALID',
) -> jax.Array:
    """The mean of each window of an image; padding counts as zeros.

    Args:
        x: images of shape (n, channels, height, width).
        size: height and width of the window in pixels, or one number for both.
        strides: the steps from window to window; None: `size`.
        padding: 'SAME' or 'VALID'; one number of pixels for all four sides; (before, after) for both directions; or
            ((top, bottom), (left, right)).

    Returns:
        Images of shape (n, channels, new height, new width).

    Example:
        >>> print(average_pool_2d(jnp.arange(4.0).reshape(1, 1, 2, 2)))
        [[[[1.5]]]]
    """
    height, width = pair(size)
    total: jax.Array = jax.lax.reduce_window(x, 0, jax.lax.add, **_swept(size, strides, padding))
    return total / (height * width)


def max_pool_2d(
    x: jax.Array,
    size: Size = 2,
    strides: Size | None = None,
    padding: Padding = 'VALID',
) -> jax.Array:
    """The greatest number of each window of an image; see `average_pool_2d`."""
    greatest: jax.Array = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, **_swept(size, strides, padding))
    return greatest


def _swept(size: Size, strides: Size | None, padding: Padding) -> dict[str, Any]:
    """A window over the two last of four axes, as `jax.lax.reduce_window` takes it."""
    window = (1, 1, *pair(size))
    around = pixels(padding)
    return {
        'window_dimensions': window,
        'window_strides': window if strides is None else (1, 1, *pair(strides)),
        'padding': around if isinstance(around, str) else [(0, 0), (0, 0), *around],
    }

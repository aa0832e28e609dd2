"""Just enough layers for examples and tests, with the names, arguments and arrays of Objax's."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from objio.functional.windows import Padding, Size, pair, pixels
from objio.random import DEFAULT_GENERATOR, Generator, normal
from objio.variables import Module, ModuleList, StateVar, TrainVar

__all__ = [
    'BatchNorm',
    'BatchNorm0D',
    'BatchNorm1D',
    'BatchNorm2D',
    'Conv2D',
    'Dropout',
    'Linear',
    'Sequential',
    'kaiming_normal',
    'xavier_normal',
]

Init = Callable[[tuple[int, ...]], Any]


def kaiming_normal(shape: tuple[int, ...], gain: float = 1) -> jax.Array:
    """Weights that keep the size of activations: normal, with standard deviation gain / sqrt(inputs).

    Args:
        shape: that of the weights, outputs last.
        gain: a factor.

    Returns:
        A float array. (He et al., 2015, https://arxiv.org/abs/1502.01852)
    """
    return normal(shape, stddev=gain * math.sqrt(1 / math.prod(shape[:-1])))


def xavier_normal(shape: tuple[int, ...], gain: float = 1) -> jax.Array:
    """Weights that suit both directions: normal, with standard deviation gain * sqrt(2 / (inputs + outputs)).

    Args:
        shape: that of the weights, outputs last.
        gain: a factor.

    Returns:
        A float array. (Glorot and Bengio, 2010, http://proceedings.mlr.press/v9/glorot10a.html)
    """
    return normal(shape, stddev=gain * math.sqrt(2 / (math.prod(shape[:-1]) + shape[-1])))


class Linear(Module):
    """The product x @ w, plus b.

    Args:
        nin: the length of the input vectors.
        nout: the length of the output vectors.
        use_bias: whether to add b.
        w_init: gives the first w for its shape.

    Attributes:
        w: a `TrainVar` of shape (nin, nout).
        b: a `TrainVar` of shape (nout,), zeros at first; None without a bias.

    Example:
        >>> Linear(3, 2)(jnp.ones((5, 3))).shape
        (5, 2)
    """

    def __init__(self, nin: int, nout: int, use_bias: bool = True, w_init: Init = xavier_normal) -> None:
        self.w_init = w_init
        self.b = TrainVar(jnp.zeros(nout)) if use_bias else None
        self.w = TrainVar(w_init((nin, nout)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer to an array of shape (..., nin) and gives one of shape (..., nout)."""
        y = jnp.dot(x, self.w.value)
        return y if self.b is None else y + jnp.broadcast_to(self.b.value, y.shape)

    def __repr__(self) -> str:
        nin, nout = self.w.shape
        return f'objio.nn.Linear(nin={nin}, nout={nout}, use_bias={self.b is not None})'


class Conv2D(Module):
    """A convolution of images.

    Args:
        nin: the channels of the input.
        nout: the channels of the output.
        k: height and width of the kernel in pixels, or one number for both.
        strides: the steps of the kernel.
        dilations: the distance of the kernel's points from each other.
        groups: how many parts the channels are in, each with a kernel of its own.
        padding: 'SAME' or 'VALID'; one number of pixels for all four sides; (before, after) for both directions; or
            ((top, bottom), (left, right)).
        use_bias: whether to add b.
        w_init: gives the first w for its shape.

    Attributes:
        w: a `TrainVar` of shape (height, width, nin // groups, nout).
        b: a `TrainVar` of shape (nout, 1, 1), zeros at first; None without a bias.

    Raises:
        ValueError: `nin` or `nout` is no multiple of `groups`.

    Example:
        >>> Conv2D(3, 8, k=3, strides=2)(jnp.ones((1, 3, 16, 16))).shape
        (1, 8, 8, 8)
    """

    def __init__(  # noqa: PLR0917 - Objax's order, for programs written with it
        self,
        nin: int,
        nout: int,
        k: Size,
        strides: Size = 1,
        dilations: Size = 1,
        groups: int = 1,
        padding: Padding = 'SAME',
        use_bias: bool = True,
        w_init: Init = kaiming_normal,
    ) -> None:
        if nin % groups or nout % groups:
            raise ValueError(f'Conv2D: nin={nin} and nout={nout} must be multiples of groups={groups}')
        self.b = TrainVar(jnp.zeros((nout, 1, 1))) if use_bias else None
        self.w = TrainVar(w_init((*pair(k), nin // groups, nout)))
        self.padding = pixels(padding)
        self.strides = pair(strides)
        self.dilations = pair(dilations)
        self.groups = groups
        self.w_init = w_init

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer to images of shape (n, nin, height, width) and gives (n, nout, height, width) anew."""
        nin = self.w.shape[2] * self.groups
        if x.ndim != 4 or x.shape[1] != nin:
            raise ValueError(f'Conv2D: expected images of shape (n, {nin}, height, width), found {x.shape}')
        y = jax.lax.conv_general_dilated(
            x,
            self.w.value,
            self.strides,
            self.padding,
            rhs_dilation=self.dilations,
            feature_group_count=self.groups,
            dimension_numbers=('NCHW', 'HWIO', 'NCHW'),
        )
        return y if self.b is None else y + jnp.broadcast_to(self.b.value, y.shape)

    def __repr__(self) -> str:
        height, width, nin, nout = self.w.shape
        return (
            f'objio.nn.Conv2D(nin={nin * self.groups}, nout={nout}, k={(height, width)}, strides={self.strides}, '
            f'dilations={self.dilations}, groups={self.groups}, padding={self.padding!r}, use_bias={self.b is not None})'
        )


class BatchNorm(Module):
    """Brings a batch to mean 0 and variance 1 along some axes, then scales and shifts it.

    In training by the batch's own statistics, of which it keeps a running average; else by that average.
    (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167)

    Args:
        dims: the shape of the statistics: that of the input, 1 at each axis of `redux`.
        redux: the axes over which the statistics are taken.
        momentum: how much of the running average stays at each batch.
        eps: is added to the variance, for batches with none.

    Attributes:
        running_mean: a `StateVar` of shape `dims`.
        running_var: a `StateVar` of shape `dims`.
        beta: a `TrainVar` of shape `dims`, what is added.
        gamma: a `TrainVar` of shape `dims`, the factor.
    """

    def __init__(self, dims: Iterable[int], redux: Iterable[int], momentum: float = 0.999, eps: float = 1e-6) -> None:
        dims = tuple(dims)
        self.momentum = momentum
        self.eps = eps
        self.redux = tuple(redux)
        self.running_mean = StateVar(jnp.zeros(dims))
        self.running_var = StateVar(jnp.ones(dims))
        self.beta = TrainVar(jnp.zeros(dims))
        self.gamma = TrainVar(jnp.ones(dims))

    def __call__(self, x: jax.Array, training: bool) -> jax.Array:
        """Applies the layer.

        Args:
            x: a batch whose shape fits `dims`.
            training: whether to use the batch's statistics and to update the running ones.

        Returns:
            An array of the shape of `x`.
        """
        mean, var = self.running_mean.value, self.running_var.value
        if training:
            m = x.mean(self.redux, keepdims=True)
            v = ((x - m) ** 2).mean(self.redux, keepdims=True)  # E[x^2] - m^2 would lose its digits
            # What the batch computed in a higher precision is kept in that of the state.
            self.running_mean.value = mean + ((1 - self.momentum) * (m - mean)).astype(mean.dtype)
            self.running_var.value = var + ((1 - self.momentum) * (v - var)).astype(var.dtype)
            mean, var = m, v
        y: jax.Array = self.gamma.value * (x - mean) * jax.lax.rsqrt(var + self.eps) + self.beta.value
        return y

    def __repr__(self) -> str:
        return (
            f'objio.nn.{type(self).__name__}(dims={self.beta.shape}, redux={self.redux}, momentum={self.momentum}, '
            f'eps={self.eps})'
        )


class BatchNorm0D(BatchNorm):
    """A `BatchNorm` for vectors, batches of shape (n, nin)."""

    def __init__(self, nin: int, momentum: float = 0.999, eps: float = 1e-6) -> None:
        super().__init__((1, nin), (0,), momentum, eps)


class BatchNorm1D(BatchNorm):
    """A `BatchNorm` for sequences, batches of shape (n, nin, length)."""

    def __init__(self, nin: int, momentum: float = 0.999, eps: float = 1e-6) -> None:
        super().__init__((1, nin, 1), (0, 2), momentum, eps)


class BatchNorm2D(BatchNorm):
    """A `BatchNorm` for images, batches of shape (n, nin, height, width)."""

    def __init__(self, nin: int, momentum: float = 0.999, eps: float = 1e-6) -> None:
        super().__init__((1, nin, 1, 1), (0, 2, 3), momentum, eps)


class Dropout(Module):
    """In training, sets elements to zero at random and makes up for them by a greater rest.

    Args:
        keep: the probability of an element to stay, in (0, 1].
        generator: where the random keys come from.

    Raises:
        ValueError: `keep` is outside (0, 1].

    Example:
        >>> Dropout(0.5, Generator(0))(jnp.ones(1000), training=True).max()
        Array(2., dtype=float32)
    """

    def __init__(self, keep: float, generator: Generator = DEFAULT_GENERATOR) -> None:
        self.keygen = generator
        self.keep = _probability(keep)

    def __call__(self, x: jax.Array, training: bool, dropout_keep: float | None = None) -> jax.Array:
        """Applies the layer.

        Args:
            x: any shape.
            training: whether to drop anything.
            dropout_keep: takes the place of `keep` in this call.

        Returns:
            An array of the shape of `x`.
        """
        keep = self.keep if dropout_keep is None else _probability(dropout_keep)
        if not training or keep == 1:
            return x
        return jnp.where(jax.random.bernoulli(self.keygen(), keep, x.shape), x / keep, 0)

    def __repr__(self) -> str:
        return f'objio.nn.Dropout(keep={self.keep})'


def _probability(keep: float) -> float:
    if not 0 < keep <= 1:
        raise ValueError(f'Dropout: keep is the probability of an element to stay, in (0, 1]; found {keep}')
    return keep


class Sequential(ModuleList):
    """Modules and functions applied one after another.

    Each gets the result of the one before; a tuple is spread over its arguments. Keyword arguments go to every one
    that takes them by name, as `training` to Dropout and BatchNorm.

    Example:
        >>> import objio.functional
        >>> net = Sequential([Linear(4, 3), objio.functional.relu, Dropout(0.5), Linear(3, 1)])
        >>> net(jnp.ones((2, 4)), training=False).shape
        (2, 1)
        >>> list(net.vars().keys())[:2]
        ['(Sequential)[0](Linear).b', '(Sequential)[0](Linear).w']
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Applies all of them; without any, gives back its argument, or the tuple of its arguments."""
        result: Any = args if len(args) != 1 else args[0]
        for index, layer in enumerate(self):
            arguments = args if index == 0 else result if isinstance(result, tuple) else (result,)
            try:
                result = layer(*arguments, **_taken(layer, kwargs))
            except Exception as error:
                error.add_note(f'in layer [{index}] of {type(self).__name__}: {layer!r}')
                raise
        return result


def _taken(layer: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that a layer takes."""
    if not kwargs:
        return kwargs
    try:
        parameters = inspect.signature(layer).parameters
    except ValueError:  # a function of C without a signature to read
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return kwargs
    return {name: value for name, value in kwargs.items() if name in parameters}

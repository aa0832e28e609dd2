"""Random numbers from generators whose keys are variables, so that they are saved and resumed with the rest."""

from typing import Any

import jax

from objio.variables import Module, RandomState, VarCollection

__all__ = ['DEFAULT_GENERATOR', 'Generator', 'normal', 'randint', 'truncated_normal', 'uniform']


class Generator(Module):
    """Gives a fresh random key at each call.

    Its key is made when it is first needed. Inside a function that JAX transforms, the generator's `vars()` must be
    in the collection given to `pure`, `DEFAULT_GENERATOR`'s too.

    Args:
        seed: an int, or a typed key as from `jax.random.key`.

    Example:
        >>> keys = Generator(0)
        >>> bool(keys() == keys())
        False
        >>> list(keys.vars().keys())
        ['(Generator)._key']
    """

    def __init__(self, seed: Any = 0) -> None:
        self.initial_seed = seed
        self._key: RandomState | None = None

    @property
    def key(self) -> RandomState:
        """The variable with the current key."""
        if self._key is None:
            # Needed first inside a transformation, it is a key all the same, and not a tracer that dies there.
            with jax.ensure_compile_time_eval():
                self._key = RandomState(self.initial_seed)
        return self._key

    def seed(self, seed: Any = 0) -> None:
        """Starts anew from a seed: an int, or a typed key."""
        self.initial_seed = seed
        if self._key is not None:
            self._key.seed(seed)

    def __call__(self) -> jax.Array:
        """A fresh typed key of shape ()."""
        return self.key.split(1)[0]

    def vars(self, scope: str = '') -> VarCollection:
        """The collection with the generator's key; see `Module.vars`."""
        _ = self.key
        return super().vars(scope)

    def __repr__(self) -> str:
        return f'objio.random.Generator(seed={self.initial_seed})'


DEFAULT_GENERATOR = Generator(0)


def normal(
    shape: tuple[int, ...], *, mean: float = 0, stddev: float = 1, generator: Generator = DEFAULT_GENERATOR
) -> jax.Array:
    """Random numbers of a normal distribution.

    Args:
        shape: the shape of the result.
        mean: the mean of the distribution.
        stddev: its standard deviation.
        generator: where the key comes from.

    Returns:
        An array of JAX's default float dtype.

    Example:
        >>> normal((2, 3), generator=Generator(0)).shape
        (2, 3)
    """
    return jax.random.normal(generator(), shape) * stddev + mean


def truncated_normal(
    shape: tuple[int, ...],
    *,
    stddev: float = 1,
    lower: float = -2,
    upper: float = 2,
    generator: Generator = DEFAULT_GENERATOR,
) -> jax.Array:
    """Random numbers of a normal distribution with mean 0 that is cut off on both sides.

    Args:
        shape: the shape of the result.
        stddev: the standard deviation of the distribution before it is cut.
        lower: where it is cut, in standard deviations.
        upper: where it is cut, in standard deviations.
        generator: where the key comes from.

    Returns:
        An array of JAX's default float dtype.
    """
    return jax.random.truncated_normal(generator(), lower, upper, shape) * stddev


def uniform(shape: tuple[int, ...], generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
    """Random numbers spread evenly over [0, 1).

    Args:
        shape: the shape of the result.
        generator: where the key comes from.

    Returns:
        An array of JAX's default float dtype.
    """
    return jax.random.uniform(generator(), shape)


def randint(shape: tuple[int, ...], low: int, high: int, generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
    """Random integers from `low` up to, but not including, `high`.

    Args:
        shape: the shape of the result.
        low: the least integer.
        high: one more than the greatest.
        generator: where the key comes from.

    Returns:
        An int32 array (int64 where x64 is enabled).
    """
    return jax.random.randint(generator(), shape, low, high)

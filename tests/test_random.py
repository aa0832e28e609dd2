"""Random numbers from generators that are variables."""

import copy
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio.random import DEFAULT_GENERATOR, Generator, normal, randint, truncated_normal, uniform


def test_a_generator_gives_a_fresh_key_each_time() -> None:
    """Keys of one generator differ, those of two with one seed are the same, and a seed starts anew."""
    a, b = Generator(5), Generator(5)
    first, second = a(), a()
    assert first.shape == ()
    assert first != second
    assert (b(), b()) == (first, second)
    a.seed(5)
    assert a() == first
    unused = Generator(1)
    unused.seed(5)
    assert unused() == first
    assert unused.initial_seed == 5


def test_the_key_is_a_variable_of_the_generator() -> None:
    """`vars` gives it under Objax's name, also before it was needed; a typed key is taken for a seed."""
    generator = Generator(jax.random.key(0, impl='rbg'))
    vc = generator.vars('net')
    assert list(vc.keys()) == ['net(Generator)._key']
    assert vc['net(Generator)._key'] is generator.key
    before = generator.key.value
    generator()
    vc.assign([before])
    assert jax.random.key_impl(generator.key.value) == 'rbg'
    assert repr(Generator(3)) == 'objio.random.Generator(seed=3)'


def test_a_copy_goes_its_own_way() -> None:
    """A deep copy gives the same keys as the generator itself, from where it was."""
    generator = Generator(0)
    generator()
    copied = copy.deepcopy(generator)
    assert generator() == copied()


@pytest.mark.parametrize(
    ('draw', 'lowest', 'highest', 'mean', 'stddev'),
    [
        (lambda g: normal((200, 100), generator=g), -8, 8, 0, 1),
        (lambda g: normal((200, 100), mean=3, stddev=0.5, generator=g), -1, 7, 3, 0.5),
        (lambda g: truncated_normal((200, 100), stddev=2, generator=g), -4, 4, 0, 2 * 0.8796),
        (lambda g: truncated_normal((200, 100), lower=0, upper=1, generator=g), 0, 1, 0.4598, 0.2823),
        (lambda g: uniform((200, 100), g), 0, 1, 0.5, 12**-0.5),
        (lambda g: randint((200, 100), -2, 3, g), -2, 2, 0, 2**0.5),
    ],
)
def test_distributions(draw: Any, lowest: float, highest: float, mean: float, stddev: float) -> None:
    """20,000 numbers lie where they should, with the mean and spread of their distribution, anew at each call."""
    generator = Generator(0)
    x = np.asarray(draw(generator), 'f8')
    assert x.shape == (200, 100)
    assert lowest <= x.min() < x.max() <= highest
    assert abs(x.mean() - mean) < 0.05 * max(stddev, 1)
    assert abs(x.std() - stddev) < 0.05 * max(stddev, 1)
    assert (np.asarray(draw(generator)) != x).any()
    np.testing.assert_array_equal(draw(Generator(0)), x)


def test_dtypes_are_those_of_jax() -> None:
    """Floats and ints of 32 bits, of 64 where x64 is enabled."""
    assert (normal((1,)).dtype, uniform((1,)).dtype, randint((1,), 0, 2).dtype) == (jnp.float32, jnp.float32, jnp.int32)
    with jax.enable_x64(True):
        assert (normal((1,)).dtype, randint((1,), 0, 2).dtype) == (jnp.float64, jnp.int64)


def test_without_a_generator_it_is_the_default_one() -> None:
    """Seeding DEFAULT_GENERATOR repeats the numbers."""
    DEFAULT_GENERATOR.seed(11)
    first = [normal((3,)), uniform((3,)), randint((3,), 0, 99), truncated_normal((3,))]
    DEFAULT_GENERATOR.seed(11)
    for a, b in zip(first, [normal((3,)), uniform((3,)), randint((3,), 0, 99), truncated_normal((3,))], strict=True):
        np.testing.assert_array_equal(a, b)


def test_importing_it_makes_no_array() -> None:
    """A program may still choose its platform after `import objio.random`: no backend was started."""
    code = """
import objio.random, objio.nn, jax
jax.config.update('jax_num_cpu_devices', 3)  # an error once a backend runs
print(jax.device_count())
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.split() == ['3']

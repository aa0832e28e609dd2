"""The layers: their names and shapes are Objax's, and they compute what they say."""

import pickle
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objio.functional import relu
from objio.nn import (
    BatchNorm,
    BatchNorm0D,
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Linear,
    Sequential,
    kaiming_normal,
    xavier_normal,
)
from objio.random import DEFAULT_GENERATOR, Generator
from objio.variables import StateVar, TrainVar, pure


@pytest.mark.parametrize(
    ('layer', 'shapes'),
    [
        (lambda: Linear(3, 2), {'(Linear).b': (2,), '(Linear).w': (3, 2)}),
        (lambda: Linear(3, 2, use_bias=False), {'(Linear).w': (3, 2)}),
        (lambda: Conv2D(4, 6, 3), {'(Conv2D).b': (6, 1, 1), '(Conv2D).w': (3, 3, 4, 6)}),
        (lambda: Conv2D(4, 6, (3, 5), groups=2, use_bias=False), {'(Conv2D).w': (3, 5, 2, 6)}),
        (
            lambda: BatchNorm2D(3),
            {f'(BatchNorm2D).{name}': (1, 3, 1, 1) for name in ['running_mean', 'running_var', 'beta', 'gamma']},
        ),
        (
            lambda: BatchNorm1D(3),
            {f'(BatchNorm1D).{name}': (1, 3, 1) for name in ['running_mean', 'running_var', 'beta', 'gamma']},
        ),
        (
            lambda: BatchNorm0D(3),
            {f'(BatchNorm0D).{name}': (1, 3) for name in ['running_mean', 'running_var', 'beta', 'gamma']},
        ),
        (lambda: Dropout(0.5), {'(Dropout).keygen(Generator)._key': ()}),
    ],
)
def test_names_shapes_and_order_are_those_of_objax(layer: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """So that files of Objax fit."""
    tensors = layer().vars().named_tensors()
    assert {name: value.shape for name, value in tensors.items()} == shapes
    assert list(tensors) == list(shapes)
    assert all(value.dtype == jnp.float32 for name, value in tensors.items() if 'key' not in name)


def test_what_is_trained_and_what_is_state() -> None:
    """Weights, biases and scales are trained; the running averages are state."""
    net = Sequential([Linear(2, 2), BatchNorm0D(2)])
    assert [name.split('.')[-1] for name in net.vars().named_tensors(TrainVar)] == ['b', 'w', 'beta', 'gamma']
    assert [name.split('.')[-1] for name in net.vars().named_tensors(StateVar)] == ['running_mean', 'running_var']


def test_first_weights() -> None:
    """Biases are zero; weights have the spread of their initializer, which can be another."""
    assert float(abs(Linear(3, 2).b.value).sum()) == 0
    assert abs(float(Linear(300, 100).w.value.std()) - (2 / 400) ** 0.5) < 0.01
    assert abs(float(Conv2D(30, 40, 5).w.value.std()) - (1 / 750) ** 0.5) < 0.01
    assert abs(float(kaiming_normal((100, 300), gain=3).std()) - 0.3) < 0.01
    assert abs(float(xavier_normal((100, 300), gain=3).std()) - 3 * (2 / 400) ** 0.5) < 0.01
    assert float(Linear(3, 2, w_init=jnp.ones).w.value.sum()) == 6
    assert Conv2D(2, 2, 3, w_init=jnp.zeros).w_init is jnp.zeros
    DEFAULT_GENERATOR.seed(1)
    a, b = Linear(3, 2), Linear(3, 2)
    assert (a.w.value != b.w.value).any()
    with jax.enable_x64(True):
        assert xavier_normal((3, 2)).dtype == jnp.float64


def test_linear() -> None:
    """It is x @ w + b, for batches of any rank."""
    layer = Linear(3, 2)
    layer.b.assign(jnp.array([1.0, 2.0]))
    for shape in [(3,), (5, 3), (4, 5, 3)]:
        x = jax.random.normal(jax.random.key(0), shape)
        np.testing.assert_allclose(layer(x), np.asarray(x) @ np.asarray(layer.w.value) + [1, 2], rtol=1e-5)
    bare = Linear(3, 2, use_bias=False)
    np.testing.assert_allclose(bare(jnp.eye(3)), bare.w.value)


def test_convolution() -> None:
    """One output pixel by hand; strides, dilations, groups and paddings give their shapes; the bias is added."""
    layer = Conv2D(2, 4, 3, padding='VALID')
    layer.b.assign(jnp.arange(4.0).reshape(4, 1, 1))
    x = jax.random.normal(jax.random.key(0), (1, 2, 5, 5))
    patch = np.asarray(x)[0, :, 1:4, 2:5]
    expected = np.einsum('chw,hwco->o', patch, np.asarray(layer.w.value)) + np.arange(4)
    np.testing.assert_allclose(layer(x)[0, :, 1, 2], expected, rtol=1e-4)
    for arguments, shape in [
        ({}, (5, 5)),
        ({'strides': 2}, (3, 3)),
        ({'strides': (1, 2), 'padding': 'valid'}, (3, 2)),
        ({'dilations': 2, 'padding': 'VALID'}, (1, 1)),
        ({'padding': 2}, (7, 7)),
        ({'padding': ((0, 0), (1, 2))}, (3, 6)),
        ({'groups': 2, 'use_bias': False}, (5, 5)),
    ]:
        assert jax.eval_shape(Conv2D(2, 4, 3, w_init=jnp.ones, **arguments), x).shape == (1, 4, *shape)


def test_wrong_channels_are_refused() -> None:
    """At construction and at the call, with both numbers."""
    for nin, nout in [(3, 4), (4, 3)]:
        with pytest.raises(ValueError, match=f'nin={nin} and nout={nout} must be multiples of groups=2'):
            Conv2D(nin, nout, 3, groups=2)
    for x in [jnp.zeros((1, 3, 8, 8)), jnp.zeros((8, 2, 8))]:
        message = f'expected images of shape (n, 2, height, width), found {x.shape}'
        with pytest.raises(ValueError, match=re.escape(message)):
            Conv2D(2, 4, 3)(x)


@pytest.mark.parametrize(
    ('cls', 'shape', 'axes'),
    [
        (BatchNorm0D, (64, 3), (0,)),
        (BatchNorm1D, (16, 3, 7), (0, 2)),
        (BatchNorm2D, (8, 3, 4, 5), (0, 2, 3)),
    ],
)
def test_batch_norm(cls: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """In training by the batch, whose statistics are averaged in; else by the average; then scaled and shifted."""
    layer = cls(3, momentum=0.9)
    x = 2 * jax.random.normal(jax.random.key(0), shape) + 5
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(y.mean(axes), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(y.std(axes), [1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(layer.running_mean.value.ravel(), 0.1 * np.asarray(x).mean(axes), rtol=1e-4)
    np.testing.assert_allclose(layer.running_var.value.ravel(), 0.9 + 0.1 * np.asarray(x).var(axes), rtol=1e-4)
    before = layer.running_mean.value
    layer.gamma.assign(layer.gamma.value * 3)
    layer.beta.assign(layer.beta.value + 7)
    expected = 3 * (np.asarray(x) - np.asarray(before)) / np.sqrt(np.asarray(layer.running_var.value) + 1e-6) + 7
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-4)
    assert layer.running_mean.value is before


def test_batch_norm_keeps_the_precision_of_its_state() -> None:
    """State of lower precision takes what a batch of higher precision computes, rounded."""
    layer = BatchNorm((1, 3), (0,), eps=0.5)
    g = pure(layer)
    tensors = {name: value.astype('bfloat16') for name, value in layer.vars().named_tensors().items()}
    with jax.numpy_dtype_promotion('standard'):
        y, new = jax.jit(lambda t, x: g(t, x, training=True))(tensors, jnp.ones((4, 3)))
    assert y.dtype == jnp.float32
    assert {value.dtype for value in new.values()} == {jnp.dtype('bfloat16')}


def test_dropout() -> None:
    """Elements stay with their probability and the mean is kept; outside training nothing is dropped."""
    layer = Dropout(0.25, Generator(0))
    x = jnp.ones((100, 100))
    y = layer(x, training=True)
    assert set(np.unique(y)) == {0, 4}
    assert abs(float(y.mean()) - 1) < 0.1
    assert (layer(x, training=True) != y).any()
    assert layer(x, training=False) is x
    assert layer(x, training=True, dropout_keep=1.0) is x
    assert set(np.unique(layer(x, training=True, dropout_keep=0.5))) == {0, 2}
    for keep in [0, 1.5, -0.1]:
        with pytest.raises(ValueError, match=rf'in \(0, 1\]; found {keep}'):
            Dropout(keep)
        with pytest.raises(ValueError, match='found'):
            layer(x, training=True, dropout_keep=keep)


def test_sequential_passes_results_on() -> None:
    """One result is one argument, a tuple several; without layers the arguments come back."""
    assert Sequential([lambda x: x + 1, lambda x: x * 2])(3) == 8
    assert Sequential([lambda x, y: (y, x), lambda a, b: a - b])(3, 5) == 2
    assert Sequential([lambda x: (x,), lambda x: x])(3) == 3
    assert Sequential([lambda pair: pair])((3, 5)) == (3, 5)
    assert Sequential()(3) == 3
    assert Sequential()(3, 4) == (3, 4)
    assert Sequential([lambda: 7])() == 7


def test_sequential_gives_keywords_to_those_that_take_them() -> None:
    """`training` reaches Dropout and BatchNorm, also in nested networks, and nobody else."""
    seen = []

    def everything(x: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        return x

    net = Sequential([Linear(3, 3), Sequential([BatchNorm0D(3), relu]), Dropout(0.5), everything, abs, jnp.sin])
    x = jnp.ones((4, 3))
    net(x, training=True)
    assert Sequential([max])([1, 3], training=True) == 3  # a function of C that tells no signature
    assert seen == [{'training': True}]
    assert float(net[1][0].running_mean.value.sum()) != 0
    np.testing.assert_array_equal(net(x, training=False), net(x, training=False))
    with pytest.raises(TypeError, match='training'):
        net(x)


def test_an_error_says_in_which_layer_it_was() -> None:
    """The error keeps its type and text; notes name each layer on the way."""
    net = Sequential([relu, Sequential([relu, Linear(3, 2)])])
    with pytest.raises(TypeError) as error:
        net(jnp.ones((2, 4)))
    assert error.value.__notes__[-2:] == [
        'in layer [1] of Sequential: objio.nn.Linear(nin=3, nout=2, use_bias=True)',
        f'in layer [1] of Sequential: {net[1]!r}',
    ]


def test_layers_print_their_arguments() -> None:
    """As they could be written."""
    net = Sequential([Conv2D(2, 4, (3, 1), padding=1), BatchNorm0D(3), Dropout(0.5)])
    assert repr(net).splitlines() == [
        'Sequential(',
        (
            '  [0] objio.nn.Conv2D(nin=2, nout=4, k=(3, 1), strides=(1, 1), dilations=(1, 1), groups=1, '
            'padding=[(1, 1), (1, 1)], use_bias=True)'
        ),
        '  [1] objio.nn.BatchNorm0D(dims=(1, 3), redux=(0,), momentum=0.999, eps=1e-06)',
        '  [2] objio.nn.Dropout(keep=0.5)',
        ')',
    ]


def test_a_network_can_be_compiled_and_pickled() -> None:
    """All layers together, in a pure function and through pickle, compute the same."""
    net = Sequential(
        [
            Conv2D(1, 4, 3),
            BatchNorm2D(4),
            relu,
            Dropout(0.5, Generator(0)),
            lambda_free_flatten,
            Linear(64, 2),
        ]
    )
    x = jax.random.normal(jax.random.key(0), (2, 1, 4, 4))
    g = jax.jit(pure(net), static_argnames='training')
    expected, _ = g(net.vars().named_tensors(), x, training=False)
    np.testing.assert_allclose(net(x, training=False), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net))(x, training=False), net(x, training=False))


def lambda_free_flatten(x: jax.Array) -> jax.Array:
    """A function of the user's own module, which pickle can find."""
    return x.reshape(len(x), -1)

"""One small training of each framework: its real layers, and everything that a step changes in one tree."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx
from flax.training import train_state

VOCABULARY, LENGTH, WIDTH, CLASSES = 11, 8, 16, 4
OPTIMIZER = optax.adamw(optax.cosine_decay_schedule(1e-2, 10))
cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Case(NamedTuple):
    """A training."""

    make: Callable[[int], Any]  # seed -> the tree, whose structure is the same for every seed
    step: Callable[[Any, Any], Any]  # the tree, which is donated, and a batch -> the new tree; compiled
    batch: Callable[[int], Any]  # number of the step -> its data
    names: tuple[str, ...]  # some of the names, one of each kind


def images(number: int) -> dict[str, Any]:
    """Eight small images and their classes."""
    rng = np.random.default_rng(number)
    return {'x': rng.normal(size=(8, 8, 8, 3)).astype('float32'), 'y': rng.integers(0, CLASSES, 8)}


def tokens(number: int) -> Any:
    """Four short texts."""
    return np.random.default_rng(number).integers(0, VOCABULARY, (4, LENGTH + 1))


class Block(nnx.Module):
    """A block of a transformer; the dropout draws from a key of its own."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            num_heads=2, in_features=WIDTH, dropout_rate=0.1, deterministic=False, decode=False, rngs=rngs
        )
        self.up, self.down = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs), nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class Transformer(nnx.Module):
    """A decoder whose output is tied to its embedding."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.positions = nnx.Param(jnp.zeros((LENGTH, WIDTH)))
        self.blocks = nnx.List([Block(rngs) for _ in range(2)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)

    def __call__(self, text: Any) -> Any:
        x = self.embedding(text) + self.positions[...]
        for block in self.blocks:
            x = block(x, nnx.make_causal_mask(text))
        return self.embedding.attend(self.norm(x))


def flax_nnx() -> Case:
    """A transformer with attention and dropout; AdamW."""

    def build(seed: int) -> dict[str, Any]:
        model = Transformer(nnx.Rngs(seed))
        return {'model': model, 'optimizer': nnx.Optimizer(model, OPTIMIZER, wrt=nnx.Param)}

    graphdef = nnx.graphdef(build(0))

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, text: Any) -> Any:
        parts = nnx.merge(graphdef, state)

        def loss(model: Any) -> Any:
            return cross_entropy(model(text[:, :-1]), text[:, 1:]).mean()

        parts['optimizer'].update(parts['model'], nnx.grad(loss)(parts['model']))
        return nnx.state(parts)

    names = (
        'model.blocks.0.attention.query.kernel.value',
        'model.blocks.1.attention.rngs.key.value',
        'model.positions.value',
        'optimizer.opt_state.0.mu.embedding.embedding.value',
        'optimizer.step.value',
    )
    return Case(lambda seed: nnx.state(build(seed)), step, tokens, names)


class ConvNet(eqx.Module):
    """Convolution, batch norm, dropout; a function and a str among its leaves, and a static field."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    head: eqx.nn.Linear
    activation: Callable[..., Any]
    note: str = eqx.field(static=True, default='a note')

    def __init__(self, key: Any) -> None:
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=first)
        self.norm = eqx.nn.BatchNorm(4, axis_name='batch', mode='batch')
        self.dropout = eqx.nn.Dropout(0.1)
        self.head = eqx.nn.Linear(4, CLASSES, key=second)
        self.activation = jax.nn.relu

    def __call__(self, x: Any, state: Any, key: Any) -> tuple[Any, Any]:
        x, state = self.norm(self.conv(x.transpose(2, 0, 1)), state)
        return self.head(self.dropout(self.activation(x).mean((1, 2)), key=key)), state


def equinox() -> Case:
    """A module and the state of its batch norm, AdamW, and a typed key."""

    def make(seed: int) -> Any:
        key, first = jax.random.split(jax.random.key(seed))
        model, state = eqx.nn.make_with_state(ConvNet)(first)
        opt_state = OPTIMIZER.init(eqx.filter(model, eqx.is_inexact_array))
        return {'model': model, 'state': state, 'opt': opt_state, 'key': key}

    @eqx.filter_jit(donate='all-except-first')
    def step(batch: Any, tree: Any) -> Any:
        key, now = jax.random.split(tree['key'])

        def loss(model: Any) -> tuple[Any, Any]:
            forward = jax.vmap(model, axis_name='batch', in_axes=(0, None, 0), out_axes=(0, None))
            logits, state = forward(batch['x'], tree['state'], jax.random.split(now, len(batch['x'])))
            return cross_entropy(logits, batch['y']).mean(), state

        gradients, state = eqx.filter_grad(loss, has_aux=True)(tree['model'])
        params = eqx.filter(tree['model'], eqx.is_inexact_array)
        updates, opt_state = OPTIMIZER.update(gradients, tree['opt'], params)
        return {'model': eqx.apply_updates(tree['model'], updates), 'state': state, 'opt': opt_state, 'key': key}

    names = ('key', 'model.conv.weight', 'model.dropout.p', 'model.norm.inference', 'opt.0.mu.head.bias', 'state.0')
    return Case(make, lambda tree, batch: step(batch, tree), images, names)


def haiku() -> Case:
    """A ResNet with the state of its batch norms; momentum."""

    def forward(x: Any) -> Any:
        resnet = hk.nets.ResNet(
            blocks_per_group=(1, 1, 1, 1),
            num_classes=CLASSES,
            bottleneck=False,
            channels_per_group=(4, 4, 8, 8),
            use_projection=(False, True, True, True),
            initial_conv_config={'output_channels': 4, 'kernel_shape': 3, 'stride': 1},
        )
        return resnet(x, is_training=True)

    network = hk.without_apply_rng(hk.transform_with_state(forward))
    optimizer = optax.sgd(0.1, momentum=0.9)
    # Its own initialisation takes XLA longer to compile than the training step.
    described = jax.eval_shape(network.init, jax.random.key(0), images(0)['x'])

    def make(seed: int) -> Any:
        rng = np.random.default_rng(seed)

        def draw(leaf: Any) -> Any:
            return jnp.asarray(rng.normal(0, 0.1, leaf.shape) if leaf.dtype == 'float32' else 0, leaf.dtype)

        params, state = jax.tree.map(draw, described)
        return {'params': params, 'state': state, 'opt': optimizer.init(params)}

    @partial(jax.jit, donate_argnums=0)
    def step(tree: Any, batch: Any) -> Any:
        def loss(params: Any) -> tuple[Any, Any]:
            logits, state = network.apply(params, tree['state'], batch['x'])
            return cross_entropy(logits, batch['y']).mean(), state

        gradients, state = jax.grad(loss, has_aux=True)(tree['params'])
        updates, opt_state = optimizer.update(gradients, tree['opt'])
        return {'params': optax.apply_updates(tree['params'], updates), 'state': state, 'opt': opt_state}

    names = (
        'params.res_net/~/initial_conv.w',
        'params.res_net/~/block_group_3/~/block_0/~/batchnorm_1.scale',
        'state.res_net/~/initial_batchnorm/~/mean_ema.counter',
        'opt.0.trace.res_net/~/logits.b',
    )
    return Case(make, step, images, names)


class Network(nn.Module):
    """Convolution, batch norm and dropout."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.BatchNorm(use_running_average=False)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(CLASSES)(nn.Dropout(0.1, deterministic=False)(nn.relu(x).mean((1, 2))))


class TrainState(train_state.TrainState):
    """Flax's own, with the running means and the key of the dropout."""

    batch_stats: Any
    key: Any


def flax_linen() -> Case:
    """A TrainState with AdamW, whose step is a Python int before the first step and an array after it."""
    network = Network()
    apply = network.apply

    def make(seed: int) -> Any:
        key, first = jax.random.split(jax.random.key(seed))
        variables = network.init({'params': first, 'dropout': first}, images(0)['x'])
        return TrainState.create(
            apply_fn=apply, params=variables['params'], tx=OPTIMIZER, batch_stats=variables['batch_stats'], key=key
        )

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Any) -> Any:
        def loss(params: Any) -> tuple[Any, Any]:
            variables = {'params': params, 'batch_stats': state.batch_stats}
            rngs = {'dropout': jax.random.fold_in(state.key, state.step)}
            logits, new = state.apply_fn(variables, batch['x'], mutable=['batch_stats'], rngs=rngs)
            return cross_entropy(logits, batch['y']).mean(), new['batch_stats']

        gradients, batch_stats = jax.grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients, batch_stats=batch_stats)

    names = ('step', 'params.Conv_0.kernel', 'opt_state.0.nu.Dense_0.bias', 'batch_stats.BatchNorm_0.mean', 'key')
    return Case(make, step, images, names)


CASES: dict[str, Callable[[], Case]] = {
    'flax-nnx': flax_nnx,
    'flax-linen': flax_linen,
    'equinox': equinox,
    'haiku': haiku,
}

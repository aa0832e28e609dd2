"""A training run that resumes: dropout, batch norm, AdamW, one file for all of it. Run as a program."""

import os
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import objio
from objio import TrainVar, VarCollection


def batch(number: int) -> tuple[Any, Any]:
    """The data of one step, from its number alone."""
    rng = np.random.default_rng(number)
    x = rng.standard_normal((16, 8), dtype=np.float32)
    return jnp.asarray(x), jnp.asarray(np.sin(x).sum(1, keepdims=True))


def train(folder: str, steps: int, *, background: bool) -> None:
    """Trains from the newest save, or from the start, and saves after every step.

    A character is printed at each moment of interest: `s` after a step, `b` before a save and `e` after it.
    """
    keys = objio.random.Generator(1)
    net = objio.nn.Sequential(
        [
            objio.nn.Linear(8, 32),
            objio.nn.BatchNorm0D(32),
            objio.functional.relu,
            objio.nn.Dropout(0.7, keys),
            objio.nn.Linear(32, 1),
        ]
    )
    for variable, key in zip(net.vars().subset(TrainVar), jax.random.split(jax.random.key(0), 9), strict=False):
        variable.assign(jax.random.normal(key, variable.shape) * 0.1)
    weights = net.vars()
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, steps))
    moments = VarCollection.from_tree(optimizer.init(weights.named_tensors(TrainVar)), scope='optax.')
    vc = weights + keys.vars('keys') + moments

    forward = objio.pure(lambda x, y: ((net(x, training=True) - y) ** 2).mean(), weights + keys.vars('keys'))
    states = (weights + keys.vars('keys')).subset(is_not=TrainVar)

    def loss(params: dict[str, Any], state: dict[str, Any], x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
        return forward(params | state, x, y)

    def step(x: Any, y: Any) -> Any:
        params = weights.named_tensors(TrainVar)
        (value, new), gradients = jax.value_and_grad(loss, has_aux=True)(params, states.named_tensors(), x, y)
        updates, moved = optimizer.update(gradients, moments.to_tree(), params)
        weights.subset(TrainVar).assign(optax.apply_updates(params, updates))
        states.assign({name: new[name] for name in states.named_tensors()})
        moments.assign(jax.tree.leaves(moved))
        return value

    compiled = jax.jit(objio.pure(step, vc), donate_argnums=0)
    with objio.Checkpoint(folder, keep_ckpts=3, verbose=False, background=background) as ckpt:
        start, _ = ckpt.restore(vc)
        print(start, flush=True)
        for number in range(start, steps):
            value, tensors = compiled(vc.named_tensors(), *batch(number))
            vc.assign(tensors)
            os.write(1, b's')
            os.write(1, b'b')
            ckpt.save(vc, idx=number + 1, metrics={'loss': float(value)})
            os.write(1, b'e')
    objio.save_var_collection(os.path.join(folder, 'final.npz'), vc)


if __name__ == '__main__':
    train(sys.argv[1], int(sys.argv[2]), background=sys.argv[3] == 'background')

"""Lets Objax itself write objax-1.8.0.npz, and puts beside it, as JSON, what it holds.

Needs a Python of its own: `pip install objax==1.8.0 six`, then `python make_objax_golden.py` in this folder.
Run once; the files are kept as they are, since there will be no later Objax.
"""

import json
from pathlib import Path

import jax
import numpy as np

if not hasattr(jax.sharding, 'PmapSharding'):
    # Objax asks for this class by name; JAX has removed it.
    jax.sharding.PmapSharding = type('PmapSharding', (), {})

import objax

HERE = Path(__file__).parent


def build():
    """A net with a layer in two places, Momentum, and an average: references and shared names both occur."""
    twice = objax.nn.Linear(3, 3)
    net = objax.nn.Sequential(
        [
            objax.nn.Conv2D(1, 2, 3),
            objax.nn.BatchNorm2D(2),
            objax.functional.relu,
            objax.functional.flatten,
            objax.nn.Linear(32, 3),
            twice,
            objax.functional.relu,
            twice,
        ]
    )
    momentum = objax.optimizer.Momentum(net.vars())
    average = objax.optimizer.ExponentialMovingAverage(net.vars(), momentum=0.99)
    generator = objax.random.Generator(7)
    generator()
    return net, net.vars() + momentum.vars('opt') + average.vars('ema') + generator.vars('rng')


def fill(vc):
    """Gives each variable values of its own."""
    rng = np.random.default_rng(2)
    for variable in vc:
        if isinstance(variable, objax.RandomState):
            continue
        value = np.asarray(variable.value)
        new = rng.uniform(0.1, 1, value.shape).astype(value.dtype) if value.dtype.kind == 'f' else value + 5
        target = objax.TrainRef(variable) if isinstance(variable, objax.TrainVar) else variable
        target.value = jax.numpy.asarray(new)


def main():
    net, vc = build()
    fill(vc)
    objax.io.save_var_collection(str(HERE / 'objax-1.8.0.npz'), vc)
    # The same arrays as np.savez writes them where it may go back to the headers; Objax takes that from it.
    with np.load(HERE / 'objax-1.8.0.npz') as saved:
        np.savez(HERE / 'objax-seekable.npz', **saved)

    stored, values = {}, {}
    for name, variable in vc.items():
        reference = isinstance(variable, objax.TrainRef)
        target = variable.ref if reference else variable
        first = stored.setdefault(id(target), name)
        value = np.asarray(target.value)
        values[name] = {'stored as': first, 'reference': reference, 'dtype': value.dtype.name}
        values[name] |= {'shape': value.shape, 'values': value.reshape(-1).tolist()}
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4)
    forward = {'x': x.tolist(), 'y': np.asarray(net(x, training=False)).tolist()}
    lines = ',\n'.join(f'{json.dumps(name)}: {json.dumps(value)}' for name, value in values.items())
    text = f'{{"net": {json.dumps(forward)},\n"variables": {{\n{lines}\n}}}}\n'
    (HERE / 'objax-1.8.0.json').write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()

"""A sweep over the handwritten digits, to be killed and started again; run as a program, it does what is left to do.

`python support_sweep.py ROOT COUNT` trains the runs 0 to COUNT - 1, says each moment in a line, and writes what each
final model says of the test images into `ROOT/../said/<run>.npy`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import objio

EPOCHS = 4
BATCH = 128
TRAINING = 1400  # images; the others are for the test


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, float32 of shape (1797, 64), and their labels."""
    # The file of scikit-learn's `load_digits`, because to import all of it takes longer than the whole training.
    folder = Path(*find_spec('sklearn').submodule_search_locations)  # type: ignore[union-attr]
    rows = np.loadtxt(folder / 'datasets' / 'data' / 'digits.csv.gz', delimiter=',')
    return (rows[:, :-1] / 16).astype(np.float32), rows[:, -1].astype(np.int32)


class Digits(objio.Model):
    """A small net, with the state of its optimiser."""

    class Config(objio.Config):
        width: int = 16
        seed: int = 0
        lr: float = objio.mutable(0.01, gt=0)

    def build(self) -> None:
        chance = np.random.default_rng(self.config.seed)

        def layer(nin: int, nout: int) -> objio.nn.Linear:
            return objio.nn.Linear(nin, nout, w_init=lambda shape: chance.normal(0, 0.2, shape).astype(np.float32))

        width = self.config.width
        self.net = objio.nn.Sequential([layer(64, width), objio.functional.relu, layer(width, 10)])
        weights = self.net.vars()
        optimizer, forward = optax.sgd(self.config.lr, momentum=0.9), objio.pure(self.net, weights)
        self.opt = objio.VarCollection.from_tree(optimizer.init(weights.named_tensors()))

        def loss(params: Any, images: Any, labels: Any) -> Any:
            logits, _ = forward(params, images)
            return objio.functional.loss.cross_entropy_logits_sparse(logits, labels).mean()

        def step(params: Any, state: Any, images: Any, labels: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(params, images, labels)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

        self.step = jax.jit(step)

    def train(self, images: np.ndarray, labels: np.ndarray, epoch: int) -> float:
        """One epoch; its batches are those of its number, so that a resumed run sees what another would have seen."""
        weights, values = self.net.vars(), []
        params, state = weights.named_tensors(), self.opt.to_tree()
        order = np.random.default_rng(epoch).permutation(len(labels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            params, state, value = self.step(params, state, images[chosen], labels[chosen])
            values.append(float(value))
        weights.assign(params)
        self.opt.assign(jax.tree.leaves(state))
        return sum(values) / len(values)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The logits for images."""
        return np.asarray(self.net(images))


def settings(number: int) -> dict[str, Any]:
    """Those of a run of the sweep."""
    return {'width': 8 * (1 + number % 3), 'lr': 0.03 * 2 ** (number % 4), 'seed': number}


def train(root: str, number: int) -> None:
    """Begins a run, or goes on with it."""
    images, labels = digits()
    model = Digits(**settings(number))
    with objio.Saver(model, run=f'run-{number}', root=root, resume=True) as saver:
        for epoch in range(saver.restore() + 1, EPOCHS + 1):
            loss = model.train(images[:TRAINING], labels[:TRAINING], epoch)
            found = model.predict(images[TRAINING:]).argmax(1)
            say('trained', number, epoch)
            saver.log(step=epoch, loss=loss, accuracy=(found == labels[TRAINING:]).mean())
            say('logged', number, epoch)
            saver.save()
            say('saved', number, epoch)
        said = Path(root).parent / 'said'
        said.mkdir(exist_ok=True)
        np.save(said / f'{saver.run}.npy', model.predict(images[TRAINING:]))


def say(*words: object) -> None:
    """Tells the parent process where the sweep stands."""
    print(*words, flush=True)


def sweep(root: str, count: int) -> None:
    """Does what is left to do."""
    ended = {run.name for run in objio.runs(root).filter(state='finished')} if Path(root).exists() else set()
    # A user's program runs with JAX's defaults; optax cannot do without them.
    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        for number in range(count):
            if f'run-{number}' not in ended:
                train(root, number)


if __name__ == '__main__':
    # As the module that a reader imports, not as `__main__`: the name of its class goes into the saves.
    import support_sweep

    support_sweep.sweep(sys.argv[1], int(sys.argv[2]))

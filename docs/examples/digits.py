"""Trains on real digits, is killed, resumes from the latest save, and averages the last five.

Run it without arguments: it starts the training as a process of its own, kills that process with SIGKILL at a random
moment, half of the time while a save is being written, and starts it again. The data are scikit-learn's 1,797
handwritten digits; a fifth of them, the same in every run, is the test set.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import objio

EPOCHS = 30
BATCH = 64
ENOUGH = 0.97  # the accuracy that the average has to reach
# The last five are for the average, the best one for comparison.
KEEPING: dict[str, Any] = {'keep_ckpts': 5, 'keep_best': 1, 'best_metric': 'accuracy', 'best_mode': 'max'}

mpl.use('agg')


class Net(objio.nn.Sequential):
    """A small convolutional net for 8 x 8 images."""

    def __init__(self) -> None:
        relu, pool = objio.functional.relu, objio.functional.max_pool_2d
        super().__init__(
            [
                *(objio.nn.Conv2D(1, 16, 3), objio.nn.BatchNorm2D(16, momentum=0.9), relu, pool),
                *(objio.nn.Conv2D(16, 32, 3), objio.nn.BatchNorm2D(32, momentum=0.9), relu, pool),
                *(objio.functional.flatten, objio.nn.Dropout(0.7), objio.nn.Linear(128, 10)),
            ]
        )


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, training labels, test images, test labels; images are float32 of shape (n, 1, 8, 8)."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    split = train_test_split(images, labels.astype(np.int32), test_size=0.2, stratify=labels, random_state=0)
    return split[0], split[2], split[1], split[3]


def accuracy(net: Net, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose label the net finds."""
    return float((net(images, training=False).argmax(1) == labels).mean())


def train(folder: Path) -> None:
    """Trains up to the last epoch from wherever the folder's latest save stands; says each step in a line of JSON."""
    train_images, train_labels, test_images, test_labels = digits()
    objio.random.DEFAULT_GENERATOR.seed(0)
    net = Net()
    model = net.vars() + objio.random.DEFAULT_GENERATOR.vars('random')
    weights = model.subset(objio.TrainVar)
    optimizer = optax.adamw(optax.cosine_decay_schedule(4e-3, EPOCHS * (len(train_images) // BATCH), 0.1))
    state = objio.VarCollection.from_tree(optimizer.init(weights.named_tensors()), scope='optimizer.')

    def loss(images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = net(images, training=True)
        return objio.functional.loss.cross_entropy_logits_sparse(logits, labels).mean()

    pure_loss = objio.pure(loss, model)

    def step(images: jax.Array, labels: jax.Array) -> jax.Array:
        tensors = model.named_tensors()
        params = weights.named_tensors()
        gradient = jax.value_and_grad(lambda params: pure_loss(tensors | params, images, labels), has_aux=True)
        (value, after), gradients = gradient(params)
        updates, new_state = optimizer.update(gradients, state.to_tree(), params)
        model.assign(after | optax.apply_updates(params, updates))
        state.assign(jax.tree.leaves(new_state))
        return value

    everything = model + state
    compiled = jax.jit(objio.pure(step, everything), donate_argnums=0)
    with objio.Checkpoint(str(folder), verbose=False, background=True, **KEEPING) as checkpoint:
        start, _ = checkpoint.restore(everything)
        say(start=start)
        for epoch in range(start + 1, EPOCHS + 1):
            # Seeded by the epoch, so that a resumed run sees the batches that the killed one would have seen.
            order = np.random.default_rng(epoch).permutation(len(train_images))
            for batch in np.split(order[: len(order) // BATCH * BATCH], len(order) // BATCH):
                _, tensors = compiled(everything.named_tensors(), train_images[batch], train_labels[batch])
                everything.assign(tensors)
            reached = accuracy(net, test_images, test_labels)
            checkpoint.save(everything, epoch, metrics={'accuracy': reached})
            say(epoch=epoch, accuracy=reached)


def say(**facts: float) -> None:
    """Tells the parent process something."""
    print(json.dumps(facts), flush=True)


def start_training(folder: Path) -> subprocess.Popen[str]:
    """Starts the training in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, '--train', str(folder)], stdout=subprocess.PIPE, text=True)


def listen(process: subprocess.Popen[str]) -> Iterator[dict[str, float]]:
    """What the training says, line by line."""
    for line in process.stdout or ():
        yield json.loads(line)


def kill_at_random(process: subprocess.Popen[str], folder: Path, chance: random.Random) -> dict[int, float]:
    """Kills the training after some epoch, if luck will have it inside a save; gives the epochs it had told of."""
    last = chance.randint(2, EPOCHS // 2)
    inside_a_save = chance.random() < 0.5
    told: dict[int, float] = {}
    started = time.monotonic()
    for facts in listen(process):
        if 'epoch' in facts:
            told[int(facts['epoch'])] = facts['accuracy']
            started, length = time.monotonic(), time.monotonic() - started
            if facts['epoch'] >= last:
                break
    if inside_a_save:
        while process.poll() is None and not unfinished(folder):
            pass  # a save takes milliseconds: a sleep would miss it
    else:
        time.sleep(chance.uniform(0, length))
    process.kill()
    told |= {int(facts['epoch']): facts['accuracy'] for facts in listen(process) if 'epoch' in facts}
    process.wait()
    return told


def unfinished(folder: Path) -> list[Path]:
    """The files that are being written, or were when their writer died."""
    return list(folder.glob('ckpt/.objio-*.tmp'))


def plot(path: Path, before: dict[int, float], after: dict[int, float], resumed: int, average: float) -> None:
    """Draws the accuracy over the epochs, before the kill and after it."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout='constrained')
    axes.plot(list(before), list(before.values()), 'o-', color='tab:red', label='until the kill')
    axes.plot(list(after), list(after.values()), 'o-', color='tab:blue', label='after resuming')
    axes.axvline(resumed, color='gray', linestyle=':', label=f'resumed from epoch {resumed}')
    axes.axhline(average, color='tab:green', linestyle='--', label='average of the last five saves')
    axes.set(xlabel='epoch', ylabel='test accuracy', title='Digits: killed, resumed, averaged', ylim=(0.8, 1.0))
    axes.legend(loc='lower right')
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(folder: Path, seed: int) -> int:
    """Runs the whole story; the exit status says whether it came out well."""
    console = Console(width=100)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    console.print(f'Training on digits; the training process will be killed (seed {seed}).')
    with console.status('training until the kill'):
        before = kill_at_random(start_training(folder), folder, random.Random(seed))
    torn = len(unfinished(folder))
    console.print(f'Killed after epoch {max(before)}' + (', inside a save.' if torn else ', between two saves.'))
    resumed, after = 0, {}
    with console.status('training from the latest save to the end'):
        process = start_training(folder)
        for facts in listen(process):
            if 'start' in facts:
                resumed = int(facts['start'])
            else:
                after[int(facts['epoch'])] = facts['accuracy']
        if process.wait():
            console.print(f'The resumed training failed with exit status {process.returncode}.')
            return 1

    _, _, images, labels = digits()
    net = Net()
    checkpoint = objio.Checkpoint(str(folder), verbose=False, **KEEPING)
    best = checkpoint.best()
    scores = {}
    for name, idx in (('last save', None), ('best single save', best)):
        found, _ = checkpoint.restore(net.vars(), idx)
        scores[f'{name} (epoch {found})'] = accuracy(net, images, labels)
    averaged = checkpoint.average(net.vars(), last=5)
    average = scores[f'average of the saves {averaged[0]} to {averaged[-1]}'] = accuracy(net, images, labels)

    table = Table('', '', title='Handwritten digits, resumed and averaged', show_header=False)
    table.columns[1].justify = 'right'
    table.add_row('epochs before the kill', str(max(before)))
    table.add_row('killed inside a save', 'yes' if torn else 'no')
    table.add_row('resumed from the save of epoch', str(resumed))
    table.add_row('epochs after the kill', str(len(after)), end_section=True)
    for name, score in scores.items():
        table.add_row(f'test accuracy of the {name}', f'{score:.4f}')
    console.print(table)
    plot(folder / 'digits.png', before, after, resumed, average)
    console.print(f'The accuracy over the epochs: {folder / "digits.png"}')
    if resumed == 0:
        console.print('FAILED: the training started anew instead of resuming.')
    if average < ENOUGH:
        console.print(f'FAILED: the average reaches {average:.4f}, expected {ENOUGH} at least.')
    return int(resumed == 0 or average < ENOUGH)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--train', type=Path, metavar='FOLDER', help='only train, saving into FOLDER')
    parser.add_argument('--folder', type=Path, default=Path('build/digits'), help='where saves and the plot go')
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6), help='of the kill')
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train)
    else:
        sys.exit(main(arguments.folder, arguments.seed))

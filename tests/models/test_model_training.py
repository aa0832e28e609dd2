"""Models beside jit, optax, background saves, threads and checkpoints."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support_wide import Wide, listed

import objio
from objio import ConfigConflict
from objio.models.place import Place


class Net(objio.Model):
    """A model that trains under jit with optax, and keeps everything that a step changes."""

    class Config(objio.Config):
        width: int = 8
        lr: float = objio.mutable(1e-2, gt=0)

    def build(self) -> None:
        self.net = objio.nn.Sequential(
            [objio.nn.Linear(3, self.config.width), jnp.tanh, objio.nn.Linear(self.config.width, 1)]
        )
        self.optimizer = optax.adam(self.config.lr)
        self.params = self.net.vars().subset(objio.TrainVar)
        self.opt = objio.VarCollection.from_tree(self.optimizer.init(self.params.named_tensors()))
        self.steps = objio.StateVar(jnp.int32(0))
        loss = objio.pure(lambda x, y: jnp.mean((self.net(x) - y) ** 2), self.net.vars())

        @jax.jit
        def step(params: Any, state: Any, x: Any, y: Any) -> Any:
            value, gradients = jax.value_and_grad(lambda p: loss(p, x, y)[0])(params)
            updates, state = self.optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

        self.step = step

    def train(self, x: Any, y: Any) -> float:
        with jax.numpy_dtype_promotion('standard'):  # optax cannot do without it
            params, state, value = self.step(self.params.named_tensors(), self.opt.to_tree(), x, y)
        self.params.assign(params)
        self.opt.assign(jax.tree.leaves(state))
        self.steps.assign(self.steps.value + 1)
        return float(value)

    def predict(self, x: Any) -> Any:
        return self.net(x)


def data() -> tuple[jax.Array, jax.Array]:
    x = jax.random.normal(jax.random.key(0), (16, 3))
    return x, jnp.sum(x, axis=1, keepdims=True)


def test_a_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """With the optimiser's state among the collections, a model loaded half way trains as one that was not."""
    x, y = data()
    model = Net(tmp_path / 'm')
    assert next(name for name, _ in model.state().items() if '.opt.' in name) == '(Net).opt.0.count'
    assert sum('layer' in name or 'Linear' in name for name, _ in model.state().items()) == 4 + 8
    for _ in range(3):
        model.train(x, y)
    model.save()
    whole = [model.train(x, y) for _ in range(3)]
    again = Net(tmp_path / 'm')
    assert int(again.steps.value) == 3
    assert [again.train(x, y) for _ in range(3)] == whole
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_a_background_save_holds_the_values_of_the_call(tmp_path: Path) -> None:
    """Weights and settings of a background save are those of the moment, whatever the training does meanwhile."""
    x, y = data()
    model = Net(tmp_path / 'm')
    loss = model.train(x, y)
    expected = model.predict(x)
    for _ in range(5):
        model.save(tmp_path / 'kept', metrics={'loss': loss}, background=True)
        model.config.lr = 0.5
        model.train(x, y)
        model.wait()
        again = Net(tmp_path / 'kept')
        assert again.config.lr == 1e-2
        np.testing.assert_array_equal(again.predict(x), expected)
        model.load(tmp_path / 'kept')
        model.config.lr = 1e-2


def test_a_background_save_is_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that are changed in place, or donated, before the thread writes are saved as they were; so is metadata."""

    class Held(objio.Model):
        class Config(objio.Config):
            note: str = objio.mutable('')

        def build(self) -> None:
            self.mine = objio.VarCollection.from_tree({'numpy': np.ones(1000), 'jax': jnp.ones(1000)})

    written = threading.Event()
    write = Place.write

    def later(*arguments: Any, **options: Any) -> None:
        assert written.wait(60)
        write(*arguments, **options)

    monkeypatch.setattr(Place, 'write', later)
    model = Held(tmp_path / 'm', note='then')
    metadata = {'list': [1]}
    model.save(metadata=metadata, background=True)
    model.mine['numpy'].value[:] = 7
    doubled = jax.jit(lambda x: x * 2, donate_argnums=0)(model.mine['jax'].value)
    model.config.note = 'now'
    metadata['list'].append(2)
    written.set()
    model.wait()
    assert float(doubled[0]) == 2
    again = Held(tmp_path / 'm')
    assert {float(number) for tensor in again.mine.tensors() for number in np.unique(tensor)} == {1.0}
    assert again.config.note == 'then'
    with objio.open(tmp_path / 'm' / 'model.npz') as saved:
        assert saved.metadata['list'] == [1]


def test_a_background_save_that_fails_is_told(tmp_path: Path) -> None:
    """The failure comes with the next save or wait, by number; the one after that is made."""
    model = Wide(tmp_path / 'm')
    (tmp_path / 'file').write_bytes(b'')
    model.save(background=True)
    model.save(tmp_path / 'file', background=True)
    with pytest.raises(objio.SaveFailed, match='expected a folder') as failure:
        model.wait()
    assert failure.value.idx == 2
    assert isinstance(failure.value.__cause__, NotADirectoryError)
    model.save(background=True)
    model.load()  # waits
    assert listed(tmp_path / 'm') == ['config.json', 'model.npz']


def test_a_program_that_ends_finishes_its_save(tmp_path: Path) -> None:
    """A background save is complete when the program has ended, also from another working folder."""
    program = """
import os, threading, objio
from objio.models.place import Place
class Net(objio.Model):
    def build(self):
        self.w = objio.StateVar(objio.random.normal((1000,)))
elsewhere, write = threading.Event(), Place.write
Place.write = lambda self, *args, **options: (elsewhere.wait(), write(self, *args, **options))[1]
net = Net('m')
net.save(background=True)
os.mkdir('other')
os.chdir('other')
elsewhere.set()
"""
    subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        check=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert listed(tmp_path / 'm') == ['config.json', 'model.npz']


def test_many_threads_save_into_one_directory(tmp_path: Path) -> None:
    """Whoever comes last, weights and settings belong together, and the copy is of some save."""
    failures: list[BaseException] = []

    def save(number: int) -> None:
        try:
            model = Wide(tmp_path / 'm' / 'x', note=str(number))
            model.layer.w.assign(jnp.full((4, 2), number, jnp.float32))
            for _ in range(5):
                model.save()
        except BaseException as error:  # noqa: BLE001  # told in the main thread
            failures.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    model = Wide(tmp_path / 'm' / 'x')
    assert np.unique(model.layer.w.value).tolist() == [int(model.config.note)]
    assert listed(tmp_path / 'm') == ['x']


def test_checkpoints_carry_the_settings(tmp_path: Path) -> None:
    """A checkpoint of a model keeps state and settings, checks them at the restore, and makes no folder before a save."""
    x, y = data()
    model = Net(tmp_path / 'm', lr=0.02)
    ckpt = model.checkpoint(keep_ckpts=2, keep_best=1, best_metric='loss')
    assert (ckpt.idxs(), ckpt.latest(), ckpt.best()) == ([], None, None)
    assert ckpt.restore(model) == (0, '')
    assert listed(tmp_path) == []
    for epoch in range(1, 5):
        ckpt.save(model, idx=epoch, metrics={'loss': model.train(x, y)}, metadata={'epoch': epoch})
    assert ckpt.idxs() == [3, 4]
    with objio.open(tmp_path / 'm' / 'ckpt' / '0000000004.npz') as saved:
        assert saved.metadata['epoch'] == 4
        assert saved.metadata['objio.config']['values'] == {'width': 8, 'lr': 0.02}
    again = Net(tmp_path / 'm')
    assert again.checkpoint().restore(again) == (4, str(tmp_path / 'm/ckpt/0000000004.npz'))
    assert again.config.lr == 0.02
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.train(x, y) == model.train(x, y)
    override = Net(tmp_path / 'm', lr=0.5)
    override.checkpoint().restore(override, 3)
    assert override.config.lr == 0.5
    assert override.checkpoint().average(override, last=2) == [3, 4]
    wide = Net(tmp_path / 'm', width=9)
    before = wide.net[0].w.value
    with pytest.raises(ConfigConflict, match='width is immutable: 9 is given, 8 was saved'):
        wide.checkpoint().restore(wide)
    assert wide.net[0].w.value is before
    with pytest.raises(ConfigConflict, match='width is immutable'):
        wide.load(tmp_path / 'm/ckpt/0000000004.npz')


def test_a_checkpoint_of_something_else_is_told(tmp_path: Path) -> None:
    """A save without settings in the folder is no damage to be passed over, but told."""
    model = Wide(tmp_path / 'm')
    objio.Checkpoint(tmp_path / 'm').save(model.vars(), 1)
    with pytest.raises(ConfigConflict, match='carries no settings'):
        model.checkpoint().restore(model)


def test_a_first_checkpoint_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first save of a checkpoint made is gone again if it fails."""
    model = Wide(tmp_path / 'm')
    ckpt = model.checkpoint()
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', lambda *_: (_ for _ in ()).throw(OSError(5, 'Input/output error')))
        with pytest.raises(OSError, match='Input/output error'):
            ckpt.save(model, 1)
    assert listed(tmp_path) == []
    with model.checkpoint(background=True) as ckpt:
        ckpt.save(model, 1)
    assert listed(tmp_path / 'm') == ['ckpt']

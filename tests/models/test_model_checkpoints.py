"""The settings of a model that is loaded several times, from one save and another."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import objio


class Opt(objio.Config):
    """Settings in the settings."""

    lr: float = objio.mutable(0.1, gt=0)
    beta: float = objio.mutable(0.9)


class Tuned(objio.Model):
    """A model whose weights tell which save they come from."""

    class Config(objio.Config):
        width: int = 2
        note: str = objio.mutable('')
        opt: Opt = Opt()

    def build(self) -> None:
        self.w = objio.TrainVar(np.zeros(self.config.width, np.float32))


@pytest.fixture
def saves(tmp_path: Path) -> Path:
    """The directory of a model with the saves 0 to 3: nothing is given in 0, then the learning rate and a note."""
    model = Tuned(tmp_path / 'm')
    ckpt = model.checkpoint()
    for idx in range(4):
        model.w.assign(np.full(2, idx, np.float32))
        if idx:
            model.config.opt.lr, model.config.note = idx / 10, f'of {idx}'
        ckpt.save(model, idx)
    return tmp_path / 'm'


def test_a_checkpoint_refuses_another_model(saves: Path) -> None:
    """Weights of one model with the settings of another are never saved or loaded; its variables alone may be."""
    model, other = Tuned(saves, note='one'), Tuned(saves, note='other')
    ckpt = model.checkpoint()
    value = other.w.value
    for call in (
        lambda: ckpt.save(other, 9),
        lambda: ckpt.restore(other),
        lambda: ckpt.restore(other, 1),
        lambda: ckpt.average(other),
        lambda: ckpt.save(copy.deepcopy(model), 9),
        lambda: ckpt.restore(type('Else', (Tuned,), {})(directory=None)),
    ):
        with pytest.raises(ValueError, match=r'belongs to another model.*model\.checkpoint\(\)'):
            call()
    assert other.w.value is value
    assert (model.config.note, other.config.note, ckpt.latest()) == ('one', 'other', 3)
    ckpt.save(other.state(), 9)
    assert ckpt.restore(other.state()) == (9, str(saves / 'ckpt' / '0000000009.npz'))


@pytest.mark.parametrize(
    'verb',
    [
        lambda model: objio.save_var_collection('x.npz', model),
        lambda model: objio.Checkpoint('c').save(model, 1),
        lambda model: objio.Checkpoint('c').restore(model),
        lambda model: objio.load_var_collection('x.npz', model),
        lambda model: objio.plan_load('x.npz', model),
    ],
)
def test_a_verb_that_would_lose_the_state_of_a_model_says_what_to_pass(
    verb: Callable[[objio.Model], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no variable of the model, as the optimiser's collection, is in its `state()`, and that is saved and loaded."""

    class Net(objio.Model):
        def build(self) -> None:
            self.layer = objio.nn.Linear(2, 1)
            self.opt = objio.VarCollection.from_tree({'count': np.int32(3)}, scope='adam.')

    monkeypatch.chdir(tmp_path)
    model = Net(directory=None)
    with pytest.raises(objio.UnsaveableError, match=r'adam\.count.*Pass its state\(\), which has all of it'):
        verb(model)
    objio.Checkpoint('c').save(model.state(), 1)
    assert objio.Checkpoint('c').restore(Net(directory=None).state())[0] == 1


def test_each_load_takes_the_settings_of_its_save(saves: Path) -> None:
    """What a load took from a save was given by nobody: the next one takes its own, back and forth, defaults too."""
    model = Tuned(saves)
    ckpt = model.checkpoint()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for idx in (3, 1, 0, 2, 0):
            ckpt.restore(model, idx)
            assert (model.w.value[0], model.config.opt.lr) == (idx, idx / 10 if idx else 0.1)
            assert model.config.note == (f'of {idx}' if idx else '')
            assert model.config.given == ({'opt.lr', 'note'} if idx else frozenset())
        model.load(saves / 'ckpt' / '0000000003.npz')
    assert (model.config.opt.lr, model.config.note) == (0.3, 'of 3')


def test_what_is_assigned_outlives_a_load(saves: Path) -> None:
    """A value that was assigned after a load is given, and stays; its neighbours are still those of each save."""
    model = Tuned(saves)
    ckpt = model.checkpoint()
    ckpt.restore(model, 3)
    model.config.opt.lr = 0.7
    ckpt.restore(model, 1)
    assert (model.config.opt.lr, model.config.note) == (0.7, 'of 1')
    model.config.note = 'mine'
    ckpt.restore(model, 2)
    assert (model.config.opt.lr, model.config.note) == (0.7, 'mine')


def test_nested_settings_that_are_replaced_are_given_where_they_differ(saves: Path) -> None:
    """What is neither given nor another value in new nested settings still comes from the saves."""
    model = Tuned(saves)
    ckpt = model.checkpoint()
    ckpt.restore(model, 1)  # whose learning rate is the number that is the default, too
    model.config.opt = Opt(beta=0.5)
    ckpt.restore(model, 3)
    assert (model.config.opt.lr, model.config.opt.beta) == (0.3, 0.5)
    model.config.opt = Opt(lr=0.3)
    ckpt.restore(model, 2)
    assert (model.config.opt.lr, model.config.opt.beta) == (0.3, 0.9)


def test_settings_that_go_into_another_model_are_given_there(saves: Path) -> None:
    """Nested settings are values like any other, also where a load brought them."""
    model = Tuned(saves)
    model.checkpoint().restore(model, 3)
    other = Tuned(saves, opt=model.config.opt)
    other.checkpoint().restore(other, 1)
    assert other.config.opt.lr == 0.3


def test_a_mean_has_the_settings_of_the_newest_save(saves: Path) -> None:
    """The mean is loaded as the newest of its saves would be: its settings, and those that were given here."""
    model = Tuned(saves)
    ckpt = model.checkpoint()
    assert ckpt.average(model, last=2) == [2, 3]
    assert (model.w.value[0], model.config.opt.lr, model.config.note) == (2.5, 0.3, 'of 3')
    assert ckpt.average(model, idxs=(1, 2), weights=[3, 1]) == [1, 2]
    assert (model.w.value[0], model.config.opt.lr, model.config.note) == (1.25, 0.2, 'of 2')
    model = Tuned(saves, note='mine')
    assert model.checkpoint().average(model) == [0, 1, 2, 3]
    assert (model.w.value[0], model.config.opt.lr, model.config.note) == (1.5, 0.3, 'mine')


def test_a_mean_that_fails_changes_nothing(saves: Path) -> None:
    """Neither weights nor settings change where a save is damaged, or has other arrays or settings than the model."""
    model = Tuned(saves)
    ckpt = model.checkpoint()
    newest = saves / 'ckpt' / '0000000003.npz'
    whole = newest.read_bytes()
    data = bytearray(whole)
    data[data.index(np.float32([3, 3]).tobytes())] ^= 1
    newest.write_bytes(data)
    with pytest.raises(objio.FormatError, match='checksum'):
        ckpt.average(model)
    newest.write_bytes(whole)
    other = Tuned(saves)
    other.more = objio.TrainVar(np.zeros(1, np.float32))
    other.checkpoint().save(other, 4)
    with pytest.raises(objio.MismatchError, match='more: missing'):
        ckpt.average(model)
    wide = Tuned(saves, width=3)
    with pytest.raises(objio.ConfigConflict, match='width is immutable'):
        wide.checkpoint().average(wide, last=1)
    assert (model.w.value[0], model.config.opt.lr, model.config.given) == (0, 0.1, frozenset())


def test_options_that_no_load_has_are_told(saves: Path) -> None:
    """An option that is unknown is named before anything is read."""
    model = Tuned(saves)
    for load in (model.load, lambda **options: model.checkpoint().restore(model, **options)):
        with pytest.raises(TypeError, match="load_var_collection has no parameter 'strict'"):
            load(strict=True)

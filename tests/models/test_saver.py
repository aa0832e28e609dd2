"""A `Saver` keeps a model with its settings and its metrics in a folder, and gives it back."""

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_runs import Line, Net, assert_equal, content

import objio


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own, and has no run from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)


def test_the_three_lines_of_the_document() -> None:
    """The document's basic example, with its names put right: the model is in `storage/<run>/`, and comes back."""
    net = Net()
    # Initialize saver
    saver = objio.Saver(net)
    # Save model
    saver.save()
    assert Path('storage', saver.run, 'model.npz').is_file()
    assert_equal(objio.Saver.load(saver.run, cls=Net), net)


def test_the_documents_example_without_a_model() -> None:
    """`Saver()`, as the document has it in one place, is a TypeError that shows the three lines; nothing is made."""
    with pytest.raises(TypeError, match=re.escape('    net = Net()\n    saver = objio.Saver(net)\n    saver.save()')):
        objio.Saver()
    assert content() == {}


def test_what_is_in_the_folder_of_a_run() -> None:
    """A run's folder holds the model, its settings, its metrics and its provenance; the pickle only on request."""
    with objio.Saver(Net(4), {'nin': 4}, run='a') as saver:
        saver.log(step=1, loss=0.5)
        saver.save()
        files = {'model.npz', 'config.json', 'metrics.jsonl', 'provenance.json', '.lock'}
        assert set(os.listdir('storage/a')) == files
        saver.save(pickle=True)
        assert set(os.listdir('storage/a')) == files | {'model.pickle'}
        assert_equal(objio.load_module('storage/a/model.pickle', trusted=True), saver.model)
        saver.save()  # whose weights the pickle would not have
        assert set(os.listdir('storage/a')) == files
    assert json.loads(Path('storage/a/config.json').read_text())['values'] == {'nin': 4}
    assert objio.verify('storage/a/model.npz')


def test_a_plain_module_comes_back_with_its_settings() -> None:
    """`Saver.load(cls=)` makes the module from the saved settings and loads its weights."""
    net = Net(nin=5, nout=1)
    objio.Saver(net, config={'nin': 5, 'nout': 1}, run='a').save()
    assert_equal(objio.Saver.load('a', cls=Net), net)


def test_a_model_comes_back_by_its_registered_name() -> None:
    """A `Model` is found by its class, with the settings of the run, given ones among them."""
    line = Line('elsewhere', width=5, lr=0.25)
    with objio.Saver(line, run='a') as saver:
        saver.save()
    again = objio.Saver.load('a')
    assert type(again) is Line
    assert again.config == line.config
    assert again.config.given == {'width', 'lr'}
    assert_equal(again, line)
    assert not Path('elsewhere').exists()


@pytest.mark.parametrize(
    'save',
    [
        pytest.param(lambda line: line.save(), id='save'),
        pytest.param(lambda line: line.save(background=True), id='background'),
        pytest.param(lambda line: line.save('./storage/../storage/a'), id='another way'),
        pytest.param(lambda line: line.save('storage/a/model.npz'), id='file'),
        pytest.param(lambda line: line.checkpoint().save(line, 1), id='checkpoint'),
        pytest.param(lambda line: line.checkpoint().truncate(-1), id='truncate'),
    ],
)
def test_only_the_run_itself_writes_into_its_folder(save: Callable[[Any], None]) -> None:
    """A model that was loaded from a run does not replace it: that is for the run, once it is taken again."""
    with objio.Saver(Line('elsewhere', width=5), run='a') as saver:
        saver.save()
    before, line = content(), objio.Saver.load('a')
    with pytest.raises(FileExistsError, match=r'resume=True\), or save the model elsewhere') as info:
        save(line)
    assert os.path.samefile(os.path.dirname(info.value.filename + '/x'), 'storage/a')
    assert content() == before
    with objio.Saver(line, run='a', resume=True):
        save(line)
        line.wait()
    with pytest.raises(FileExistsError, match='is that of a run'):
        save(line)
    line.save('elsewhere')
    line.save('storage/a/export.npz')


def test_a_run_is_known_from_within_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name stands for a file of the working folder, also where that is a run's."""
    line = Line('elsewhere')
    with objio.Saver(line, run='a'):
        monkeypatch.chdir('storage/a')
        line.save('model.npz')
    with pytest.raises(FileExistsError, match='is that of a run'):
        line.save('model.npz')


def test_a_plain_module_needs_cls() -> None:
    """Without `cls=` a plain module is a LookupError that says to pass it; nothing is imported."""
    objio.Saver(Net(), run='a').save()
    with pytest.raises(LookupError, match='cls='):
        objio.Saver.load('a')


def test_settings_that_do_not_make_the_module_are_told() -> None:
    """Where the class does not take the saved settings, the error says which they were."""
    objio.Saver(Net(), {'depth': 3}, run='a').save()
    with pytest.raises(TypeError, match='depth') as info:
        objio.Saver.load('a', cls=Net)
    assert "the settings {'depth': 3}" in info.value.__notes__[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((Net,), 'the class Net'),
        (({'w': 1},), 'got dict'),
        ((Net(), {'lr': (1, 2)}), r"config\['lr'\] is of type builtins.tuple"),
        ((Net(), {'lr': np.float32(1)}), 'numpy.float32'),
        ((Net(), {'lr': float('nan')}), 'nan'),
        ((Net(), {1: 2}), 'key 1'),
        ((Net(), [1]), 'dict of settings'),
    ],
)
def test_what_is_no_model_or_no_settings(arguments: tuple[Any, ...], message: str) -> None:
    """A wrong model or settings that JSON would change are one clear error; nothing is made."""
    with pytest.raises(TypeError, match=message):
        objio.Saver(*arguments)
    assert content() == {}


def test_a_model_has_settings_of_its_own() -> None:
    """`config=` beside a `Model` is refused."""
    with pytest.raises(TypeError, match='leave out config='):
        objio.Saver(Line(), {'lr': 1})
    assert content() == {}


def test_the_settings_of_a_module_are_those_of_the_start() -> None:
    """The dict that a module was given may change later; the run keeps what it was made with."""
    config = {'nin': 3, 'more': {'a': 1}}
    saver = objio.Saver(Net(), config, run='a')
    config['more']['a'] = 2
    saver.save()
    assert objio.runs()[0].config == {'nin': 3, 'more': {'a': 1}}


def test_mutable_settings_are_saved_as_they_are_at_the_save() -> None:
    """A `Model` whose learning rate was changed is saved with the new one."""
    line = Line(lr=0.1)
    saver = objio.Saver(line, run='a')
    line.config.lr = 0.01
    saver.save()
    assert objio.Saver.load('a').config.lr == 0.01


def test_what_a_run_was_never_given() -> None:
    """A run that is not there names its neighbours; one that has saved nothing says so."""
    objio.Saver(Net(), run='first-run').close()
    with pytest.raises(FileNotFoundError, match=r"no such run \(did you mean 'first-run'\?\)"):
        objio.Saver.load('frist-run', cls=Net)
    with pytest.raises(FileNotFoundError, match='has not saved its model yet'):
        objio.Saver.load('first-run', cls=Net)
    with pytest.raises(FileNotFoundError, match='there are none'):
        objio.Saver.load('a', root='nowhere')


def test_what_cannot_be_pickled_changes_nothing() -> None:
    """A save with `pickle=True` of a module with a lambda is refused before anything is written."""
    net = Net()
    saver = objio.Saver(net, run='a')
    saver.save()
    before = content()
    net.activation = lambda x: x
    net.layer.b.assign(jnp.ones(2))
    with pytest.raises(objio.UnsaveableError, match='activation'):
        saver.save(pickle=True)
    assert content() == before


def test_a_copy_of_the_settings_that_was_edited() -> None:
    """An edited `config.json` is a conflict, one that is cut short an error that says what to do; so says Model, too."""
    objio.Saver(Net(), {'nin': 3}, run='a').save()
    copy = Path('storage/a/config.json')
    text = copy.read_text()
    copy.write_text(text.replace('"nin": 3', '"nin": 4'))
    with pytest.raises(objio.ConfigConflict, match='edited by hand'):
        objio.Saver.load('a', cls=Net)
    copy.write_text(text[:30])
    with pytest.raises((objio.FormatError, objio.ConfigConflict), match='only a copy'):
        objio.Saver.load('a', cls=Net)
    copy.unlink()
    assert_equal(objio.Saver.load('a', cls=Net), objio.Saver.load('a', cls=Net))


def test_a_damaged_model_is_told() -> None:
    """A bit that flipped in the weights is a FormatError that names the file."""
    objio.Saver(Net(), run='a').save()
    path = Path('storage/a/model.npz')
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(objio.FormatError, match=r'storage/a/model\.npz'):
        objio.Saver.load('a', cls=Net)


def test_the_metadata_of_the_user_and_the_metrics_stand_in_the_save() -> None:
    """`metadata=` comes with the weights, and so do the metrics that were logged last; reserved keys are refused."""
    saver = objio.Saver(Net(), run='a')
    saver.log(step=7, loss=0.5, accuracy=float('nan'))
    saver.log(step=8, loss=0.25)
    saver.save(metadata={'note': 'x'}, pickle=True)
    with objio.open('storage/a/model.npz') as saved:
        assert saved.metadata['note'] == 'x'
    found = objio.runs()[0].saved
    assert found is not None
    assert str(found) == "{'step': 8.0, 'loss': 0.25, 'accuracy': nan}"
    before = content()
    with pytest.raises(ValueError, match='reserved'):
        saver.save(metadata={'objio.x': 1}, pickle=True)
    with pytest.raises(TypeError, match='tuple'):
        saver.save(metadata={'x': (1,)}, pickle=True)
    assert content() == before


def test_a_save_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line through `logging`, nothing printed."""
    saver = objio.Saver(Net(), run='a')
    with caplog.at_level(logging.INFO, 'objio'):
        saver.save()
    assert [record.getMessage() for record in caplog.records] == ['saved storage/a/model.npz']


def test_the_repr_says_what_and_where() -> None:
    """A Saver names its model's class and its folder."""
    assert repr(objio.Saver(Net(), run='a')) == '<Saver of Net in storage/a>'

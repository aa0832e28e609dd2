"""A directory that holds a save is never taken unseen, and a model may have none."""

import contextlib
import copy
import inspect
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_runs import Line, content

import objio


class Other(objio.Model):
    """Another class, with other settings."""

    class Config(objio.Config):
        width: int = 4
        depth: int = 1

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)


class Twin(objio.Model):
    """A class whose saves have the names, shapes and settings of those of Line."""

    class Config(objio.Config):
        width: int = 3
        lr: float = objio.mutable(0.1, gt=0)

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)

    def vars(self, scope: str = '') -> objio.VarCollection:
        return super().vars(scope).rename(objio.Renamer({'(Twin)': '(Line)'}))


class Longer(Line):
    """A class that goes on from the saves of its base."""

    def vars(self, scope: str = '') -> objio.VarCollection:
        return super().vars(scope).rename(objio.Renamer({'(Longer)': '(Line)'}))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each test works in a folder of its own, and hears the whole log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)
    caplog.set_level(logging.INFO, 'objio')


def saved(cls: type[Any] = Line, directory: str = 'model_dir', **config: Any) -> Any:
    """A model of a class that was saved and is not fresh any more."""
    model = cls(directory, **config)
    model.layer.b.assign(model.layer.b.value + 42)
    model.save()
    return model


def test_the_default_is_loaded_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A model made without a directory says, with the whole path, that it is not a new one, and how to get one."""
    assert float(Line().layer.b.value[0]) == 0
    assert not caplog.records
    saved()
    caplog.clear()
    assert float(Line().layer.b.value[0]) == 42
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for part in ('Line() loaded', str(Path('model_dir/model.npz').absolute()), 'support_runs:Line', 'directory=None'):
        assert part in record.getMessage()


@pytest.mark.parametrize(
    'make',
    [
        lambda: Line('model_dir'),
        lambda: Line(directory='model_dir'),
        lambda: Line(Path('model_dir')),
        lambda: Line(str(Path('model_dir').absolute()), lr=0.2),
        lambda: Line('./model_dir/'),
    ],
)
def test_a_directory_that_was_given_is_loaded_with_a_line(
    make: Callable[[], Line], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever names the directory, be it as the default is called, gets no warning, but one line for information."""
    saved()
    caplog.clear()
    assert float(make().layer.b.value[0]) == 42
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert str(Path('model_dir/model.npz').absolute()) in record.getMessage()


def test_the_signature_keeps_its_default() -> None:
    """Tools that read the signature see the directory as it is called."""
    default = inspect.signature(Line).parameters['directory'].default
    assert default == 'model_dir'
    assert repr(default) == "'model_dir'"


def test_the_model_of_a_run_is_loaded_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """`Saver.load` names the folder itself."""
    with objio.Saver(Line(None), run='a') as saver:
        saver.save()
    caplog.clear()
    objio.Saver.load('a')
    objio.runs()['a'].load()
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_a_model_without_a_directory_loads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """With `directory=None` every model of a sweep is new, whatever lies in the working folder."""
    saved()
    before = content()
    caplog.clear()
    for model in (Line(None), Line(directory=None), Line(None, width=5)):
        assert float(model.layer.b.value[0]) == 0
    assert not caplog.records
    assert content() == before


@pytest.mark.parametrize(
    ('ask', 'cure'),
    [
        (lambda model: model.directory, r"Line\('…'\)"),
        (lambda model: model.save(), r'save\(path\)'),
        (lambda model: model.save(background=True), r'save\(path\)'),
        (lambda model: model.load(), r'load\(path\)'),
        (lambda model: model.checkpoint(), r'checkpoint\(\), save\(\) and load\(\) need one'),
        (lambda model: model.config.directory, 'directory=None'),
    ],
)
@pytest.mark.parametrize(
    'renewed', [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_what_needs_a_directory_says_so(ask: Callable[[Any], object], cure: str, renewed: Callable[[Any], Any]) -> None:
    """Each call that needs a directory is one error with the cure, also of a copy; nothing is written."""
    with pytest.raises(AttributeError, match=cure):
        ask(renewed(Line(None)))
    assert content() == {}


def test_a_model_without_a_directory_goes_where_it_is_told() -> None:
    """Paths, runs, copies and pickles work as ever, and give it no directory."""
    model = Line(None, width=5)
    model.layer.b.assign(jnp.full(1, 7.0))
    model.save('there')
    model.save('one.npz', background=True)
    model.wait()
    for path in ('there', 'one.npz'):
        other = Line(None, width=5)
        other.load(path)
        np.testing.assert_array_equal(other.layer.b.value, [7])
        with pytest.raises(AttributeError, match='no directory'):
            _ = other.directory
    assert Line('there').config.width == 5
    with objio.Saver(model, run='a', resume=True) as saver:
        saver.log(step=3, loss=1.0)
        saver.save()
    again = Line(None, width=5)
    with objio.Saver(again, run='a', resume=True) as saver:
        assert saver.restore() == 3
    twin = pickle.loads(pickle.dumps(copy.deepcopy(again)))
    np.testing.assert_array_equal(twin.layer.b.value, [7])


@pytest.mark.parametrize('given', [(), ('model_dir',)])
@pytest.mark.parametrize(('config', 'error'), [({'width': 5}, objio.ConfigConflict), ({}, objio.MismatchError)])
def test_the_save_of_another_class_is_named_as_the_cause(
    given: tuple[str, ...], config: dict[str, Any], error: type[Exception]
) -> None:
    """Settings and weights of another class that do not fit are told with both classes and the way out."""
    saved(Line, width=4)

    class Wider(Other):
        class Config(Other.Config):
            depth: int = 2
            lr: float = objio.mutable(0.1, gt=0)

    with (
        pytest.raises(error) as info,
        pytest.warns(objio.ConfigDefaultChanged) if not config else contextlib.nullcontext(),
    ):
        Wider(*given, **config)
    assert 'is a save of the class support_runs:Line, and this is the class' in str(info.value)
    assert "another directory for this model, as Wider('…')" in str(info.value)


def test_a_model_saves_where_it_was_made_after_the_working_folder_is_removed(tmp_path: Path) -> None:
    """At once, in the background, and its checkpoints; nothing that was trained is lost to a folder that is gone."""
    model = Line('m')
    gone = tmp_path / 'gone'
    gone.mkdir()
    with contextlib.chdir(gone):
        gone.rmdir()
        model.save()
        model.save(background=True)
        model.wait()
        model.checkpoint().save(model, 1)
        assert (model.directory, model.directory.is_dir()) == (tmp_path / 'm', True)
    assert (tmp_path / 'm/ckpt/0000000001.npz').is_file()
    assert Line('m').directory == Path('m')


def test_what_does_not_fit_says_where_options_are_taken() -> None:
    """A model that is made takes no `skip=`; the message says how to load a part, and that way works."""

    def define(outputs: int) -> type[objio.Model]:
        class Net(objio.Model):
            class Config(objio.Config):
                width: int = 3

            def build(self) -> None:
                self.body = objio.nn.Linear(self.config.width, 2)
                self.head = objio.nn.Linear(2, outputs)

        return Net

    first = define(4)('nets')
    first.save()
    again = define(5)
    with pytest.raises(objio.MismatchError) as info:
        again('nets')
    assert str(info.value).splitlines()[-1] == (
        'Net(…) takes no such options, load does: model = Net(directory=None), with the settings that were saved, then '
        "model.load('nets', …). For a new model use another directory."
    )
    model = again(directory=None)
    model.load('nets', skip='(Net).head')
    np.testing.assert_array_equal(model.body.w.value, first.body.w.value)


@pytest.mark.filterwarnings('error')
def test_a_warning_that_is_an_error_names_the_class_too() -> None:
    """Where ConfigDefaultChanged is raised, it says that the save is of another class."""
    saved(Line, width=4)
    with pytest.raises(objio.ConfigDefaultChanged, match='is a save of the class support_runs:Line'):
        Other('model_dir')


def test_a_setting_that_the_other_class_lacks_is_told_with_it() -> None:
    """An error of pydantic, which has a text of its own, carries the cause as a note."""
    saved()

    class Needy(objio.Model):
        class Config(objio.Config):
            size: int

    with pytest.raises(ValueError, match='size') as info:
        Needy()
    assert 'is a save of the class support_runs:Line' in info.value.__notes__[0]


def test_a_load_names_the_class_too() -> None:
    """`load` and `restore` tell the cause as well."""
    line = saved(Line, width=4)
    line.checkpoint().save(line, 1)
    other = Other('other')
    with (
        pytest.warns(objio.ConfigDefaultChanged),
        pytest.raises(objio.MismatchError, match='is a save of the class support_runs:Line'),
    ):
        other.load('model_dir')
    shutil.copytree('model_dir/ckpt', 'other/ckpt')
    with (
        pytest.warns(objio.ConfigDefaultChanged),
        pytest.raises(objio.MismatchError, match='is a save of the class support_runs:Line'),
    ):
        other.checkpoint().restore(other)


def test_another_class_that_fits_by_accident_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A save of another class that has the same names and settings is loaded with a warning that names both."""
    saved()
    for load in (lambda: Twin('model_dir'), lambda: Twin(None).load('model_dir'), Twin):
        caplog.clear()
        load()
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert 'is a save of the class support_runs:Line, and this is the class' in told[0]
        assert 'Twin' in told[0]


@pytest.mark.parametrize('cls', [Line, Longer])
def test_a_class_that_goes_on_with_the_save_is_not_warned_of(cls: type[Line], caplog: pytest.LogCaptureFixture) -> None:
    """The class itself and one that derives from it load the save without a warning."""
    saved()
    caplog.clear()
    assert float(cls('model_dir').layer.b.value[0]) == 42
    assert {record.levelno for record in caplog.records} == {logging.INFO}


@pytest.mark.parametrize('module', ['__main__', 'elsewhere.nets'])
def test_a_class_of_the_same_name_is_the_same(
    module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A class that a script saved, one that moved, and one that a notebook defined again are no other class."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Line, '__module__', module)
        saved()
    again = type('Line', (objio.Model,), {'Config': Line.Config, 'build': Line.build})
    for cls in (Line, again):
        caplog.clear()
        assert float(cls('model_dir').layer.b.value[0]) == 42
        assert [record.levelno for record in caplog.records] == [logging.INFO]

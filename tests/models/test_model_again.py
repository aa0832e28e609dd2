"""A model that a program makes again from its directory waits for the save that is still running there."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support_runs import Line

import objio
from objio.models import place

_LATER_S = 0.3  # only who does not wait is faster; a slow machine makes no test fail


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Saves of models in the background write only a moment after they began; the test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)
    through = threading.Event()
    write = place.Place.write

    def slowly(self: place.Place, *arguments: Any, **options: Any) -> None:
        if threading.current_thread().name.startswith('objio-save'):
            assert through.wait(30)
        write(self, *arguments, **options)

    monkeypatch.setattr(place.Place, 'write', slowly)
    timer = threading.Timer(_LATER_S, through.set)
    timer.start()
    yield through
    timer.join()


def begun(directory: str | None = 'm', value: float = 42, path: str | None = None) -> Line:
    """A model whose save is under way."""
    model = Line(directory)
    model.layer.b.assign(model.layer.b.value + value)
    model.save(path, background=True)
    return model


@pytest.mark.parametrize('folder', ['m', './m/', '../{name}/m'])
def test_a_model_made_again_is_the_one_that_is_being_saved(folder: str, slow: threading.Event, tmp_path: Path) -> None:
    """The directory is not taken for an empty one while its first save is on its way."""
    model = begun()
    again = Line(folder.format(name=tmp_path.name))
    assert float(again.layer.b.value[0]) == 42
    model.wait()


def test_a_name_that_is_given_to_a_new_model(slow: threading.Event) -> None:
    """The cell that made, trained and saved the model in the background is run once more."""
    for value in (1, 2, 3):
        model = begun(value=1)
        assert float(model.layer.b.value[0]) == value
    model.wait()


@pytest.mark.parametrize('path', ['there', 'there/model.npz'])
def test_a_load_waits_for_the_save_of_another_model(path: str, slow: threading.Event) -> None:
    """`load` of a path waits for whoever writes it in this program."""
    model = begun(None, 7, 'there')
    other = Line(None)
    other.load(path)
    assert float(other.layer.b.value[0]) == 7
    model.wait()


def test_the_later_save_of_two_models_stays(slow: threading.Event) -> None:
    """A save begins once that of another model to the same place is done, so that the later one is what stays."""
    older = begun(None, 1, 'there')
    newer = Line(None)
    newer.layer.b.assign(newer.layer.b.value + 2)
    newer.save('there')
    older.wait()
    assert float(Line('there').layer.b.value[0]) == 2


def test_a_checkpoint_of_the_model_waits_too(slow: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoints of a model that was made again see the save that is on its way."""
    slow.set()
    line = Line('m', lr=0.5)
    ckpt = line.checkpoint(background=True)
    ckpt.save(line, idx=3)
    again = Line('m')
    assert again.checkpoint().restore(again)[0] == 3
    assert again.config.lr == 0.5


def test_the_model_of_a_run_waits_too(slow: threading.Event) -> None:
    """`Saver.load` gives the model that is being saved into the run's folder."""
    line = Line(None)
    with objio.Saver(line, run='a'):
        line.layer.b.assign(line.layer.b.value + 5)
        line.save('storage/a', background=True)
        assert float(objio.Saver.load('a').layer.b.value[0]) == 5
    line.wait()

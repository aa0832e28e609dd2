"""Every row about runs on the page "Errors and cures" is provoked: the error it names comes, and nothing changes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_errors import error_of, rows_of
from support_runs import Net, content

import objio

ROWS = rows_of('Runs')
CASES: dict[str, Callable[[objio.Saver], object]] = {}


def case(row: str) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
    """Enters a function, which is called with a Saver that lives, as what a row of the page describes."""

    def enter(function: Callable[[Any], object]) -> Callable[[Any], object]:
        CASES[row] = function
        return function

    return enter


@case('Saver() without a model, a class, or what has no variables')
def _(saver: objio.Saver) -> None:
    for model, cure in ((Net, 'pass an instance'), ({'w': 1}, 'Checkpoint'), (object(), 'from_tree'), (3, 'from_tree')):
        with pytest.raises(TypeError, match=f'Saver: expected a model.*{cure}'):
            objio.Saver(model, run='new')
    objio.Saver()


@case('settings of a plain module that JSON would change')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), {'shape': (1, 2)}, run='new')


@case('a name with /, a leading dot, or else that of no folder')
def _(saver: objio.Saver) -> None:
    for name in ['..', '.hidden', 'nul', '']:
        with pytest.raises(ValueError, match='cannot be the name of a run'):
            objio.Saver(Net(), run=name)
    objio.Saver(Net(), run='a/b')


@case('a run of this name is there already')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), run='old')


@case('another process writes the run, or this one does and it is not resumed')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), run='live')


@case('a run that a module was made for that has other variables')
def _(saver: objio.Saver) -> None:
    objio.Saver.load('old', cls=lambda **_: objio.nn.Sequential())


@case('a folder of this name that is no run')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), run='notes', resume=True)


@case('a storage where nothing may be written')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), run='new', root='/proc/self')


@case('a run that goes on with other settings')
def _(saver: objio.Saver) -> None:
    objio.Saver(Net(), {'nin': 4}, run='old', resume=True)


@case('a metric that is no number, a step that is no int')
def _(saver: objio.Saver) -> None:
    with pytest.raises(TypeError):
        saver.log(step=1.5, loss=1.0)
    saver.log(step=1, loss=np.ones(2))


@case('a metric called time or session, as each line has one')
def _(saver: objio.Saver) -> None:
    saver.log(step=1, time=3.0)


@case('save or log after the end of the run')
def _(saver: objio.Saver) -> None:
    with objio.Saver(Net(), run='short', root='elsewhere') as ended:
        pass
    try:
        with pytest.raises(ValueError, match='the run has ended'):
            ended.log(step=1, loss=1.0)
        ended.save()
    finally:
        for path in sorted(Path('elsewhere').rglob('*'), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        os.rmdir('elsewhere')


@case('a run that is not there, or that has saved no model')
def _(saver: objio.Saver) -> None:
    with pytest.raises(FileNotFoundError, match='there are broken, live, old'):
        objio.Saver.load('unheard-of', cls=Net)
    objio.Saver.load('live', cls=Net)


@case('runs of the folder of one run')
def _(saver: objio.Saver) -> None:
    objio.runs(saver.path)


@case('load of a plain module without its class')
def _(saver: objio.Saver) -> None:
    objio.Saver.load('old')


@case('a damaged file of a run')
def _(saver: objio.Saver) -> None:
    assert objio.runs()['broken'].state == 'damaged'
    objio.Saver.load('broken', cls=Net)


@case('best, or a mode of table, by a metric that no run has')
def _(saver: objio.Saver) -> None:
    objio.runs().best('accuracy')


@case('best by a metric whose name does not tell what is best')
def _(saver: objio.Saver) -> None:
    objio.runs().best('progress')


@case('filter(state=…) or sort by a name that means two things')
def _(saver: objio.Saver) -> None:
    with pytest.raises(ValueError, match='a metric and of a setting'):
        objio.runs('others').sort('loss')
    objio.runs('others').filter(state='new')


@case('load of the best run, where the model that it saved had another value')
def _(saver: objio.Saver) -> None:
    with pytest.warns(UserWarning, match='was chosen for its loss of 0.1 at step 1'):
        objio.runs('others').best('loss').load(lambda **_: Net())


def test_every_row_is_provoked() -> None:
    """The page and the cases below agree row by row."""
    assert set(ROWS) == set(CASES)


@pytest.mark.parametrize('row', CASES)
def test_a_bad_input_gives_the_error_of_the_page(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the one that the page names, with a message; every file is as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)
    for name in ('old', 'broken'):
        with objio.Saver(Net(), {'nin': 3}, run=name) as saver:
            saver.log(step=1, loss=0.5, progress=0.5)
            saver.save()
    Path('storage/broken/model.npz').write_bytes(Path('storage/old/model.npz').read_bytes()[:-1])
    Path('storage/notes').mkdir()
    Path('storage/notes/diary.txt').touch()
    with objio.Saver(Net(), {'nin': 3, 'state': 'new', 'loss': 1}, run='odd', root='others') as saver:
        saver.save()
        saver.log(step=1, loss=0.1)
    with objio.Saver(Net(), run='live') as saver:
        before = content()
        if expected := error_of(ROWS[row]):
            with pytest.raises(expected) as info:
                CASES[row](saver)
            assert len(str(info.value)) > 10
        else:
            CASES[row](saver)
        assert content() == before

"""A program that makes the `Saver` of a run again, as a notebook's cell does, goes on with the run or is told how."""

import contextlib
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support_runs import Line, Net, content

import objio
from objio.models import sessions

TAKEN_OVER = r'was taken over by a newer Saver of this program \(process \d+\)'


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own, and has no run from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)


def states(run: str = 'a') -> list[str]:
    """The states of the sessions of a run."""
    return [session['state'] for session in objio.runs()[run].sessions]


def test_a_cell_with_resume_that_is_run_again_takes_the_run_over() -> None:
    """The newer Saver writes, the session of the older one has finished, and the run's lock is held all the while."""
    for step in range(1, 5):
        saver = objio.Saver(Net(), run='a', resume=True)
        assert saver.restore() == step - 1
        saver.log(step=step, loss=1 / step)
        saver.save()
    assert states() == ['finished', 'finished', 'finished', 'running']
    assert objio.runs()['a'].state == 'running'
    saver.close()
    assert states() == ['finished'] * 4
    assert objio.runs()['a'].metrics == {'loss': {1: 1.0, 2: 1 / 2, 3: 1 / 3, 4: 1 / 4}}
    assert objio.runs()['a'].saved == {'step': 4.0, 'loss': 0.25}


def test_the_older_saver_says_who_has_the_run() -> None:
    """Each call of the older one that would write is an error that says so; to end it does nothing."""
    older = objio.Saver(Net(), run='a')
    older.log(step=1, loss=1.0)
    with objio.Saver(Net(), run='a', resume=True) as newer:
        before = content()
        for call in (older.save, lambda: older.log(step=2, loss=2.0)):
            with pytest.raises(ValueError, match=TAKEN_OVER):
                call()
        older.close()
        with older:
            pass
        with pytest.raises(ZeroDivisionError), older:
            _ = 1 / 0
        assert content() == before
        newer.log(step=2, loss=0.5)
    assert objio.runs()['a'].metrics == {'loss': {1: 1.0, 2: 0.5}}
    assert states() == ['finished', 'finished']


def test_without_resume_the_error_names_this_program_and_the_ways_out() -> None:
    """A cell without `resume=True` is refused with what to do; the Saver that has the run goes on."""
    saver = objio.Saver(Net(), run='a')
    before = content()
    with pytest.raises(BlockingIOError, match=rf'this program .*{os.getpid()}.* close\(\) .* resume=True'):
        objio.Saver(Net(), run='a')
    assert content() == before
    saver.log(step=1, loss=1.0)
    saver.close()
    with pytest.raises(FileExistsError, match='resume=True'):
        objio.Saver(Net(), run='a')
    objio.Saver(Net(), run='a', resume=True).close()


def test_a_run_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OBJIO_RUN names the run of every Saver of the program, which go on one after the other."""
    monkeypatch.setenv('OBJIO_RUN', 'a')
    first = objio.Saver(Net(), resume=True)
    second = objio.Saver(Net(), resume=True)
    with pytest.raises(BlockingIOError, match='this program'):
        objio.Saver(Net())
    with pytest.raises(ValueError, match=TAKEN_OVER):
        first.save()
    second.save()


def test_the_run_is_known_by_every_path(tmp_path: Path) -> None:
    """A relative root, an absolute one and a link lead to one run."""
    saver = objio.Saver(Net(), run='a')
    Path('link').symlink_to('storage')
    for root in ('storage', tmp_path / 'storage', './link', 'storage/../link'):
        with pytest.raises(BlockingIOError, match='this program'):
            objio.Saver(Net(), run='a', root=root)
        newer = objio.Saver(Net(), run='a', root=root, resume=True)
        with pytest.raises(ValueError, match=TAKEN_OVER):
            saver.save()
        saver = newer
    saver.save()


def test_a_newer_saver_that_is_refused_takes_nothing() -> None:
    """Other settings, another class, damaged metrics: the older Saver keeps the run, and no file changes."""
    saver = objio.Saver(Net(), {'nin': 3}, run='a')
    saver.log(step=1, loss=1.0)
    before = content()
    for model, config in ((Net(), {'nin': 4}), (objio.nn.Linear(3, 2), {'nin': 3})):
        with pytest.raises(objio.ConfigConflict):
            objio.Saver(model, config, run='a', resume=True)
    Path('storage/a/metrics.jsonl').write_text('x\n')
    with pytest.raises(objio.FormatError):
        objio.Saver(Net(), {'nin': 3}, run='a', resume=True)
    Path('storage/a/metrics.jsonl').write_bytes(before['storage/a/metrics.jsonl'])
    assert content() == before
    saver.log(step=2, loss=0.5)
    saver.save()
    saver.close()
    assert objio.runs()['a'].metrics == {'loss': {1: 1.0, 2: 0.5}}


def test_a_disk_that_fails_while_the_run_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new session cannot be written, the older Saver goes on."""
    saver = objio.Saver(Net(), run='a')

    def fail(*_: Any) -> None:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as full:
        full.setattr(sessions, 'write_provenance', fail)
        with pytest.raises(OSError, match='No space'):
            objio.Saver(Net(), run='a', resume=True)
    saver.log(step=1, loss=1.0)
    saver.close()
    assert states() == ['finished']


def test_a_block_that_is_run_again_after_an_exception() -> None:
    """A `with` block that failed has ended its session, and the next one goes on."""
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), objio.Saver(Net(), run='a', resume=True) as saver:
            saver.log(step=1, loss=1.0)
            _ = 1 / 0
    with objio.Saver(Net(), run='a', resume=True) as saver:
        saver.save()
    assert states() == ['failed', 'failed', 'finished']


def test_a_saver_in_a_circle_loses_its_run_too() -> None:
    """A Saver that waits for the garbage collector has the run until another one takes it over."""
    saver = objio.Saver(Net(), run='a')
    saver.circle = saver
    del saver
    with objio.Saver(Net(), run='a', resume=True) as newer:
        gc.collect()
        newer.save()
    assert states() == ['finished', 'finished']


def test_other_runs_are_left_alone() -> None:
    """A run of another name, or of that name in another storage, keeps its Saver."""
    kept = [objio.Saver(Net(), run='b'), objio.Saver(Net(), run='a', root='elsewhere'), objio.Saver(Net())]
    for _ in range(2):
        objio.Saver(Net(), run='a', resume=True)
    for saver in kept:
        saver.log(step=1, loss=1.0)
        saver.save()


def test_what_was_logged_twice_counts_once() -> None:
    """A cell that logs the same steps again replaces what it logged before; nothing is lost before that."""
    for loss in (1.0, 2.0):
        saver = objio.Saver(Net(), run='a', resume=True)
        for step in range(1, 4):
            saver.log(step=step, loss=loss)
    saver = objio.Saver(Net(), run='a', resume=True)
    saver.log(step=3, loss=3.0)
    saver.save()
    assert objio.runs()['a'].metrics == {'loss': {1: 2.0, 2: 2.0, 3: 3.0}}
    assert objio.runs()['a'].saved == {'step': 3.0, 'loss': 3.0}


def test_threads_that_take_a_run_over_do_so_one_after_the_other() -> None:
    """Of many threads that make a Saver of one run each has it for a time, and the last one keeps it."""
    first = objio.Saver(Net(), run='a')
    made: list[objio.Saver] = []
    models = [Net() for _ in range(6)]
    threads = [
        threading.Thread(target=lambda model=model: made.append(objio.Saver(model, run='a', resume=True)))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    able = []
    for saver in [first, *made]:
        with contextlib.suppress(ValueError):
            saver.save()
            able.append(saver)
    assert len(able) == 1
    able[0].close()
    assert states() == ['finished'] * 7


def test_a_model_goes_on_under_its_newer_saver() -> None:
    """A Model that the older Saver had is saved by the newer one, whose class was defined again meanwhile."""
    line = Line(None)
    older = objio.Saver(line, run='a')
    older.log(step=1, loss=1.0)
    older.save()
    again = type('Line', (objio.Model,), {'Config': Line.Config, 'build': Line.build, '__module__': Line.__module__})
    newer = objio.Saver(again(None), run='a', resume=True)
    assert newer.restore() == 1
    newer.save()
    newest = objio.Saver(line, run='a', resume=True)
    newest.save()
    assert type(objio.Saver.load('a')) is again
    assert type(objio.Saver.load('a', cls=Line)) is Line
    line.save('storage/a')
    newest.close()
    with pytest.raises(FileExistsError, match='that of a run'):
        line.save('storage/a')

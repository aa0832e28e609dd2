"""A folder of saves that a program opens again, while its save in the background goes on, is waited for."""

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import fill, model, names, value_of, with_functions

import objio
from objio import storage

_LATER_S = 0.3  # only who does not wait is faster; a slow machine makes no test fail


class Slow:
    """A saving function that another thread lets through a moment after it was begun."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.fails = False

    def save(self, file: str, vc: objio.VarCollection, *, metadata: Any = None) -> None:
        """Saves as objio does, or fails, after the moment."""
        self.begun.set()
        assert self.open.wait(30)
        if self.fails:
            raise OSError('the disk is gone')
        objio.save_var_collection(file, vc, metadata=metadata)

    def checkpoint(self, folder: Any, **options: Any) -> objio.Checkpoint:
        """A Checkpoint that saves with it, in the background."""
        return with_functions(self.save, objio.load_var_collection)(folder, background=True, **options)


@pytest.fixture
def slow() -> Iterator[Slow]:
    """A slow save, which is through by the end of the test."""
    slow = Slow()
    timer = threading.Timer(_LATER_S, slow.open.set)
    timer.start()
    yield slow
    timer.join()


def running(slow: Slow, folder: Any, idx: int = 1) -> objio.Checkpoint:
    """A Checkpoint whose save is under way."""
    ckpt = slow.checkpoint(folder)
    fill(ckpt, idx)
    assert slow.begun.wait(30)
    return ckpt


@pytest.mark.parametrize(
    ('ask', 'expected'),
    [
        (lambda ckpt: ckpt.restore(model())[0], 7),
        (lambda ckpt: ckpt.restore(model(), idx=7)[0], 7),
        (lambda ckpt: ckpt.idxs(), [7]),
        (lambda ckpt: ckpt.latest(), 7),
        (lambda ckpt: ckpt.average(model()), [7]),
        (lambda ckpt: len(ckpt.explain()), 1),
        (lambda ckpt: ckpt.truncate(after=3), [7]),
    ],
)
def test_whoever_asks_sees_the_save_that_was_under_way(
    ask: Callable[[objio.Checkpoint], Any], expected: object, slow: Slow, tmp_path: Path
) -> None:
    """Each question waits for the save of the other Checkpoint of this program."""
    ckpt = running(slow, tmp_path, 7)
    assert ask(objio.Checkpoint(tmp_path)) == expected
    ckpt.close()


def test_the_name_is_given_to_a_new_one_while_the_old_one_saves(slow: Slow, tmp_path: Path) -> None:
    """A cell that makes the Checkpoint again goes on from the save of the cell before."""
    ckpt = running(slow, tmp_path, 3)
    ckpt = slow.checkpoint(tmp_path)
    gc.collect()
    vc = model()
    assert ckpt.restore(vc)[0] == 3
    assert value_of(vc) == 3
    fill(ckpt, 4)
    ckpt.close()
    assert ckpt.idxs() == [3, 4]


@pytest.mark.parametrize('background', [False, True])
def test_a_save_waits_for_that_of_the_other(background: bool, slow: Slow, tmp_path: Path) -> None:
    """Two saves of one program into one folder come one after the other, and the order is checked."""
    older = running(slow, tmp_path, 5)
    newer = objio.Checkpoint(tmp_path, background=background)
    with pytest.raises(objio.SaveOrderError, match='the save 4'):
        fill(newer, 4)
    fill(newer, 5, 6)
    newer.close()
    older.close()
    assert newer.idxs() == [5, 6]
    assert names(tmp_path / 'ckpt') == ['0000000005.npz', '0000000006.npz']


def test_the_folder_is_known_by_every_path(slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path and a link lead to the folder that is being written."""
    os.symlink(tmp_path, tmp_path / 'link')
    ckpt = running(slow, tmp_path / 'run')
    monkeypatch.chdir(tmp_path)
    for path in ('link/run', 'run', './run/../run'):
        assert objio.Checkpoint(path).latest() == 1
    ckpt.close()


def test_another_folder_is_not_waited_for(tmp_path: Path) -> None:
    """A save that hangs holds up nobody elsewhere."""
    slow = Slow()
    ckpt = running(slow, tmp_path / 'a')
    other = objio.Checkpoint(tmp_path / 'b', background=True)
    fill(other, 1)
    other.close()
    assert other.latest() == 1
    slow.open.set()
    ckpt.close()


def test_a_save_that_failed_is_told_by_its_own_checkpoint(
    slow: Slow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waited for it goes on with what is there; the failure is raised, or logged, where it was begun."""
    fill(objio.Checkpoint(tmp_path), 1)
    slow.fails = True
    older = running(slow, tmp_path, 2)
    assert objio.Checkpoint(tmp_path).restore(model())[0] == 1
    with pytest.raises(objio.SaveFailed, match='the save 2 failed'):
        older.close()
    fill(older, 3)
    del older
    gc.collect()
    with caplog.at_level(logging.ERROR, 'objio'):
        assert objio.Checkpoint(tmp_path).latest() == 1
        for thread in threading.enumerate():
            if thread.name == 'objio-save-3':
                thread.join(30)
        gc.collect()
    assert [record.levelname for record in caplog.records if 'the save 3 failed' in record.message] == ['ERROR']


def test_a_saving_function_may_look_into_its_folder(tmp_path: Path) -> None:
    """A save does not wait for itself."""
    seen = []

    def save(file: str, vc: objio.VarCollection) -> None:
        seen.append(objio.Checkpoint(tmp_path).idxs())
        objio.save_var_collection(file, vc)

    with with_functions(save, objio.load_var_collection)(tmp_path, background=True) as ckpt:
        fill(ckpt, 1, 2)
    assert seen == [[], [1]]


def test_the_temporary_file_of_the_running_save_stays(slow: Slow, tmp_path: Path) -> None:
    """A Checkpoint that is made meanwhile sweeps nothing of a save of the same program."""
    folder = tmp_path / 'ckpt'

    def save(file: str, vc: objio.VarCollection) -> None:
        with storage.create(file, durable=False, size=4) as sink:
            sink.write(b'half')
            slow.begun.set()
            assert slow.open.wait(30)

    ckpt = with_functions(save, objio.load_var_collection)(tmp_path, background=True)
    fill(ckpt, 1)
    assert slow.begun.wait(30)
    (temporary,) = names(folder)
    objio.Checkpoint(tmp_path)
    assert names(folder) == [temporary]
    slow.open.set()
    with pytest.raises(objio.SaveFailed):
        ckpt.close()

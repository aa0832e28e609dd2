"""The thread that writes: one job at a time, a failure told once, and a program that ends waits for it."""

import functools
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from objio.errors import SaveFailed
from objio.io.background import Writer


def fail() -> None:
    """A job that fails."""
    raise OSError(28, 'the disk is full')


def test_a_job_runs_beside_its_caller() -> None:
    """`start` returns while the job runs, in a thread that the program waits for; `wait` returns when it is done."""
    writer, begun, go, done = Writer(), threading.Event(), threading.Event(), []

    def job() -> None:
        assert not threading.current_thread().daemon
        begun.set()
        go.wait(10)
        done.append(1)

    writer.start(job, 1)
    assert begun.wait(10)
    assert not done
    go.set()
    writer.wait()
    assert done == [1]


def test_one_job_runs_at_a_time() -> None:
    """The second job begins when the first has ended."""
    writer, running, most = Writer(), [], []

    def job() -> None:
        running.append(1)
        most.append(len(running))
        running.pop()

    for idx in range(50):
        writer.start(job, idx)
    writer.wait()
    assert most == [1] * 50


@pytest.mark.parametrize('kind', [OSError, SystemExit, KeyboardInterrupt, MemoryError])
def test_a_failure_is_raised_once(kind: type[BaseException]) -> None:
    """Whatever a job raises becomes a SaveFailed with its index and its cause, once."""

    def job() -> None:
        raise kind('no')

    writer = Writer()
    writer.start(job, 7)
    writer.settle()
    with pytest.raises(SaveFailed, match='the save 7 failed in the background: no') as caught:
        writer.wait()
    assert caught.value.idx == 7
    assert type(caught.value.__cause__) is kind
    writer.wait()


def test_the_next_job_is_not_begun_after_a_failure() -> None:
    """A job whose predecessor failed is not begun: its caller learns of the failure first."""
    writer, ran = Writer(), []
    writer.start(fail, 1)
    with pytest.raises(SaveFailed):
        writer.start(lambda: ran.append(2), 2)
    writer.start(lambda: ran.append(3), 3)
    writer.wait()
    assert ran == [3]


def test_a_failure_keeps_nothing_of_its_job_alive() -> None:
    """What a failed job worked on is freed before anybody asks for the failure."""
    writer, array = Writer(), np.zeros(10)
    freed = weakref.ref(array)

    def job(held: np.ndarray) -> None:
        local = held  # noqa: F841  # by the frame, which the traceback holds
        fail()

    writer.start(functools.partial(job, array), 1)
    del array
    writer.settle()
    gc.collect()
    assert freed() is None
    with pytest.raises(SaveFailed):
        writer.wait()


def test_a_finished_job_keeps_nothing_alive() -> None:
    """What a job worked on is freed when it is done."""
    writer, array = Writer(), np.zeros(10)
    freed = weakref.ref(array)
    writer.start(functools.partial(np.sum, array), 1)
    del array
    writer.settle()
    gc.collect()
    assert freed() is None


def test_a_job_may_ask_its_writer() -> None:
    """A job that waits for its own writer does not wait for ever."""
    writer = Writer()
    writer.start(writer.settle, 1)
    writer.wait()


def test_ctrl_c_while_waiting_leaves_the_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the waiting, not the job; the next `wait` waits for it again."""
    writer, go, done = Writer(), threading.Event(), []
    writer.start(lambda: (go.wait(10), done.append(1)), 1)

    def interrupted(self: object, timeout: object = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Future, 'result', interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.wait()
    go.set()
    writer.wait()
    assert done == [1]


@pytest.mark.parametrize('before', [True, False])
def test_ctrl_c_while_starting_leaves_a_working_writer(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in `start` leaves the job undone or done, and the writer fit for the next."""
    writer, done, real = Writer(), [], threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if not before:
            real(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.start(lambda: done.append(1), 1)
    writer.start(lambda: done.append(2), 2)
    writer.wait()
    assert done in ([2], [1, 2])


def test_a_failure_nobody_asks_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A writer that is forgotten logs its failure as an error, with the cause."""
    writer = Writer()
    writer.start(fail, 5)
    writer.settle()
    del writer
    gc.collect()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ('objio', logging.ERROR)
    assert 'the save 5 failed in the background' in record.message
    assert 'OSError' in caplog.text


def test_a_program_that_ends_finishes_and_tells() -> None:
    """A program that ends waits for its job; a failure it did not ask for is logged as an error."""
    program = """
import sys, threading
sys.path.insert(0, '.')
from objio.io.background import Writer
good, bad = Writer(), Writer()
good.start(lambda: (threading.main_thread().join(), print('written')), 1)
def fail():
    threading.main_thread().join()
    raise OSError('the disk is gone')
bad.start(fail, 2)
"""
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == 'written\n'
    assert 'the save 2 failed in the background: the disk is gone' in result.stderr


def test_at_the_end_of_the_program_a_job_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread would be waited for, the job is done by the caller, who hears of its failure."""
    writer, seen = Writer(), []
    ended = threading.Thread()
    monkeypatch.setattr(threading, 'main_thread', lambda: ended)
    writer.start(lambda: seen.append(threading.current_thread()), 1)
    assert seen == [threading.current_thread()]
    with pytest.raises(SaveFailed, match='the save 2 failed: .*the disk is full') as info:
        writer.start(fail, 2)
    assert info.value.idx == 2
    writer.wait()


def test_a_child_of_a_fork_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the parent is not there, so the child must not wait for it."""
    writer, ready = Writer(), threading.Event()
    writer.start(ready.wait, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, 'getpid', lambda: -1)
        child = threading.Thread(target=writer.wait, daemon=True)
        child.start()
        child.join(30)
        assert not child.is_alive()
    ready.set()


def test_a_failure_without_words_says_its_kind() -> None:
    """An exception that says nothing, such as Ctrl-C, is called by its name."""

    def stop() -> None:
        raise KeyboardInterrupt

    writer = Writer()
    writer.start(stop, 1)
    with pytest.raises(SaveFailed, match='KeyboardInterrupt'):
        writer.wait()

"""A thread that writes one save while the training goes on, and tells afterwards if that failed."""

import contextlib
import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import NamedTuple

from objio.errors import SaveFailed

_LOG = logging.getLogger('objio')


class _InFlight(NamedTuple):
    """A job that a writer of this process has begun, and has not done yet."""

    place: str
    done: 'Future[None]'
    thread: threading.Thread
    process: int


_in_flight: dict[int, _InFlight] = {}  # by the `id` of the future


def wait_for(place: str) -> None:
    """Waits until no writer of this process is writing to a place; a failure is for that writer to raise.

    Args:
        place: the path of what is written.
    """
    place = os.path.realpath(place)
    for job in list(_in_flight.values()):
        # The child of a fork has the table, but none of the threads.
        if job.place == place and job.process == os.getpid() and job.thread is not threading.current_thread():
            with contextlib.suppress(CancelledError):
                job.done.result()


class Writer:
    """Runs one job at a time, each in a thread of its own, which a program that ends waits for.

    A failure is raised by the next `wait`. One that nobody waits for is logged as an error when the program ends or
    the writer is forgotten.

    Args:
        place: the path of what all jobs write, for `settle` and `wait_for`; '' where each job names its own.
    """

    def __init__(self, place: str = '') -> None:
        self._place = place and os.path.realpath(place)
        self._thread: threading.Thread | None = None
        self._done: Future[None] | None = None
        self._failures: list[SaveFailed] = []
        self._process = os.getpid()
        # Threads are joined before the program's exit functions run, so that the last failure is known by then.
        weakref.finalize(self, _log, self._failures)

    def start(self, job: Callable[[], object], idx: int, place: str = '') -> None:
        """Runs a job in the background; waits for the one before it.

        Args:
            job: called without arguments.
            idx: the index of the save, for `SaveFailed`.
            place: the path of what it writes, where that is not the writer's own, for `wait_for`.

        Raises:
            SaveFailed: the job before failed; this one was not started. Or the program is at its end, where the job is
                done at once, and failed.
        """
        self.wait()
        if not threading.main_thread().is_alive():  # nobody waits for the threads that `atexit` functions start
            try:
                job()
            except Exception as error:
                raise SaveFailed(f'the save {idx} failed: {error}', idx) from error
            return
        done: Future[None] = Future()
        # The thread holds the writer, so that a writer is never forgotten while it works.
        thread = threading.Thread(target=self._run, args=(job, idx, done), name=f'objio-save-{idx}', daemon=False)
        self._thread, self._done = thread, done
        _in_flight[id(done)] = _InFlight(os.path.realpath(place or self._place), done, thread, os.getpid())
        try:
            thread.start()
        except BaseException:
            # Ctrl-C may come before or after the thread was made: whichever of the two takes the future decides.
            if done.cancel():
                _in_flight.pop(id(done), None)
            raise

    def settle(self) -> None:
        """Waits until nothing is being written, by other writers of the place too; a failure is kept for `wait`."""
        if self._place:
            wait_for(self._place)
        self._settle()

    def _settle(self) -> None:
        if os.getpid() != self._process:  # in a child that a fork made there is no such thread
            self._thread = self._done = None
            self._process = os.getpid()
        thread, done = self._thread, self._done
        if thread is None or done is None or thread is threading.current_thread():
            return
        if not done.cancelled():
            done.result()
            thread.join()  # a moment later it holds nothing of the job any more
        self._thread = self._done = None

    def wait(self) -> None:
        """Waits until this writer writes nothing.

        Raises:
            SaveFailed: the save failed; its cause is chained. It is raised once.
        """
        self._settle()
        if self._failures:
            raise self._failures.pop()

    def log_failure(self) -> None:
        """Logs a failure that `wait` would have raised."""
        _log(self._failures)

    def _run(self, job: Callable[[], object], idx: int, done: 'Future[None]') -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # whatever it was, it is raised in the other thread
            # Its frames would keep the whole snapshot in memory until somebody asks.
            traceback.clear_frames(error.__traceback__)
            failure = SaveFailed(f'the save {idx} failed in the background: {str(error) or type(error).__name__}', idx)
            failure.__cause__ = error
            self._failures.append(failure)
        finally:
            _in_flight.pop(id(done), None)
            done.set_result(None)
            del self, job  # this frame is one of the traceback's


def _log(failures: list[SaveFailed]) -> None:
    while failures:
        failure = failures.pop()
        _LOG.error('%s', failure, exc_info=failure)

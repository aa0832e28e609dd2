"""A thread that writes one save while the training goes on, and tells afterwards if that failed."""

import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future

from objio.errors import SaveFailed

_LOG = logging.getLogger('objio')


class Writer:
    """Runs one job at a time, each in a thread of its own, which a program that ends waits for.

    A failure is raised by the next `wait`. One that nobody waits for is logged as an error when the program ends or
    the writer is forgotten.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._done: Future[None] | None = None
        self._failures: list[SaveFailed] = []
        self._process = os.getpid()
        # Threads are joined before the program's exit functions run, so that the last failure is known by then.
        weakref.finalize(self, _log, self._failures)

    def start(self, job: Callable[[], object], idx: int) -> None:
        """Runs a job in the background; waits for the one before it.

        Args:
            job: called without arguments.
            idx: the index of the save, for `SaveFailed`.

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
        try:
            thread.start()
        except BaseException:
            # Ctrl-C may come before or after the thread was made: whichever of the two takes the future decides.
            done.cancel()
            raise

    def settle(self) -> None:
        """Waits until nothing is being written; a failure is kept for the next `wait`."""
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
        """Waits until nothing is being written.

        Raises:
            SaveFailed: the save failed; its cause is chained. It is raised once.
        """
        self.settle()
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
            done.set_result(None)
            del self, job  # this frame is one of the traceback's


def _log(failures: list[SaveFailed]) -> None:
    while failures:
        failure = failures.pop()
        _LOG.error('%s', failure, exc_info=failure)

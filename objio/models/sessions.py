"""The folder of a run: who may write to it, and what each of its sessions was.

A session is one start of the run, or one resume of it. It holds the lock of the folder for as long as it lives; a
session that has no end, and whose lock is free, was killed.
"""

import atexit
import contextlib
import errno
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from objio import storage
from objio.errors import FormatError
from objio.io.texts import read_bytes
from objio.models.provenance import now
from objio.storage import locks

PROVENANCE, METRICS, LOCK = 'provenance.json', 'metrics.jsonl', '.lock'
_FORMAT = 'objio-run 1'
_STATES = ('running', 'finished', 'failed')
_LARGEST = 100 << 20  # bytes of the file of sessions
_LOG = logging.getLogger('objio')

Check = Callable[[list[dict[str, Any]], str], None]


class Session:
    """The right to write to a run's folder, until `end`, or until the process ends.

    Attributes:
        folder: the run's folder, absolute: the program may go elsewhere.
        number: counted from 1.
    """

    def __init__(self, folder: str, held: locks.Hold, sessions: list[dict[str, Any]]) -> None:
        self.folder = os.path.abspath(folder)
        self.number = len(sessions)
        self._held = held
        self._sessions = sessions
        self._process = os.getpid()
        self._taken_over = False
        _OPEN.add(self)

    def file(self, name: str) -> str:
        """The path of a file of the run."""
        return os.path.join(self.folder, name)

    def is_of(self, folder: str | os.PathLike[str]) -> bool:
        """Whether the session goes on, and this is its folder."""
        return not self._taken_over and self._held.is_in_place() and os.path.samefile(self.folder, folder)

    def check(self) -> None:
        """Checks that this process may still write.

        Raises:
            ValueError: the session has ended, was taken over, or a fork took it into another process.
            FileNotFoundError: the folder was removed, or replaced by another.
        """
        if os.getpid() != self._process:
            raise ValueError(f'{self.folder} belongs to the process {self._process}; only that one writes to it')
        if self._taken_over:
            raise ValueError(
                f'{self.folder}: the run was taken over by a newer Saver of this program (process {self._process}), '
                'made with resume=True; use that one'
            )
        if not self._held.release.alive:
            raise ValueError(f'{self.folder}: the run has ended; Saver(..., resume=True) goes on with it')
        if not self._held.is_in_place():
            raise FileNotFoundError(errno.ENOENT, 'the folder of the run was removed while it was running', self.folder)

    def end(self, state: str, error: str | None = None) -> None:
        """Writes how the session ended, and lets go of the folder; a second time it does nothing."""
        if self._taken_over or not self._held.release.alive:  # as in a child that a fork made
            return
        try:
            if self._held.is_in_place():
                self._sessions[-1] |= {'state': state, 'end': now(), 'error': error}
                write_provenance(self.folder, self._sessions)
        finally:
            _OPEN.discard(self)
            self._held.release()

    def hand_over(self, facts: Mapping[str, Any], check: Check | None, folder: str) -> 'Session':
        """Ends this session well and begins the next one of the run, which has the lock from then on.

        Args:
            facts: as for `begin`, as is `check`.
            check: what may refuse; then this session goes on.
            folder: the run's, as it was given this time.
        """
        sessions = [*self._sessions[:-1], {**self._sessions[-1], 'state': 'finished', 'end': now()}]
        if check is not None:
            check(sessions, folder)
        sessions.append(_begun(facts))
        write_provenance(self.folder, sessions)
        self._taken_over = True
        _OPEN.discard(self)
        _LOG.info('%s: a newer Saver of this program goes on with the run; the one before it has ended', self.folder)
        return Session(self.folder, self._held, sessions)

    def end_unattended(self, error: str | None = None) -> None:
        """Ends a session whose program said nothing of its end; a bad disk is told in the log, as nobody would hear."""
        try:
            self.end('failed' if error else 'finished', error)
        except OSError as failure:
            _LOG.error('%s: the end of the run could not be written: %s', self.folder, failure)


_OPEN: set[Session] = set()
_BEGINNING = threading.RLock()  # one thread at a time, so that a run is handed over once


def _begin_anew() -> None:
    """In a new child: the thread that began a run is not there to let go."""
    global _BEGINNING
    _BEGINNING = threading.RLock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_begin_anew)


@atexit.register
def _end_all() -> None:
    """At the end of the program, which Python remembers the cause of; a console goes on after an exception."""
    error = None if hasattr(sys, 'ps1') else described(getattr(sys, 'last_value', None))
    for session in list(_OPEN):
        session.end_unattended(error)


def begin(folder: str, facts: Mapping[str, Any], *, resume: bool, check: Check | None = None) -> Session:
    """Takes a folder for a run, and makes it where it is missing.

    Args:
        folder: the run's; the one above it is there.
        facts: the provenance of this session.
        resume: go on with the run, where there is one.
        check: called with the sessions that the run had and its folder, before anything is written.

    Where this process has the run itself, to resume it ends that session and takes its place.

    Raises:
        BlockingIOError: another process that lives has the run, or this one has, and it is not resumed.
        FileExistsError: there is such a run, and it is not resumed; or the folder holds something else.
        OSError: the folder cannot be made or written to. Nothing was changed, in each case.
    """
    with _BEGINNING:
        own = session_of(folder)
        if own is None:
            return _begin(folder, facts, resume=resume, check=check)
        if resume:
            return own.hand_over(facts, check, folder)
    raise BlockingIOError(
        errno.EAGAIN,
        f'this program has the run open already (process {os.getpid()}): close() the Saver that has it, or go on with '
        'the run in its place, Saver(..., resume=True)',
        folder,
    )


def session_of(folder: str | os.PathLike[str]) -> Session | None:
    """The session of this process that has a folder, by whatever path; None where there is none."""
    if not os.path.isdir(folder):
        return None
    return next((session for session in list(_OPEN) if session.is_of(folder)), None)


def _begun(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, 'state': 'running', 'end': None, 'error': None}


def _begin(folder: str, facts: Mapping[str, Any], *, resume: bool, check: Check | None) -> Session:
    refuse(folder, resume=resume)
    made = _make(folder)
    path = os.path.abspath(os.path.join(folder, LOCK))
    held: locks.Hold | None = None
    try:
        held = locks.hold(path)
        if held is None:
            raise _in_use(folder)
        made = made and not os.path.exists(os.path.join(folder, PROVENANCE))
        refuse(folder, resume=resume, mine=True)
        sessions = read_sessions(folder) or []
        if check is not None:
            check(sessions, folder)
        storage.sweep(folder)
        sessions.append(_begun(facts))
        write_provenance(folder, sessions)
    except BaseException:
        if held is not None:
            if made:
                _unmake(folder)
            held.release()
        raise
    return Session(folder, held, sessions)


def refuse(folder: str, *, resume: bool, mine: bool = False) -> None:
    """Refuses a folder that is not free; `mine`: the lock is this process's own."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise FileExistsError(errno.EEXIST, 'a run needs a folder of its own, and there is a file', folder) from None
    if not mine and locks.is_held(os.path.join(folder, LOCK)):
        raise _in_use(folder)
    others = sorted(name for name in names if name != LOCK and not storage.is_temporary(name))
    if PROVENANCE in others:
        if not resume:
            raise FileExistsError(
                errno.EEXIST,
                'there is such a run already; give the new one another name, or go on with it: resume=True',
                folder,
            )
    elif others:
        raise FileExistsError(
            errno.EEXIST, f'the folder is not that of a run, it holds {", ".join(others[:3])}; choose another', folder
        )


def refuse_stranger(folder: str | os.PathLike[str]) -> None:
    """Refuses to save a model into the folder of a run that this process has not taken.

    Raises:
        FileExistsError: it is the folder of a run, and no session of this process has it.
    """
    if not os.path.exists(os.path.join(folder, PROVENANCE)):
        return
    if session_of(folder) is not None:
        return
    raise FileExistsError(
        errno.EEXIST,
        'the folder is that of a run, which only its Saver writes to; nothing was written. Go on with the run, '
        'Saver(model, run=..., resume=True), or save the model elsewhere, save(path)',
        os.fspath(folder),
    )


def _in_use(folder: str) -> BlockingIOError:
    who = ''
    with contextlib.suppress(OSError, FormatError):
        sessions = read_sessions(folder)
        who = f', the process {sessions[-1].get("pid")} on {sessions[-1].get("host")}' if sessions else ''
    return BlockingIOError(errno.EAGAIN, f'the run is being written by a process that lives{who}', folder)


def _make(folder: str) -> bool:
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    except OSError as error:
        raise OSError(
            error.errno, f'{error.strerror}: a run makes a folder of its own; nothing was written', folder
        ) from error
    storage.sync_folder(storage.folder_of(folder))
    return True


def _unmake(folder: str) -> None:
    """Removes a folder that was begun; what came into it meanwhile stays."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, LOCK))
        os.rmdir(folder)


def read_sessions(folder: str) -> list[dict[str, Any]] | None:
    """The sessions of the run in a folder, the first one first; None where there is no run.

    Raises:
        FormatError: their file is damaged.
    """
    path = os.path.join(folder, PROVENANCE)
    try:
        text = read_bytes(path, _LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{path}: expected JSON, found {bytes(text[:60])!r} ({error})') from error
    sessions = content.get('sessions') if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.get('format') != _FORMAT:
        found = content.get('format') if isinstance(content, dict) else content
        raise FormatError(f'{path}: expected the format {_FORMAT!r}, found {found!r}')
    if not isinstance(sessions, list) or not sessions or not all(map(_is_session, sessions)):
        raise FormatError(f'{path}: expected a list of sessions, each with its start, state and settings')
    return sessions


def _is_session(session: object) -> bool:
    return (
        isinstance(session, dict)
        and session.get('state') in _STATES
        and isinstance(session.get('start'), str)
        and isinstance(session.get('settings'), dict)
        and isinstance(session['settings'].get('class'), str)
        and isinstance(session['settings'].get('values'), dict)
    )


def write_provenance(folder: str, sessions: list[dict[str, Any]]) -> None:
    """Replaces the file of a run's sessions, whole."""
    text = json.dumps({'format': _FORMAT, 'sessions': sessions}, indent=2, ensure_ascii=False).encode() + b'\n'
    with storage.create(os.path.join(folder, PROVENANCE), durable=True, size=len(text)) as sink:
        sink.write(text)


def state_of(folder: str, sessions: list[dict[str, Any]]) -> str:
    """'running', 'finished', 'failed', or 'killed': a run without an end that nobody has any more."""
    state = str(sessions[-1]['state'])
    # Where the file system has no locks, nobody can know.
    return 'killed' if state == 'running' and locks.is_held(os.path.join(folder, LOCK)) is False else state


def described(error: BaseException | None) -> str | None:
    """An exception in a line."""
    return None if error is None else f'{type(error).__name__}: {error}'.strip(': ')

"""A folder of saves: which of its files are saves, which of these are damaged, and what their metrics are."""

import contextlib
import fnmatch
import itertools
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from objio import storage
from objio.errors import FormatError
from objio.io.files import FixedPath
from objio.io.files import open as open_saved
from objio.io.folders import INDEX
from objio.io.metrics import decode
from objio.io.retention import whole_number
from objio.messages import some

_SET_ASIDE = re.compile(r'.*\.damaged(?:\.[0-9]+)?', re.DOTALL)

# Paths that a `watch` of this process has yielded and not taken back, and how often.
_held: Counter[str] = Counter()
_held_lock = threading.RLock()  # a signal handler that saves may interrupt who has it


@dataclass(frozen=True, slots=True)
class Save:
    """A file that is a save, as it was when the folder was listed."""

    idx: int
    name: str
    path: str
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a save.

    Attributes:
        damaged: what is wrong with it, '' where nothing is known to be.
        unread: why it could not be looked at, None where it could.
        gone: whether it was removed since it was listed.
        metrics: name -> number.
    """

    damaged: str = ''
    unread: OSError | None = None
    gone: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether the save is there, and not known to be damaged."""
        return not self.damaged and not self.gone


class Folder:
    """The saves of a folder. Files are opened when something is asked about them, and once for as long as they stay.

    Args:
        path: of the folder.
        pattern: what the names of saves match, as in a shell.
        file_format: a %-format that makes a name of an index.
        checkpoint_idx: gives the index of the save at a path; None or ValueError where the file there is none.
        judged: whether a file that objio cannot read is damaged; it may be whole where only functions of the user's
            write and read it.
        measured: whether anybody asks for metrics.
        late: whether the folder is made by the first save; a missing one is an empty one then.
    """

    def __init__(
        self,
        path: str,
        pattern: str,
        file_format: str,
        checkpoint_idx: Callable[[str], Any],
        *,
        judged: bool,
        measured: bool,
        late: bool = False,
    ) -> None:
        self._path = FixedPath(path)
        self._pattern = pattern
        self._format = file_format
        self._checkpoint_idx = checkpoint_idx
        self._judged = judged
        self._measured = measured
        self._late = late
        self._known: dict[str, tuple[tuple[int, ...], State]] = {}
        self._stays = threading.local()
        self.check_name(1)  # before a folder without saves looks like a fresh start

    @property
    def path(self) -> str:
        """The folder's path as it was given; absolute where the working folder is another, or may become another."""
        return self._path.absolute if hasattr(self._stays, 'here') else self._path.path

    def stay(self) -> None:
        """Makes all paths of this thread absolute: what it does must not depend on where the program goes meanwhile."""
        self._stays.here = True

    def names(self) -> list[str]:
        """The names of all files, sorted.

        Raises:
            FileNotFoundError: the folder does not exist.
        """
        try:
            return sorted(storage.file_names(self.path))
        except FileNotFoundError as error:
            if self._late:
                return []
            raise FileNotFoundError(
                error.errno, 'the folder of saves does not exist; Checkpoint(..., makedir=True) makes it', self.path
            ) from None

    @contextmanager
    def made(self) -> Iterator[None]:
        """Makes the folder for the first save, in the block; if that fails, there is none again."""
        above = (self.path, os.path.dirname(self.path)) if self._late else ()
        missing = [folder for folder in above if not os.path.exists(folder)]
        if missing:
            storage.make_folder(self.path)
        try:
            yield
        except BaseException:
            for folder in missing:
                with contextlib.suppress(OSError):  # somebody else has put something there
                    os.rmdir(folder)
            raise

    def saves(self) -> list[Save]:
        """Every save, damaged ones too, by ascending index.

        Where several files have one index, the one named as `Checkpoint` names it comes last.
        """
        found = self._listed()
        while found is None:  # a file went meanwhile; where all of them went, newer ones have come
            found = self._listed()
        for name in set(self._known).difference(save.name for save in found):
            self._known.pop(name, None)
        return sorted(found, key=lambda save: (save.idx, save.name == self._format % save.idx, save.name))

    def whole(self) -> dict[int, Save]:
        """The saves that are not known to be damaged, by ascending index."""
        while True:
            states = [(save, self.state(save)) for save in self.saves()]
            if not any(state.gone for _, state in states):
                return {save.idx: save for save, state in states if not state.damaged}

    def newest(self) -> Save | None:
        """The newest save that is not known to be damaged."""
        pending = self.saves()
        while pending:
            save = pending.pop()
            state = self.state(save)
            if state.gone:
                pending = self.saves()
            elif not state.damaged:
                return save
        return None

    def state(self, save: Save) -> State:
        """What is known of a save; its table of contents is read, its arrays are not."""
        identity, state = self._known.get(save.name, (None, State()))
        if identity != save.identity:
            state = self._look(save)
            if not state.unread and not state.gone:
                self._known[save.name] = save.identity, state
        return state

    def mark_damaged(self, save: Save, why: str) -> None:
        """Remembers that the file, as it was when it was listed, cannot be loaded."""
        self._known[save.name] = save.identity, State(damaged=why)

    def at(self, path: str) -> Save | None:
        """The save at a path of this folder, or None."""
        idx = self.index_of(path)
        if idx is None:
            return None
        try:
            # Not `isfile`, which takes a bad disk for a missing file: what stands there would be replaced unseen.
            is_file = stat.S_ISREG(os.stat(path).st_mode)
            return Save(idx, os.path.basename(path), path, storage.identity(path)) if is_file else None
        except FileNotFoundError:
            return None

    def index_of(self, path: str) -> int | None:
        """The index of the save at a path; None where the name is none of a save."""
        name = os.path.basename(path)
        if storage.is_temporary(name) or _SET_ASIDE.fullmatch(name) or not fnmatch.fnmatchcase(name, self._pattern):
            return None
        try:
            idx = self._checkpoint_idx(path)
        except ValueError:
            return None
        try:
            return whole_number(idx, 'checkpoint_idx', 0)
        except (TypeError, ValueError):
            return None

    def set_aside(self, save: Save, *, free: bool) -> str | None:
        """Gives a damaged file a name that no save has, so that the next save can take its place.

        Args:
            save: the damaged file.
            free: whether it loses its own name now; else it has both until the next save takes that one.

        Returns:
            the new path; None where the file is gone, or another saver has put one in its place already.
        """
        numbers = itertools.count(2)
        aside = self.path_of(f'{save.name}.damaged')
        while os.path.lexists(aside) and not _is(aside, save):
            aside = self.path_of(f'{save.name}.damaged.{next(numbers)}')
        if not _is(aside, save):  # else a saver gave it the name that did not come to its end
            try:
                # Not a rename, which might take what another saver has put there since.
                storage.link(save.path, aside)
            except FileExistsError:  # another saver was faster
                return self.set_aside(save, free=free)
            except FileNotFoundError:
                return None
            if not _is(aside, save):
                storage.unlink(aside, save.path)
                return None
        if free and _is(save.path, save):
            storage.remove(save.path)
        return aside

    def path_of(self, name: str) -> str:
        """The path of a file of the folder."""
        return os.path.join(self.path, name)

    def path_for(self, idx: int) -> str:
        """The path at which a save of this index is written."""
        return self.path_of(self._format % idx)

    def check_name(self, idx: int) -> None:
        """Checks that a save of this index is found again by its name.

        Raises:
            ValueError: it is not; the message says what has to fit.
        """
        try:
            name = self._format % idx
        except (TypeError, ValueError) as error:
            raise ValueError(f'FILE_FORMAT must take one integer, as in %010d.npz: {error}') from None
        if name.endswith(INDEX):
            raise ValueError(f'FILE_FORMAT must give the name of one file, {name!r} is an index of several')
        if os.path.basename(name) != name or self.index_of(self.path_of(name)) != idx:
            raise ValueError(
                f'the save {idx} would be called {name!r} and not be found again: FILE_FORMAT must give a name without '
                'folders, FILE_MATCH must match it, and checkpoint_idx must give the index back'
            )

    def is_there(self, save: Save) -> bool:
        """Whether the file is still the one that was listed."""
        return _is(save.path, save)

    def _listed(self) -> list[Save] | None:
        """Every save, in the order of their names; None if one of them went before it was looked at."""
        found = []
        for name in self.names():
            path = self.path_of(name)
            idx = self.index_of(path)
            if idx is not None:
                try:
                    found.append(Save(idx, name, path, storage.identity(path)))
                except FileNotFoundError:
                    return None
        return found

    def _look(self, save: Save) -> State:
        if not self._judged and not self._measured:
            return State()
        try:
            with open_saved(save.path) as saved:
                return State(metrics=decode(saved.metadata))
        except FormatError as error:
            return State(damaged=str(error)) if self._judged else State()
        except FileNotFoundError:
            return State(gone=True)
        except OSError as error:
            # Neither whole nor damaged: it may be readable again in a moment.
            return State(unread=error.with_traceback(None))


def _is(path: str, save: Save) -> bool:
    """Whether a path leads to the file that was listed."""
    try:
        return storage.identity(path) == save.identity
    except FileNotFoundError:
        return False


@contextmanager
def hold(path: str) -> Iterator[None]:
    """Keeps a save from being pruned by this process."""
    key = os.path.realpath(path)
    with _held_lock:
        _held[key] += 1
    try:
        yield
    finally:
        with _held_lock:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]


def is_held(path: str) -> bool:
    """Whether a `watch` of this process has yielded the save and not gone on."""
    return os.path.realpath(path) in _held


def remove_unless_held(path: str) -> bool:
    """Removes a save, and says whether it did; another process may have been faster."""
    key = os.path.realpath(path)
    with _held_lock:
        if key in _held:
            return False
        try:
            storage.remove(path)
        except FileNotFoundError:
            return False
        return True


def refuse_saves_in(outer: Folder, path: str) -> None:
    """Refuses a folder that has saves itself where they belong into a folder in it: a restore would find none.

    Args:
        outer: the folder that was given.
        path: that of the saves in it, which does not exist.

    Raises:
        ValueError: there are saves; the message says what to give, or where to move them.
    """
    saves = outer.saves()
    if saves:
        name = os.path.basename(os.path.abspath(outer.path))
        cure = (
            f'give the folder around it, {os.path.dirname(os.path.normpath(outer.path)) or "."!r}'
            if (name == os.path.basename(path))
            else f'move them there, or give the folder whose {os.path.basename(path)!r} they came from'
        )
        raise ValueError(
            f'{outer.path} has saves itself, {some(save.name for save in saves)}, but a Checkpoint keeps them in a '
            f'folder of its own, {path}, and would find none: {cure}'
        )

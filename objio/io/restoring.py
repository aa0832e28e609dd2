"""Restoring from a folder of saves: the newest that is whole, or the one that was asked for."""

import contextlib
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from objio.errors import FormatError
from objio.io.averaging import mean_of
from objio.io.custom import check_function, load_mean, putting_back
from objio.io.retention import whole_number
from objio.io.saves import Folder, Save
from objio.variables import VarCollection

_LOG = logging.getLogger('objio')


class Restorer:
    """Loads saves of a folder with a loading function.

    Args:
        folder: the saves.
        load: called with a path, a collection and options.
        own: whether `load` is objio's own, which changes nothing when it raises and has one error for a damaged file.
        mean: called with the archive of a mean, its name for messages, and a collection; None where only `load` knows
            how to read the saves.
    """

    def __init__(self, folder: Folder, load: Callable[..., Any], *, own: bool, mean: Callable[..., Any] | None) -> None:
        check_function(load, 'LOAD_FN')
        self._folder = folder
        self._load = load
        self._own = own
        self._mean = mean
        self._damage = (FormatError,) if own else (FormatError, EOFError, zipfile.BadZipFile)

    def newest(self, vc: VarCollection, options: Mapping[str, Any]) -> Save | None:
        """Loads the newest save that is whole; those that are damaged are reported and passed over.

        Returns:
            the save; None where there is none.

        Raises:
            FormatError: every save is damaged; the message lists them.
        """
        damaged: dict[str, str] = {}
        pending = self._folder.saves()
        while pending:
            save = pending.pop()
            state = self._folder.state(save)
            complaint = state.damaged
            if not complaint and not state.gone:
                try:
                    self._try(save, vc, options)
                except self._damage as error:
                    complaint = str(error) or type(error).__name__
                except FileNotFoundError:
                    if self._folder.is_there(save):  # the function missed another file
                        raise
                else:
                    return save
            if complaint:
                if save.path not in damaged:
                    _LOG.warning('passing over a damaged save: %s', _with_path(save, complaint))
                damaged[save.path] = complaint
            else:  # another process removed it, and may have made newer ones
                pending = self._folder.saves()
        if damaged:
            listed = '\n'.join(f'  {path}: {complaint}' for path, complaint in damaged.items())
            raise FormatError(
                f'every save in {self._folder.path} is damaged; nothing was restored. To start anew, use another '
                f'folder.\n{listed}'
            )
        return None

    def at(self, idx: int, vc: VarCollection, options: Mapping[str, Any]) -> Save:
        """Loads the save of an index.

        Raises:
            FileNotFoundError: there is none; the message lists those there are.
            FormatError: it is damaged.
        """
        while True:
            saves = self._folder.saves()
            # Where several files have the index, a whole one is taken before a damaged one.
            found = sorted((save for save in saves if save.idx == idx), key=lambda s: self._folder.state(s).counts)
            if not found:
                raise missing([idx], self._folder.path, sorted({save.idx for save in saves}))
            try:
                self._try(found[-1], vc, options)
            except FileNotFoundError:
                if self._folder.is_there(found[-1]):
                    raise
            else:
                return found[-1]

    def mean(self, saves: Sequence[Save], vc: VarCollection, weights: Sequence[float] | None) -> None:
        """Loads the mean of several saves, the newest last; see `objio.average`."""
        paths = [save.path for save in saves]
        if self._mean is not None:
            with mean_of(paths, weights) as archive:
                self._mean(archive, f'the mean of {len(paths)} saves in {self._folder.path}', vc)
        else:
            load_mean(self._load, paths, vc, weights)

    def choose(self, last: int | None, idxs: Sequence[int] | None) -> list[Save]:
        """The saves that are meant, the newest last: the last so many, those of some indices, or all.

        Raises:
            FileNotFoundError: one is missing, or there is none at all.
            FormatError: one is known to be damaged.
        """
        if last is not None and idxs is not None:
            raise TypeError('give last= or idxs=, not both')
        whole = self._folder.whole()
        if idxs is None:
            wanted = list(whole) if last is None else list(whole)[-whole_number(last, 'last', 1) :]
        else:
            wanted = sorted(whole_number(idx, 'idxs', 0) for idx in idxs)
        if len(set(wanted)) != len(wanted):
            raise ValueError(f'idxs: expected each index once, got {idxs}')
        for save in self._folder.saves():
            if save.idx in wanted and save.idx not in whole:
                raise FormatError(f'{save.path} is damaged: {self._folder.state(save).damaged}')
        absent = [idx for idx in wanted if idx not in whole]
        if absent or not wanted:
            raise missing(absent, self._folder.path, list(whole))
        return [whole[idx] for idx in wanted]

    def _try(self, save: Save, vc: VarCollection, options: Mapping[str, Any]) -> None:
        try:
            with contextlib.nullcontext() if self._own else putting_back(vc):
                self._load(save.path, vc, **options)
        except self._damage as error:
            self._folder.mark_damaged(save, str(error) or type(error).__name__)
            raise


def missing(idxs: list[int], folder: str, there: list[int]) -> FileNotFoundError:
    """The error for saves that were asked for and are not there."""
    wanted = f'no save {_brief(idxs)}' if idxs else 'no save'
    return FileNotFoundError(f'{wanted} in {folder}; ' + (f'there are {_brief(there)}' if there else 'it has none'))


def _brief(idxs: list[int]) -> str:
    return ', '.join(map(str, idxs)) if len(idxs) <= 20 else f'{len(idxs)}, from {idxs[0]} to {idxs[-1]}'


def _with_path(save: Save, complaint: str) -> str:
    return complaint if save.path in complaint else f'{save.path}: {complaint}'

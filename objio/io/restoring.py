"""Restoring from a folder of saves: the newest that is whole, or the one that was asked for."""

import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from objio.errors import FormatError
from objio.io.averaging import mean_of
from objio.io.custom import check_function, load_mean, putting_back
from objio.io.plan import LoadReport
from objio.io.retention import whole_number
from objio.io.saves import Folder, Save
from objio.messages import some
from objio.variables import VarCollection

_LOG = logging.getLogger('objio')


class Restored(NamedTuple):
    """A save that was loaded.

    Attributes:
        save: which one.
        report: what the loading function says of the load; None where a function of the user's says nothing.
    """

    save: Save
    report: LoadReport | None


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

    def newest(self, vc: VarCollection, options: Mapping[str, Any]) -> Restored | None:
        """Loads the newest save that is whole; those that are damaged are reported and passed over.

        Returns:
            the save and what is reported of it; None where there is none.

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
                    return Restored(save, self._try(save, vc, options))
                except self._damage as error:
                    complaint = str(error) or type(error).__name__
                except FileNotFoundError:
                    if self._folder.is_there(save):  # the function missed another file
                        raise
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

    def at(self, idx: int, vc: VarCollection, options: Mapping[str, Any]) -> Restored:
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
                return Restored(found[-1], self._try(found[-1], vc, options))
            except FileNotFoundError:
                if self._folder.is_there(found[-1]):
                    raise

    def mean(self, saves: Sequence[Save], vc: VarCollection, weights: Sequence[float] | None) -> LoadReport | None:
        """Loads the mean of several saves, the newest last; see `objio.average`."""
        paths = [save.path for save in saves]
        if self._mean is not None:
            with mean_of(paths, weights) as archive:
                return _as_report(self._mean(archive, f'the mean of {len(paths)} saves in {self._folder.path}', vc))
        load_mean(self._load, paths, vc, weights)
        return None

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

    def _try(self, save: Save, vc: VarCollection, options: Mapping[str, Any]) -> LoadReport | None:
        try:
            if self._own:
                return _as_report(self._load(save.path, vc, **options))
            with putting_back(vc) as unassigned:
                report = _as_report(self._load(save.path, vc, **options))
                if report is None and (kept := unassigned()):
                    _LOG.warning(
                        '%s: LOAD_FN did not assign %d of %d variables, which kept their values: %s',
                        *(save.path, len(kept), len(vc.groups()), some(kept)),
                    )
                return report
        except self._damage as error:
            self._folder.mark_damaged(save, str(error) or type(error).__name__)
            raise


def log_left_out(name: str, report: LoadReport | None, *, verbose: bool) -> None:
    """Says in the log what a load left out: a warning where variables kept their values, else for information.

    Args:
        name: what was loaded.
        report: of the load, if there is one.
        verbose: whether information is wanted; a warning is given always.
    """
    if report is None or not (report.missing or (report.unused and verbose)):
        return
    told = []
    if report.missing:
        count = len(report.missing) + len(report.matched)
        told.append(
            f'{len(report.missing):,} of {count:,} variables are missing there and kept their values: '
            f'{some(report.missing)}'
        )
    if report.unused:
        told.append(
            f'{len(report.unused):,} arrays there are unused, since the model lacks them: {some(report.unused)}'
        )
    _LOG.log(logging.WARNING if report.missing else logging.INFO, 'restored %s in part; %s', name, '; '.join(told))


def _as_report(returned: Any) -> LoadReport | None:
    return returned if isinstance(returned, LoadReport) else None


def missing(idxs: list[int], folder: str, there: list[int]) -> FileNotFoundError:
    """The error for saves that were asked for and are not there."""
    wanted = f'no save {_brief(idxs)}' if idxs else 'no save'
    return FileNotFoundError(f'{wanted} in {folder}; ' + (f'there are {_brief(there)}' if there else 'it has none'))


def _brief(idxs: list[int]) -> str:
    return ', '.join(map(str, idxs)) if len(idxs) <= 20 else f'{len(idxs)}, from {idxs[0]} to {idxs[-1]}'


def _with_path(save: Save, complaint: str) -> str:
    return complaint if save.path in complaint else f'{save.path}: {complaint}'

"""Adding a save to a folder: the checks before it, the writing, and the removal of what no rule keeps."""

import contextlib
import copy
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from objio import storage
from objio.errors import FormatError, SaveNotDurable, SaveOrderError
from objio.formats import by_suffix
from objio.io import metrics as metrics_io
from objio.io.contents import contents_of
from objio.io.custom import check_function, takes
from objio.io.files import write
from objio.io.pruning import prune
from objio.io.retention import Policy
from objio.io.saves import Folder
from objio.io.snapshot import snapshot
from objio.messages import nearest, some
from objio.variables import VarCollection

_LOG = logging.getLogger('objio')

# The save is made, and to call it failed would be wrong; the next one tries again.
_NOT_REMOVED = '%s is saved, but nothing was removed: %s'
_UNSURE = '%s is saved, but a power cut may bring back what was removed: %s'

Put = Callable[[str], Any]


class Recorder:
    """Writes saves into a folder with a saving function.

    Args:
        folder: the saves.
        save: called with a path, a collection and options.
        policy: which saves stay.
        own: whether `save` is objio's own, which replaces a file only by a whole one.
        durable: whether a save must be safe from a power cut before anything is removed.
    """

    def __init__(self, folder: Folder, save: Callable[..., Any], policy: Policy, *, own: bool, durable: bool) -> None:
        check_function(save, 'SAVE_FN')
        if policy.keep_best and not takes(save, 'metadata'):
            raise TypeError('keep_best needs metrics, and they need a SAVE_FN with a parameter metadata=')
        self._folder = folder
        self._save = save
        self._policy = policy
        self._own = own
        self._durable = durable
        self._told_of_metric = False
        self._told_of_others = False

    def options(self, metrics: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the saving function is given besides the file and the variables; nothing that it has no parameter for.

        Raises:
            TypeError: there are metrics or metadata, and the function takes no metadata; or they are of a wrong type.
            ValueError: a key of the metadata is reserved, or the metric that `keep_best` goes by is missing.
        """
        content = metrics_io.checked(metadata)
        encoded = None if metrics is None else metrics_io.encode(metrics)
        self._check_metric(encoded)
        if encoded is not None:
            content |= metrics_io.reserved(metrics_io.KEY, encoded)
        options: dict[str, Any] = {'durable': self._durable} if takes(self._save, 'durable') else {}
        if content:
            if not takes(self._save, 'metadata'):
                raise TypeError('metrics and metadata need a SAVE_FN with a parameter metadata=; nothing was written')
            # The caller may change its own while a thread writes.
            options['metadata'] = copy.deepcopy(content)
        return options

    def _check_metric(self, metrics: Mapping[str, Any] | None) -> None:
        """Refuses metrics without the one that `keep_best` goes by; where only `best()` does, the log tells, once."""
        wanted = self._policy.best_metric
        if wanted is None or wanted in (metrics or ()):
            return
        found = f'{some(map(repr, metrics))}{nearest(wanted, metrics)}' if metrics else 'none'
        if self._policy.keep_best:
            raise ValueError(
                f'keep_best goes by the metric {wanted!r}, and metrics has {found}; nothing was written. Give it with '
                f'each save, metrics={{{wanted!r}: ...}}; NaN where there is no number'
            )
        if metrics and not self._told_of_metric:  # a save without any was not measured, which is no mistake
            self._told_of_metric = True
            _LOG.warning('best() goes by the metric %r, and metrics has %s: it passes such saves over', wanted, found)

    def check_order(self, idx: int) -> None:
        """Checks that a save of this index would be the newest, and be found again.

        Raises:
            SaveOrderError: there is a newer whole save.
            ValueError: the name of such a save is not read back as it.
        """
        self._folder.check_name(idx)
        newest = self._folder.newest()
        if newest is not None and newest.idx > idx:
            raise SaveOrderError(
                f'the save {idx} would stand below {newest.path}, and the next restore would pass it by; nothing was '
                f'written. Either restore first and go on from {newest.idx}, or remove what comes after {idx}: '
                f'truncate(after={idx})'
            )

    def prepare(self, vc: VarCollection, idx: int, options: Mapping[str, Any], *, later: bool) -> Put:
        """What will write the variables to a path: for objio's own saving function all that can be refused is by now.

        Args:
            vc: the variables.
            idx: the index of the save.
            options: from `options`.
            later: whether the training goes on before it is called; then the values are those of now.

        Raises:
            UnsaveableError: a name or a value cannot be saved.
            TypeError: the metadata does not survive JSON.
        """
        path = self._folder.path_for(idx)
        if not self._own:
            by_suffix(path)  # in a thread that outlives the program's last line it could not be imported any more
            kept = snapshot(vc) if later else vc
            return lambda path: self._save(path, kept, **options)
        contents = contents_of(vc)
        if later:
            contents = contents.frozen()
        encoded = contents.laid_out(path, metrics_io.to_write(options.get('metadata')))
        return functools.partial(write, encoded=encoded, durable=self._durable)

    def write(self, put: Put, idx: int, options: Mapping[str, Any]) -> tuple[str, list[int]]:
        """Writes a save with what `prepare` gave, and removes those that no rule keeps.

        Returns:
            the path, and the indices that were removed.

        Raises:
            SaveNotDurable: the save is in place, but its folder could not be synced; nothing was removed.
            Exception: what the saving function raises; nothing was removed.
        """
        with self._folder.made():
            return self._write(put, idx, options)

    def _write(self, put: Put, idx: int, options: Mapping[str, Any]) -> tuple[str, list[int]]:
        path = self._folder.path_for(idx)
        storage.sweep(self._folder.path)
        old = self._folder.at(path)
        if old is not None:
            state = self._folder.state(old)
            if state.unread:
                raise state.unread  # whole or damaged, it is not replaced unseen
            # A function of the user's may write in place, through every name that the file has.
            if state.damaged and (aside := self._folder.set_aside(old, free=not self._own)):
                _LOG.warning('%s is damaged and in the way: it is called %s now', path, aside)
        try:
            put(path)
            # Also after one that was given `durable`: whoever takes any option may do nothing with it.
            if self._durable and not self._own and self._folder.at(path) is not None:
                storage.sync(path)
        except SaveNotDurable:
            raise
        except BaseException as error:
            # Only a function that writes in place leaves something else under the name than it found.
            new = None if self._own else self._folder.at(path)
            if new is not None and (old is None or new.identity != old.identity):
                self._folder.mark_damaged(new, f'SAVE_FN did not finish it: {error!r}')
            raise
        try:
            made = self._folder.at(path)
        except OSError as error:
            _LOG.warning(_NOT_REMOVED, path, error)
            return path, []
        if made is None:
            newest = self._folder.newest()
            if newest is not None and newest.idx > idx:  # another process was faster, and kept its own newer ones
                return path, []
            raise FileNotFoundError(
                f'{path} was removed by somebody else as soon as it was written'
                if self._own
                else f'SAVE_FN returned, but there is no file {path}; it has to write to this name'
            )
        state = self._folder.state(made)
        if state.damaged:
            raise FormatError(f'the save just written cannot be read back; nothing was removed. {state.damaged}')
        removed: list[int] = []
        lost = metrics_io.decode(options.get('metadata', {})).keys() - state.metrics.keys()
        if lost and self._policy.keep_best and not state.unread:
            _LOG.warning(
                '%s is saved, but its metrics %s cannot be read back, so that nobody knows the best: nothing was '
                'removed. keep_best needs a SAVE_FN whose files objio.open reads, with the metadata in them',
                path,
                ', '.join(sorted(lost)),
            )
            return path, []
        try:
            if state.unread:
                raise state.unread
            self._tell_of_other_metrics()
            removed = prune(self._folder, self._policy, made)
            if removed and self._durable:
                # Where ext4 keeps no order (data=writeback), the next file gets the blocks of a removed one at once:
                # after a power cut the old name would be back, with the values of another save.
                storage.sync_folder(self._folder.path)
        except OSError as error:
            _LOG.warning(_UNSURE if removed else _NOT_REMOVED, path, error)
        return path, removed

    def _tell_of_other_metrics(self) -> None:
        """Tells once of saves that were made with other metrics: they are worse than any other, and are removed first."""
        wanted = self._policy.best_metric
        if not self._policy.keep_best or self._told_of_others:
            return
        self._told_of_others = True
        states = [(save, self._folder.state(save)) for save in self._folder.saves()]
        others = [(save.idx, state.metrics) for save, state in states if state.metrics and wanted not in state.metrics]
        if others:
            _LOG.warning(
                'keep_best goes by the metric %r, and older saves in %s have other metrics: they count as the worst. '
                'The save %d has %s',
                wanted,
                self._folder.path,
                others[-1][0],
                some(map(repr, others[-1][1])),
            )

    def truncate(self, after: int) -> list[int]:
        """Removes the saves that come after an index and are not known to be damaged, the newest first.

        Returns:
            their indices, ascending.
        """
        removed = set()
        for save in reversed(self._folder.saves()):
            if save.idx > after and self._folder.state(save).counts:
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    storage.remove(save.path)
                    removed.add(save.idx)
        if removed and self._durable:
            storage.sync_folder(self._folder.path)
        return sorted(removed)

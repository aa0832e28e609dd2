"""A folder of saves of one training run: written as it goes on, restored when it starts again, averaged at its end."""

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import jax

from objio import storage
from objio.io.averaging import weights_in_order
from objio.io.background import Writer
from objio.io.best_mode import Mode
from objio.io.custom import check_options
from objio.io.files import path_of_folder
from objio.io.naming import index_pattern
from objio.io.ops import load_archive, load_var_collection, save_var_collection
from objio.io.plan import LoadReport
from objio.io.pruning import fates, scores
from objio.io.recording import Put, Recorder
from objio.io.restoring import Restorer, log_left_out
from objio.io.retention import Explanation, Policy, whole_number
from objio.io.saves import Folder, refuse_saves_in
from objio.io.subjects import as_collection, to_save
from objio.io.watching import watch
from objio.variables.name_filter import Selector

_LOG = logging.getLogger('objio')


class Checkpoint:
    """Keeps the saves of a training run in a folder, each a file of its own with an index: an epoch or a step.

    A subclass may redefine the constants: the folder's name below `logdir`, which files are saves, how they are
    called, and the functions that write and read them, wrapped in `staticmethod`.

    Args:
        logdir: the folder of the run, where a leading `~` is the home folder; the saves stand in its subfolder `DIR_NAME`.
        keep_ckpts: how many of the newest saves stay; None: all.
        makedir: make the folder where it is missing.
        verbose: one line in the log for each save and each restore, through `logging.getLogger('objio')`.
        keep_every: also keep each save whose index it divides.
        keep_best: also keep so many of the best saves, by `best_metric`.
        best_metric: the name of the metric to go by, one of those that `save` is given.
        best_mode: 'min' where less is better, 'max' where more is; None: as the name of the metric tells. 'val_loss' is
            'min', 'accuracy' is 'max'; a name with words of both directions, or of none, needs `best_mode`.
        background: let `save` return as soon as a snapshot exists, and write it in a thread.
        durable: make each save safe from a power cut before anything older is deleted.

    Attributes:
        report: the `LoadReport` of the last `restore` or `average`: what it loaded, and what it left out. None before
            the first, after one that raised or found no save, and where a `LOAD_FN` of the user's returns none.

    Raises:
        ValueError: a number is too small, `keep_best` has no `best_metric`, or its name does not tell what is best;
            or `logdir` has saves itself, and no folder of saves.

    Example:
        >>> import objio
        >>> net = objio.nn.Linear(3, 1)
        >>> ckpt = objio.Checkpoint('run', keep_ckpts=2)
        >>> for epoch in 1, 2, 3:
        ...     ckpt.save(net.vars(), idx=epoch)
        >>> ckpt.idxs()
        [2, 3]
        >>> ckpt.restore(net.vars())
        (3, 'run/ckpt/0000000003.npz')
    """

    DIR_NAME: str = 'ckpt'
    FILE_MATCH: str = '*.npz'
    FILE_FORMAT: str = '%010d.npz'
    LOAD_FN: Callable[..., Any] = staticmethod(load_var_collection)
    SAVE_FN: Callable[..., Any] = staticmethod(save_var_collection)

    _LATE = False  # whether the first save makes the folder, and until then a missing one is an empty one
    _LOAD_MEAN: Callable[..., Any] | None = None  # loads the archive of a mean where LOAD_FN is not objio's own

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        keep_ckpts: int | None = 5,
        makedir: bool = True,
        verbose: bool = True,
        *,
        keep_every: int | None = None,
        keep_best: int = 0,
        best_metric: str | None = None,
        best_mode: Mode | None = None,
        background: bool = False,
        durable: bool = True,
    ) -> None:
        self.logdir = path_of_folder(logdir)
        self.verbose = verbose
        self.report: LoadReport | None = None
        self._policy = Policy(keep_ckpts, keep_every, keep_best, best_metric, best_mode)
        self._background = background
        own_save, own_load = self.SAVE_FN is save_var_collection, self.LOAD_FN is load_var_collection
        # The folder does not refer to the checkpoint: a circle would live on when the last name for it is gone.
        folder = functools.partial(
            Folder,
            pattern=self.FILE_MATCH,
            file_format=self.FILE_FORMAT,
            checkpoint_idx=self.checkpoint_idx,
            judged=own_save or own_load,
            measured=best_metric is not None,
            late=self._LATE,
        )
        self._folder = folder(os.path.join(self.logdir, self.DIR_NAME))
        self._recorder = Recorder(self._folder, self.SAVE_FN, self._policy, own=own_save, durable=durable)
        mean = load_archive if own_load else self._LOAD_MEAN
        self._restorer = Restorer(self._folder, self.LOAD_FN, own=own_load, mean=mean)
        self._writer = Writer(self._folder.path)
        self._changed = threading.Condition()
        if not os.path.isdir(self._folder.path) and os.path.isdir(self.logdir):
            refuse_saves_in(folder(self.logdir), self._folder.path)
        if makedir and not self._LATE:
            storage.make_folder(self._folder.path)
        if os.path.isdir(self._folder.path):
            storage.sweep(self._folder.path)

    @classmethod
    def checkpoint_idx(cls, filename: str) -> int:
        """The index in the name of a save: `FILE_FORMAT` read backwards, digits of any number.

        A subclass may redefine it, as a static method too; it may then also return None for what is no save.

        Args:
            filename: a name or a path.

        Raises:
            ValueError: the name is none of a save.

        Example:
            >>> Checkpoint.checkpoint_idx('run/ckpt/0000000012.npz')
            12
        """
        found = index_pattern(cls.FILE_FORMAT).fullmatch(os.path.basename(filename))
        if found is None:
            raise ValueError(f'{filename!r} is not named by the format {cls.FILE_FORMAT!r}')
        return int(found[1])

    def save(
        self,
        vc: Any,
        idx: int,
        *,
        ignore: Selector | None = None,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Saves variables under an index, then removes the saves that no rule keeps.

        A save of an equal index is replaced. Of several processes the first writes, and the others return at once.

        Args:
            vc: as for `save_var_collection`.
            idx: an int, at least that of the newest whole save of the folder. (Whole is here what has a whole table
                of contents and is not known to be damaged from a `restore`.)
            ignore: as for `save_var_collection`.
            metrics: numbers by name, stored in the save. With `keep_best` the one to go by must be among them; NaN is
                the worst.
            metadata: as for `save_var_collection`.

        Raises:
            SaveOrderError: there is a newer save; nothing was written.
            SaveFailed: the save before this one failed in the background; this one was not begun.
            TypeError: metrics or metadata were given, and `SAVE_FN` takes no metadata.
            ValueError: `keep_best` goes by a metric that is not given; or a key of the metadata is reserved.
            Exception: what `SAVE_FN` raises. Nothing was removed then.
        """
        idx = whole_number(idx, 'idx', 0)
        collection = to_save(vc, ignore)
        options = self._recorder.options(metrics, metadata)
        if jax.process_index() != 0:
            return
        self._writer.wait()
        self._writer.settle()  # another Checkpoint of the folder may be writing, too
        self._recorder.check_order(idx)
        put = self._recorder.prepare(collection, idx, options, later=self._background)
        job = functools.partial(self._write, put, idx, options)
        if self._background:
            self._writer.start(job, idx)
        else:
            job()

    def restore(self, vc: Any, idx: int | None = None, **load_options: Any) -> tuple[int, str]:
        """Loads the save of an index, or the newest that is whole.

        Damaged saves are reported in the log and passed over, unless `idx` asks for one. Where the loading function
        raises, all variables have their old values. What the load left out stands in `report` and in the log: variables
        that kept their values are a warning, whatever `verbose` says.

        Args:
            vc: as for `load_var_collection`; for any other tree `vc := VarCollection.from_tree(tree)`, and then
                `tree = vc.to_tree()`.
            idx: an index; None: the newest.
            **load_options: for the loading function, such as `renamer`, `only`, `skip`, `allow_missing`, `cast`.

        Returns:
            the index and the path of the save; `(0, '')`, with a warning in the log, where the folder has none.

        Raises:
            FormatError: the save is damaged, or all are; the message lists each.
            MismatchError: the newest whole save does not fit the model, or nothing of it would be loaded.
            ValueError: a literal name in `only`, `skip` or `renamer` matches nothing.
            FileNotFoundError: there is no save of this index, or the folder does not exist.
        """
        collection = as_collection(vc)
        check_options(self.LOAD_FN, load_options, 'restore: LOAD_FN')
        self._writer.settle()
        self.report = None
        if idx is not None:
            restored = self._restorer.at(whole_number(idx, 'idx', 0), collection, load_options)
        else:
            newest = self._restorer.newest(collection, load_options)
            if newest is None:
                _LOG.warning('no saves in %s: nothing was restored', os.path.abspath(self._folder.path))
                return 0, ''
            restored = newest
        save, self.report = restored
        if self.verbose:
            _LOG.info('restored %s', save.path)
        log_left_out(save.path, self.report, verbose=self.verbose)
        return save.idx, save.path

    def average(
        self,
        vc: Any,
        *,
        last: int | None = None,
        idxs: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> list[int]:
        """Loads the mean of several saves; see `objio.average`.

        Args:
            vc: as for `load_var_collection`; what it lacks is left out.
            last: average the newest so many whole saves, or as many as there are.
            idxs: average the saves of these indices, of a list or a tuple. Without `last` and `idxs`: all.
            weights: a list of numbers, one for each save, in the order of `idxs`, otherwise from the oldest to the
                newest.

        Returns:
            the indices that went into the mean, ascending.

        Raises:
            MismatchError: the saves differ in names, shapes or dtypes, or do not fit the model.
            FormatError: a save is damaged.
            FileNotFoundError: a save is missing, or there is none.
        """
        collection = as_collection(vc)
        self._writer.settle()
        self.report = None
        idxs = None if idxs is None else list(idxs)
        weights = None if weights is None else weights_in_order(weights)
        if weights is not None and idxs is not None and len(weights) == len(idxs):
            weights = [weights[place] for place in sorted(range(len(idxs)), key=idxs.__getitem__)]
        while True:
            saves = self._restorer.choose(last, idxs)
            try:
                self.report = self._restorer.mean(saves, collection, weights)
            except FileNotFoundError:
                if all(self._folder.is_there(save) for save in saves):
                    raise
            else:  # otherwise another process removed a save, and may have made newer ones
                return [save.idx for save in saves]

    def idxs(self) -> list[int]:
        """The indices of the saves, ascending, without those known to be damaged."""
        self._writer.settle()
        return list(self._folder.whole())

    def latest(self) -> int | None:
        """The index of the newest save that is not known to be damaged; None where there is none."""
        self._writer.settle()
        newest = self._folder.newest()
        return None if newest is None else newest.idx

    def best(self) -> int | None:
        """The index of the best save by `best_metric`; None where no save has a number for it.

        NaN is worse than any number, and of equal ones the later is better.
        """
        if self._policy.best_metric is None:
            raise ValueError('best() needs Checkpoint(..., best_metric=), the name of the metric to go by')
        self._writer.settle()
        return self._policy.best(
            scores([(save, self._folder.state(save)) for save in self._folder.saves()], self._policy)
        )

    def explain(self) -> Explanation:
        """Why each file of the folder stays, or that no rule wants it, so that the next save removes it.

        The rules are asked about the saves that there are now; one more may push the oldest out. `print` it for a
        table.
        """
        self._writer.settle()
        return Explanation(fate for _, fate in fates(self._folder, self._policy))

    def truncate(self, after: int) -> list[int]:
        """Removes the saves that come after an index, the newest first, so that a run can go on from there.

        Damaged saves stay; they are in nobody's way.

        Args:
            after: the index of the last save that stays; -1 removes all.

        Returns:
            the indices that were removed, ascending.
        """
        after = whole_number(after, 'after', -1)
        if jax.process_index() != 0:
            return []
        self._writer.settle()
        return self._recorder.truncate(after)

    def watch(self, timeout: float | None = None) -> Iterator[tuple[int, str]]:
        """Yields the index and the path of each whole save, by ascending index, and waits for new ones.

        The saves that are there already come first; one that was replaced comes again. While the loop's body works on
        a save, this process does not remove it. Another process may: then `restore` raises FileNotFoundError.

        Args:
            timeout: seconds without a new save after which the loop ends; None: never.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f'timeout: expected seconds, at least 0, or None, got {timeout!r}')
        return watch(self._folder, self._changed, timeout)

    def wait(self) -> None:
        """Waits until the save in the background is done.

        Raises:
            SaveFailed: it failed; the cause is chained.
        """
        self._writer.wait()

    def close(self) -> None:
        """Finishes what is being written, as leaving a `with` block does; see `wait`."""
        self._writer.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # the exception on its way is the one to see
            self._writer.settle()
            self._writer.log_failure()

    def _write(self, put: Put, idx: int, options: Mapping[str, Any]) -> None:
        if self._background:  # the program may change its working folder meanwhile
            self._folder.stay()
        path, removed = self._recorder.write(put, idx, options)
        if self.verbose:
            _LOG.info('saved %s%s', path, f', removed {", ".join(map(str, removed))}' if removed else '')
        with self._changed:
            self._changed.notify_all()

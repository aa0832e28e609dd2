"""The runs of a folder: listed, filtered, sorted, and the best of them used again. No JAX until one is loaded."""

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, overload

from objio.io.best_mode import Mode, chosen_mode
from objio.io.files import path_of_folder
from objio.messages import nearest, some
from objio.models import run_table
from objio.models.run import Run, is_missing, is_run

_MISSING = object()


class Runs(Sequence[Run]):
    """Some runs, in an order; `print` it for a table."""

    def __init__(self, runs: Iterable[Run], root: str) -> None:
        self._runs = list(runs)
        self._root = root

    def filter(
        self, condition: Callable[[Run], Any] | None = None, /, *, state: str | None = None, **settings: Any
    ) -> 'Runs':
        """The runs that fit all of it.

        Args:
            condition: called with a run.
            state: the state to have.
            **settings: the value that each setting is to have; a dotted name goes as `**{'opt.lr': 0.1}`.

        Raises:
            ValueError: no run has a setting of this name; or `state` is given, and the runs have such a setting too.
        """
        known = {name: None for run in self._readable() for name in run.settings}
        if state is not None and 'state' in known:
            raise ValueError(
                f"state={state!r} may be the state of a run or its setting 'state'; say which: "
                "filter(lambda run: run.state == …) or filter(lambda run: run.settings.get('state') == …)"
            )
        for name in settings:
            if name not in known:
                raise ValueError(f'no run has the setting {name!r}{nearest(name, known)}; they have {some(known)}')
        return self._of(
            run
            for run in self
            if (state is None or run.state == state)
            and (not settings or not run.damaged)
            and all(run.settings.get(name, _MISSING) == value for name, value in settings.items())
            and (condition is None or condition(run))
        )

    def sort(self, by: str | Callable[[Run], Any], *, reverse: bool = False) -> 'Runs':
        """The runs in another order; those without a value, or with NaN, come last either way.

        Args:
            by: the name of a metric, whose last value counts, or of a setting; 'run', 'state', 'start' or 'end'; or a
                function of a run.
            reverse: the greatest first.
        """
        value = by if callable(by) else self._reader(by)
        keys = {run.name: None if run.damaged else value(run) for run in self}
        known = [run for run in self if not is_missing(keys[run.name])]
        rest = [run for run in self if is_missing(keys[run.name])]
        try:
            ordered = sorted(known, key=lambda run: cast('Any', keys[run.name]), reverse=reverse)
        except TypeError:  # of several kinds, as None and numbers are
            ordered = sorted(known, key=lambda run: (str(type(keys[run.name])), str(keys[run.name])), reverse=reverse)
        return self._of([*ordered, *rest])

    def best(self, metric: str, mode: Mode | None = None, *, ever: bool = False) -> Run:
        """The best of the runs that have saved a model.

        Args:
            metric: its name.
            mode: 'min' where less is better, 'max' where more is; None: as the name of the metric tells.
            ever: go by the best value that the metric had at any step; otherwise by its last.

        Returns:
            a run; of equal ones the later, and none whose value is NaN. Its `load` gives the model that it saved last,
            and warns where that one had another value.

        Raises:
            ValueError: no run has a number for the metric and a model; or no mode is given, and the name does not tell.
        """
        known = dict.fromkeys(name for run in self._readable() for name in run.last)
        found: dict[float, Run] = {}
        if mode is not None or metric in known:  # else the name is mistyped, and nobody needs to hear of its direction
            mode = chosen_mode(metric, mode, 'mode')
        for run in self._readable() if metric in known else ():
            value = run.best(metric, mode) if ever else run.last.get(metric, math.nan)
            if not math.isnan(value) and run.saved is not None:
                found[value] = run
        if not found:
            raise ValueError(
                f'none of {len(self)} runs in {self._root} has saved a model and has a number for {metric!r}'
                f'{nearest(metric, known)}; the metrics are {some(known) or "none"}'
            )
        best = min(found) if mode == 'min' else max(found)
        return found[best].chosen_for(metric, best)

    def table(self, modes: Mapping[str, Mode] | None = None) -> str:
        """The runs as text: name, state, the settings that differ, the last and the best value of each metric.

        Args:
            modes: metric -> 'min' or 'max', what is best. Of the others the name tells: 'accuracy' is 'max', 'loss' is
                'min'; where it does not, as that of 'lr', the table shows the last value alone.

        Raises:
            ValueError: a mode is another word, or is given for a metric that none of the runs has.
        """
        known = {name: None for run in self._readable() for name in run.metrics}
        for name in modes or ():
            if known and name not in known:
                raise ValueError(f'no run has the metric {name!r}{nearest(name, known)}; they have {some(known)}')
        chosen = {name: chosen_mode(name, mode, f'modes[{name!r}]') for name, mode in (modes or {}).items()}
        return run_table.table(self._runs, chosen)

    def _readable(self) -> Iterator[Run]:
        return (run for run in self if not run.damaged)

    def _of(self, runs: Iterable[Run]) -> 'Runs':
        return Runs(runs, self._root)

    def _reader(self, by: str) -> Callable[[Run], Any]:
        if by in ('run', 'state', 'start', 'end'):
            return lambda run: run.name if by == 'run' else getattr(run, by)
        metrics = {name: None for run in self._readable() for name in run.last}
        known = {name: None for run in self._readable() for name in run.settings}
        if by in metrics and by in known:
            raise ValueError(
                f'{by!r} is the name of a metric and of a setting; say which: '
                f'sort(lambda run: run.last.get({by!r})) or sort(lambda run: run.settings.get({by!r}))'
            )
        if by in metrics:
            return lambda run: run.last.get(by)
        if by in known:
            return lambda run: run.settings.get(by)
        names = [*metrics, *known]
        raise ValueError(f'no run has a metric or a setting {by!r}{nearest(by, names)}; they have {some(names)}')

    @overload
    def __getitem__(self, key: int | str) -> Run: ...
    @overload
    def __getitem__(self, key: slice) -> 'Runs': ...
    def __getitem__(self, key: int | str | slice) -> 'Run | Runs':
        if isinstance(key, slice):
            return self._of(self._runs[key])
        if isinstance(key, str):
            for run in self:
                if run.name == key:
                    return run
            raise KeyError(f'no run {key!r} in {self._root}{nearest(key, [run.name for run in self])}')
        return self._runs[key]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __contains__(self, item: object) -> bool:
        path = item.path if isinstance(item, Run) else None
        return any(item == run.name or path == run.path for run in self)

    def __len__(self) -> int:
        return len(self._runs)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f'<{len(self)} runs in {self._root}>'


def runs(root: str | os.PathLike[str] = 'storage') -> Runs:
    """The runs in a folder, the first to begin first, as they are now.

    Args:
        root: what the `Saver`s were given.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is the folder of one run.

    Example:
        >>> import objio
        >>> for lr in 0.1, 0.01:
        ...     with objio.Saver(objio.nn.Linear(3, 1), {'lr': lr}, run=f'lr-{lr}') as saver:
        ...         saver.log(step=1, loss=lr * 2)
        ...         saver.save()
        >>> print(objio.runs())
        run      state     lr    loss  loss min
        lr-0.1   finished  0.1   0.2   0.2
        lr-0.01  finished  0.01  0.02  0.02
        >>> objio.runs().best('loss').name
        'lr-0.01'
    """
    folder = path_of_folder(root)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            f'there is no folder of runs at {os.path.abspath(folder)}; give that of the Savers, runs(root)',
            folder,
        ) from None
    found = []
    for path in (os.path.join(folder, name) for name in names):
        if is_run(path):
            with contextlib.suppress(FileNotFoundError):  # somebody removed it meanwhile
                found.append(Run(path))
    if not found and is_run(folder):
        whole = os.path.abspath(folder)
        raise ValueError(
            f'{folder!r} is the folder of one run; give the folder of all runs, runs({os.path.dirname(whole)!r})'
            f'[{os.path.basename(whole)!r}]'
        )
    return Runs(sorted(found, key=lambda run: (run.start or '', run.name)), folder)

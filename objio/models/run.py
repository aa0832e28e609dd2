"""One run: what its folder says of it. No JAX until its model is loaded."""

import copy
import errno
import math
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from objio.errors import FormatError
from objio.io import files
from objio.io.best_mode import Mode, chosen_mode
from objio.io.metrics import CONFIG_KEY, decode
from objio.messages import nearest, some, warn_user
from objio.models import history, sessions
from objio.models.leaves import flat
from objio.models.names import check_name

WEIGHTS = 'model.npz'


class Chosen(NamedTuple):
    """What a run was chosen for."""

    metric: str
    value: float


class Run:
    """One run, as it is now: its settings, metrics and provenance.

    Attributes:
        name: that of the run and of its folder.
        state: 'running', 'finished', 'failed', or 'killed' where its process died; 'damaged' or 'unreadable' where a file is.
        damaged: what is wrong with its files; '' where nothing is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = files.FixedPath(str(Path(files.path_of_folder(path))))
        self._chosen: Chosen | None = None
        self.name = self.path.name
        self.damaged = ''
        try:
            self.state = sessions.state_of(str(self.path), self.sessions)
            _ = self.config, self.saved, self.metrics  # read now, so that all of it is of one moment
        except FileNotFoundError:
            raise
        except FormatError as error:
            self.state, self.damaged = 'damaged', str(error)
        except OSError as error:  # of another user, or on a bad disk; the other runs are to be seen all the same
            self.state, self.damaged = 'unreadable', str(error)

    @property
    def path(self) -> Path:
        """The run's folder; absolute where the working folder is another by now."""
        return Path(self._folder.path)

    @cached_property
    def sessions(self) -> list[dict[str, Any]]:
        """The provenance of the run's start and of each resume, the first one first."""
        found = sessions.read_sessions(str(self.path))
        if found is None:
            raise FileNotFoundError(
                errno.ENOENT, f'there is no run: the folder has no {sessions.PROVENANCE}', str(self.path)
            )
        return found

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the last session came from: command, git, packages, host, start and end, among others."""
        return {name: value for name, value in self.sessions[-1].items() if name != 'settings'}

    @property
    def start(self) -> str | None:
        """When the run began: ISO 8601, in UTC; None where the run cannot tell."""
        return self._of_session(0, 'start')

    @property
    def end(self) -> str | None:
        """When the last session ended; None where it did not."""
        return self._of_session(-1, 'end')

    def _of_session(self, place: int, name: str) -> str | None:
        try:
            found: str | None = self.sessions[place].get(name)
        except (FormatError, OSError):
            return None
        return found

    @cached_property
    def saved(self) -> dict[str, float] | None:
        """The metrics that stand with the saved model, its step among them; None where nothing was saved yet.

        Raises:
            FormatError: the file of the model is damaged.
        """
        metadata = self._metadata
        return None if metadata is None else decode(metadata)

    @cached_property
    def _metadata(self) -> Mapping[str, Any] | None:
        try:
            with files.open(self.path / WEIGHTS) as saved:
                return saved.metadata
        except FileNotFoundError:
            return None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings, nested: those of the saved model, or of the last session where nothing was saved yet.

        Raises:
            FormatError: the file of the model is damaged, or holds something else under their name.
        """
        record = (self._metadata or {}).get(CONFIG_KEY, self.sessions[-1]['settings'])
        values = record.get('values') if isinstance(record, dict) else None
        if not isinstance(values, dict):
            raise FormatError(f'{self.path / WEIGHTS}: expected the settings of a run, found {str(record)[:60]!r}')
        return values

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by dotted name, as 'opt.lr'."""
        return dict(flat(self.config))

    @cached_property
    def metrics(self) -> history.Metrics:
        """Name of a metric -> step -> value, by ascending step.

        Raises:
            FormatError: a line of the file is damaged.
        """
        return history.read(str(self.path / sessions.METRICS))

    @property
    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        return history.last_of(self.metrics)

    def best(self, metric: str, mode: Mode | None = None) -> float:
        """The best value that a metric ever had; NaN where it had none but NaN, or none at all.

        Args:
            metric: its name.
            mode: 'min' where less is better, 'max' where more is; None: as the name of the metric tells.

        Raises:
            ValueError: no mode is given, and the name does not tell.
        """
        choose = min if chosen_mode(metric, mode, 'mode') == 'min' else max
        numbers = [value for value in self.metrics.get(metric, {}).values() if not math.isnan(value)]
        return choose(numbers, default=math.nan)

    def load(self, cls: Callable[..., Any] | None = None) -> Any:
        """The model with its settings and its weights, as the run saved it last; see `Saver.load`.

        Where `Runs.best` chose the run for a value that the saved model did not have, a warning says so.
        """
        from objio.models.saver import Saver

        if self._chosen is not None:
            self._warn_of_other_value(*self._chosen)
        return Saver.load(self.name, self.path.parent, cls)

    def chosen_for(self, metric: str, value: float) -> 'Run':
        """The same run, which knows what `Runs.best` chose it for."""
        run = copy.copy(self)
        run._chosen = Chosen(metric, value)  # noqa: SLF001  # of its own class
        return run

    def _warn_of_other_value(self, metric: str, value: float) -> None:
        saved = (self.saved or {}).get(metric)
        if saved != value:
            steps = [step for step, found in self.metrics[metric].items() if found == value]
            had = 'no value for it yet' if saved is None else f'{saved}'
            warn_user(
                f'the run {self.name!r} was chosen for its {metric} of {value} at step {steps[-1]}, but load gives the '
                f'model that it saved last, which had {had}. To keep the best model of a run too: '
                f'objio.Checkpoint(saver.path, keep_best=1, best_metric={metric!r})'
            )

    def __repr__(self) -> str:
        return f'<run {self.name}: {self.state}>'


def is_run(path: str) -> bool:
    """Whether a folder is that of a run."""
    return os.path.lexists(os.path.join(path, sessions.PROVENANCE))


def find(run: Run | str, root: str | os.PathLike[str]) -> Run:
    """A run by its name.

    Raises:
        FileNotFoundError: there is none; the message names those there are.
    """
    if isinstance(run, Run):
        return run
    name = check_name(run)
    folder = files.path_of_folder(root)
    path = os.path.join(folder, name)
    if not is_run(path):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        known = [name for name in names if is_run(os.path.join(folder, name))]
        raise FileNotFoundError(
            errno.ENOENT, f'there is no such run{nearest(name, known)}; the folder has {some(known) or "none"}', path
        )
    return Run(path)


def is_missing(value: Any) -> bool:
    """Whether there is nothing to go by."""
    return value is None or (isinstance(value, float) and math.isnan(value))

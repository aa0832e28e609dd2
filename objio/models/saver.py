"""Runs: a folder for each, with the model, the settings that made it, its metrics, and where it all came from."""

import contextlib
import copy
import logging
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from objio import storage
from objio.errors import ConfigConflict, FormatError
from objio.formats.manifest import check_metadata
from objio.io import metrics as metrics_io
from objio.io.background import wait_for
from objio.io.contents import contents_of
from objio.io.files import FixedPath, opened, path_of_folder
from objio.io.ops import load_archive, save_var_collection
from objio.io.pickling import check_picklable, save_module
from objio.io.subjects import as_collection, state_to_save, to_save
from objio.models import registry, sessions
from objio.models.history import Log, Metrics, read
from objio.models.keeping import (
    devices,
    is_model,
    make_module,
    refuse_missing,
    renew_copy,
    saying_what_was_made,
    settings_of,
)
from objio.models.leaves import differing, flat
from objio.models.names import check_name, friendly_name
from objio.models.provenance import provenance
from objio.models.record import WEIGHTS, Record, check_copy, package_of, write_copy

PICKLE = 'model.pickle'
_LOG = logging.getLogger('objio')
_THREE_LINES = """Saver() needs the model to save:

    net = Net()
    saver = objio.Saver(net)
    saver.save()"""


class Saver:
    """Keeps a model, the settings that made it and its metrics in a folder of its own: `storage/<run>/`.

    The run begins here: the folder is taken, and holds where the run came from. It ends with `close`, with the `with`
    block, or with the program. Of several processes of one JAX program the first writes, and the others do nothing.

    Args:
        model: a `Model`, or any module.
        config: the settings of a module, as JSON has them; a `Model` has its own.
        run: the name; None: that in the environment variable OBJIO_RUN, or a friendly one.
        root: the folder of all runs, where a leading `~` is the home folder; it is made where it is missing.
        resume: go on with the run, where there is one of this name. A Saver of this program that still has it ends.

    Attributes:
        model: what is saved.
        run: the name of the run.
        path: its folder: as given, or absolute where the program has gone elsewhere.

    Raises:
        TypeError: there is no model, or the settings are none that JSON gives back.
        ValueError: the name is none of a folder.
        FileExistsError: there is such a run, and it is not resumed.
        BlockingIOError: another process has the run, or this one has and it is not resumed.
        ConfigConflict: the run to go on with was made with other settings; of a `Model`, other immutable ones.

    Example:
        >>> import objio
        >>> net = objio.nn.Linear(3, 2)
        >>> saver = objio.Saver(net, {'nin': 3, 'nout': 2}, run='first')
        >>> saver.log(step=1, loss=0.5)
        >>> saver.save()
        >>> objio.Saver.load('first', cls=objio.nn.Linear)
        objio.nn.Linear(nin=3, nout=2, use_bias=True)
    """

    def __init__(
        self,
        model: Any = None,
        config: Mapping[str, Any] | None = None,
        run: str | None = None,
        root: str | os.PathLike[str] = 'storage',
        *,
        resume: bool = False,
    ) -> None:
        if model is None:
            raise TypeError(_THREE_LINES)
        self._is_model = is_model(model)
        self._config = settings_of(model, config, is_model=self._is_model)
        self.model = model
        name = os.environ.get('OBJIO_RUN') or None if run is None else run
        if name is not None:
            check_name(name)
        folder = path_of_folder(root)
        self._session: sessions.Session | None = None
        self._log: Log | None = None
        self._earlier: Metrics = {}
        if jax.process_index() == 0:
            facts = provenance(devices()) | {'settings': self._record().as_json()}
            storage.make_folder(folder)
            self._session = self._begin(folder, name, facts, resume=resume)
            name = os.path.basename(self._session.folder)
            weakref.finalize(self, self._session.end_unattended).atexit = False
            try:
                self._log = Log(self._session.file(sessions.METRICS), self._session.number, self._earlier)
                renew_copy(self._session.folder)
            except BaseException as error:
                self._session.end('failed', sessions.described(error))
                raise
            self._earlier = {}
        if name is None:
            raise ValueError('of several processes each must know the name of the run: pass run=, or set OBJIO_RUN')
        self.run = name
        self._path = FixedPath(str(Path(folder, name)))
        self._folder = self._path.absolute

    @property
    def path(self) -> Path:
        """The folder of the run: as given, or absolute where the program has gone elsewhere."""
        return Path(self._path.path)

    def log(self, *, step: int, **metrics: Any) -> None:
        """Appends metrics to those of the run; they outlive the process from here on.

        Args:
            step: an int, such as the epoch.
            **metrics: numbers: of Python, of NumPy, or 0-d arrays.

        Raises:
            TypeError: a metric is no number, or the step no int.
            ValueError: the run has ended.
        """
        if self._session is not None and self._log is not None:
            self._session.check()
            self._log.append(step, metrics)

    def save(self, *, metadata: Mapping[str, Any] | None = None, pickle: bool = False) -> None:
        """Saves the model with its settings and the last metrics; an earlier save of the run is replaced.

        Args:
            metadata: as for `save_var_collection`.
            pickle: also write `model.pickle`; see `save_module`. One of an earlier save is removed in any case.

        Raises:
            UnsaveableError: the model cannot be saved, or not be pickled; nothing was changed.
            TypeError: the metadata are none that JSON gives back; nothing was changed.
            ValueError: the run has ended, or a key of the metadata is reserved; nothing was changed.
        """
        check_metadata(metrics_io.to_write(metadata))
        if self._session is None or self._log is None:
            return
        self._session.check()
        weights, pickled = os.path.join(self._folder, WEIGHTS), os.path.join(self._folder, PICKLE)
        if pickle:
            check_picklable(self.model)
        contents_of(state_to_save(self.model, self.model.state()) if self._is_model else to_save(self.model))
        self._log.sync()
        if os.path.exists(pickled):  # a kill may leave none, but never one of other weights
            storage.remove(pickled)
        if self._is_model:
            self.model.save(self._folder, metrics=self._log.last, metadata=metadata)
        else:
            content = self._record().beside(metadata)
            content |= metrics_io.reserved(metrics_io.KEY, metrics_io.encode(self._log.last))
            save_var_collection(weights, self.model, metadata=content)
            write_copy(self._folder, durable=True)
        if pickle:
            save_module(pickled, self.model)
        _LOG.info('saved %s', self.path / WEIGHTS)

    def restore(self) -> int:
        """Loads into the model what the run saved last, weights and settings.

        Returns:
            the step that was logged last before that save; 0 where none was, or where nothing was saved.

        Raises:
            ConfigConflict: `config.json` was edited by hand, or the settings differ; nothing was loaded.
            MismatchError: the weights do not fit the model; nothing was loaded.
            FormatError: a file is damaged.
        """
        weights = os.path.join(self._folder, WEIGHTS)
        if not os.path.exists(weights):
            return 0
        with opened(weights) as (archive, name):
            step = metrics_io.decode(archive.metadata).get('step', 0.0)
            if not step.is_integer():
                raise FormatError(f'{name}: expected a whole number for the step among its metrics, found {step}')
            if self._is_model:
                self.model.load(self._folder)
            else:
                check_copy(self._folder, archive, Record.read(archive, name))
                load_archive(archive, name, as_collection(self.model))
        return int(step)

    def close(self) -> None:
        """Ends the run, and lets go of its folder; further calls do nothing."""
        if self._session is not None:
            self._session.end('finished')

    @staticmethod
    def load(run: str, root: str | os.PathLike[str] = 'storage', cls: Callable[..., Any] | None = None) -> Any:
        """The model of a run, with its settings and its weights.

        Args:
            run: its name.
            root: the folder of all runs.
            cls: the class to make; None: the `Model` that the program has defined under the name that was saved.
                (Nothing is imported.) A `Model` gets the run's folder as its directory, and saves there only once the
                run is resumed. Any other module is made as `cls(**config)`: pass its class, or where the settings alone
                do not make it, a function that does, such as `lambda **config: make_net()`.

        Raises:
            FileNotFoundError: there is no such run, or it has saved no model.
            LookupError: the program has not defined the class, or it is no `Model`: pass `cls`.
            MismatchError: what `cls` made does not have the variables of the save.
            ConfigConflict: `config.json` was edited by hand, or the settings are no longer valid.
            FormatError: a file is damaged.
        """
        folder = Path(path_of_folder(root), check_name(run))
        wait_for(str(folder / WEIGHTS))  # a save that this program is still writing is a save
        refuse_missing(folder)
        with opened(folder / WEIGHTS) as (archive, name):
            record = Record.read(archive, name)
            made = registry.find(record.cls) if cls is None else cls
            if not is_model(made):
                check_copy(str(folder), archive, record)
                module = make_module(made, record.values, name)
                with saying_what_was_made(record, made, name):
                    load_archive(archive, name, as_collection(module), allow_unused=False)
                return module
        return made(directory=folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            ended_well = error is None or (isinstance(error, SystemExit) and not error.code)
            self._session.end('finished' if ended_well else 'failed', None if ended_well else sessions.described(error))

    def __repr__(self) -> str:
        return f'<Saver of {type(self.model).__name__} in {self.path}>'

    def _record(self) -> Record:
        cls = type(self.model)
        if self._is_model:
            return Record.of(cls, self.model.config)
        values = copy.deepcopy(dict(self._config))
        return Record(registry.name_of(cls), *package_of(cls.__module__), values, frozenset(values))

    def _begin(self, root: str, name: str | None, facts: Mapping[str, Any], *, resume: bool) -> sessions.Session:
        if name is not None:
            return sessions.begin(os.path.join(root, name), facts, resume=resume, check=self._check)
        while True:
            with contextlib.suppress(FileExistsError, BlockingIOError):  # another run took the name meanwhile
                return sessions.begin(os.path.join(root, friendly_name(os.listdir(root))), facts, resume=False)

    def _check(self, earlier: list[dict[str, Any]], folder: str) -> None:
        """Refuses to go on with a run that was made with other settings, or whose metrics are damaged."""
        if not earlier:
            return
        self._earlier = read(os.path.join(folder, sessions.METRICS))
        saved, here = earlier[-1]['settings'], self._record()
        kinds = [name.partition(':')[2] for name in (saved['class'], here.cls)]
        if kinds[0] != kinds[1]:
            raise ConfigConflict(f'the run {folder} is of a {kinds[0]}, and this is a {kinds[1]}; nothing was changed')
        before, now = dict(flat(saved['values'])), dict(flat(here.values))
        names = differing([before, now])
        if self._is_model:  # whose mutable settings may change, and to which a newer program may add some
            mutable = type(self.model).Config.mutable_fields()
            names = [
                name
                for name in names
                if name in before and name in now and not any(f'{name}.'.startswith(f'{free}.') for free in mutable)
            ]
        if names:
            lines = '\n'.join(f'  {name}: {before.get(name)!r} before, {now.get(name)!r} now' for name in names)
            raise ConfigConflict(
                f'the run {folder} was made with other settings; nothing was changed.\n{lines}\n'
                'Give them again as they were, or give the new run another name.'
            )

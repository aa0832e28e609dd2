"""A model: a module with settings and a directory."""

import copy
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax

from objio import storage
from objio.errors import ConfigDefaultChanged
from objio.io import metrics as metrics_io
from objio.io.background import Writer, wait_for
from objio.io.contents import contents_of
from objio.io.custom import check_options
from objio.io.files import FixedPath, path_of_folder
from objio.io.ops import load_archive, load_var_collection
from objio.io.plan import LoadReport
from objio.io.subjects import state_to_save
from objio.messages import warn_user
from objio.models import registry, sessions
from objio.models.checkpoints import ModelCheckpoint, load_with_settings
from objio.models.config import Config as BaseConfig
from objio.models.merging import begin, merge
from objio.models.place import Place
from objio.models.record import WEIGHTS, Record
from objio.models.saveable import guard
from objio.models.saved_class import naming_the_class, saying_how_to_load_a_part, warn_of_other_class
from objio.variables import Module, VarCollection
from objio.variables.name_filter import Selector

_LOG = logging.getLogger('objio')


class _Default(str):
    """A default that is told from the same text where a caller gives it."""

    __slots__ = ()


_DEFAULT = _Default('model_dir')


class Model(Module):
    """A module that knows its settings and its directory, and is loaded from there where it was saved.

    A subclass names its settings in a nested class `Config(objio.Config)`, which derives from that of its bases, and
    makes its variables in `build`. Which settings are in force, those given here, those saved or the defaults, is told
    by the table in the guide.

    Args:
        directory: where the model is saved; a leading `~` is the home folder. It is not made before the first save. A
            save that is there is loaded, with a line in the log: a warning where no directory was given. None: the
            model loads nothing and has no directory; `save(path)` and a `Saver` keep it.
        **config: settings that are given; the others are those saved, or the defaults.

    Raises:
        ValueError: a setting is wrong; it is pydantic's `ValidationError`.
        ConfigConflict: an immutable setting differs from the saved one, or a saved one is no longer valid.
        MismatchError: the saved weights do not fit what `build` makes.
        FormatError: the saved weights are damaged.
        UnsaveableError: a setting is one that no save can hold, or that would come back as another.

    Example:
        >>> import objio
        >>> class Line(objio.Model):
        ...     class Config(objio.Config):
        ...         width: int = 3
        ...         lr: float = objio.mutable(0.1, gt=0)
        ...     def build(self):
        ...         self.layer = objio.nn.Linear(self.config.width, 1)
        >>> line = Line('line', width=5)
        >>> line.save()
        >>> Line('line', lr=0.01).config
        Line.Config(width=5, lr=0.01)
    """

    Config: ClassVar[type[BaseConfig]] = BaseConfig

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in cls.__mro__:
            own = vars(base).get('Config', BaseConfig)
            if not (isinstance(own, type) and issubclass(own, BaseConfig) and issubclass(cls.Config, own)):
                raise TypeError(
                    f'{cls.__qualname__}.Config does not derive from {getattr(own, "__qualname__", own)}: '
                    f'write class Config({"objio" if base in (cls, Model) else base.__name__}.Config), '
                    'with the Config of every base'
                )
        registry.register(cls)

    def __init__(self, /, directory: str | os.PathLike[str] | None = _DEFAULT, **config: Any) -> None:
        self._writer = _Writer()
        self._saves = 0
        folder = None if directory is None else FixedPath(str(Path(path_of_folder(directory))))
        if folder is not None:
            wait_for(Place.at(folder.path).file)  # a save that is on its way is a save
        if folder is None or not (place := Place.at(folder.path)).is_saved():
            self._config = type(self).Config(**config)
            guard(self._config)
            self._config._directory = folder  # noqa: SLF001  # a friend
            self.build()
            return
        cls = type(self)
        cure = f"use another directory for this model, as {cls.__name__}('…'), or none, directory=None"
        with place.open() as (archive, name, record):
            with naming_the_class(record, cls, name, cure), saying_how_to_load_a_part(cls, folder.path):
                merged = merge(begin(cls.Config, config, record, name), record, cls, name)
                warn_user(*merged.notes, category=ConfigDefaultChanged)
                self._config = merged.config
                self._config._directory = folder  # noqa: SLF001
                self.build()
                load_archive(archive, name, self.state())
        warn_of_other_class(record, cls, name)
        file = os.path.abspath(name)
        if directory is _DEFAULT:
            _LOG.warning(
                '%s() loaded %s, as no directory was given and the default has a save of %s. To start anew, %s',
                *(cls.__name__, file, record.cls, cure),
            )
        else:
            _LOG.info('%s loaded %s, a save of %s', cls.__name__, file, record.cls)

    @property
    def config(self) -> Any:
        """The settings in force."""
        return self._config

    @property
    def directory(self) -> Path:
        """Where the model is saved; the same as `config.directory`.

        Raises:
            AttributeError: there is none: the model was made with `directory=None`, or was unpickled.
        """
        if self._config._directory is None:  # noqa: SLF001  # a friend
            name = type(self).__name__
            raise AttributeError(
                f'this {name} has no directory: it was made with directory=None, or was unpickled. save(path), '
                f'load(path) and Saver(model) work without one; checkpoint(), save() and load() need one: '
                f"make the model with it, {name}('…')"
            )
        return self._config.directory

    def build(self) -> None:
        """Makes the variables of the model from `self.config`; a subclass defines it."""
        raise NotImplementedError(
            f'{type(self).__name__} defines no build(self): make the variables there, as attributes, from self.config'
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model; a subclass defines what that is."""
        raise NotImplementedError(f'{type(self).__name__} defines no train')

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """What the model says of an input; a subclass defines it."""
        raise NotImplementedError(f'{type(self).__name__} defines no predict')

    def state(self) -> VarCollection:
        """What is saved and loaded: the variables of the model, and those in collections among its attributes.

        The state of an optimiser is kept as such a collection: `self.opt = VarCollection.from_tree(state)`.
        A subclass may define it anew.
        """
        vc = self.vars()
        known = set(map(id, vc))
        for attribute, collection in self.__dict__.items():
            if isinstance(collection, VarCollection) and not known.issuperset(map(id, collection)):
                vc.update((f'({type(self).__name__}).{attribute}.{name}', var) for name, var in collection.items())
        return vc

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        ignore: Selector | None = None,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        background: bool = False,
        durable: bool = True,
    ) -> None:
        """Saves weights and settings: `model.npz`, which carries both, and `config.json`, a copy for people.

        Each file is replaced by a whole one, and a folder that is missing appears with both. Of several processes the
        first writes.

        Args:
            path: a folder, or a file that ends in `.npz` and then stands alone; None: the model's directory, without
                which it must be given.
            ignore: as for `save_var_collection`.
            metrics: numbers by name, stored in the save.
            metadata: as for `save_var_collection`.
            background: return as soon as a snapshot exists, and write it in a thread; see `wait`.
            durable: make it safe from a power cut.

        Raises:
            UnsaveableError: a value, a name or a setting that no file can hold, or variables that would be left out
                unseen; nothing was written.
            AttributeError: there is no path, and the model has no directory; nothing was written.
            SaveFailed: the save before this one failed in the background; this one was not begun.
            FileExistsError: the folder is that of a run, such as one that `Saver.load` gave; nothing was written.
            OSError: the files cannot be written; those that were there are as they were. Where only `config.json`
                cannot, a note on the error says that the weights are saved.
            SaveNotDurable: all is written, but a folder could not be synced.
        """
        place = Place.at(self.directory if path is None else path)
        content = Record.of(type(self), self._config).beside(metadata)
        if metrics is not None:
            content |= metrics_io.reserved(metrics_io.KEY, metrics_io.encode(metrics))
        content = metrics_io.to_write(content)
        contents = contents_of(state_to_save(self, self.state(), ignore))
        contents.laid_out(place.file, content)  # says now what cannot be saved
        if jax.process_index() != 0:
            return
        if os.path.basename(place.file) == WEIGHTS:  # another name beside them is an export
            sessions.refuse_stranger(storage.folder_of(place.file))
        self._writer.wait()
        wait_for(place.file)  # another model's, which would else come later and replace this one
        if not background:
            place.write(contents, content, durable=durable)
            return
        frozen, place, content = contents.frozen(), place.absolute(), copy.deepcopy(content)
        self._saves += 1
        self._writer.start(lambda: place.write(frozen, content, durable=durable), self._saves, place.file)

    def load(self, path: str | os.PathLike[str] | None = None, **load_options: Any) -> LoadReport:
        """Loads a save of this model, all or nothing; on disk nothing changes.

        The model exists already, so its immutable settings are in force as if all of them were given.

        Args:
            path: a folder, or an `.npz` file such as one of a checkpoint; None: the model's directory.
            **load_options: those of `load_var_collection`.

        Raises:
            ConfigConflict: an immutable setting differs from the saved one, or a saved one is no longer valid.
            MismatchError: the weights do not fit the model.
            FormatError: the file is damaged.
            FileNotFoundError: nothing was saved there.
        """
        check_options(load_var_collection, load_options, 'load: load_var_collection')
        self._writer.settle()
        place = Place.at(self.directory if path is None else path)
        wait_for(place.file)
        with place.open() as (archive, name, _):
            return load_with_settings(self, archive, name, self.state(), **load_options)

    def checkpoint(self, **options: Any) -> ModelCheckpoint:
        """A `Checkpoint` in the model's directory, whose saves carry the settings and whose restores check them.

        `ckpt.save(model, idx=…)` saves `model.state()`, and `ckpt.restore(model)` brings it back. The directory is not
        made before the first save.

        Args:
            **options: those of `Checkpoint`, such as `keep_ckpts`, `keep_best`, `background`.
        """
        return ModelCheckpoint(self, **options)

    def wait(self) -> None:
        """Waits until the save in the background is done.

        Raises:
            SaveFailed: it failed; `idx` says how manieth of this model it was, and the cause is chained.
        """
        self._writer.wait()


class _Writer(Writer):
    """A writer that a copy of the model, or a pickled one, gets a new one of."""

    def __reduce__(self) -> tuple[type['_Writer'], tuple[()]]:
        return _Writer, ()

"""A model: a module with settings and a directory."""

import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax

from objio import storage
from objio.errors import ConfigDefaultChanged
from objio.io import metrics as metrics_io
from objio.io.contents import contents_of
from objio.io.files import opened, write
from objio.io.metrics import CONFIG_KEY
from objio.io.ops import load_archive
from objio.io.plan import LoadReport
from objio.models import registry
from objio.models.config import Config as BaseConfig
from objio.models.precedence import merge
from objio.models.record import WEIGHTS, Record, check_copy, write_copy
from objio.variables import Module, VarCollection


class Model(Module):
    """A module that knows its settings and its directory, and is loaded from there where it was saved.

    A subclass names its settings in a nested class `Config(objio.Config)` and makes its variables in `build`.

    Args:
        directory: where the model is saved; it is not made before the first save.
        **config: settings that are given; the others are those saved, or the defaults.

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
        registry.register(cls)

    def __init__(self, directory: str | os.PathLike[str] = 'model_dir', **config: Any) -> None:
        self._config = type(self).Config(**config)
        folder = os.fsdecode(directory)
        self._config._directory = Path(folder)  # noqa: SLF001  # a friend
        weights = os.path.join(folder, WEIGHTS)
        try:
            os.stat(weights)
        except FileNotFoundError:
            self.build()
            return
        with opened(weights) as (archive, name):
            record = Record.read(archive, name)
            check_copy(folder, archive, record)
            self._config, notes = merge(self._config, record, type(self), name)
            self.build()
            load_archive(archive, name, self.state())
        _warn(notes)

    @property
    def config(self) -> Any:
        """The settings in force."""
        return self._config

    @property
    def directory(self) -> Path:
        """Where the model is saved; the same as `config.directory`."""
        return self._config.directory

    def build(self) -> None:
        """Makes the variables of the model from `self.config`; a subclass defines it."""
        raise NotImplementedError(
            f'{type(self).__name__} defines no build(self): make the variables there, from self.config'
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model; a subclass defines what that is."""
        raise NotImplementedError(f'{type(self).__name__} defines no train')

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """What the model says of an input; a subclass defines it."""
        raise NotImplementedError(f'{type(self).__name__} defines no predict')

    def state(self) -> VarCollection:
        """What is saved: the variables of the model, and the collections among its attributes."""
        vc = self.vars()
        for name, attribute in self.__dict__.items():
            if isinstance(attribute, VarCollection):
                vc.update((f'({type(self).__name__}).{name}.{inner}', var) for inner, var in attribute.items())
        return vc

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        durable: bool = True,
    ) -> None:
        """Saves the model, its weights and its settings, whole or not at all.

        Args:
            path: the folder; None: the model's directory. It is made where it is missing.
            metrics: numbers by name, stored in the save.
            metadata: as for `save_var_collection`.
            durable: make it safe from a power cut.
        """
        folder = os.fsdecode(self.directory if path is None else path)
        content = {**metrics_io.checked(metadata), CONFIG_KEY: Record.of(type(self), self._config).as_json()}
        if metrics is not None:
            content[metrics_io.KEY] = metrics_io.encode(metrics)
        if jax.process_index() != 0:
            return
        encoded = contents_of(self.state()).laid_out(os.path.join(folder, WEIGHTS), copy.deepcopy(content))
        storage.make_folder(folder)
        write(os.path.join(folder, WEIGHTS), encoded, durable=durable)
        write_copy(folder, durable=durable)

    def load(self, path: str | os.PathLike[str] | None = None, **load_options: Any) -> LoadReport:
        """Loads weights and settings of a save of this model, all or nothing.

        Args:
            path: the folder; None: the model's directory.
            **load_options: those of `load_var_collection`.
        """
        folder = os.fsdecode(self.directory if path is None else path)
        with opened(os.path.join(folder, WEIGHTS)) as (archive, name):
            record = Record.read(archive, name)
            check_copy(folder, archive, record)
            config, notes = merge(self._config, record, type(self), name, built=True)
            report = load_archive(archive, name, self.state(), **load_options)
        self._config = config
        _warn(notes)
        return report


def _warn(notes: list[str]) -> None:
    for note in notes:
        warnings.warn(note, ConfigDefaultChanged, stacklevel=3)

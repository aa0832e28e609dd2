"""Checkpoints of a model, whose saves carry its settings."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from objio.errors import ConfigDefaultChanged
from objio.formats import Archive
from objio.io.checkpoint import Checkpoint
from objio.io.custom import check_options
from objio.io.ops import load_archive, load_var_collection
from objio.io.plan import LoadReport
from objio.io.subjects import state_to_save
from objio.messages import warn_user
from objio.models import sessions
from objio.models.keeping import is_model
from objio.models.merging import merge
from objio.models.place import Place
from objio.models.record import Record
from objio.models.saved_class import naming_the_class, warn_of_other_class
from objio.models.settings import adopt
from objio.variables.name_filter import Selector

if TYPE_CHECKING:
    from objio.models.model import Model


class ModelCheckpoint(Checkpoint):
    """A `Checkpoint` in the directory of a model; `Model.checkpoint` makes it.

    Wherever variables are expected, the model stands for all of its state.

    Example:
        >>> import objio
        >>> class Line(objio.Model):
        ...     class Config(objio.Config):
        ...         lr: float = objio.mutable(0.1, gt=0)
        ...     def build(self):
        ...         self.layer = objio.nn.Linear(3, 1)
        >>> line = Line('run', lr=0.5)
        >>> line.checkpoint().save(line, idx=1)
        >>> line = Line('run')
        >>> line.checkpoint().restore(line)
        (1, 'run/ckpt/0000000001.npz')
        >>> line.config.lr
        0.5
    """

    _LATE = True

    def __init__(self, model: 'Model', **options: Any) -> None:
        self._model = model
        # No method of this object: it would be part of a circle, and outlive its last name.
        self.LOAD_FN: Callable[..., Any] = functools.partial(_load, model)
        self._LOAD_MEAN = functools.partial(load_with_settings, model)
        super().__init__(model.directory, **options)

    def save(
        self,
        vc: Any,
        idx: int,
        *,
        ignore: Selector | None = None,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """As `Checkpoint.save`; the model's settings go with it.

        Raises:
            FileExistsError: the model's directory is the folder of a run that this process has not taken.
            ValueError: `vc` is another model than that of the checkpoint, whose settings would not be those saved.
        """
        self._refuse_other(vc)
        self._refuse_stranger()
        content = Record.of(type(self._model), self._model.config).beside(metadata)
        if vc is self._model:
            vc, ignore = state_to_save(vc, vc.state(), ignore), None
        super().save(vc, idx, ignore=ignore, metrics=metrics, metadata=content)

    def restore(self, vc: Any, idx: int | None = None, **load_options: Any) -> tuple[int, str]:
        """As `Checkpoint.restore`, and as `Model.load` for the settings.

        Raises:
            ConfigConflict: an immutable setting differs from the saved one, or a saved one is no longer valid.
            ValueError: `vc` is another model than that of the checkpoint, which would get the settings.
        """
        check_options(load_var_collection, load_options, 'restore: load_var_collection')
        return super().restore(self._state(vc), idx, **load_options)

    def average(
        self,
        vc: Any,
        *,
        last: int | None = None,
        idxs: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> list[int]:
        """As `Checkpoint.average`; the settings are decided on as if the newest of the saves was restored."""
        return super().average(self._state(vc), last=last, idxs=idxs, weights=weights)

    def truncate(self, after: int) -> list[int]:
        """As `Checkpoint.truncate`.

        Raises:
            FileExistsError: the model's directory is the folder of a run that this process has not taken.
        """
        self._refuse_stranger()
        return super().truncate(after)

    def _refuse_stranger(self) -> None:
        if jax.process_index() == 0:  # the one that writes
            sessions.refuse_stranger(self._model.directory)

    def _refuse_other(self, vc: Any) -> None:
        """Refuses another model, as a cell of a notebook makes that is run again: weights and settings would part."""
        if vc is not self._model and is_model(vc):
            name = type(vc).__name__
            raise ValueError(
                f'this checkpoint belongs to another model (a {type(self._model).__name__} in {self._folder.path}), whose '
                f'settings go with each save; nothing was changed. Make one for this {name}: model.checkpoint(). For its '
                'weights alone, with the settings of the other: model.state()'
            )

    def _state(self, vc: Any) -> Any:
        self._refuse_other(vc)
        return vc.state() if vc is self._model else vc


def _load(model: 'Model', file: str, vc: Any, **options: Any) -> LoadReport:
    with Place(file, None).open() as (archive, name, _):
        return load_with_settings(model, archive, name, vc, **options)


def load_with_settings(model: 'Model', archive: Archive, name: str, vc: Any, **options: Any) -> LoadReport:
    """Loads weights, and the settings in their metadata, all or nothing."""
    record, cls = Record.read(archive, name), type(model)
    with naming_the_class(record, cls, name, f'load a save of {cls.__name__}'):
        merged = merge(model.config, record, cls, name, built=True)
        warn_user(*merged.notes, category=ConfigDefaultChanged)
        report = load_archive(archive, name, vc, **options)
    warn_of_other_class(record, cls, name)
    adopt(model.config, merged.config)
    return report

"""What a `Saver` asks of models, of settings, and of the folder of a run."""

import contextlib
import copy
import errno
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from objio.errors import ConfigConflict, FormatError, MismatchError
from objio.formats.manifest import check_metadata
from objio.io.files import opened
from objio.messages import nearest, some
from objio.models import sessions
from objio.models.record import COPY, WEIGHTS, Record, checksum, read_copy, write_copy
from objio.variables.variable import vars_of


def is_model(thing: Any) -> bool:
    """Whether it is a `Model`, or a class of them; without pydantic nothing is."""
    module = sys.modules.get('objio.models.model')
    if module is None:  # not imported, so nobody can have made one
        return False
    return issubclass(thing if isinstance(thing, type) else type(thing), module.Model)


def settings_of(model: Any, config: Mapping[str, Any] | None, *, is_model: bool) -> dict[str, Any]:
    """The settings that a module was given, once they are known to be such that JSON gives them back."""
    if isinstance(model, type):
        raise TypeError(
            f'Saver: expected a model, a module with variables, got the class {model.__name__}; pass an instance'
        )
    if vars_of(model) is None:
        raise TypeError(
            f'Saver: expected a model, a module with variables, got {type(model).__name__}. Save any other tree of arrays '
            'with save_var_collection or a Checkpoint; or let an objio.Model hold it: '
            'self.net = objio.VarCollection.from_tree(tree)'
        )
    if config is None:
        return {}
    if is_model:
        raise TypeError(f'Saver: {type(model).__name__} is a Model and has settings of its own; leave out config=')
    if not isinstance(config, Mapping):
        raise TypeError(f'Saver: expected config= to be a dict of settings, got {type(config).__name__}')
    check_metadata(dict(config), 'config')
    return copy.deepcopy(dict(config))


def make_module(cls: Any, values: Mapping[str, Any], name: str) -> Any:
    """A module of a class that takes its settings as arguments.

    Raises:
        TypeError: it is no class and no function, or does not take these settings.
    """
    if vars_of(cls) is not None or not callable(cls):
        raise TypeError(
            f'expected cls= to be a class, or a function that makes a module of the settings, got a '
            f'{type(cls).__name__}; to load into a module: load_var_collection({name!r}, net)'
        )
    try:
        return cls(**values)
    except TypeError as error:
        error.add_note(f'{name} was saved with the settings {dict(values)!r}, and a module is made as cls(**settings)')
        raise


@contextlib.contextmanager
def saying_what_was_made(record: Record, cls: Any, name: str) -> Iterator[None]:
    """Says of variables that do not fit, in the block, how the module was made and how to make it otherwise.

    Args:
        record: what the save says of its module.
        cls: what made the module here.
        name: that of the file, for messages.
    """
    try:
        yield
    except MismatchError as error:
        made = f'{getattr(cls, "__qualname__", repr(cls))}({", ".join(f"{k}={v!r}" for k, v in record.values.items())})'
        said = (
            f'{name} is a save of {record.cls}, and {made} did not make a module with the same variables. Pass cls= a '
            'function that makes the module from the settings, as in cls=lambda **settings: make_net(); or make the '
            f'module and load its arrays: load_var_collection({name!r}, net).'
        )
        error.args = (f'{said}\n{error.args[0]}',)
        raise


def renew_copy(folder: str) -> None:
    """Brings the copy of the settings up to the model, where a kill came between the two; what is damaged stays."""
    weights, path = os.path.join(folder, WEIGHTS), os.path.join(folder, COPY)
    if not os.path.exists(weights):
        return
    with contextlib.suppress(FormatError, ConfigConflict):
        with opened(weights) as (archive, _):
            of = read_copy(path)[0] if os.path.exists(path) else None
            current = checksum(archive)
        if of != current:
            write_copy(folder, durable=True)


def refuse_missing(folder: Path) -> None:
    """Refuses a run that is not there, or has no model."""
    if (folder / WEIGHTS).exists():
        return
    if (folder / sessions.PROVENANCE).exists():
        raise FileNotFoundError(errno.ENOENT, 'the run has not saved its model yet', str(folder / WEIGHTS))
    names = sorted(path.parent.name for path in folder.parent.glob(f'*/{sessions.PROVENANCE}'))
    raise FileNotFoundError(
        errno.ENOENT,
        f'there is no such run{nearest(folder.name, names)}; there are {some(names) or "none"}',
        str(folder),
    )


def devices() -> list[str]:
    """What JAX computes on, as '2 × NVIDIA H200'."""
    return [f'{number} × {kind}' for kind, number in Counter(device.device_kind for device in jax.devices()).items()]

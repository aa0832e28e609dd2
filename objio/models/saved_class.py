"""The class that a save is of, beside the class that is loaded: told where they are two."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from objio.errors import ConfigConflict, ConfigDefaultChanged, MismatchError
from objio.models.record import Record
from objio.models.registry import name_of

_LOG = logging.getLogger('objio')


def is_of(record: Record, cls: type) -> bool:
    """Whether a save is of a class, by its name alone: a script calls its module `__main__`, and classes move.

    Example:
        >>> import objio
        >>> is_of(Record('__main__:Linear', '', '', {}, frozenset()), objio.nn.Linear)
        True
    """
    return _bare(record.cls) == _bare(name_of(cls))


@contextmanager
def naming_the_class(record: Record, cls: type, name: str, cure: str) -> Iterator[None]:
    """Says of what does not fit in the block that the save is of another class, where it is.

    Args:
        record: what the save says of its model.
        cls: the class that is loaded.
        name: that of the file, for messages.
        cure: what to do.
    """
    try:
        yield
    except (ConfigConflict, MismatchError, ConfigDefaultChanged) as error:
        if not is_of(record, cls) and error.args:
            error.args = (f'{_difference(record, cls, name)}: {cure}.\n{error.args[0]}', *error.args[1:])
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # of pydantic, or of `build`
        if not is_of(record, cls):
            error.add_note(f'{_difference(record, cls, name)}: {cure}')
        raise


@contextmanager
def saying_how_to_load_a_part(cls: type, folder: str) -> Iterator[None]:
    """Says of what does not fit where the options are taken that the error names: a model that is made takes none.

    Args:
        cls: the class of the model.
        folder: its directory.
    """
    try:
        yield
    except MismatchError as error:
        name = cls.__name__
        where = (
            f'{name}(…) takes no such options, load does: model = {name}(directory=None), with the '
            f'settings that were saved, then model.load({folder!r}, …). For a new model use another directory.'
        )
        error.args = (f'{error.args[0]}\n{where}',)
        raise


def warn_of_other_class(record: Record, cls: type, name: str) -> None:
    """Warns in the log of a save that fits by its names alone: its class is neither the one loaded nor a base of it."""
    if not any(is_of(record, base) for base in cls.__mro__):
        _LOG.warning(
            '%s: it was loaded all the same, since all that this one asks for is in it', _difference(record, cls, name)
        )


def _difference(record: Record, cls: type, name: str) -> str:
    return f'{name} is a save of the class {record.cls}, and this is the class {name_of(cls)}'


def _bare(name: str) -> str:
    """The name of a class without its module, and without the function that it is made in."""
    return name.partition(':')[2].rpartition('<locals>.')[2]

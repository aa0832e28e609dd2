"""The classes of models that this program has defined, by name; a name found in a file is looked for here alone."""

import difflib
from weakref import WeakValueDictionary

_CLASSES: WeakValueDictionary[str, type] = WeakValueDictionary()


def name_of(cls: type) -> str:
    """What a save calls a class.

    Example:
        >>> import objio
        >>> name_of(objio.nn.Linear)
        'objio.nn:Linear'
    """
    return f'{cls.__module__}:{cls.__qualname__}'


def register(cls: type) -> None:
    """Enters a class; of two with one name, as a notebook defines them, the later counts."""
    _CLASSES[name_of(cls)] = cls


def find(name: str) -> type:
    """The class of a name. Nothing is imported: what a file says must not choose the code that runs.

    Raises:
        LookupError: this program has not defined it; the message says what to do.
    """
    cls = _CLASSES.get(name)
    if cls is not None:
        return cls
    module, _, qualname = name.partition(':')
    same = [other for other in _CLASSES if other.partition(':')[2] == qualname]
    near = difflib.get_close_matches(name, _CLASSES, n=1)
    hint = f'; this program has {(same or near)[0]!r}' if same or near else ''
    # What a script calls __main__ is another module in every other program.
    cure = 'pass cls=' if module == '__main__' else f'import {module} first, or pass cls='
    raise LookupError(
        f'no model of the class {name!r} is defined in this program{hint}. Names found in a file are never imported: '
        f'{cure}, the class or a function that makes it from its settings (a module that is no objio.Model always needs '
        'it)'
    )

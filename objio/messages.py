"""Parts of messages that every room uses: a few of many names, the nearest name, a value, and warnings at the user's line."""

import difflib
import inspect
import warnings
from collections.abc import Iterable

_SHOWN = 100  # characters of a value
_COMPARED = 1000  # names; comparing one takes up to 0.1 ms


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first few of some names, and how many more there are.

    Example:
        >>> some('abcdefg')
        'a, b, c, d, e, … 2 more'
    """
    names = list(names)
    return ', '.join(names[:limit]) + (f', … {len(names) - limit} more' if len(names) > limit else '')


def given(value: object) -> str:
    """The part of a message that shows a value that was given; of a long one, as an array or a model, its type alone.

    Example:
        >>> given(2.5), given([0.0] * 1000)
        ('2.5 (float)', 'a value of type list')
    """
    shown = repr(value)
    return f'{shown} ({type(value).__name__})' if len(shown) <= _SHOWN else f'a value of type {type(value).__name__}'


def nearest(name: str, known: Iterable[str]) -> str:
    """The part of a message that names what was perhaps meant; '' where nothing is near.

    Of very many names only those whose length is nearest are compared.

    Example:
        >>> nearest('los', ['loss', 'accuracy'])
        " (did you mean 'loss'?)"
    """
    known = sorted(known, key=lambda other: abs(len(other) - len(name)))[:_COMPARED]
    near = difflib.get_close_matches(name, known, n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''


def warn_user(*messages: str, category: type[Warning] = UserWarning) -> None:
    """Warns as if the line outside objio had done it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get('__name__', '').partition('.')[0] == 'objio':
        frame, level = frame.f_back, level + 1
    for message in messages:
        warnings.warn(message, category, stacklevel=level)

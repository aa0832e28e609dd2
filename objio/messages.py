"""What messages are made of: the first few of many names, and warnings that point at the user's line."""

import inspect
import warnings
from collections.abc import Iterable


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first few of some names, and how many more there are.

    Example:
        >>> some('abcdefg')
        'a, b, c, d, e, … 2 more'
    """
    names = list(names)
    return ', '.join(names[:limit]) + (f', … {len(names) - limit} more' if len(names) > limit else '')


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns as if the line outside objio had done it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get('__name__', '').partition('.')[0] == 'objio':
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

"""Warnings that point at the line outside objio that caused them."""

import inspect
import warnings
from collections.abc import Iterable


def warn_caller(messages: Iterable[str], category: type[Warning] = UserWarning) -> None:
    """Warns as if the line outside objio had done it."""
    messages = list(messages)
    if not messages:
        return
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get('__name__', '').partition('.')[0] == 'objio':
        frame, level = frame.f_back, level + 1
    for message in messages:
        warnings.warn(message, category, stacklevel=level)

"""What `only`, `skip` and `ignore` mean: names, prefixes of names, patterns, and functions that are asked."""

import re
from collections.abc import Callable, Iterable
from typing import Any

Selector = str | re.Pattern[str] | Callable[[str], bool] | Iterable['Selector']
"""What `only` and `skip` take.

A str is a literal name, or the prefix of one up to `.`, `[`, `(` or `/`; a compiled pattern is searched in the name;
a callable is asked; an iterable means any of them.
"""
_ENDS = ('.', '[', '(', '/')


def chooser(only: Selector | None, skip: Selector | None) -> Callable[[str], bool]:
    """A function that says of a name whether `only` takes it and `skip` leaves it.

    Raises:
        TypeError: one of them is none of the kinds that are understood.
    """
    wanted = _matcher(only, 'only') if only is not None else everything
    if skip is None:
        return wanted
    unwanted = _matcher(skip, 'skip')
    return lambda name: wanted(name) and not unwanted(name)


def everything(name: str) -> bool:
    """Takes every name."""
    return True


def _matcher(selector: Any, argument: str) -> Callable[[str], bool]:
    if isinstance(selector, str):
        prefixes = tuple(selector + end for end in _ENDS)
        if selector.endswith(_ENDS):
            prefixes = (selector, *prefixes)
        return lambda name: name == selector or name.startswith(prefixes)
    if isinstance(selector, re.Pattern):
        return lambda name: selector.search(name) is not None
    if isinstance(selector, type):
        raise TypeError(f'{argument}= goes by names; for the variables of a class pass vc.subset({selector.__name__})')
    if callable(selector):
        return lambda name: bool(selector(name))
    if isinstance(selector, Iterable):
        matchers = [_matcher(item, argument) for item in selector]
        return lambda name: any(matches(name) for matches in matchers)
    raise TypeError(
        f'{argument}= takes a str, a compiled re.Pattern, a callable or a list of them, got {type(selector).__name__}'
    )

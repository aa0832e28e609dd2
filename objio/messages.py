"""Parts of messages that every room uses."""

import difflib
from collections.abc import Iterable

_COMPARED = 1000  # names; comparing one takes up to 0.1 ms


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

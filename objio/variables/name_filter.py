"""What `only`, `skip` and `ignore` mean: names, prefixes of names, patterns, and functions that are asked."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from objio.messages import nearest, some, warn_user

Selector = str | re.Pattern[str] | Callable[[str], bool] | Iterable['Selector']
"""What `only` and `skip` take.

A str is a literal name, or the prefix of one up to `.`, `[`, `(` or `/`; a compiled pattern is searched in the name;
a callable is asked; an iterable means any of them.
"""
_ENDS = ('.', '[', '(', '/')
_END = re.compile('[' + re.escape(''.join(_ENDS)) + ']')
_FEW = 16  # literal names; so many are compared with a name faster than its beginnings are looked up among them


class Unmatched(NamedTuple):
    """The entries of a selector or a renamer that fit no name.

    Attributes:
        literals: those that are literal names; a misspelt one is an error. An entry as it is written -> what is to be
            said of it, such as what was perhaps meant; '' for nothing.
        others: patterns and functions, as they are written; one that fits nothing is told.
    """

    literals: dict[str, str]
    others: tuple[str, ...]


class NameFilter:
    """A selector that was read: called with a name, it says whether one of its entries takes it.

    Args:
        selector: what `only`, `skip` or `ignore` was given.
        argument: which of them, for messages.

    Raises:
        TypeError: an entry is none of the kinds that are understood.

    Example:
        >>> takes = NameFilter(['enc', re.compile('bias$'), 'haed'], 'skip')
        >>> takes('enc.w'), takes('encoder.w'), takes('dec.bias')
        (True, False, True)
        >>> takes.unmatched(['enc.w', 'head.w'])
        Unmatched(literals={"skip='haed'": " (did you mean 'head'?)"}, others=("skip=re.compile('bias$')",))
    """

    def __init__(self, selector: Selector, argument: str) -> None:
        self.selector = selector
        self.argument = argument
        self._literals: dict[str, None] = {}
        self._others: list[tuple[str, Callable[[str], Any]]] = []  # as it is written, and what is asked
        self._add(selector)
        self._prefixes = tuple(
            prefix
            for literal in self._literals
            for prefix in ((literal,) if literal.endswith(_ENDS) else tuple(literal + end for end in _ENDS))
        )

    @classmethod
    def of(cls, selector: 'Selector | NameFilter | None', argument: str) -> 'NameFilter | None':
        """The filter for what an argument was given; None where it was given nothing."""
        return selector if selector is None or isinstance(selector, NameFilter) else cls(selector, argument)

    def __call__(self, name: str) -> bool:
        """Whether an entry takes the name."""
        return self._is_named(name) or any(asked(name) for _, asked in self._others)

    def unmatched(self, names: Collection[str]) -> Unmatched:
        """The entries that take none of some names.

        Args:
            names: all the names there are; what was perhaps meant is looked for among them, too.
        """
        waiting = dict(self._literals)
        for name in names:
            if not waiting:
                break
            if self._is_named(name):
                for beginning in beginnings(name):
                    waiting.pop(beginning, None)
        known: set[str] = set()
        if waiting:
            known.update(found for name in names for found in beginnings(name) if not found.endswith(_ENDS))
        return Unmatched(
            {f'{self.argument}={literal!r}': nearest(literal, known) for literal in waiting},
            tuple(f'{self.argument}={words}' for words, asked in self._others if not any(map(asked, names))),
        )

    def _is_named(self, name: str) -> bool:
        if len(self._literals) > _FEW:
            return any(beginning in self._literals for beginning in beginnings(name))
        return name in self._literals or name.startswith(self._prefixes)

    def _add(self, entry: Any) -> None:
        if isinstance(entry, str):
            self._literals[entry] = None
        elif isinstance(entry, re.Pattern):
            self._others.append((repr(entry), entry.search))
        elif isinstance(entry, type):
            raise TypeError(
                f'{self.argument}= goes by names; for the variables of a class pass vc.subset({entry.__name__})'
            )
        elif callable(entry):
            self._others.append((written(entry), entry))
        elif isinstance(entry, Iterable) and not isinstance(entry, bytes):
            for item in entry:
                self._add(item)
        else:
            raise TypeError(
                f'{self.argument}= takes a str, a compiled re.Pattern, a callable or a list of them, '
                f'got {type(entry).__name__}'
            )


def chooser(only: Selector | NameFilter | None, skip: Selector | NameFilter | None) -> Callable[[str], bool]:
    """A function that says of a name whether `only` takes it and `skip` leaves it.

    Raises:
        TypeError: one of them is none of the kinds that are understood.
    """
    wanted, unwanted = NameFilter.of(only, 'only'), NameFilter.of(skip, 'skip')
    if unwanted is None:
        return everything if wanted is None else wanted
    return lambda name: (wanted is None or wanted(name)) and not unwanted(name)


def everything(name: str) -> bool:
    """Takes every name."""
    return True


def beginnings(name: str) -> Iterator[str]:
    """Yields what a literal entry may be that takes a name: the name, and each prefix up to one of `.[(/`.

    Example:
        >>> list(beginnings('enc.w'))
        ['enc.w', 'enc', 'enc.']
    """
    yield name
    for end in _END.finditer(name):
        yield name[: end.start()]
        yield name[: end.end()]


def check_ignored(ignored: NameFilter, names: Collection[str]) -> None:
    """Refuses literal names to ignore that are those of nothing, and warns of other entries that take nothing.

    Raises:
        ValueError: a literal name takes none of the names.
    """
    found = ignored.unmatched(names)
    if found.literals:
        wrong = ', '.join(f'{entry}{near}' for entry, near in found.literals.items())
        raise ValueError(f'{wrong}: nothing here has this name, so nothing was saved; the names are {some(names)}')
    for entry in found.others:
        warn_user(f'{entry} ignores nothing: no name fits it')


def written(function: Callable[..., Any]) -> str:
    """A function by its name; another callable as Python shows it."""
    return getattr(function, '__qualname__', None) or repr(function)

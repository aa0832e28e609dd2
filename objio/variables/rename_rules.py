"""The rules of a `Renamer`: each renames a name, and says which of its parts fit none of some names."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from objio.messages import nearest
from objio.variables.name_filter import Unmatched, written

Replacement = str | Callable[[re.Match[str]], str]
_WORD = re.compile(r'\w+|\W')
_LOOKED_AT = 100_000  # parts of names; what was perhaps meant is looked for among no more of them
_COVERED = ' (it stands in names, but other keys of the dict always take its place; put it before them)'


class Words:
    """Replaces each key of a dict, wherever it stands in a name, by its value.

    Of two keys that fit at the same place the first one in the dict is taken.
    """

    def __init__(self, words: Mapping[str, str]) -> None:
        for key, new in words.items():
            if not (isinstance(key, str) and isinstance(new, str)):
                raise TypeError(f'Renamer: expected a dict from str to str, found {key!r}: {new!r}')
        if '' in words:
            raise ValueError("Renamer: '' is a key of the dict, but an empty string stands everywhere in a name")
        self._words = dict(words)
        self._pattern = re.compile('|'.join(map(re.escape, words)) or '(?!)')

    def __call__(self, name: str) -> str:
        """The new name for a name."""
        return self._pattern.sub(lambda found: self._words[found.group()], name)

    def unmatched(self, names: Collection[str]) -> Unmatched:
        """The keys that are replaced in none of some names."""
        waiting = dict(self._words)
        for name in names:
            if not waiting:
                break
            for found in self._pattern.finditer(name):
                waiting.pop(found.group(), None)
        if not waiting:
            return Unmatched({}, ())
        text = '\n'.join(names)
        absent = [key for key in waiting if key not in text]
        known = set(_parts(names, max(map(_count, absent)))) if absent else set()
        remarks = {key: nearest(key, known) for key in absent}
        # What the other keys make of a key may be just what was meant.
        remarks |= {key: _COVERED for key, new in waiting.items() if key not in remarks and self(key) != new}
        return Unmatched({f'renamer={{{key!r}: {self._words[key]!r}}}': remark for key, remark in remarks.items()}, ())


class Pairs:
    """Does `re.sub` with each pair of a pattern and a replacement, in order."""

    def __init__(self, pairs: Sequence[tuple[str | re.Pattern[str], Replacement]]) -> None:
        for pair in pairs:
            if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], (str, re.Pattern))):
                kind = type(pair).__name__
                cure = '; Renamer(first, chain=second) does one after the other' if callable(pair) else ''
                raise TypeError(f'Renamer: expected pairs (pattern, replacement) in the list, found a {kind}{cure}')
        self._pairs = [(re.compile(pattern), replacement) for pattern, replacement in pairs]

    def __call__(self, name: str) -> str:
        """The new name for a name."""
        for pattern, replacement in self._pairs:
            name = pattern.sub(replacement, name)
        return name

    def unmatched(self, names: Collection[str]) -> Unmatched:
        """The pairs whose pattern is found in none of some names, as the pairs before it have made them."""
        waiting = dict(enumerate(self._pairs))
        for name in names:
            if not waiting:
                break
            new = name
            for place, (pattern, replacement) in enumerate(self._pairs):
                new, count = pattern.subn(replacement, new)
                if count:
                    waiting.pop(place, None)
        return Unmatched(
            {},
            tuple(
                f'renamer=({pattern.pattern!r}, {repr(new) if isinstance(new, str) else written(new)})'
                for pattern, new in waiting.values()
            ),
        )


class Function:
    """Asks a function of the caller's."""

    def __init__(self, rename: Callable[[str], str]) -> None:
        self._rename = rename

    def __call__(self, name: str) -> str:
        """The new name for a name."""
        return self._rename(name)

    def unmatched(self, names: Collection[str]) -> Unmatched:
        """The function, where it changes none of some names."""
        changes = any(self._rename(name) != name for name in names)
        return Unmatched({}, () if changes else (f'renamer={written(self._rename)}',))


def _count(key: str) -> int:
    return len(_WORD.findall(key))


def _parts(names: Iterable[str], most: int) -> Iterator[str]:
    """The parts of names that a key may have meant: of up to so many words and signs."""
    found = (
        name[start:end]
        for name in names
        for edges in [[0, *(word.end() for word in _WORD.finditer(name))]]
        for first, start in enumerate(edges)
        for end in edges[first + 1 : first + 1 + most]
    )
    return islice(found, _LOOKED_AT)

"""Names in families: those that differ only in their numbers, and what stands before each of these."""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping

from objio.io.likeness import SLOT, template

_SHIFTS = 64  # ways to shift a row of numbers that are tried
_LONGEST = 400  # letters of a name; what is kept of a family grows with the square
_MOST_NUMBERS = 24  # of a name
_NUMBER = re.compile('[0-9]+')
_LAST = re.compile(r'(?<![^\W_])[^\W_]+\W*$')

Kinds = Mapping[str, Hashable]
"""Name -> what two arrays must have in common for the one to be taken for the other, such as shape and dtype."""

Families = dict[str, dict[tuple[int, ...], str]]
"""Names that differ only in their numbers: template -> numbers -> name."""


def can_be_split(name: str) -> bool:
    """Whether a name is such as people give: not so long, and with few enough numbers, to be compared part by part."""
    return len(name) <= _LONGEST and len(_NUMBER.findall(name)) <= _MOST_NUMBERS


def by_kind(kinds: Kinds) -> dict[Hashable, Families]:
    """Kind -> its families."""
    split = {name: template(name) for name in kinds}
    # The first of `linear`, `linear_1`, `linear_2`, as Haiku and TensorFlow number, has the number 0.
    numbered: dict[str, tuple[str, int]] = {}
    for pattern in dict.fromkeys(pattern for pattern, _ in split.values()):
        for i, before in enumerate(prefixes(pattern)):
            if before.endswith('_'):
                numbered.setdefault(before[:-1] + pattern[len(before) + 1 :], (pattern, i))
    families: dict[Hashable, Families] = defaultdict(lambda: defaultdict(dict))
    for name, (pattern, numbers) in split.items():
        family, place = numbered.get(pattern, (pattern, None))
        member = numbers if place is None else (*numbers[:place], 0, *numbers[place:])
        families[kinds[name]][family].setdefault(member, name)
    return families


def by_place(kinds: Kinds, without: Collection[str]) -> dict[tuple[str, Hashable], list[str]]:
    """Module and kind -> the names, without some."""
    places: dict[tuple[str, Hashable], list[str]] = defaultdict(list)
    for name, kind in kinds.items():
        if name not in without:
            places[parent_of(name), kind].append(name)
    return places


def numbers_after(kinds: Mapping[Hashable, Families]) -> dict[str, set[int]]:
    """What stands before a number -> all numbers that follow it, of whatever kind."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for families in kinds.values():
        for pattern, family in families.items():
            for i, before in enumerate(prefixes(pattern)):
                numbers[before].update(member[i] for member in family)
    return numbers


@functools.lru_cache(maxsize=1 << 12)
def prefixes(pattern: str) -> tuple[str, ...]:
    """What stands before each number of a template."""
    return tuple(pattern[:at] for at, letter in enumerate(pattern) if letter == SLOT)


@functools.lru_cache(maxsize=1 << 15)
def parent_of(pattern: str) -> str:
    """A name or a template without its last word."""
    return _LAST.sub('', pattern)


def possible_shifts(old: set[int], new: set[int]) -> set[int]:
    """All shifts under which the numbers of the smaller set are among those of the larger."""
    if not old or not new:
        return set()
    smaller, larger, sign = (old, new, 1) if len(old) <= len(new) else (new, old, -1)
    low, high = min(larger) - min(smaller), max(larger) - max(smaller)
    tried = range(low, high + 1) if high - low < _SHIFTS else [0]
    return {sign * shift for shift in tried if all(number + shift in larger for number in smaller)}


def agreed(shifts: set[int]) -> int | None:
    """The one shift that is left; none at all where it is possible."""
    if 0 in shifts:
        return 0
    return next(iter(shifts)) if len(shifts) == 1 else None


def mapping(seen: Mapping[int, set[int]], shift: int | None) -> Callable[[int], int | None]:
    """From old numbers to new ones: as single arrays have shown, else by the shift."""

    def number(old: int) -> int | None:
        if shift is not None:
            return old + shift
        shown = seen.get(old, set())
        return next(iter(shown)) if len(shown) == 1 else None

    return number

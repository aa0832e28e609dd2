"""How alike two names are: the measure by which renames are guessed."""

import difflib
import functools
import re
from collections.abc import Set
from typing import NamedTuple

SLOT = '\0'  # stands for a number in a template
_NUMBER = re.compile(r'[0-9]{1,9}')
_PART = re.compile(rf'{SLOT}|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_{SLOT}]+')

# What the libraries call one and the same thing.
_SYNONYMS = (
    ('w', 'weight', 'kernel', 'scale', 'gamma', 'embedding'),
    ('b', 'bias', 'offset', 'beta'),
    ('linear', 'dense', 'fc'),
    ('mean', 'average'),
    ('var', 'variance'),
)
_KIND = {word: group for group, words in enumerate(_SYNONYMS) for word in words}
_LEARNED, _SYNONYM, _SPELLING = 0.95, 0.9, 0.8
_ALIKE = 0.6  # of difflib's ratio; below it two words have nothing to do with each other
_SLOT_WEIGHT = 0.5  # that a number stands here tells less than a word does


class Likeness(NamedTuple):
    """How alike two templates are."""

    score: float  # 0 to 1
    slots: tuple[tuple[int, int], ...]  # the numbers that stand for each other, by their places
    words: tuple[tuple[str, str], ...]  # the words that stand in each other's place, where they differ


def template(name: str) -> tuple[str, tuple[int, ...]]:
    """A name without its numbers, and the numbers (of up to nine digits).

    Example:
        >>> template('layers_3.conv12.w') == (f'layers_{SLOT}.conv{SLOT}.w', (3, 12))
        True
    """
    # A file of others may have the very letter in a name.
    return _NUMBER.sub(SLOT, name.replace(SLOT, ' ')), tuple(map(int, _NUMBER.findall(name)))


@functools.lru_cache(maxsize=1 << 14)
def parts(pattern: str) -> tuple[str, ...]:
    """The words of a template in small letters, and its numbers as `SLOT`; what separates them is left out.

    Example:
        >>> parts('(BatchNorm2D).runningMean')
        ('batch', 'norm', 'd', 'running', 'mean')
    """
    return tuple(part.lower() for part in _PART.findall(pattern))


def likeness(old: str, new: str, learned: Set[tuple[str, str]] = frozenset()) -> Likeness:
    """Compares two templates, word by word and in order.

    The score is twice the worth of the best alignment that keeps the order (Needleman and Wunsch, 1970), divided by the
    worth of both templates alone: 1 where all words are equal, 0 where none are alike. Two words are worth

    - 1 where they are equal,
    - 0.95 where names that are known to be renamed have the one in the place of the other,
    - 0.9 where libraries use them for one thing: `w`, `weight` and `kernel`, `b` and `bias`, `Linear` and `Dense`,
    - where they begin with the same letter, 0.8 times the ratio of `difflib.SequenceMatcher` (Ratcliff and Obershelp, 1988),
      if that is at least 0.6; where one word begins with the other, it is taken to be.

    That there is a number in both is worth half a word; which numbers they are is compared elsewhere.

    Args:
        old: a template.
        new: another one.
        learned: words of the first and what stands for them in the second.

    Example:
        >>> likeness('net.fc.w', 'model.fc.kernel').score
        0.6333333333333333
        >>> likeness('net.fc.w', 'model.fc.kernel').words
        (('net', 'model'), ('w', 'kernel'))
    """
    a, b = parts(old), parts(new)
    # best[i][j]: what the first i and the first j parts are worth together
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, left in enumerate(a, 1):
        above, row = best[i - 1], best[i]
        for j, right in enumerate(b, 1):
            row[j] = max(above[j], row[j - 1], above[j - 1] + _worth(left, right, learned))
    whole = sum(_SLOT_WEIGHT if part == SLOT else 1.0 for part in a + b)
    slots, words = _alignment(a, b, best, learned)
    return Likeness(2 * best[-1][-1] / whole if whole else 0.0, slots, words)


def _alignment(
    a: tuple[str, ...], b: tuple[str, ...], best: list[list[float]], learned: Set[tuple[str, str]]
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[str, str], ...]]:
    """Goes back through the table: the numbers and the differing words that stand for each other."""
    pairs = [(len(a), len(b))]
    i, j = len(a), len(b)
    while i and j:
        worth = _worth(a[i - 1], b[j - 1], learned)
        if worth and best[i][j] == best[i - 1][j - 1] + worth:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1
    slots, words = [], []
    end_a, end_b = 0, 0
    for i, j in reversed(pairs):
        gap = list(zip(a[end_a:i], b[end_b:j], strict=False))
        if i - end_a == j - end_b and all(SLOT not in pair for pair in gap):
            words += gap
        if i < len(a):
            if a[i] == SLOT:
                slots.append((a[:i].count(SLOT), b[:j].count(SLOT)))
            elif a[i] != b[j]:
                words.append((a[i], b[j]))
        end_a, end_b = i + 1, j + 1
    return tuple(slots), tuple(words)


def _worth(left: str, right: str, learned: Set[tuple[str, str]]) -> float:
    if left == right:
        return _SLOT_WEIGHT if left == SLOT else 1.0
    if SLOT in (left, right):
        return 0.0
    return _LEARNED if (left, right) in learned else _alike(left, right)


@functools.lru_cache(maxsize=1 << 16)
def _alike(left: str, right: str) -> float:
    if left in _KIND and _KIND[left] == _KIND.get(right):
        return _SYNONYM
    if left[0] != right[0]:
        return 0.0
    ratio = difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()
    if left.startswith(right) or right.startswith(left):
        ratio = max(ratio, _ALIKE)
    return _SPELLING * ratio if ratio >= _ALIKE else 0.0

"""One rule of a `Renamer`: a pattern and what takes its place, drawn from two names and written as Python."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_TOKEN = re.compile(r'[0-9]+|[^\W\d_]+|.', re.DOTALL)
_SPECIAL = re.compile(r'[.^$*+?{}\[\]\\|()]')
# How many tokens beside the change a rule looks at, left and right.
_CONTEXTS = (
    (0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3), (4, 1), (1, 4), (1, 5), (1, 6), (1, 8)
)  # fmt: skip

Pieces = tuple[str | tuple[int, int], ...]
"""What takes the place of a match: text, and groups (number, shift), numbers that are raised by the shift."""

Change = tuple[int, int, int, int]
"""The tokens from here to there of one name, which gave way to those from here to there of another."""


class Rule(NamedTuple):
    """One pair of a `Renamer`."""

    pattern: str
    pieces: Pieces

    @property
    def pair(self) -> tuple[str, str | Callable[[re.Match[str]], str]]:
        """What `Renamer` takes."""
        if not self._shifted:
            return self.pattern, self._text
        return self.pattern, lambda found: ''.join(_filled(piece, found) for piece in self.pieces)

    @property
    def code(self) -> str:
        """The pair as Python."""
        if not self._shifted:
            return f'({_quoted(self.pattern)}, {_quoted(self._text)})'
        filled = [
            piece.replace('{', '{{').replace('}', '}}') if isinstance(piece, str) else _expression(*piece)
            for piece in self.pieces
        ]
        return f'({_quoted(self.pattern)}, lambda m: f{"".join(filled)!r})'

    @property
    def _shifted(self) -> bool:
        return any(isinstance(piece, tuple) and piece[1] for piece in self.pieces)

    @property
    def _text(self) -> str:
        """The replacement as `re.sub` reads it."""
        texts = [piece.replace('\\', r'\\') if isinstance(piece, str) else rf'\{piece[0]}' for piece in self.pieces]
        for i, text in enumerate(texts[:-1]):
            if isinstance(self.pieces[i], tuple) and texts[i + 1][:1].isdigit():
                texts[i] = rf'\g<{text[1:]}>'
        return ''.join(texts)


def _is_number(token: str) -> bool:
    return token.isascii() and token.isdigit()  # other digits are letters here: not each of them is a number


def _changes(a: list[str], b: list[str]) -> list[Change]:
    """From where to where the tokens of two names differ."""
    x, y = (['0' if _is_number(token) else token for token in tokens] for tokens in (a, b))
    changes: list[Change] = []
    for kind, start_a, end_a, start_b, end_b in difflib.SequenceMatcher(None, x, y, autojunk=False).get_opcodes():
        found = [(start_a, end_a, start_b, end_b)]
        if kind == 'equal':  # but for the numbers
            found = [(i, i + 1, j, j + 1) for i, j in zip(range(start_a, end_a), range(start_b, end_b), strict=True)]
            found = [change for change in found if a[change[0]] != b[change[2]]]
        for change in found:
            if changes and changes[-1][1] == change[0] and changes[-1][3] == change[2]:
                before = changes.pop()
                changes.append((before[0], change[1], before[2], change[3]))
            else:
                changes.append(change)
    return changes


def _changes_backwards(a: list[str], b: list[str]) -> list[Change]:
    """The same, but that of several equal tokens the last ones are taken to be the same."""
    n, m = len(a), len(b)
    return [(n - i, n - start_a, m - j, m - start_b) for start_a, i, start_b, j in _changes(a[::-1], b[::-1])]


def distance(old: str, new: str) -> int:
    """How many tokens differ."""
    changes = _changes(_TOKEN.findall(old), _TOKEN.findall(new))
    return sum(end_a - start_a + end_b - start_b for start_a, end_a, start_b, end_b in changes)


def candidates(old: str, new: str) -> Iterator[Rule]:
    """Rules that would do one of the changes between two names, the shorter ones first."""
    a: list[str] = _TOKEN.findall(old)
    b: list[str] = _TOKEN.findall(new)
    changes = list(dict.fromkeys([*_changes(a, b), *_changes_backwards(a, b)]))

    def within(change: Change, left: int, right: int) -> Iterator[Rule]:
        start_a, end_a, start_b, end_b = change
        start, end = max(0, start_a - left), min(len(a), end_a + right)
        return _rules(a, start, end, [*a[start:start_a], *b[start_b:end_b], *a[end_a:end]])

    for left, right in _CONTEXTS:
        for change in changes:
            yield from within(change, left, right)
    for change in changes:
        # Only in names that begin like this one.
        for cut in range(1, change[0]):
            if not a[cut - 1].isalnum():
                for left, right in _CONTEXTS[:4]:
                    if change[0] - left >= cut:
                        for rule in within(change, left, right):
                            if not rule.pattern.startswith('^'):
                                yield _after(rule, f'^({_escaped("".join(a[:cut]))}.*)')
    yield from _rules(a, 0, len(a), b)


def _rules(a: list[str], start: int, end: int, new: list[str]) -> Iterator[Rule]:
    """The rules that put `new` in the place of some tokens, which must not begin or end within a word."""
    old = a[start:end]
    if old and all(map(_is_number, old)):
        return  # numbers with nothing beside them stand everywhere
    lefts = ['^'] if start == 0 else []
    rights = ['$'] if end == len(a) else []
    if old and not old[0].isalpha() and not (start and _is_number(old[0]) and _is_number(a[start - 1])):
        lefts = ['', *lefts]
    if old and not old[-1].isalpha():
        rights = ['', *rights]
    if not old and not (lefts or rights):
        return
    olds, news = [token for token in old if _is_number(token)], [token for token in new if _is_number(token)]
    bodies = []
    if len(olds) == len(news):
        groups = iter(range(1, len(news) + 1))
        shifts = iter([int(y) - int(x) for x, y in zip(olds, news, strict=True)])
        pieces = tuple((next(groups), next(shifts)) if _is_number(token) else token for token in new)
        bodies.append((''.join(r'(\d+)' if _is_number(token) else _escaped(token) for token in old), pieces))
    if not bodies or (olds and not (_is_number(old[0]) or _is_number(old[-1]))):
        bodies.append((_escaped(''.join(old)), tuple(new)))
    for body, pieces in bodies:
        for left in lefts or ([''] if not old else []):
            for right in rights or ([''] if not old else []):
                if body or left or right:
                    yield Rule(left + body + right, _joined(pieces))


def _joined(pieces: Pieces) -> Pieces:
    """Neighbouring texts as one."""
    joined: list[str | tuple[int, int]] = []
    for piece in pieces:
        if joined and isinstance(piece, str) and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


def excepting(rule: Rule, exceptions: Iterable[str]) -> Rule:
    """The rule, except for some whole names."""
    spared = '|'.join(f'{_escaped(name)}$' for name in exceptions)
    guard = rf'^(?!{spared})'
    if rule.pattern.startswith('^'):
        return Rule(guard + rule.pattern[1:], rule.pieces)
    return _after(rule, f'{guard}(.*)')


def _after(rule: Rule, start: str) -> Rule:
    """The rule for the last match in a name that begins with `start`, a pattern with one group."""
    pieces = tuple(piece if isinstance(piece, str) else (piece[0] + 1, piece[1]) for piece in rule.pieces)
    return Rule(start + rule.pattern, _joined(((1, 0), *pieces)))


def literal(rule: Rule) -> tuple[str, str] | None:
    """The rule as a key and a value of a dict, where it has neither groups nor anchors."""
    plain = re.sub(r'\\(.)', r'\1', rule.pattern, flags=re.DOTALL)
    if _escaped(plain) != rule.pattern or not all(isinstance(piece, str) for piece in rule.pieces):
        return None
    return plain, ''.join(piece for piece in rule.pieces if isinstance(piece, str))


def _filled(piece: str | tuple[int, int], found: re.Match[str]) -> str:
    if isinstance(piece, str):
        return piece
    group, shift = piece
    return str(int(found[group]) + shift) if shift else str(found[group])


def _expression(group: int, shift: int) -> str:
    if not shift:
        return f'{{m[{group}]}}'
    return f'{{int(m[{group}]) {"+" if shift > 0 else "-"} {abs(shift)}}}'


def _escaped(text: str) -> str:
    """The text as a pattern; `re.escape` would escape more than has to be."""
    return _SPECIAL.sub(r'\\\g<0>', text)


def _quoted(text: str) -> str:
    """The text as Python, raw where that is easier to read."""
    raw = '\\' in text and "'" not in text and text.isprintable() and not text.endswith('\\')
    return f"r'{text}'" if raw else repr(text)

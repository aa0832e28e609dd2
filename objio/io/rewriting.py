"""Renames as few rules: the regular expressions that turn old names into new ones, and the code that says so."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from objio.io.likeness import template

_RULES = 16  # more of them are no easier to read than the names
_TRIED = 100  # candidates for each rule
_EXAMPLES = 300  # names on which candidates are tried; the rules that come of it are tried on all
_EXCEPTIONS = 4  # names that a rule may leave out one by one
_WIDTH = 88  # letters
_TOKEN = re.compile(r'[0-9]+|[^\W\d_]+|.', re.DOTALL)
_SPECIAL = re.compile(r'[.^$*+?{}\[\]\\|()]')
# How many tokens beside the change a rule looks at, left and right.
_CONTEXTS = (
    (0, 0),
    (1, 0),
    (0, 1),
    (1, 1),
    (2, 1),
    (1, 2),
    (2, 2),
    (3, 1),
    (1, 3),
    (4, 1),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 8),
)

Pieces = tuple[str | tuple[int, int], ...]
"""What takes the place of a match: text, and groups (number, shift), numbers that are raised by the shift."""


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


class Rewriting(NamedTuple):
    """A way to do some renames and no others.

    Attributes:
        rules: what a `Renamer` is made of: pairs, a dict or a function.
        code: the same as Python.
    """

    rules: Any
    code: str


def rewrite(
    renames: Mapping[str, str], names: Iterable[str], kept: Collection[str], harmful: Callable[[str, str], bool]
) -> Rewriting:
    r"""Finds the shortest way to say some renames that does exactly them, tried on all names.

    In this order: fragments, as `{'(Linear)': '(Dense)'}`; rules, as `(r'^model\.', '')`; whole names; a function.

    Args:
        renames: old name -> new name.
        names: all names there are, renamed or not.
        kept: those among them that must stay as they are.
        harmful: whether one of the other names must not become this new name.

    Example:
        >>> renames = {f'layers_{i}.w': f'layer.{i + 1}.kernel' for i in range(12)}
        >>> print(rewrite(renames, renames, [], lambda old, new: False).code)
        [(r'^layers_(\d+)', lambda m: f'layer.{int(m[1]) + 1}'), (r'\.w$', '.kernel')]
    """
    names = list(names)
    whole = dict(renames)
    rules = _Search(whole, names, kept, harmful).run()
    ways: list[Rewriting] = []
    if rules is not None:
        literals = [_literal(rule) for rule in rules]
        if len(rules) > len(whole) or len(whole) == 1:
            ways.append(_of_dict(whole))
        if all(literal is not None for literal in literals):
            fragments = dict(literal for literal in literals if literal is not None)
            ways.append(_of_dict(fragments))
        ways.append(Rewriting([rule.pair for rule in rules], _laid_out('[', [rule.code for rule in rules], ']')))
    if len(whole) <= _EXAMPLES:
        ways.append(_of_dict(whole))
    for way in ways:
        if _exact(_function(way.rules), whole, names, kept, harmful):
            return way
    return Rewriting(lambda name: whole.get(name, name), f'lambda name: {_of_dict(whole).code}.get(name, name)')


def _of_dict(names: dict[str, str]) -> Rewriting:
    return Rewriting(names, _laid_out('{', [f'{old!r}: {new!r}' for old, new in names.items()], '}'))


def _laid_out(start: str, items: list[str], end: str) -> str:
    """A list or a dict on one line where it fits, else a line each."""
    if sum(map(len, items)) <= _WIDTH:
        return f'{start}{", ".join(items)}{end}'
    return f'{start}\n' + ''.join(f'    {item},\n' for item in items) + end


def _exact(
    call: Callable[[str], str],
    renames: Mapping[str, str],
    names: list[str],
    kept: Collection[str],
    harmful: Callable[[str, str], bool],
) -> bool:
    """Whether a function does the renames, leaves alone what must stay, and gives no name twice or to another."""
    seen = set()
    kept = set(kept)
    for name in names:
        new = call(name)
        if new != renames.get(name, name) and (name in renames or name in kept or harmful(name, new)):
            return False
        seen.add(new)
    return len(seen) == len(names)


def _function(rules: Any) -> Callable[[str], str]:
    """What a `Renamer` of these rules does."""
    if isinstance(rules, dict):
        words = re.compile('|'.join(map(re.escape, rules)) or '(?!)')
        return lambda name: words.sub(lambda found: rules[found.group()], name)
    pairs = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def call(name: str) -> str:
        for pattern, replacement in pairs:
            name = pattern.sub(replacement, name)
        return name

    return call


class _Search:
    """Looks for rules, one after the other, each the one that brings the most names nearer to what they shall be."""

    def __init__(
        self,
        renames: Mapping[str, str],
        names: list[str],
        kept: Collection[str],
        harmful: Callable[[str, str], bool],
    ) -> None:
        self._harmful = harmful
        self._candidates: dict[tuple[str, str], list[Rule]] = {}
        examples: dict[object, tuple[str, str]] = {}
        for old, new in renames.items():
            # Names that differ in their numbers only are changed alike.
            (pattern, numbers), (became, others) = template(old), template(new)
            shifts = tuple(b - a for a, b in zip(numbers, others, strict=False))
            alike = (pattern, became, shifts, len(others)) if len(renames) > _EXAMPLES else old
            examples.setdefault(alike, (old, new))
        still = {template(name)[0]: name for name in kept}
        self._complete = len(examples) <= _EXAMPLES
        self._now = [old for old, _ in examples.values()]
        self._target = [new for _, new in examples.values()]
        self._still = list(still.values())
        kept = set(kept)
        self._free = {name: name for name in names if name not in renames and name not in kept}

    def run(self) -> list[Rule] | None:
        """The rules; None where there are none that are easier to read than the names."""
        rules: list[Rule] = []
        while self._complete and self._now != self._target:
            rule = self._next(_RULES - len(rules))
            if rule is None:
                return None
            rules.append(rule)
        return rules if self._complete else None

    def _next(self, left: int) -> Rule | None:
        counts: Counter[Rule] = Counter()
        pending = 0
        for now, target in zip(self._now, self._target, strict=True):
            if now != target:
                if (now, target) not in self._candidates:
                    self._candidates[now, target] = list(dict.fromkeys(_candidates(now, target)))
                counts.update(self._candidates[now, target])
                pending += 1
        if max(counts.values(), default=0) * left < pending:
            return None  # not with as many rules as are left
        # A counter keeps the order of the first sight, in which the shorter context comes before the longer.
        for rule, _ in counts.most_common(_TRIED):
            fitting = self._fitting(rule)
            if fitting is not None:
                return fitting
        return None

    def _fitting(self, rule: Rule) -> Rule | None:
        """The rule, or the rule with exceptions, once it is known to do no harm; it is carried out."""
        literal = _literal(rule)
        if literal is not None and any(literal[0] in name for name in self._still):
            return None  # as most are; to compile the pattern would take longer
        applied = _function([rule.pair])
        exceptions = []
        for name, now in self._free.items():
            new = applied(now)
            if new != now and self._harmful(name, new):
                exceptions.append(now)
                if len(exceptions) > _EXCEPTIONS:
                    return None
        if exceptions:
            rule = _but(rule, exceptions)
            applied = _function([rule.pair])
        if any(applied(name) != name for name in self._still):
            return None
        changed = list(map(applied, self._now))
        before = set(self._now)
        for old, new, target in zip(self._now, changed, self._target, strict=True):
            if old == new:
                continue
            if new in before or _distance(new, target) >= _distance(old, target):
                return None
        if changed == self._now:
            return None
        self._now = changed
        self._free = {name: applied(now) for name, now in self._free.items()}
        return rule


def _changes(old: str, new: str) -> tuple[list[str], list[str], list[tuple[int, int, int, int]]]:
    """The tokens of two names, and from where to where they differ."""
    a: list[str] = _TOKEN.findall(old)
    b: list[str] = _TOKEN.findall(new)
    x, y = (['0' if token.isdigit() else token for token in tokens] for tokens in (a, b))
    changes: list[tuple[int, int, int, int]] = []
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
    return a, b, changes


def _distance(old: str, new: str) -> int:
    """How many tokens differ."""
    return sum(end_a - start_a + end_b - start_b for start_a, end_a, start_b, end_b in _changes(old, new)[2])


def _candidates(old: str, new: str) -> Iterator[Rule]:
    """Rules that would do one of the changes between two names, the shorter ones first."""
    a, b, changes = _changes(old, new)

    def within(change: tuple[int, int, int, int], left: int, right: int) -> Iterator[Rule]:
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
    if old and all(token.isdigit() for token in old):
        return  # numbers with nothing beside them stand everywhere
    lefts = ['^'] if start == 0 else []
    rights = ['$'] if end == len(a) else []
    if old and not old[0].isalpha() and not (start and old[0].isdigit() and a[start - 1].isdigit()):
        lefts = ['', *lefts]
    if old and not old[-1].isalpha():
        rights = ['', *rights]
    if not old and not (lefts or rights):
        return
    olds, news = [token for token in old if token.isdigit()], [token for token in new if token.isdigit()]
    bodies = []
    if len(olds) == len(news):
        groups = iter(range(1, len(news) + 1))
        shifts = iter([int(y) - int(x) for x, y in zip(olds, news, strict=True)])
        pieces = tuple((next(groups), next(shifts)) if token.isdigit() else token for token in new)
        bodies.append((''.join(r'(\d+)' if token.isdigit() else _escaped(token) for token in old), pieces))
    if not bodies or (olds and not (old[0].isdigit() or old[-1].isdigit())):
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


def _but(rule: Rule, exceptions: Iterable[str]) -> Rule:
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


def _literal(rule: Rule) -> tuple[str, str] | None:
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

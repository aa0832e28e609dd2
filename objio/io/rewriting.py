"""Renames as few rules: the regular expressions that turn old names into new ones, and the code that says so."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from objio.io.likeness import template
from objio.io.rules import Rule, candidates, distance, excepting, literal

_RULES = 16  # more of them are no easier to read than the names
_TRIED = 100  # candidates for each rule
_EXAMPLES = 300  # names on which candidates are tried; the rules that come of it are tried on all
_EXCEPTIONS = 4  # names that a rule may leave out one by one
_LONGEST = 4095  # letters; Python makes no numbers of much longer ones
_WIDTH = 88  # letters


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
        literals = [literal(rule) for rule in rules]
        if len(rules) > len(whole) or len(whole) == 1:
            ways.append(_of_dict(whole))
        fragments = dict(pair for pair in literals if pair is not None)
        if len(fragments) == len(rules):
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
        self._complete = len(examples) <= _EXAMPLES and max(map(len, names), default=0) <= _LONGEST
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
                    self._candidates[now, target] = list(dict.fromkeys(candidates(now, target)))
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
        plain = literal(rule)
        if plain is not None and any(plain[0] in name for name in self._still):
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
            rule = excepting(rule, exceptions)
            applied = _function([rule.pair])
        if any(applied(name) != name for name in self._still):
            return None
        changed = list(map(applied, self._now))
        before = set(self._now)
        for old, new, target in zip(self._now, changed, self._target, strict=True):
            if old == new:
                continue
            if new in before or distance(new, target) >= distance(old, target):
                return None
        if changed == self._now:
            return None
        self._now = changed
        self._free = {name: applied(now) for name, now in self._free.items()}
        return rule

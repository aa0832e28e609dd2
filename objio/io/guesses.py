"""Which array of a file a missing variable probably is: by shape and dtype, by name, by number."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from objio.io.families import (
    Kinds,
    agreed,
    by_kind,
    by_place,
    can_be_split,
    mapping,
    numbers_after,
    parent_of,
    possible_shifts,
    prefixes,
)
from objio.io.likeness import SLOT, Likeness, likeness, parts, template

_CUTOFF = 0.5  # less alike than this is not alike
_STRICT = 0.75  # where the shapes differ, so that only the names speak
_MARGIN = 0.02  # by which the nearest name has to be nearer than the next
_ALONE = 0.4  # what it costs to have become what no other name from the same place has become
_LONELY = 0.25  # of that; who is so much alone is probably something else
_POLLS = 3  # at the first all that are near have a say, then those that the one before made the nearest
_NEAR = 0.1  # from the nearest name: those that may be the right one
# Comparing two templates takes a microsecond for each pair of their words, and as long as 100 of them beside that.
_WORK, _CHECKS, _COST = 500_000, 100_000, 100
_ROUNDS = 5  # each learns from the one before

_Vote = tuple[str, int]  # what stands there now, and by how much the number that follows was raised
_Ballot = dict[str, set[_Vote]]  # what stood there -> what it may have become
_Support = dict[str, dict[_Vote, float]]  # the same, counted
_Found = dict[str, dict[str, tuple[Likeness, _Ballot]]]  # family in the file -> family in the model


class _Pair(NamedTuple):
    """Two families of which the one was probably renamed to the other."""

    kind: Hashable
    old: str
    new: str
    slots: tuple[tuple[int, int], ...]
    surely: bool  # each has one name, and nothing else has their kind


def guess(unused: Kinds, missing: Kinds) -> dict[str, str]:
    """Guesses which names were renamed, and to what.

    A name is guessed only where it is unambiguous:

    1. The arrays must be of one kind (shape and dtype). Names of one kind that differ only in their numbers are a family,
       such as the weights of all layers.
    2. Two families belong together if each is the nearest to the other, with a score of at least 0.5 and 0.02 more than the
       next. The score is that of `objio.io.likeness.likeness`, less up to 0.4 where other names from the same place (the
       same module, or the same row of numbered ones) have become something else: if nothing near it became that, two
       names are no pair. Two families that are alone with their kind and equally large need no score, unless a name
       without any partner of its kind is nearer. What pairs teach about words (`mlp` became `ffn`) counts in the next
       round.
    3. Within two families the numbers decide: all families in which a number stands at the same place must agree on one
       shift, 0 where that is possible, under which the numbers of the one are among those of the other. Numbers that
       differ without such a shift go by what single arrays of a kind have shown (`[1]` became `[3]`).
    4. What is left of a module goes where the rest of it went, if there is one of its kind with a name that is alike.

    Whatever a tie leaves open is not guessed. There is no chance in it. Work is bounded to about a second for ten thousand
    names; the smallest kinds are compared first.

    Args:
        unused: the names in the file that the model lacks.
        missing: the names in the model that the file lacks.

    Returns:
        name in the file -> name in the model, each at most once.

    Example:
        >>> guess({'net.0.w': 9, 'net.1.w': 9, 'net.b': 3}, {'mlp.1.kernel': 9, 'mlp.2.kernel': 9, 'mlp.bias': 3})
        {'net.0.w': 'mlp.1.kernel', 'net.1.w': 'mlp.2.kernel', 'net.b': 'mlp.bias'}
        >>> guess({'left': 9, 'right': 9}, {'a': 9, 'b': 9})
        {}
    """
    return _Guesser(unused, missing).run()


def resembling(unused: Iterable[str], missing: Iterable[str]) -> dict[str, str]:
    """Name in the file -> the missing name it is alike, whatever the shapes; surer of the names than `guess`."""
    return _Guesser(dict.fromkeys(unused), dict.fromkeys(missing), cutoff=_STRICT, by_kind=False).run()


@dataclass
class _Guesser:
    unused: Kinds
    missing: Kinds
    cutoff: float = _CUTOFF
    by_kind: bool = True  # whether to be alone with one's kind is enough
    guesses: dict[str, str] = field(default_factory=dict)
    learned: set[tuple[str, str]] = field(default_factory=set)
    pairs: list[_Pair] = field(default_factory=list)
    work: int = _WORK
    checks: int = _CHECKS

    def __post_init__(self) -> None:
        self.unused = {name: kind for name, kind in self.unused.items() if can_be_split(name)}
        self.missing = {name: kind for name, kind in self.missing.items() if can_be_split(name)}
        self.old = by_kind(self.unused)
        self.new = by_kind(self.missing)
        self.taken: dict[Hashable, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        self.old_numbers = numbers_after(self.old)
        self.new_numbers = numbers_after(self.new)
        shared = set(self.old) & set(self.new)
        self.kinds = sorted(
            (kind for kind in self.old if kind in shared), key=lambda kind: len(self.old[kind]) * len(self.new[kind])
        )
        self.lone_old = sorted({name for kind, names in self.old.items() if kind not in shared for name in names})
        self.lone_new = sorted({name for kind, names in self.new.items() if kind not in shared for name in names})

    def run(self) -> dict[str, str]:
        for _ in range(_ROUNDS):
            known, done = len(self.learned), len(self.pairs)
            compared = self._compared()
            support = self._support(compared)
            for kind, found in compared.items():
                self._pair(kind, found, support)
            if len(self.pairs) == done and len(self.learned) == known:
                break
        shifts = self._shifts()
        for pair in self.pairs:
            self._match(pair, shifts)
        self._follow()
        return self.guesses

    def _compared(self) -> dict[Hashable, _Found]:
        """How alike the families are that have no partner yet."""
        compared: dict[Hashable, _Found] = {}
        for kind in self.kinds:
            taken_old, taken_new = self.taken[kind]
            old = [family for family in self.old[kind] if family not in taken_old]
            new = [family for family in self.new[kind] if family not in taken_new]
            if not old or not new:
                continue
            work = _work(old, new)
            if work <= self.work:
                self.work -= work
                compared[kind] = {a: {b: self._compare(kind, a, b) for b in new} for a in old}
            elif self._alone(kind) and len(self.old[kind][old[0]]) == 1:
                self._accept(_Pair(kind, old[0], new[0], (), surely=True))
        return compared

    def _compare(self, kind: Hashable, old: str, new: str) -> tuple[Likeness, _Ballot]:
        like = likeness(old, new, self.learned)
        return like, self._ballot(kind, old, new, like.slots)

    def _ballot(self, kind: Hashable, old: str, new: str, slots: Iterable[tuple[int, int]]) -> _Ballot:
        """What two families, if they belong together, say of other names: place -> what became of it."""
        ballot = {parent_of(old): {(parent_of(new), 0)}}
        olds, news = prefixes(old), prefixes(new)
        for i, j in slots:
            a, b = (
                {numbers[k] for numbers in names} for k, names in ((i, self.old[kind][old]), (j, self.new[kind][new]))
            )
            ballot[olds[i]] = {(news[j], shift) for shift in possible_shifts(a, b)}
        return ballot

    def _alone(self, kind: Hashable) -> bool:
        """Whether a kind has one family on each side, and both have as many names."""
        old, new = self.old[kind], self.new[kind]
        return (
            self.by_kind
            and len(old) == len(new) == 1
            and len(next(iter(old.values()))) == len(next(iter(new.values())))
        )

    def _support(self, compared: Mapping[Hashable, _Found]) -> _Support:
        """Counts how many families would have it that a place became another."""
        support: _Support = {}
        for _ in range(_POLLS):
            polled: _Support = defaultdict(lambda: defaultdict(float))
            for pair in self.pairs:
                _count(polled, [self._ballot(pair.kind, pair.old, pair.new, pair.slots)])
            for found in compared.values():
                for a, scores in _scores(found, support).items():
                    # At first all that may be right have a say, then the best alone.
                    enough = max(scores.values()) - (_MARGIN if support else _NEAR)
                    _count(polled, [found[a][b][1] for b in scores if scores[b] >= enough])
            support = polled
        return support

    def _pair(self, kind: Hashable, found: _Found, support: _Support) -> None:
        """Finds the families of a kind that belong together, and learns from their words."""
        alone = self._alone(kind)
        surely = alone and len(self.old[kind][next(iter(found))]) == 1
        scores = _scores(found, support)
        for a, b in _nearest(scores):
            like = found[a][b][0]
            if like.score - scores[a][b] > _LONELY:
                continue
            if (alone or scores[a][b] >= self.cutoff) and not self._belongs_elsewhere(a, b, like.score):
                self._accept(_Pair(kind, a, b, like.slots, surely))
                self.learned.update(like.words)

    def _accept(self, pair: _Pair) -> None:
        self.pairs.append(pair)
        self.taken[pair.kind][0].add(pair.old)
        self.taken[pair.kind][1].add(pair.new)

    def _belongs_elsewhere(self, old: str, new: str, score: float) -> bool:
        """Whether a name without any partner of its kind, as after a change of shape, is nearer to one of the two."""
        enough = max(_STRICT, score + _MARGIN)
        if enough > 1:
            return False
        work = _work([old], self.lone_new) + _work(self.lone_old, [new])
        if work > self.checks:
            return False
        self.checks -= work
        return any(likeness(old, other, self.learned).score >= enough for other in self.lone_new) or any(
            likeness(other, new, self.learned).score >= enough for other in self.lone_old
        )

    def _shifts(self) -> dict[tuple[str, str], Callable[[int], int | None]]:
        """For each place of a number, by what stands before it on both sides: old number -> new number."""
        votes: dict[tuple[str, str], list[set[int]]] = defaultdict(list)
        seen: dict[tuple[str, str], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        for pair in self.pairs:
            old, new = self.old[pair.kind][pair.old], self.new[pair.kind][pair.new]
            for place, (i, j) in _places(pair).items():
                a, b = {numbers[i] for numbers in old}, {numbers[j] for numbers in new}
                if pair.surely:
                    seen[place][min(a)].add(min(b))
                votes[place].append(possible_shifts(a, b))
        shifts: dict[tuple[str, str], Callable[[int], int | None]] = {}
        for place, found in votes.items():
            shift = agreed(set.intersection(*map(set, filter(None, found))) if any(found) else set())
            if shift is None:
                shift = agreed(possible_shifts(self.old_numbers[place[0]], self.new_numbers[place[1]]))
            shifts[place] = mapping(seen[place], shift)
        return shifts

    def _match(self, pair: _Pair, shifts: Mapping[tuple[str, str], Callable[[int], int | None]]) -> None:
        """Goes from the numbers of the one family to those of the other."""
        old, new = self.old[pair.kind][pair.old], self.new[pair.kind][pair.new]
        if pair.surely:
            self.guesses[next(iter(old.values()))] = next(iter(new.values()))
            return
        places = _places(pair)
        i_fixed = set(range(pair.old.count(SLOT))) - {i for i, _ in places.values()}
        j_fixed = set(range(pair.new.count(SLOT))) - {j for _, j in places.values()}
        if any(len({numbers[i] for numbers in old}) > 1 for i in i_fixed):
            return
        if any(len({numbers[j] for numbers in new}) > 1 for j in j_fixed):
            return
        fixed = next(iter(new))
        for numbers, name in old.items():
            wanted: list[int | None] = list(fixed)
            for place, (i, j) in places.items():
                wanted[j] = shifts[place](numbers[i])
            partner = new.get(tuple(wanted))  # type: ignore[arg-type]  # a None in it is in no name
            if partner is not None:
                self.guesses[name] = partner

    def _follow(self) -> None:
        """Lets what is left of a module go where the rest of it went."""
        moved: dict[str, set[str]] = defaultdict(set)
        for old, new in self.guesses.items():
            moved[parent_of(old)].add(parent_of(new))
        taken = set(self.guesses.values())
        old_left = by_place(self.unused, self.guesses)
        new_left = by_place(self.missing, taken)
        for (parent, kind), names in old_left.items():
            targets = new_left.get((next(iter(moved[parent])), kind), []) if len(moved[parent]) == 1 else []
            if len(names) == len(targets) == 1:
                old, new = (template(name[len(parent_of(name)) :])[0] for name in (names[0], targets[0]))
                if likeness(old, new, self.learned).score >= self.cutoff:
                    self.guesses[names[0]] = targets[0]


def _places(pair: _Pair) -> dict[tuple[str, str], tuple[int, int]]:
    """What stands before two numbers that belong together -> which of the numbers they are."""
    old, new = prefixes(pair.old), prefixes(pair.new)
    return {(old[i], new[j]): (i, j) for i, j in pair.slots}


def _scores(found: _Found, support: _Support) -> dict[str, dict[str, float]]:
    """The likeness, less what it costs to have become what other names from the same place have not."""
    return {
        a: {b: like.score - _ALONE * (1 - _supported(ballot, support)) for b, (like, ballot) in rivals.items()}
        for a, rivals in found.items()
    }


def _nearest(scores: dict[str, dict[str, float]]) -> list[tuple[str, str]]:
    """The pairs of which each is the other's nearest, and clearly so."""
    pairs = []
    for a, rivals in scores.items():
        b, *others = sorted(rivals, key=lambda rival: -rivals[rival])
        if others and rivals[b] - rivals[others[0]] < _MARGIN:
            continue
        if all(rivals[b] - scores[other][b] >= _MARGIN for other in scores if other != a):
            pairs.append((a, b))
    return pairs


def _work(old: list[str], new: list[str]) -> int:
    """What it takes to compare all of them."""
    return sum(len(parts(name)) for name in old) * sum(len(parts(name)) for name in new) + len(old) * len(new) * _COST


def _count(support: _Support, ballots: list[_Ballot]) -> None:
    """Adds what one family may have become: one vote for each place, shared between the ways."""
    shares: _Support = defaultdict(lambda: defaultdict(float))
    for ballot in ballots:
        for place, votes in ballot.items():
            for vote in votes:
                shares[place][vote] += 1 / len(votes)
    for place, parts_of_it in shares.items():
        total = sum(parts_of_it.values())
        for vote, share in parts_of_it.items():
            support[place][vote] += share / total


def _supported(ballot: _Ballot, support: _Support) -> float:
    """From 0, if all others from these places became something else, to 1."""
    if not support:
        return 1.0
    here = sum(max((support[place].get(vote, 0.0) for vote in votes), default=0.0) for place, votes in ballot.items())
    return here / (sum(max(support[place].values(), default=0.0) for place in ballot) or 1.0)

"""What a load would do and what it did: plans and reports, and the tables that they print."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from objio.errors import MismatchError
from objio.formats import ArraySpec
from objio.io.conversion import Exchange, exchange
from objio.io.renames import Renames, likely
from objio.io.rewriting import Rewriting, rewrite
from objio.io.table import Row, abridged, described, table
from objio.messages import nearest, some

_LONG = 2000  # letters; a longer renamer is no longer read, it is asked for


class Wanted(NamedTuple):
    """One variable of a model, as a plan sees it."""

    name: str  # its canonical name
    names: tuple[str, ...]  # all of its names
    spec: ArraySpec  # what a save of it would be
    number: bool = False  # a Python number, which takes any 0-d array of its kind
    obstacle: str = ''  # why no array can be put there
    weak: bool | None = None  # whether it is weakly typed; None where it is no array of JAX


class Match(NamedTuple):
    """A variable and the arrays of the file that may fill it: one, or several that must be bitwise equal."""

    name: str  # the variable's canonical name
    sources: tuple[str, ...]  # the names of the arrays
    found: ArraySpec  # the first of them
    wanted: ArraySpec  # the variable
    number: bool  # whether it holds a Python number
    how: Exchange

    @property
    def by_parts(self) -> bool:
        """Whether a part of the variable needs only the same part of one array."""
        return len(self.sources) == 1 and self.how in (Exchange.SAME, Exchange.BITS, Exchange.CAST)

    @property
    def conversion(self) -> str:
        """What is done to fit the variable, in words; '' where nothing is."""
        if self.how is Exchange.SAME:
            return ''
        return f'{self.found.dtype} -> {self.wanted.dtype} ({self.how.value})'


class Names(NamedTuple):
    """The names on both sides, from which likely renames are guessed."""

    specs: Mapping[str, ArraySpec]  # the arrays of the file
    aliases: Mapping[str, str]  # more names for them
    renamed: Mapping[str, str]  # each of both -> what the given renamer makes of it
    unused: Mapping[str, ArraySpec]  # those, so renamed, that the model lacks
    owners: Mapping[str, str]  # name in the model -> canonical name, where that is not `takes`
    cast: bool
    keyless: bool


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, name by name; `print` it for a summary.

    Attributes:
        matched: canonical names of the variables that took a value from the file.
        renamed: name in the file -> name in the model, where the renamer changed it.
        missing: canonical names of the variables that the file lacks; they kept their values.
        unused: names in the file that the model lacks.
        converted: canonical name -> what was done to fit the variable, such as 'float32 -> bfloat16 (cast)'.
        unverified: canonical names whose bytes were not checked against a checksum.
        unmatched: patterns and functions of `only`, `skip` and `renamer` that matched nothing, as they are written.
    """

    matched: tuple[str, ...]
    renamed: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    converted: Mapping[str, str]
    unverified: tuple[str, ...]
    unmatched: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f'{len(self.matched)} variables loaded']
        for label, names in (('missing', self.missing), ('unused', self.unused), ('unverified', self.unverified)):
            if names:
                lines.append(f'{len(names)} {label}: {some(names)}')
        for label, pairs in (('renamed', self.renamed), ('converted', self.converted)):
            if pairs:
                lines.append(f'{len(pairs)} {label}: {some([f"{name}: {what}" for name, what in pairs.items()])}')
        if self.unmatched:
            lines.append(_without_match(self.unmatched))
        return '\n'.join(lines)


@dataclass(frozen=True)
class LoadPlan:
    """What a load would do. Print it, look, and `apply` it; until then nothing is changed.

    Attributes:
        file: the file's name.
        takes: canonical name of each variable that would take a value -> name of its array in the file.
        renamed: name in the file -> name in the model, where the renamer changes it.
        missing: the variables that the file lacks.
        unused: names in the file that the model lacks.
        unmatched: patterns and functions of `only`, `skip` and `renamer` that match nothing, as they are written.
        weak: canonical names of the variables that would be weakly typed, as their arrays were at the save.
    """

    file: str
    takes: Mapping[str, str]
    renamed: Mapping[str, str]
    missing: tuple[Wanted, ...]
    unused: tuple[str, ...]
    unmatched: tuple[str, ...]
    _fitted: Mapping[str, Match] = field(repr=False)  # the variables that take something else than one equal array
    weak: frozenset[str]
    _kinds: Mapping[str, str] = field(repr=False)  # what becomes weakly typed or no longer is, in words
    _differing: tuple[Row, ...] = field(repr=False)  # a line for each array that does not fit its variable
    _names: Names = field(repr=False)
    _allowed: tuple[bool, bool] = field(repr=False)  # that variables are missing, that arrays are unused
    _given: bool = field(repr=False)  # whether there is a renamer already
    _compose: Callable[[Any], Callable[[str], str] | None] = field(repr=False)
    _apply: Callable[['LoadPlan'], LoadReport] = field(repr=False)

    @property
    def matches(self) -> tuple[Match, ...]:
        """The variables that would take a value, and how."""
        # Made when they are asked for: a hundred thousand of them would keep the garbage collector busy.
        return tuple(self.match(name) for name in self.takes)

    def match(self, name: str) -> Match:
        """How the variable of a canonical name would take its value."""
        source = self.takes[name]
        spec = self._names.specs[source]
        return self._fitted.get(name) or Match(name, (source,), spec, spec, number=False, how=Exchange.SAME)

    @property
    def as_it_is(self) -> bool:
        """Whether each variable takes one array that is what it would be in a save of its own."""
        return not self._fitted

    @property
    def warnings(self) -> list[str]:
        """What is to be told of a load that goes by this plan."""
        told = [f'{self.file}: {_without_match(self.unmatched)}'] if self.unmatched else []
        if self.missing and not self._names.specs:
            told.append(f'{self.file} has no arrays: all {len(self.missing):,} variables kept their values')
        if self._given and self._allowed[0] and self.missing:
            made = self._names.renamed
            lost = [
                f'{old!r} became {made[old]!r}{near}'
                for old, model in self.guesses.items()
                if made[old] != old and (near := nearest(made[old], [model]))
            ]
            if lost:
                told.append(f'{self.file}: the renamer makes names that the model lacks: {some(lost)}')
        return told

    @property
    def guesses(self) -> Mapping[str, str]:
        """Name in the file -> the missing name it probably is; see `objio.io.guesses.guess` for when it is guessed."""
        return self._likely.guesses

    @property
    def renamer(self) -> Callable[[str], str] | None:
        """A `Renamer` that does what the given one does, and then the guesses; None where there is neither.

        It is never used by itself: look at the plan, and load with `renamer=plan.renamer` if it is right.
        """
        return self._compose(self._rewriting.rules if self.guesses else None)

    @cached_property
    def problems(self) -> tuple[Row, ...]:
        """What keeps the plan from being applied, a line of the table each."""
        return tuple(row for row in self._amiss(every=False, short=False) if isinstance(row, Row))

    def _amiss(self, *, every: bool, short: bool) -> list[Row | str]:
        """The lines for what does not match: every one, or what keeps the plan from being applied."""
        missing_is_fine, unused_is_fine = self._allowed
        missing_counts = bool(self.missing) and not missing_is_fine
        every = every or self._takes_nothing
        guessed, missing, unused = self._guess_rows, self._missing_rows, self._unused_rows
        rows: list[Row | str] = [*self._differing]
        if every or missing_counts or not unused_is_fine:
            rows += abridged(guessed, 'are likely renamed') if short else guessed
        if every or missing_counts:
            rows += abridged(missing, 'are not in the file') if short and missing_is_fine else missing
        if every or missing_counts or not unused_is_fine:
            rows += abridged(unused, 'are not in the model') if short and unused_is_fine else unused
        if self._takes_nothing and not rows:
            rows.append(Row('-', f'{len(self._names.specs):,} arrays', '-', 'only= and skip= leave nothing to take'))
        return rows

    @property
    def _takes_nothing(self) -> bool:
        """Whether a file with arrays would be loaded for nothing."""
        return bool(self._names.specs) and not self.takes

    def __str__(self) -> str:
        same: list[Row] = []
        renamed: list[Row] = []
        converted: list[Row] = []
        models = {new: old for old, new in self.renamed.items()}
        for match in self.matches:
            old = models.get(match.name)
            name = match.name if old is None else f'{old} -> {match.name}'
            change = self._kinds.get(match.name, '')
            is_converted = match.how is not Exchange.SAME or change
            how = match.how.value if match.how is not Exchange.SAME else 'renamed' if old else ''
            remark = '; '.join(filter(None, (how, change)))
            row = Row(name, described(match.found), described(match.wanted), remark)
            (converted if is_converted else renamed if old else same).append(row)
        rows = [
            *abridged(same, 'match as they are'),
            *abridged(renamed, 'are renamed'),
            *abridged(converted, 'are converted'),
            *self._amiss(every=True, short=True),
        ]
        counts = [
            (len(self.takes), 'taken from the file'),
            (len(self._differing), 'different'),
            (len(self.guesses), 'likely renamed'),
            (len(self.missing) - len(self.guesses), 'not in the file'),
            (len(self.unused) - len(self.guesses), 'not in the model'),
        ]
        said = ', '.join(f'{count:,} {what}' for count, what in counts if count) or 'no variables'
        lines = [f'{self.file}: {said}', table(rows)] if rows else [f'{self.file}: {said}']
        if self._takes_nothing and self._allowed[0]:
            lines.append(f'Nothing would be loaded: {self._why_nothing}.')
        if self.unmatched:
            lines.append(_without_match(self.unmatched))
        return '\n'.join([*lines, *self._advice])

    def check(self) -> None:
        """Raises MismatchError, with all differences as one table, if the plan cannot be applied."""
        if not self._fits:
            rows = self._amiss(every=False, short=True)
            raise MismatchError(_complaint(self.file, rows, self._advice, self._why_nothing))

    @property
    def _fits(self) -> bool:
        missing_is_fine, unused_is_fine = self._allowed
        fits = not self._differing and not self._takes_nothing
        return fits and (missing_is_fine or not self.missing) and (unused_is_fine or not self.unused)

    @property
    def _why_nothing(self) -> str:
        """Why a file with arrays would be loaded for nothing; '' where something is taken, or does not fit."""
        if not self._takes_nothing or self._differing:
            return ''
        if not self.missing:
            return 'no variable of the model takes part'
        return 'no array of the file has the name of a variable'

    @cached_property
    def _likely(self) -> Renames:
        names, wanted = self._names, {variable.name: variable for variable in self.missing}
        origin = {new: old for old, new in names.renamed.items()}

        def fits(name: str, model: str) -> bool:
            _, _, spec, number, obstacle, _ = wanted[model]
            how = exchange(names.unused[name], spec, number=number, cast=names.cast, keyless=names.keyless)
            return how is not None and not obstacle

        specs = {name: variable.spec for name, variable in wanted.items()}
        found = likely(names.unused, specs, cast=names.cast, keyless=names.keyless, fits=fits)
        return Renames(
            {origin[name]: found.guesses[name] for name in names.unused if name in found.guesses},
            {model: (origin[name], how) for model, (name, how) in found.relatives.items()},
        )

    @cached_property
    def _rewriting(self) -> Rewriting:
        """The guesses as rules for names that the given renamer has made."""
        names = self._names
        filled = {name: names.aliases.get(old, old) for old, name in self.guesses.items()}
        filled.update(self.takes)
        origin = {new: names.aliases.get(old, old) for old, new in names.renamed.items()}

        def harmful(name: str, new: str) -> bool:
            owner = names.owners.get(new, new if new in self.takes else None)
            return owner is not None and filled.get(owner) != origin[name]

        wanted = {name for name in origin if name in names.owners or name in self.takes}
        guesses = {names.renamed[old]: model for old, model in self.guesses.items()}
        return rewrite(guesses, origin, wanted, harmful)

    @property
    def _guess_rows(self) -> list[Row]:
        specs = {variable.name: variable.spec for variable in self.missing}
        rows = []
        for old, model in self.guesses.items():
            given = self._names.renamed[old]
            remark = 'likely renamed' + (f'; the renamer makes it {given!r}' if given != old else '')
            rows.append(Row(f'{old} -> {model}', described(self._spec(old)), described(specs[model]), remark))
        return rows

    @property
    def _missing_rows(self) -> list[Row]:
        guessed, relatives = set(self.guesses.values()), self._likely.relatives
        rows = []
        for variable in self.missing:
            if variable.name not in guessed:
                remark = 'not in the file'
                if variable.name in relatives:
                    remark += '; is it {!r} there, {}?'.format(*relatives[variable.name])
                rows.append(Row(variable.name, '-', described(variable.spec), remark))
        return rows

    @property
    def _unused_rows(self) -> list[Row]:
        return [
            Row(old, described(self._spec(old)), '-', 'not in the model')
            for old in self.unused
            if old not in self.guesses
        ]

    def _spec(self, name: str) -> ArraySpec:
        return self._names.specs[self._names.aliases.get(name, name)]

    @property
    def _advice(self) -> list[str]:
        """The lines that say how to do the likely renames."""
        if not self.guesses:
            return []
        count = len(self.guesses)
        lines = [
            f'{count:,} likely rename{"s" * (count > 1)}. To do {"them" if count > 1 else "it"}, load with the .renamer of plan_load(...), or with'
        ]
        code = f'objio.Renamer({self._rewriting.code})'
        if len(code) > _LONG:
            return [*lines, '  a long one: it is not printed']
        if self._given:
            code = f'objio.Renamer(renamer, {code})  # after the one that was given'
        return [*lines, *(f'  {line}' for line in f'renamer = {code}'.split('\n'))]

    @property
    def _converted(self) -> dict[str, str]:
        converted = {name: match.conversion for name, match in self._fitted.items() if match.conversion}
        for name, change in self._kinds.items():
            converted[name] = f'{converted[name]}; {change}' if name in converted else change
        return converted

    def report(self, *, verified: bool) -> LoadReport:
        """The report of a load that did what the plan says."""
        matched = tuple(self.takes)
        return LoadReport(
            matched=matched,
            renamed=self.renamed,
            missing=tuple(variable.name for variable in self.missing),
            unused=self.unused,
            converted=self._converted,
            unverified=() if verified else matched,
            unmatched=self.unmatched,
        )

    def apply(self) -> LoadReport:
        """Loads: everything is read and checked first, then assigned, all or nothing.

        Raises:
            MismatchError: the file does not fit the model.
            FormatError: the file is damaged.
        """
        self.check()
        return self._apply(self)


def value_problem(match: Match, remark: str) -> Row:
    """A line for a difference that only the values show."""
    return Row(match.name, described(match.found), described(match.wanted), remark)


def value_mismatch(file: str, problems: Iterable[Row]) -> MismatchError:
    """The error for differences that only the values show."""
    return MismatchError(_complaint(file, tuple(problems), ()))


def _complaint(file: str, rows: Sequence[Row | str], advice: Sequence[str], nothing: str = '') -> str:
    found = [row for row in rows if isinstance(row, Row)]
    remedies = ['renamer= maps names', 'only=/skip= leave variables out']
    if any(row.in_file == '-' for row in found) and not nothing:
        remedies.append("allow_missing=True keeps the model's values")
    if any('cast=True' in row.remark for row in found):
        remedies.append('cast=True converts dtypes')
    head = f'{file} does not fit the model; nothing was assigned' + (f': {nothing}.' if nothing else '.')
    return '\n'.join([head, table(rows), *advice, f'Ways out: {"; ".join(remedies)}.'])


def _without_match(entries: Sequence[str]) -> str:
    return f'{len(entries)} unmatched, since no name fits: {some(entries)}'

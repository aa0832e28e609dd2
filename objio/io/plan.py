"""Comparing two tables of names, those of a file and those of a model, before anything is touched."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from objio.errors import MismatchError
from objio.formats import ArraySpec
from objio.formats.dtypes import stored
from objio.io.conversion import Exchange, castable, exchange, is_key
from objio.io.selection import everything

_COMPARED = 10_000  # pairs of names; comparing them letter by letter takes up to 0.1 ms for each
_SHOWN = 8  # likely renames; a longer dict is no longer read, it is asked for


class Wanted(NamedTuple):
    """One variable of a model, as a plan sees it."""

    name: str  # its canonical name
    names: tuple[str, ...]  # all of its names
    spec: ArraySpec  # what a save of it would be
    number: bool = False  # a Python number, which takes any 0-d array of its kind
    obstacle: str = ''  # why no array can be put there


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


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that a plan prints."""

    name: str
    in_file: str
    in_model: str
    remark: str


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
    """

    matched: tuple[str, ...]
    renamed: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    converted: Mapping[str, str]
    unverified: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f'{len(self.matched)} variables loaded']
        for label, names in (('missing', self.missing), ('unused', self.unused), ('unverified', self.unverified)):
            if names:
                lines.append(f'{len(names)} {label}: {_some(names)}')
        for label, pairs in (('renamed', self.renamed), ('converted', self.converted)):
            if pairs:
                lines.append(f'{len(pairs)} {label}: {_some([f"{name}: {what}" for name, what in pairs.items()])}')
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
        guesses: name in the file -> the missing name it probably is; give it to `renamer=` after a look.
        problems: what keeps the plan from being applied, a line of the table each.
    """

    file: str
    takes: Mapping[str, str]
    renamed: Mapping[str, str]
    missing: tuple[Wanted, ...]
    unused: tuple[str, ...]
    guesses: Mapping[str, str]
    problems: tuple[Row, ...]
    _fitted: Mapping[str, Match] = field(repr=False)  # the variables that take something else than one equal array
    _specs: Mapping[str, ArraySpec] = field(repr=False)  # the arrays of the file
    _others: tuple[Row, ...] = field(repr=False)  # a line for each name that is not matched
    _apply: Callable[['LoadPlan'], LoadReport] = field(repr=False)

    @property
    def matches(self) -> tuple[Match, ...]:
        """The variables that would take a value, and how."""
        # Made when they are asked for: a hundred thousand of them would keep the garbage collector busy.
        return tuple(self.match(name) for name in self.takes)

    def match(self, name: str) -> Match:
        """How the variable of a canonical name would take its value."""
        source = self.takes[name]
        spec = self._specs[source]
        return self._fitted.get(name) or Match(name, (source,), spec, spec, number=False, how=Exchange.SAME)

    @property
    def as_it_is(self) -> bool:
        """Whether each variable takes one array that is what it would be in a save of its own."""
        return not self._fitted

    def __str__(self) -> str:
        matched = [
            Row(match.name, _described(match.found), _described(match.wanted), _remark(match.how))
            for match in self.matches
        ]
        return _table([*matched, *self._others])

    def check(self) -> None:
        """Raises MismatchError, with all differences as one table, if the plan cannot be applied."""
        if self.problems:
            # A renamer takes the place of the one that was given, so it has to do the work of both.
            guesses = {**self.renamed, **self.guesses} if self.guesses else {}
            raise MismatchError(_complaint(self.file, self.problems, guesses))

    def report(self, *, verified: bool) -> LoadReport:
        """The report of a load that did what the plan says."""
        matched = tuple(self.takes)
        return LoadReport(
            matched=matched,
            renamed=self.renamed,
            missing=tuple(variable.name for variable in self.missing),
            unused=self.unused,
            converted={name: match.conversion for name, match in self._fitted.items() if match.conversion},
            unverified=() if verified else matched,
        )

    def apply(self) -> LoadReport:
        """Loads: everything is read and checked first, then assigned, all or nothing.

        Raises:
            MismatchError: the file does not fit the model.
            FormatError: the file is damaged.
        """
        self.check()
        return self._apply(self)


def compare(
    file: str,
    specs: Mapping[str, ArraySpec],
    aliases: Mapping[str, str],
    wanted: Iterable[Wanted],
    *,
    renamed: Mapping[str, str],
    chosen: Callable[[str], bool],
    cast: bool,
    keyless: bool,
    allow_missing: bool,
    allow_unused: bool,
    apply: Callable[[LoadPlan], LoadReport],
) -> LoadPlan:
    """Lays a file's table of names beside a model's.

    Args:
        file: its name, for messages.
        specs: the arrays of the file.
        aliases: more names for them.
        wanted: the variables of the model that take part.
        renamed: each name in the file, aliases too -> its name in the model, no two the same.
        chosen: whether a name, as the model has it, takes part.
        cast: as in `load_var_collection`.
        keyless: whether the file's format knows no key dtypes.
        allow_missing: as in `load_var_collection`.
        allow_unused: as in `load_var_collection`.
        apply: what `LoadPlan.apply` calls, with the plan.
    """
    # Name, as the model has it -> name of the array in the file.
    origin = {new: old for old, new in renamed.items()}
    found = {name: aliases.get(old, old) for name, old in origin.items() if chosen is everything or chosen(name)}
    takes: dict[str, str] = {}
    fitted: dict[str, Match] = {}
    missing: list[Wanted] = []
    rows: list[Row] = []
    problems: list[Row] = []
    used: set[str] = set()
    for variable in wanted:
        name, names, wanted_spec, number, obstacle = variable
        if len(names) == 1 and names[0] in found and specs[found[names[0]]] == wanted_spec and not obstacle:
            takes[name] = found[names[0]]  # as nearly always, so at once
            continue
        sources = tuple(dict.fromkeys(found[name] for name in names if name in found))
        if not sources:
            missing.append(variable)
            continue
        used.update(sources)
        hows = [exchange(specs[source], wanted_spec, number=number, cast=cast, keyless=keyless) for source in sources]
        bad = [specs[source] for source, how in zip(sources, hows, strict=True) if how is None or obstacle]
        for spec in bad:
            rows.append(Row(name, _described(spec), _described(wanted_spec), _difference(spec, variable)))
            problems.append(rows[-1])
        if not bad and hows[0] is not None:
            takes[name] = sources[0]
            fitted[name] = Match(name, sources, specs[sources[0]], wanted_spec, number, hows[0])
    used.update(takes.values())
    unused = {name: specs[source] for name, source in found.items() if source not in used}
    guesses = {origin[name]: model for name, model in _guesses(unused, missing).items()}
    renamed_from = {model: old for old, model in guesses.items()}
    for variable in missing:
        guess = renamed_from.get(variable.name)
        remark = 'not in the file' + (f'; is it {guess!r} there?' if guess else '')
        rows.append(Row(variable.name, '-', _described(variable.spec), remark))
        if not allow_missing:
            problems.append(rows[-1])
    for name, spec in unused.items():
        rows.append(Row(origin[name], _described(spec), '-', 'not in the model'))
        if not allow_unused or (missing and not allow_missing):
            problems.append(rows[-1])
    return LoadPlan(
        file=file,
        takes=takes,
        renamed={origin[name]: name for name in found if origin[name] != name and name not in unused},
        missing=tuple(missing),
        unused=tuple(origin[name] for name in unused),
        guesses=guesses,
        problems=tuple(problems),
        _fitted=fitted,
        _specs=specs,
        _others=tuple(rows),
        _apply=apply,
    )


def value_problem(match: Match, remark: str) -> Row:
    """A line for a difference that only the values show."""
    return Row(match.name, _described(match.found), _described(match.wanted), remark)


def value_mismatch(file: str, problems: Iterable[Row]) -> MismatchError:
    """The error for differences that only the values show."""
    return MismatchError(_complaint(file, tuple(problems), {}))


def _guesses(unused: Mapping[str, ArraySpec], missing: Iterable[Wanted]) -> dict[str, str]:
    """Name in the file -> missing name: same shape and dtype, and alone with them or the most alike by its letters."""
    by_spec: dict[ArraySpec, list[str]] = defaultdict(list)
    for name, spec in unused.items():
        by_spec[spec].append(name)
    wanted_by_spec: dict[ArraySpec, list[str]] = defaultdict(list)
    for variable in missing:
        wanted_by_spec[variable.spec].append(variable.name)
    guesses: dict[str, str] = {}
    budget = _COMPARED
    for spec, wanted in wanted_by_spec.items():
        candidates = by_spec.get(spec, [])
        if len(candidates) == len(wanted) == 1:
            guesses[candidates[0]] = wanted[0]
        elif len(candidates) * len(wanted) <= budget:
            budget -= len(candidates) * len(wanted)
            for name in wanted:
                free = [candidate for candidate in candidates if candidate not in guesses]
                for best in difflib.get_close_matches(name, free, n=1, cutoff=0.6):
                    guesses[best] = name
    return guesses


def _remark(how: Exchange) -> str:
    return '' if how is Exchange.SAME else how.value


def _difference(source: ArraySpec, variable: Wanted) -> str:
    wanted = variable.spec
    if is_key(wanted.dtype) != is_key(source.dtype) and 'uint32' in (source.dtype, wanted.dtype):
        words = stored(wanted.dtype if is_key(wanted.dtype) else source.dtype).words
        if source.shape + words == wanted.shape or wanted.shape + words == source.shape:
            return 'keys and their data; cast=True converts'
    if source.shape != wanted.shape:
        return 'the shapes differ'
    if variable.obstacle:
        return variable.obstacle
    if castable(source.dtype, wanted.dtype):
        return 'the dtypes differ; cast=True converts'
    return 'the dtypes differ'


def _described(spec: ArraySpec) -> str:
    return f'{spec.dtype} {spec.shape}'


def _complaint(file: str, problems: tuple[Row, ...], guesses: Mapping[str, str]) -> str:
    remedies = ['renamer= maps names', 'only=/skip= leave variables out']
    if any(row.in_file == '-' for row in problems):
        remedies.append("allow_missing=True keeps the model's values")
    if any('cast=True' in row.remark for row in problems):
        remedies.append('cast=True converts dtypes')
    if len(guesses) > _SHOWN:
        remedies.insert(0, 'plan_load, with the same arguments, has the likely renames as .guesses')
    elif guesses:
        remedies.insert(0, f'renamer=lambda name: {dict(guesses)!r}.get(name, name) would try the likely renames')
    return f'{file} does not fit the model; nothing was assigned.\n{_table(problems)}\nWays out: {"; ".join(remedies)}.'


def _table(rows: Iterable[Row]) -> str:
    lines = [Row('name', 'in the file', 'in the model', ''), *rows]
    widths = [max(len(getattr(line, column)) for line in lines) for column in ('name', 'in_file', 'in_model')]
    return '\n'.join(
        f'  {line.name:{widths[0]}}  {line.in_file:{widths[1]}}  {line.in_model:{widths[2]}}  {line.remark}'.rstrip()
        for line in lines
    )


def _some(names: Iterable[str], limit: int = 5) -> str:
    names = list(names)
    return ', '.join(names[:limit]) + (f', … {len(names) - limit} more' if len(names) > limit else '')

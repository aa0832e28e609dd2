"""Comparing a file's table of names with a model's; no array is read for it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from objio.formats import ArraySpec
from objio.formats.dtypes import stored
from objio.io.conversion import castable, exchange, is_key
from objio.io.plan import LoadPlan, LoadReport, Match, Names, Wanted
from objio.io.table import Row, described
from objio.variables.name_filter import everything


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
    weak: Collection[str],
    can_be_weak: Callable[[str], bool],
    unmatched: tuple[str, ...],
    given: bool,
    compose: Callable[[Any], Callable[[str], str] | None],
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
        weak: the arrays that were weakly typed at the save.
        can_be_weak: whether JAX can have weakly typed arrays of a dtype with this label.
        unmatched: the patterns and functions that match no name.
        given: whether a renamer was given.
        compose: gives the renamer that does what the given one does and then these rules; None for no rules.
        apply: what `LoadPlan.apply` calls, with the plan.
    """
    # Name, as the model has it -> name of the array in the file.
    origin = {new: old for old, new in renamed.items()}
    found = {name: aliases.get(old, old) for name, old in origin.items() if chosen is everything or chosen(name)}
    takes: dict[str, str] = {}
    fitted: dict[str, Match] = {}
    missing: list[Wanted] = []
    differing: list[Row] = []
    used: set[str] = set()
    owners: dict[str, str] = {}
    maybe_weak: list[Wanted] = []
    for variable in wanted:
        name, names, wanted_spec, number, obstacle, is_weak = variable
        if is_weak or weak:
            maybe_weak.append(variable)
        if len(names) == 1 and names[0] in found and specs[found[names[0]]] == wanted_spec and not obstacle:
            takes[name] = found[names[0]]  # as nearly always, so at once
            continue
        owners.update(dict.fromkeys(names, name))
        sources = tuple(dict.fromkeys(found[name] for name in names if name in found))
        if not sources:
            missing.append(variable)
            continue
        used.update(sources)
        hows = [exchange(specs[source], wanted_spec, number=number, cast=cast, keyless=keyless) for source in sources]
        bad = [specs[source] for source, how in zip(sources, hows, strict=True) if how is None or obstacle]
        for spec in bad:
            label = next(_label(origin[other], other) for other in names if other in found)
            differing.append(Row(label, described(spec), described(wanted_spec), _difference(spec, variable)))
        if not bad and hows[0] is not None:
            takes[name] = sources[0]
            fitted[name] = Match(name, sources, specs[sources[0]], wanted_spec, number, hows[0])
    used.update(takes.values())
    becoming, kinds = _weakness(maybe_weak, takes, weak, can_be_weak)
    unused = {name: specs[source] for name, source in found.items() if source not in used}
    return LoadPlan(
        file=file,
        takes=takes,
        renamed={origin[name]: name for name in found if origin[name] != name and name not in unused},
        missing=tuple(missing),
        unused=tuple(origin[name] for name in unused),
        unmatched=unmatched,
        _fitted=fitted,
        weak=frozenset(becoming),
        _kinds=kinds,
        _differing=tuple(differing),
        _names=Names(specs, aliases, renamed, unused, owners, cast, keyless),
        _allowed=(allow_missing, allow_unused),
        _given=given,
        _compose=compose,
        _apply=apply,
    )


def _weakness(
    variables: Iterable[Wanted], takes: Mapping[str, str], weak: Collection[str], can_be_weak: Callable[[str], bool]
) -> tuple[list[str], dict[str, str]]:
    """The variables that become weakly typed, as they were at the save; and each that changes in that, in words."""
    becoming: list[str] = []
    kinds: dict[str, str] = {}
    for variable in variables:
        name, dtype = variable.name, variable.spec.dtype
        if variable.weak is None or name not in takes:
            continue
        saved = takes[name] in weak
        becomes = saved and can_be_weak(dtype)
        if becomes:
            becoming.append(name)
        if not saved == becomes == variable.weak:
            was = variable.weak if variable.weak != becomes else saved
            kinds[name] = f'{"weakly typed " * was}{dtype} -> {"weakly typed " * becomes}{dtype}'
    return becoming, kinds


def _label(old: str, new: str) -> str:
    return new if old == new else f'{old} -> {new}'


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

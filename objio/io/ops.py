"""Saving a collection of variables to a file and loading it back, all or nothing."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from objio.errors import MismatchError, UnsaveableError
from objio.formats import Archive
from objio.formats.dtypes import stored
from objio.io.arrays import SMALL, read_array, read_arrays
from objio.io.comparison import compare
from objio.io.contents import contents_of, describe, spec_of_array
from objio.io.conversion import convert
from objio.io.entries import check_entries
from objio.io.files import File, FixedPath, opened, path_of, write
from objio.io.metrics import to_write
from objio.io.parts import Parts
from objio.io.placement import boxes_of, narrowed, place
from objio.io.plan import LoadPlan, LoadReport, Match, Wanted, value_mismatch, value_problem
from objio.io.progress import Progress, counted
from objio.io.subjects import as_collection, to_save
from objio.io.weak import weak_names
from objio.messages import warn_user
from objio.variables import VarCollection
from objio.variables.name_filter import NameFilter, Selector, chooser, everything
from objio.variables.renamer import Renamer, Rules, renamed
from objio.variables.values import ARRAYS, can_be_weak, is_scalar, is_weak
from objio.variables.variable import put, values_of

# An array is inflated only when its shape and dtype were accepted for a variable, so the model is the bound.
_ACCEPTED = sys.maxsize


def save_var_collection(
    file: File,
    vc: Any,
    *,
    ignore: Selector | None = None,
    metadata: Mapping[str, Any] | None = None,
    durable: bool = True,
    progress: Progress | None = None,
) -> None:
    """Saves variables to one file, each array once.

    A path is written to a temporary file beside it, made durable and renamed, so that it always holds a whole file,
    the old one or the new one. A file object is written from position 0, without that protection; one that stands
    elsewhere is refused.

    Args:
        file: a path, whose suffix chooses the format (`.npz` where there is none), or a binary file object. A leading
            `~` is the home folder. A name such as `model.safetensors.index.json` writes shards with an index, into a
            folder that may be missing.
        vc: a module, a VarCollection, a mapping from names to variables, or any tree of arrays.
        ignore: names to leave out, as `skip` of `load_var_collection`: also those of what no file can hold.
        metadata: anything that JSON keeps unchanged, stored in the file. Keys that start with `objio.` are reserved:
            they are refused, but for those that a `SAVE_FN` was given by `Checkpoint`.
        durable: sync the file and its folder, so that a power cut after the return loses nothing.
        progress: called with the bytes that were written and those of the whole file.

    Raises:
        UnsaveableError: a name or a value that no file can hold, or arrays that would be left out unseen; the message
            names them.
        TypeError: `vc` holds nothing that can be saved, or the metadata does not survive JSON.
        ValueError: a key of the metadata is reserved, or `ignore` names nothing; a file object does not stand at
            position 0, or the path is a URL; nothing was written.
        OSError: the file cannot be written, among others for want of space, which is checked before the first byte.
        SaveNotDurable: the file is in place, but its folder could not be synced.

    Example:
        >>> import jax, objio
        >>> net = objio.nn.Linear(3, 2)
        >>> objio.save_var_collection('net.npz', net.vars(), metadata={'epoch': 7})
        >>> with objio.open('net.npz') as saved:
        ...     print(list(saved), saved.metadata)
        ['(Linear).b', '(Linear).w'] {'epoch': 7}
    """
    contents = contents_of(to_save(vc, ignore))
    write(file, contents.laid_out(file, to_write(metadata)), durable=durable, progress=progress)


def load_var_collection(
    file: File,
    vc: Any,
    renamer: Rules | None = None,
    *,
    only: Selector | None = None,
    skip: Selector | None = None,
    allow_missing: bool = False,
    allow_unused: bool = True,
    cast: bool = False,
    mmap: bool = False,
    verify: bool = True,
    progress: Progress | None = None,
) -> LoadReport:
    """Loads variables from a file, all or nothing.

    Names, shapes and dtypes are compared first; then everything is read and checked; only then are the variables
    assigned. Old and new values live side by side until that moment: variables that hold `jax.ShapeDtypeStruct` have
    no old values to keep.

    Args:
        file: a path or a binary file object; also files of `np.savez` and Objax.
        vc: a module, a VarCollection, or a mapping from names to variables.
        renamer: from names in the file to names in the model: a `Renamer`, or what one is made of.
        only: the names of the model to load: a name or the prefix of one up to `.`, `[`, `(` or `/`, a compiled
            pattern, a function, or a list of them. A literal name that matches nothing is an error, here, in `skip`
            and as a key of `renamer`; a pattern or a function that matches nothing is a warning.
        skip: the names to leave out, of the model or of the file.
        allow_missing: let variables that the file lacks keep their values.
        allow_unused: ignore arrays that the model lacks.
        cast: convert float to float, complex to complex, and int or bool to int. Floats are rounded; a value that the
            other dtype cannot hold is an error.
        mmap: let arrays be the pages of the file where that can be; it must then not be changed in place.
        verify: check the CRC-32 of every array that is read.
        progress: called with the bytes of arrays that were read and those that will be.

    Returns:
        what was matched, renamed, missing, unused, converted, unverified and unmatched. Arrays are weakly typed where
        they were at the save, whatever the variables held.

    Raises:
        MismatchError: the file does not fit the model; the message is a table of every difference. Also where the file
            has arrays and the load would take none of them, whatever is allowed.
        FormatError: the file is damaged, or of another kind.
        TypeError: `vc` holds no variables.
        ValueError: a literal name of `only`, `skip` or `renamer` matches nothing; the renamer gives one name to two
            arrays; or `only` chooses none of the variables.
        OSError: the file cannot be opened or read.

    Example:
        >>> import objio
        >>> net = objio.nn.Linear(3, 2)
        >>> objio.save_var_collection('net.npz', net.vars())
        >>> report = objio.load_var_collection('net.npz', net.vars())
        >>> print(report)
        2 variables loaded
    """
    collection = as_collection(vc)
    with opened(file, max_bytes=_ACCEPTED) as (archive, name):
        return load_archive(
            archive,
            name,
            collection,
            renamer,
            only=only,
            skip=skip,
            allow_missing=allow_missing,
            allow_unused=allow_unused,
            cast=cast,
            mmap=mmap,
            verify=verify,
            progress=progress,
        )


def plan_load(
    file: File,
    vc: Any,
    renamer: Rules | None = None,
    *,
    only: Selector | None = None,
    skip: Selector | None = None,
    allow_missing: bool = False,
    allow_unused: bool = True,
    cast: bool = False,
    mmap: bool = False,
    verify: bool = True,
) -> LoadPlan:
    """Says what `load_var_collection` with the same arguments would do, and changes nothing.

    Args:
        file: a path or a binary file object.
        vc: a module, a VarCollection, or a mapping from names to variables.
        renamer: this and the rest: as in `load_var_collection`.
        only: the names of the model to load.
        skip: the names to leave out.
        allow_missing: let variables that the file lacks keep their values.
        allow_unused: ignore arrays that the model lacks.
        cast: convert dtypes.
        mmap: let arrays be the pages of the file where that can be.
        verify: check the CRC-32 of every array that is read.

    Returns:
        a plan: print it for a table of matched, renamed, missing, unused and differing names, then `apply` it. Its
        `.renamer` does the renames that it takes for likely.

    Raises:
        FormatError: the table of contents is damaged, or the file is of another kind.
        TypeError: `vc` holds no variables.
        ValueError: the renamer gives one name to two arrays, or `only` chooses none of the variables.
        OSError: the file cannot be opened or read.

    Example:
        >>> import objio
        >>> objio.save_var_collection('net.npz', {'weight': 1.0})
        >>> plan = objio.plan_load('net.npz', objio.VarCollection.from_tree({'w': 2.0}))
        >>> print(plan)
        net.npz: 1 likely renamed
          name         in the file  in the model
          weight -> w  float64 ()   float64 ()    likely renamed
        1 likely rename. To do it, load with the .renamer of plan_load(...), or with
          renamer = objio.Renamer({'weight': 'w'})
        >>> plan.guesses
        {'weight': 'w'}
    """
    collection = as_collection(vc)
    options: dict[str, Any] = {
        'only': NameFilter.of(only, 'only'),
        'skip': NameFilter.of(skip, 'skip'),
        'allow_missing': allow_missing,
        'allow_unused': allow_unused,
        'cast': cast,
    }
    path = path_of(file)
    fixed = None if path is None else FixedPath(path)  # the program may go elsewhere before the plan is done
    with opened(file, max_bytes=_ACCEPTED) as (archive, name):
        return _plan(
            archive,
            name,
            collection,
            renamer,
            lambda _: load_var_collection(
                fixed.path if fixed else file, collection, renamer, mmap=mmap, verify=verify, **options
            ),
            **options,
        )


def load_archive(
    archive: Archive,
    name: str,
    vc: VarCollection,
    renamer: Rules | None = None,
    *,
    mmap: bool = False,
    verify: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> LoadReport:
    """Loads from an archive that is already open; see `load_var_collection`.

    Args:
        archive: an open archive.
        name: its name for messages.
        vc: the variables.
        renamer: as in `load_var_collection`.
        mmap: as in `load_var_collection`.
        verify: as in `load_var_collection`.
        progress: as in `load_var_collection`.
        **options: the other options of `load_var_collection`.
    """

    def execute(plan: LoadPlan) -> LoadReport:
        warn_user(*plan.warnings)  # while nothing is assigned, for the caller may make it an error
        variables = {canonical: variable for canonical, _, variable, _ in vc.held()}
        targets = [variables[canonical] for canonical in plan.takes]
        sources = list(plan.takes.values())
        values = values_of(targets)
        sizes = list(map(archive.nbytes, sources))
        boxes = {
            place: parts
            for place, (canonical, value, size) in enumerate(zip(plan.takes, values, sizes, strict=True))
            if size > SMALL and (parts := boxes_of(value)) and plan.match(canonical).by_parts
        }
        arrays = read_arrays(archive, sources, boxes, ahead=plan.as_it_is, mmap=mmap, verify=verify)
        arrays = counted(arrays, sizes, progress)
        if not plan.as_it_is:
            arrays = _fitted(archive, name, plan, arrays, mmap=mmap, verify=verify)
        put(targets, place(arrays, values, [canonical in plan.weak for canonical in plan.takes]))
        return plan.report(verified=verify and archive.checksums)

    return _plan(archive, name, vc, renamer, execute, **options).apply()


def _plan(
    archive: Archive,
    name: str,
    vc: VarCollection,
    renamer: Rules | None,
    apply: Callable[[LoadPlan], LoadReport],
    *,
    only: Selector | None = None,
    skip: Selector | None = None,
    allow_missing: bool = False,
    allow_unused: bool = True,
    cast: bool = False,
) -> LoadPlan:
    wanted, unwanted = NameFilter.of(only, 'only'), NameFilter.of(skip, 'skip')
    chosen = chooser(wanted, unwanted)
    names = renamed([*archive.specs, *archive.aliases], renamer)
    unmatched = check_entries(name, vc.keys(), names, only=wanted, skip=unwanted, renamer=renamer)
    return compare(
        name,
        archive.specs,
        archive.aliases,
        _wanted(vc, chosen),
        renamed=names,
        chosen=chosen,
        cast=cast,
        keyless=archive.keyless,
        allow_missing=allow_missing,
        allow_unused=allow_unused,
        weak=weak_names(archive),
        can_be_weak=lambda label: can_be_weak(stored(label).dtype),
        unmatched=unmatched,
        given=renamer is not None,
        compose=lambda rules: _composed(renamer, rules),
        apply=apply,
    )


def _composed(renamer: Rules | None, rules: Rules | None) -> Renamer | None:
    """One renamer that goes by the given rules first, and by further ones then."""
    given = Renamer(renamer) if renamer is not None else None
    if rules is None:
        return given
    return Renamer(given, Renamer(rules)) if given is not None else Renamer(rules)


def _wanted(vc: VarCollection, chosen: Callable[[str], bool]) -> Iterator[Wanted]:
    """Yields what a plan has to know of the variables that take part."""
    obstacles: dict[str, str] = {}  # dtype -> why JAX cannot hold it
    for name, names, _, value in vc.held():
        if chosen is not everything and not any(map(chosen, names)):
            continue
        is_array = isinstance(value, ARRAYS)
        try:
            spec = spec_of_array(value) if is_array else describe(value)
        except UnsaveableError as error:
            raise UnsaveableError(f'{name}: {error}') from None
        if is_array:
            if spec.dtype not in obstacles:
                cure = f'JAX would narrow {spec.dtype}; enable it with jax.config.update("jax_enable_x64", True)'
                obstacles[spec.dtype] = cure if narrowed(value.dtype) else ''
            yield Wanted(name, names, spec, obstacle=obstacles[spec.dtype], weak=is_weak(value))
        else:
            yield Wanted(name, names, spec, number=is_scalar(value))


def _fitted(
    archive: Archive,
    name: str,
    plan: LoadPlan,
    arrays: Iterator[np.ndarray[Any, Any] | Parts],
    *,
    mmap: bool,
    verify: bool,
) -> Iterator[np.ndarray[Any, Any] | Parts]:
    """Yields the array for each variable, of the variable's dtype, of the arrays that the plan takes.

    Raises:
        MismatchError: at the end: values do not fit, or the file has several arrays for a variable, and they differ.
    """
    problems = []
    for match in plan.matches:
        twins = ((other, read_array(archive, other, mmap=mmap, verify=verify)) for other in match.sources[1:])
        try:
            # No name for what was read: it must be gone from memory when the next array is read.
            fitted = _fit(match, next(arrays), twins)
        except MismatchError as error:
            problems.append(value_problem(match, str(error)))
        if not problems:
            yield fitted
    if problems:
        raise value_mismatch(name, problems)


def _fit(
    match: Match, array: np.ndarray[Any, Any] | Parts, twins: Iterable[tuple[str, np.ndarray[Any, Any]]]
) -> np.ndarray[Any, Any] | Parts:
    """The array as the variable's dtype has it, once the others that stand for it are known to be equal."""
    if isinstance(array, Parts):
        return array.each(lambda part: convert(part, match.how, match.wanted.dtype))
    for other, twin in twins:
        if array.dtype != twin.dtype or not np.array_equal(_bits(array), _bits(twin)):
            raise MismatchError(
                f'{match.sources[0]!r} and {other!r} are one variable in the model but differ in the file; '
                'choose one with only= or skip='
            )
    return array if match.number else convert(array, match.how, match.wanted.dtype)


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

"""The likely renames between a file and a model, and what else the names give away: axes that moved, shapes that grew."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from objio.formats import ArraySpec
from objio.formats.dtypes import stored
from objio.io.conversion import is_key, kind_of
from objio.io.guesses import guess, resembling
from objio.io.likeness import parts, template


class Renames(NamedTuple):
    """What missing variables probably are in the file.

    Attributes:
        guesses: name in the file -> name in the model: one may take the other as it is.
        relatives: name in the model -> a name in the file and how its array differs, in words.
    """

    guesses: Mapping[str, str]
    relatives: Mapping[str, tuple[str, str]]


def likely(
    unused: Mapping[str, ArraySpec],
    missing: Mapping[str, ArraySpec],
    *,
    cast: bool,
    keyless: bool,
    fits: Callable[[str, str], bool],
) -> Renames:
    """Compares what is left of a file with what is missing in it.

    Arrays with two axes of one length are no guess where others of that name have their axes the other way round in the
    file: their shape cannot tell.

    Args:
        unused: the arrays that the model lacks.
        missing: the variables that the file lacks.
        cast: whether dtypes may be converted.
        keyless: whether the file's format knows no key dtypes.
        fits: whether an array may become a variable.
    """
    if not unused or not missing:
        return Renames({}, {})
    old = {name: _kind(spec, cast=cast, keyless=keyless) for name, spec in unused.items()}
    new = {name: _kind(spec, cast=cast, keyless=keyless) for name, spec in missing.items()}
    guesses = {name: model for name, model in guess(old, new).items() if fits(name, model)}
    relatives: dict[str, tuple[str, str]] = {}

    def left() -> tuple[list[str], list[str]]:
        found = set(guesses) | {name for name, _ in relatives.values()}
        taken = set(guesses.values()) | set(relatives)
        return [name for name in unused if name not in found], [name for name in missing if name not in taken]

    names, models = left()
    moved = guess(
        {name: _axes(unused[name]) for name in names if len(unused[name].shape) > 1},
        {name: _axes(missing[name]) for name in models if len(missing[name].shape) > 1},
    )
    for name, model in moved.items():
        relatives[model] = name, _difference(unused[name], missing[model])
    leaves = {
        (_leaf(name), _leaf(model)) for name, model in moved.items() if unused[name].shape != missing[model].shape
    }
    for name, model in list(guesses.items()):
        if len(set(missing[model].shape)) < len(missing[model].shape) and (_leaf(name), _leaf(model)) in leaves:
            relatives[model] = name, 'perhaps with its axes in another order, as others have them'
            del guesses[name]
    for name, model in resembling(*left()).items():
        relatives[model] = name, _difference(unused[name], missing[model])
    return Renames(guesses, relatives)


def _kind(spec: ArraySpec, *, cast: bool, keyless: bool) -> Hashable:
    """What two arrays must have in common for one to become the other."""
    if is_key(spec.dtype) and (keyless or cast):
        spec = ArraySpec('uint32', spec.shape + stored(spec.dtype).words)
    if cast or not spec.shape:  # 0-d arrays exchange with Python numbers
        return kind_of(spec.dtype) or spec.dtype, spec.shape
    return spec


def _axes(spec: ArraySpec) -> Hashable:
    return kind_of(spec.dtype) or spec.dtype, tuple(sorted(spec.shape))


def _difference(old: ArraySpec, new: ArraySpec) -> str:
    if old.shape == new.shape:
        return f'as {old.dtype}'
    return 'transposed' if len(old.shape) == 2 and old.shape == new.shape[::-1] else f'of the shape {old.shape}'


def _leaf(name: str) -> str:
    """The last word of a name."""
    return (parts(template(name)[0]) or ('',))[-1]

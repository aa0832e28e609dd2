"""What a load was asked for by name and found nowhere: a literal name is refused, a pattern or a function is told."""

from collections.abc import Collection, Mapping

from objio.messages import some
from objio.variables.name_filter import NameFilter
from objio.variables.renamer import Renamer, Rules

_CURE = (
    'Correct each entry or leave it out. An entry that need not match can be a compiled pattern, as in '
    "re.compile('head'), or for renamer a pair ('head', 'new'): those only warn."
)


def check_entries(
    file: str,
    names: Collection[str],
    renamed: Mapping[str, str],
    *,
    only: NameFilter | None,
    skip: NameFilter | None,
    renamer: Rules | None,
) -> tuple[str, ...]:
    """Looks for entries of selectors and rules of a renamer that match nothing.

    Each entry of `only` must name a variable of the model, as it would have to if it stood alone; one of `skip` may
    name an array of the file instead, as the renamer has made it.

    Args:
        file: its name, for messages.
        names: all names of the model.
        renamed: each name in the file -> its name in the model.
        only: as in `load_var_collection`.
        skip: as in `load_var_collection`.
        renamer: as in `load_var_collection`.

    Returns:
        the patterns and functions that match nothing, as they are written.

    Raises:
        ValueError: literal names match nothing, or `only` chooses no variable of the model.
    """
    literals: dict[str, str] = {}
    others: tuple[str, ...] = ()
    if only is not None:
        found = only.unmatched(names)
        elsewhere = found.literals.keys() - only.unmatched(renamed.values()).literals if found.literals else set()
        literals |= found.literals | dict.fromkeys(elsewhere, ' (in the file, but not in the model)')
        others += found.others
    if skip is not None:
        found = skip.unmatched([*names, *renamed.values()])
        literals |= found.literals
        others += found.others
    if renamer is not None:
        found = (renamer if isinstance(renamer, Renamer) else Renamer(renamer)).unmatched(renamed)
        literals |= found.literals
        others += found.others
    none = names and only is not None and not any(map(only, names))
    if not literals and not none:
        return others
    head = f'{file}: nothing was loaded'
    if none and only is not None:
        first = next(iter(names))
        head += (
            f', since only={only.selector!r} chooses none of the {len(names)} variables of the model, such as {first!r}'
        )
    if not literals:
        raise ValueError(f'{head}.')
    listed = '\n'.join(f'  {entry}{remark}' for entry, remark in literals.items())
    raise ValueError(
        f'{head}. {"This entry matches" if len(literals) == 1 else "These entries match"} nothing:\n{listed}\n'
        f'In the model: {some(names) or "no variables"}. In the file: {some(renamed.values()) or "no arrays"}.\n{_CURE}'
    )

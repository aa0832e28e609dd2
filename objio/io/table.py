"""Tables for people: what a file has beside what a model has, a line for each name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from objio.formats import ArraySpec

_MANY = 20  # lines that say nothing new; of more of them a few stand for all
_FEW = 3
_LONGEST = 200  # letters of a name


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that a plan prints.

    Attributes:
        name: the name; 'old -> new' where the file and the model have different ones.
        in_file: dtype and shape of the array, or '-'.
        in_model: dtype and shape of the variable, or '-'.
        remark: what is to be said about it; '' where it fits as it is.
    """

    name: str
    in_file: str
    in_model: str
    remark: str


def described(spec: ArraySpec) -> str:
    """Dtype and shape, as 'float32 (2, 3)'."""
    return f'{spec.dtype} {spec.shape}'


def abridged(rows: Sequence[Row], what: str) -> list[Row | str]:
    """All rows, or the first few of many and a line that counts the rest.

    Example:
        >>> abridged([Row(f'w{i}', '', '', '') for i in range(100)], 'match as they are')[3:]
        ['… 97 more that match as they are']
    """
    if len(rows) <= _MANY:
        return list(rows)
    return [*rows[:_FEW], f'… {len(rows) - _FEW:,} more that {what}']


def table(rows: Iterable[Row | str]) -> str:
    """The rows under each other, with a head; a str is a line of its own."""
    short = (line if isinstance(line, str) else replace(line, name=shortened(line.name)) for line in rows)
    lines = [Row('name', 'in the file', 'in the model', ''), *short]
    columns = ('name', 'in_file', 'in_model')
    widths = [max(len(getattr(line, column)) for line in lines if isinstance(line, Row)) for column in columns]
    return '\n'.join(
        f'  {line}'
        if isinstance(line, str)
        else f'  {line.name:{widths[0]}}  {line.in_file:{widths[1]}}  {line.in_model:{widths[2]}}  {line.remark}'.rstrip()
        for line in lines
    )


def shortened(name: str) -> str:
    """A name, without its middle where it is long: the others are padded to the longest.

    Example:
        >>> shortened('a' * 500 + '.w')[75:]
        'aaaaa…aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.w'
    """
    return name if len(name) <= _LONGEST else f'{name[:80]}…{name[-39:]}'

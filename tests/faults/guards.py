"""Guards of objio, and how to take one away: a piece of the source, what replaces it, and the tests that must see it."""

from typing import NamedTuple


class Guard(NamedTuple):
    """One guard.

    Attributes:
        name: what it sees to.
        file: where it stands, below `objio/`.
        old: its text, which occurs once in the file.
        new: what stands there without it.
        test: the test that must fail then, below `tests/`.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


def of(file: str, tests: str, *rows: tuple[str, str, str, str]) -> list[Guard]:
    """Guards of one file that tests of one file see.

    Args:
        file: below `objio/`.
        tests: below `tests/`.
        *rows: name, old text, new text and name of the test.
    """
    return [Guard(name, file, old, new, f'{tests}::{test}') for name, old, new, test in rows]

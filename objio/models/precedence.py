"""Which settings are in force after a load: those given in memory, those saved, or the defaults of today."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Saved = Literal['no', 'given', 'default']


class Outcome(NamedTuple):
    """What a load makes of one setting.

    Attributes:
        value: whose value is in force: that in memory, the saved one, or none, because they conflict.
        given: whether the next save keeps it as one that was given.
        warns: whether `ConfigDefaultChanged` tells of it.
    """

    value: Literal['memory', 'saved', 'conflict']
    given: bool
    warns: bool


@dataclass(frozen=True)
class Rule:
    """One rule of the table; None stands for either.

    Attributes:
        given: whether the value in memory was given; otherwise it is the default of today.
        saved: whether the setting was saved, and as what.
        differs: whether the saved value is another than that in memory.
        mutable: whether the setting is mutable.
        outcome: what comes of it.
    """

    given: bool
    saved: Saved
    differs: bool | None
    mutable: bool | None
    outcome: Outcome


RULES = (
    Rule(True, 'no', None, None, Outcome('memory', True, False)),
    Rule(False, 'no', None, None, Outcome('memory', False, True)),
    Rule(True, 'given', False, None, Outcome('memory', True, False)),
    Rule(True, 'default', False, None, Outcome('memory', True, False)),
    Rule(True, 'given', True, True, Outcome('memory', True, False)),
    Rule(True, 'default', True, True, Outcome('memory', True, False)),
    Rule(True, 'given', True, False, Outcome('conflict', True, False)),
    Rule(True, 'default', True, False, Outcome('conflict', True, False)),
    Rule(False, 'given', None, None, Outcome('saved', True, False)),
    Rule(False, 'default', False, None, Outcome('saved', False, False)),
    Rule(False, 'default', True, None, Outcome('saved', False, True)),
)
"""The whole table; each case meets exactly one rule."""


def decide(*, given: bool, saved: Saved, differs: bool, mutable: bool) -> Outcome:
    """What a load makes of one setting."""
    return next(
        rule.outcome
        for rule in RULES
        if (rule.given, rule.saved) == (given, saved)
        and rule.differs in (None, differs)
        and rule.mutable in (None, mutable)
    )

"""Which saves stay, and why: the newest, those at round indices, the best. Only numbers are looked at here, no files."""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from objio.io.best_mode import Mode, chosen_mode
from objio.messages import given


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a `Checkpoint`; a save stays if any of them wants it.

    Attributes:
        keep_ckpts: how many of the newest stay; None: all.
        keep_every: every index that it divides stays.
        keep_best: how many of the best by `best_metric` stay.
        best_metric: the name of the metric.
        best_mode: 'min' where less is better, 'max' where more is; None is replaced by what the metric's name tells.
    """

    keep_ckpts: int | None = 5
    keep_every: int | None = None
    keep_best: int = 0
    best_metric: str | None = None
    best_mode: Mode | None = None

    def __post_init__(self) -> None:
        for name, least, optional in (('keep_ckpts', 1, True), ('keep_every', 1, True), ('keep_best', 0, False)):
            value = getattr(self, name)
            if value is not None or not optional:
                object.__setattr__(self, name, whole_number(value, name, least))
        if self.best_metric is not None and not isinstance(self.best_metric, str):
            raise TypeError(f'best_metric: expected the name of a metric, got {self.best_metric!r}')
        if self.keep_best and self.best_metric is None:
            raise ValueError(f'keep_best={self.keep_best} needs best_metric=, the name of the metric to go by')
        if self.best_metric is not None or self.best_mode is not None:
            object.__setattr__(self, 'best_mode', chosen_mode(self.best_metric or '', self.best_mode, 'best_mode'))

    def ranking(self, scores: Mapping[int, float | None]) -> list[int]:
        """The indices from the best to the worst: NaN and missing (None) are worst, ties go to the later.

        Args:
            scores: index -> the value of `best_metric`.
        """
        sign = -1.0 if self.best_mode == 'max' else 1.0

        def place(idx: int) -> tuple[bool, float, int]:
            score = scores[idx]
            return (True, 0.0, -idx) if score is None or math.isnan(score) else (False, sign * score, -idx)

        return sorted(scores, key=place)

    def best(self, scores: Mapping[int, float | None]) -> int | None:
        """The index of the best save; None where no save has a number for the metric."""
        ranked = self.ranking(scores)
        score = scores[ranked[0]] if ranked else None
        return None if score is None or math.isnan(score) else ranked[0]

    def reasons(self, scores: Mapping[int, float | None]) -> dict[int, list[str]]:
        """Why each save stays; a save without a reason goes.

        Args:
            scores: index -> the value of `best_metric`, None where the save has none; every whole save is listed.

        Returns:
            index -> reasons, ascending.
        """
        reasons: dict[int, list[str]] = {idx: [] for idx in sorted(scores)}
        newest = list(reasons) if self.keep_ckpts is None else list(reasons)[-self.keep_ckpts :]
        for idx in newest:
            reasons[idx].append('all are kept' if self.keep_ckpts is None else f'of the newest {self.keep_ckpts}')
        for idx, why in reasons.items():
            if self.keep_every is not None and idx % self.keep_every == 0:
                why.append(f'divisible by {self.keep_every}')
        for place, idx in enumerate(self.ranking(scores)[: self.keep_best], start=1):
            score = 'missing' if scores[idx] is None else f'{scores[idx]:g}'
            reasons[idx].append(f'number {place} by {self.best_metric} ({score})')
        return reasons


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one file of a folder of saves.

    Attributes:
        file: its name in the folder.
        idx: its index; None where it is no save.
        stays: False for a save that no rule wants among those there are now: the next save removes it.
        why: the reasons.
    """

    file: str
    idx: int | None
    stays: bool
    why: str


class Explanation(tuple[Fate, ...]):
    """Each file of a folder with its fate, saves by index first; `print` it for a table."""

    __slots__ = ()

    def __str__(self) -> str:
        width = max((len(fate.file) for fate in self), default=0)
        return '\n'.join(f'{fate.file:{width}}  {"stays" if fate.stays else "goes "}  {fate.why}' for fate in self)


def whole_number(value: Any, name: str, least: int) -> int:
    """An argument that must be a whole number, as an int.

    Args:
        value: what was given: an int of Python or NumPy.
        name: what the error calls it.
        least: the smallest that is allowed.

    Raises:
        TypeError: it is no whole number; a bool is none.
        ValueError: it is too small.
    """
    try:
        if isinstance(value, bool | np.bool):
            raise TypeError  # the older NumPys take their own for an index
        number = operator.index(value)
    except TypeError:
        raise TypeError(f'{name}: expected an int, got {given(value)}') from None
    if number < least:
        raise ValueError(f'{name}: expected at least {least}, got {number}')
    return number

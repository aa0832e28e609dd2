"""What has to be in a folder of saves: a plain dict, and the rules of `Checkpoint` read a second time, as simply as can be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUMBERS = (0.0, 0.5, 1.0)  # that losses may be, beside NaN and none


@dataclass
class File:
    """What the dict knows of a save.

    Attributes:
        value: what all its variables hold; None in a whole file of somebody else.
        loss: its metric; None where it has none.
        damaged: whether it cannot be loaded.
        kind: in which way.
        known: whether the Checkpoint knows of the damage.
        aside: whether it has a second name, that of a damaged file.
    """

    value: int | None
    loss: float | None
    damaged: bool = False
    kind: str = ''
    known: bool = False
    aside: bool = False


class Expected:
    """The files of a folder.

    Attributes:
        folder: where they are.
        base: the index of the first save.
        policy: the rules of retention.
        files: the saves by index.
        others: names of files that nothing may touch.
        living: temporary files of living writers, and their descriptors.
        dead: temporary files of dead writers.
    """

    folder: Path
    base: int
    policy: dict[str, Any]
    files: dict[int, File]
    others: set[str]
    living: dict[str, int]
    dead: set[str]

    def path(self, idx: int) -> Path:
        """Where a save stands."""
        return self.folder / f'{idx:010d}.npz'

    def whole(self) -> list[int]:
        """The indices that are not known to be damaged, ascending."""
        return sorted(idx for idx, file in self.files.items() if not file.known)

    def undamaged(self) -> list[int]:
        """The indices of our own saves that are whole, ascending."""
        return sorted(idx for idx, file in self.files.items() if not file.damaged and file.value is not None)

    def ranked(self) -> list[int]:
        """These from the best to the worst."""
        sign = {'min': 1, 'max': -1}[self.policy['best_mode']]
        losses = {idx: self.files[idx].loss for idx in self.whole()}
        numbers = {idx: sign * loss for idx, loss in losses.items() if loss in NUMBERS}
        return sorted(numbers, key=lambda idx: (numbers[idx], -idx)) + sorted(losses.keys() - numbers, reverse=True)

    def goers(self, *staying: int) -> set[int]:
        """The indices that no rule keeps."""
        whole, keep, every = self.whole(), self.policy['keep_ckpts'], self.policy['keep_every']
        kept = {*staying, *(whole if keep is None else whole[-keep:]), *self.ranked()[: self.policy['keep_best']]}
        return {idx for idx in whole if idx not in kept and (every is None or idx % every)}

    def pick(self, number: int) -> int:
        """One of the indices there are, or the next one, or the first."""
        choice = [*sorted(self.files), max(self.files, default=self.base) + 1, self.base]
        return choice[number % len(choice)]

    def upwards(self, step: int) -> int:
        """An index from the newest one on; 3 is the place of a damaged save where one is in the way."""
        newest = max(self.whole(), default=self.base)
        in_the_way = [idx for idx, file in self.files.items() if file.known and idx >= newest]
        return min(in_the_way) if step == 3 and in_the_way else newest + step

    def make_way(self, idx: int) -> None:
        """What is known to be damaged has one more name from now on."""
        file = self.files.get(idx)
        if file is not None and file.known and not file.aside:
            name, number = f'{idx:010d}.npz.damaged', 1
            while name in self.others:
                number += 1
                name = f'{idx:010d}.npz.damaged.{number}'
            self.others.add(name)
            file.aside = True

    def expected(self) -> set[str]:
        """The names in the folder."""
        return {self.path(idx).name for idx in self.files} | self.others | set(self.living) | self.dead

"""Saves, restores, removals, kills, errors and damage in any order: what comes of them is what a plain dict says."""

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from faults.machine import Folder

SHARES = 4


@pytest.mark.proves('machine')
@pytest.mark.parametrize('share', range(SHARES))
def test_whatever_happens_to_a_folder(
    share: int, seed: int, amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """After every step the folder holds what a plain dict says, and every verb answers as the dict does."""

    class Run(Folder):
        steps = amount(30, 50)
        counted: ClassVar[Counter[str]] = Counter({'run': 0})

    wanted, seeds = amount(40, 1000) // SHARES, []
    while Run.counted['run'] < wanted:
        seeds.append(seed + len(seeds))
        options = settings(
            max_examples=wanted - Run.counted['run'],
            stateful_step_count=Run.steps + 1,
            derandomize=False,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(hypothesis.seed(seeds[-1])(Run), settings=options)
    runs = Run.counted.pop('run')
    did = ', '.join(f'{Run.counted[name]:,} × {name}' for name in ('save', 'killed save', 'failed save', 'damage'))
    figure('machine', runs, f'seeds {seed} to {seeds[-1]}: {did}')

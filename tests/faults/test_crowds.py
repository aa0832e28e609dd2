"""Processes side by side: many writers and readers of one file, and of one folder of saves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults import crowd


def run(scene: str, folder: Path, amount: int) -> dict[str, Any]:
    """Runs a scene of `crowd.py` in a program of its own; what it counted."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    command = [sys.executable, crowd.__file__, scene, str(folder), str(amount)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.proves('one-path')
def test_a_path_with_four_writers_and_four_readers(
    tmp_path: Path, amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """Every read holds one writer's one save, mapped ones for ever; none is older than the read before; no litter."""
    saves = amount(40, 500)
    found = run('one_path', tmp_path, saves)
    assert found['saves'] == 4 * saves
    assert min(found['reads']) > 1
    assert max(found['seen']) == 4  # no reader only ever met one writer's file
    figure('one-path', found['saves'], f'{sum(found["reads"]):,} reads, half of them mapped')


@pytest.mark.proves('one-folder')
def test_a_folder_with_two_savers_two_restorers_and_a_pruner(
    tmp_path: Path, amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """A restore or an average never errs, never is older than what was acknowledged, and never goes back."""
    seconds = amount(5, 60)
    found = run('one_folder', tmp_path, seconds)
    assert min(found['saves']) > 0
    assert min(found['restores']) > 0
    assert found['removed'] > 0
    detail = (
        f'{sum(found["saves"]):,} saves, {sum(found["restores"]):,} restores, {found["removed"]:,} saves removed by '
        f'the pruner, {sum(found["refused"])} savers told that the other was ahead'
    )
    figure('one-folder', seconds, detail)

"""The metrics of a run are appended line by line, survive whatever becomes of it, and are read as one history."""

import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import objio
from objio.models.history import Log, read


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'metrics.jsonl')


def test_a_line_is_json_that_other_tools_read(path: str) -> None:
    """Each moment is a line with its step, session, time and metrics; what is no number is spelt as a word."""
    Log(path, 1).append(3, {'loss': jnp.float32(0.5), 'nan': float('nan'), 'top': np.inf, 'low': -math.inf, 'n': 2})
    (line,) = Path(path).read_text().splitlines()
    found = json.loads(line)
    assert found.pop('time').endswith('+00:00')
    assert found == {'step': 3, 'session': 1, 'loss': 0.5, 'nan': 'nan', 'top': 'inf', 'low': '-inf', 'n': 2.0}


@given(st.lists(st.tuples(st.integers(0, 50), st.floats()), max_size=20))
def test_what_is_logged_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]]) -> None:
    """Every float comes back, by ascending step; of several for one step the later counts."""
    path = str(tmp_path_factory.mktemp('run') / 'metrics.jsonl')
    log = Log(path, 1)
    for step, value in rows:
        log.append(step, {'x': value})
    assert repr(read(path)) == repr({'x': dict(sorted(dict(rows).items()))} if rows else {})


def test_several_metrics_of_one_step(path: str) -> None:
    """A step may be told in several calls, and late, as an evaluation beside the training does."""
    log = Log(path, 1)
    log.append(1, {'loss': 1.0})
    log.append(2, {'loss': 0.5})
    log.append(1, {'accuracy': 0.7})
    assert read(path) == {'loss': {1: 1.0, 2: 0.5}, 'accuracy': {1: 0.7}}
    assert log.last == {'step': 1, 'loss': 0.5, 'accuracy': 0.7}


def test_a_run_that_went_back(path: str) -> None:
    """What a killed session logged beyond the step at which the next one begins counts no more."""
    first = Log(path, 1)
    for step in range(1, 6):
        first.append(step, {'loss': float(step), 'old': 1.0})
    second = Log(path, 2, read(path))
    assert second.last == {'step': 5, 'loss': 5.0, 'old': 1.0}
    second.append(4, {'loss': 40.0})
    assert second.last == {'step': 4, 'loss': 40.0}
    assert read(path) == {'loss': {1: 1.0, 2: 2.0, 3: 3.0, 4: 40.0}, 'old': {1: 1.0, 2: 1.0, 3: 1.0}}
    third = Log(path, 3, read(path))
    third.append(2, {'loss': 20.0})
    assert read(path) == {'loss': {1: 1.0, 2: 20.0}, 'old': {1: 1.0}}


@pytest.mark.parametrize('cut', range(1, 20))
def test_a_torn_last_line(path: str, cut: int) -> None:
    """A line that a power cut tore is passed over, and cut off when the run goes on; no other line is harmed."""
    log = Log(path, 1)
    log.append(1, {'loss': 1.0})
    whole = os.path.getsize(path)
    log.append(2, {'loss': 2.0})
    os.truncate(path, whole + cut if cut < 19 else os.path.getsize(path) - 1)
    assert read(path) == {'loss': {1: 1.0}}
    log = Log(path, 2, read(path))
    assert os.path.getsize(path) == whole
    log.append(2, {'loss': 3.0})
    assert read(path) == {'loss': {1: 1.0, 2: 3.0}}


@pytest.mark.parametrize(
    'line',
    [
        '{"step": 1',
        '[1]',
        '{"step": 1}',
        '{"step": "1", "session": 1}',
        '{"step": true, "session": 1}',
        '{"step": 1, "session": 1, "loss": "low"}',
        '{"step": 1, "session": 1, "loss": true}',
        pytest.param('[' * 10**5, id='deep'),
        '\0\0\0',
        '\ud800',
        '',
    ],
)
def test_a_damaged_line_is_told(path: str, line: str) -> None:
    """A damaged line among others is a FormatError that gives its number."""
    Log(path, 1).append(1, {'loss': 1.0})
    with open(path, 'ab') as file:
        file.write(line.encode(errors='surrogatepass') + b'\n')
    before = Path(path).read_bytes()
    with pytest.raises(objio.FormatError, match=r'metrics\.jsonl, line 2: expected'):
        read(path)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    ('step', 'metrics', 'error'),
    [
        (1.0, {'a': 1}, TypeError),
        (True, {'a': 1}, TypeError),
        (-1, {'a': 1}, ValueError),
        (1, {'a': 'high'}, TypeError),
        (1, {'a': [1.0]}, TypeError),
        (1, {'a': np.ones(3)}, TypeError),
        (1, {'a': 1j}, TypeError),
        (1, {'a': None}, TypeError),
        (1, {'time': 3}, ValueError),
        (1, {'session': 3}, ValueError),
    ],
)
def test_what_is_no_step_or_no_number(path: str, step: Any, metrics: dict[str, Any], error: type[Exception]) -> None:
    """A wrong step or metric is one clear error, and no line is written."""
    with pytest.raises(error):
        Log(path, 1).append(step, metrics)
    assert not os.path.exists(path)


def test_a_disk_that_takes_half_a_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full in the middle of a line, the error names the file, and the lines before it stay."""
    log = Log(path, 1)
    log.append(1, {'loss': 1.0})
    before = Path(path).read_bytes()
    write = os.write
    room = [10]

    def full(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[: room.pop()])

    monkeypatch.setattr(os, 'write', full)
    with pytest.raises(OSError, match='No space left') as info:
        log.append(2, {'loss': 2.0})
    assert info.value.filename == path
    assert Path(path).read_bytes() == before
    assert log.last == {'step': 1, 'loss': 1.0}


def test_many_threads_log_at_once(path: str) -> None:
    """Lines of several threads stand whole beside each other."""
    log = Log(path, 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: log.append(step, {'x': step}), range(200)))
    assert read(path) == {'x': {step: float(step) for step in range(200)}}


def test_without_a_file_there_are_no_metrics(path: str) -> None:
    """A run that logged nothing has none, and syncing them is nothing."""
    assert read(path) == {}
    Log(path, 1).sync()
    assert not os.path.exists(path)

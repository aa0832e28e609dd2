"""Hostile files: made with knowledge of their structure, and grown by coverage."""

import io
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import objio
from faults.bounded import forget_peak, status
from faults.files import foreign_files, objio_files, read
from faults.fuzzing import foreign_file, objio_file, with_lying_records
from faults.raw_fuzzing import raw_file, write_shards
from objio.errors import FormatError, MismatchError
from objio.variables import TreeVar

Amount = Callable[[int, int], int]
Figure = Callable[..., None]
_SECONDS = 0.5
_GROWN = 200_000_000  # bytes
_RUNS = re.compile(r'Done (\d+) runs in (\d+) second')


def _made(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.35:
        return objio_file(rng)
    if kind < 0.7:
        return foreign_file(rng)
    whole = rng.choice([*objio_files().values(), *foreign_files().values()])
    return with_lying_records(rng.choice([whole, objio_file(rng), foreign_file(rng)]), rng)


def _loaded(file: io.BytesIO | Path) -> None:
    """Loads a file into variables; where that is refused they keep what they hold."""
    variables = {'w0': TreeVar(np.zeros(2, np.float32)), 'w1': TreeVar(np.zeros((2, 3))), 'a': TreeVar(np.int16(3))}
    before = {name: variable.value for name, variable in variables.items()}
    try:
        objio.load_var_collection(file, variables, allow_missing=True)
    except (FormatError, MismatchError, UserWarning):  # the last for a file that has no arrays
        assert all(variables[name].value is value for name, value in before.items())


@pytest.mark.proves('fuzz')
@pytest.mark.parametrize('half', [0, 1])
def test_files_that_lie_with_right_checksums(
    half: int, seed: int, tmp_path: Path, amount: Amount, figure: Figure
) -> None:
    """A file that lies anywhere inside is read or is a FormatError, within 0.5 s and 200 MB."""
    rng = random.Random(seed)
    outcomes = Counter[str]()
    path = tmp_path / 'file.npz'
    before = forget_peak()
    for turn in range(amount(2500, 255_000)):
        data = _made(rng)
        start = time.process_time()
        outcomes[(found.kind if (found := read(data)) else 'refused')] += 1
        if turn % 16 == half:
            assert bool(objio.verify(io.BytesIO(data))) == (found is not None)
            _loaded(io.BytesIO(data))
            path.write_bytes(data)
            assert read(str(path)) == found
        assert time.process_time() - start < _SECONDS, data
    grown = status('VmHWM') - before
    assert grown < _GROWN
    assert set(outcomes) == {'refused', 'objio-npz 1', 'numpy npz', 'Objax npz'}
    assert min(outcomes.values()) > sum(outcomes.values()) / 200, outcomes
    figure('fuzz', sum(outcomes.values()), f'seed {seed}: {dict(outcomes)}, {grown / 1e6:.0f} MB more memory')


@pytest.mark.proves('fuzz')
@pytest.mark.parametrize('half', [0, 1])
def test_files_without_checksums_that_lie(half: int, seed: int, tmp_path: Path, amount: Amount, figure: Figure) -> None:
    """A safetensors or msgpack file or an index that lies is read or is a FormatError, within 0.5 s and 200 MB."""
    rng = random.Random(seed)
    outcomes = Counter[str]()
    write_shards(tmp_path)
    before = forget_peak()
    for turn in range(amount(1200, 30_000)):
        name, data = raw_file(rng)
        path = tmp_path / name
        path.write_bytes(data)
        start = time.process_time()
        found = read(str(path))
        outcomes[f'{path.suffix} {"read" if found else "refused"}'] += 1
        if turn % 16 == half:
            assert bool(objio.verify(path)) == (found is not None)
            _loaded(path)
        assert time.process_time() - start < _SECONDS, data
    grown = status('VmHWM') - before
    assert grown < _GROWN
    assert len(outcomes) == 6, outcomes
    assert min(outcomes.values()) > sum(outcomes.values()) / 50, outcomes
    figure('fuzz', sum(outcomes.values()), f'seed {seed}: {dict(outcomes)}, {grown / 1e6:.0f} MB more memory')


@pytest.mark.proves('fuzz')
def test_every_file_of_up_to_two_bytes(amount: Amount, figure: Figure) -> None:
    """Not even the smallest files, all of which can be tried, are anything but a FormatError."""
    ones = [bytes([byte]) for byte in range(256)]
    files = [b'', *ones, *(one + other for one in ones for other in ones[:: amount(32, 1)])]
    assert not any(map(read, files))
    figure('fuzz', len(files))


@pytest.mark.full
@pytest.mark.proves('atheris')
@pytest.mark.parametrize('half', [0, 1])
def test_files_grown_by_coverage(
    half: int, seed: int, tmp_path: Path, figure: Figure, needs: Callable[[object, str], None]
) -> None:
    """Whatever lines of the reader a file leads to, it is read or is a FormatError, within 0.5 s and 200 MB."""
    needs(find_spec('atheris'), 'atheris, which has no wheel for this Python or system')
    runs = 255_000
    seed = seed % (1 << 31) * 2 + half  # 0 would be a choice of the fuzzer's own
    command = [sys.executable, Path(__file__).with_name('fuzz_target.py'), f'-runs={runs}', f'-seed={seed or 1}',
               '-max_len=2000', '-timeout=5', f'-artifact_prefix={tmp_path}/', tmp_path]  # fmt: skip
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'JAX_PLATFORMS': 'cpu'}
    # By way of a shell, since libFuzzer takes for its own the most memory that whoever started it has ever had.
    command = ['sh', '-c', '"$@"; exit $?', 'sh', *command]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert process.returncode == 0, process.stderr[-4000:] + process.stdout[-4000:]
    done = _RUNS.search(process.stderr)
    assert done, process.stderr[-2000:]
    assert int(done[1]) >= runs
    covered = re.findall(r'cov: (\d+)', process.stderr)[-1]
    figure('atheris', int(done[1]), f'seed {seed}: {covered} edges of the readers covered')

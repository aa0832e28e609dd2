"""Reads one file in a process of its own, within 1 GB of memory, and tells what came of it and what it took.

A peak of memory belongs to a process, so this is run as a program: `python bounded.py FILE`.
"""

import gc
import io
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import objio
from objio.errors import FormatError
from objio.formats import by_suffix

_ADDRESSES = 1 << 30  # bytes that the process may map


@dataclass(frozen=True)
class Read:
    """What came of reading a file.

    Attributes:
        outcome: 'read', or the exception with its message.
        grown: bytes by which the resident memory rose above where it was.
        seconds: of a processor that it took.
    """

    outcome: str
    grown: int
    seconds: float


def read_within_bounds(path: Path) -> Read:
    """Reads every array and the metadata of a file in a fresh process; a crash of that process fails the test."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'PYTHONMALLOC': 'pymalloc'}
    process = subprocess.run([sys.executable, __file__, path], env=environment, capture_output=True, timeout=300)
    assert process.returncode == 0, (path.name, process.returncode, process.stderr.decode()[-2000:])
    return Read(**json.loads(process.stdout))


def status(field: str) -> int:
    """A figure of /proc/self/status in bytes."""
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def forget_peak() -> int:
    """Lets the peak of the resident memory, VmHWM, begin anew; returns how much is resident now."""
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5', encoding='ascii')
    return status('VmRSS')


def _read_all(file: str | io.BytesIO) -> str:
    try:
        with objio.open(file) as saved:
            for name in saved:
                saved[name]
            str(saved.metadata)
    except FormatError as error:
        return f'FormatError: {error}'
    return 'read'


def main(path: str) -> None:
    """Reads the file and prints what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    for save in (np.savez, np.savez_compressed):  # what is imported on the way is no part of the measure
        warm = io.BytesIO()
        save(warm, a=np.ones(3))
        _read_all(warm)
    for suffix in ('safetensors', 'msgpack'):
        by_suffix(f'.{suffix}')
    before, start = forget_peak(), time.process_time()
    try:
        outcome = _read_all(path)
    except BaseException as error:  # noqa: BLE001  # whatever it was is the finding
        outcome = f'{type(error).__name__}: {error}'
    seconds = time.process_time() - start
    print(json.dumps(vars(Read(outcome[:2000], status('VmHWM') - before, seconds))))


if __name__ == '__main__':
    main(sys.argv[1])

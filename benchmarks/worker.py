"""One process, one timed operation: `python -m benchmarks.worker JOB`, with a JSON object in and another out.

Nothing heavy is imported before the job is known: an import may be what is timed.
"""

import contextlib
import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders import Way, libraries
from benchmarks.trees import Tree
from benchmarks.workloads import SETS, Workload

_TIMED_IMPORT = 'import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)'


class Meter:
    """Times what is run under it, and finds how far memory rose above where it stood.

    Attributes:
        seconds: how long it took.
        peak: bytes by which the resident memory rose at its highest; None where the system does not tell.
    """

    def __enter__(self) -> 'Meter':
        gc.collect()
        _trim()
        self._before = _reset_peak()
        self._start = time.perf_counter()
        return self

    def stop(self) -> None:
        """Takes the time; memory is watched on."""
        self.seconds = time.perf_counter() - self._start

    def __exit__(self, *error: object) -> None:
        self.peak = None if self._before is None else _status('VmHWM') - self._before


def _reset_peak() -> int | None:
    """Lets the kernel count the highest memory anew; the memory now, or None where it can't be had."""
    try:
        Path('/proc/self/clear_refs').write_text('5', encoding='ascii')
        return _status('VmRSS')
    except OSError:
        return None


def _status(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) << 10
    raise OSError(f'/proc/self/status has no {field}')


def _trim() -> None:
    """Gives back what making the data left in the allocator: the first touch of new memory is part of a load."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def remove(path: str) -> None:
    """Removes a file or a folder, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def warm(path: str) -> None:
    """Reads a file, or every file of a folder, into the page cache."""
    files = [path] if os.path.isfile(path) else [str(file) for file in Path(path).rglob('*') if file.is_file()]
    buffer = bytearray(1 << 20)
    for name in files:
        with open(name, 'rb', buffering=0) as file:
            while file.readinto(buffer):
                pass


def beside(path: str, prefix: str) -> str:
    """Another name in the same folder; the suffix stays, since it may choose the format."""
    return str(Path(path).with_name(f'{prefix}-{Path(path).name}'))


def paths(path: str, copies: int) -> list[str]:
    """The names of the files of a workload, which may have several."""
    return [path] if copies == 1 else [beside(path, str(index)) for index in range(copies)]


def small(workload: Workload) -> Tree:
    """A tree that shows a library its way once, and fills nothing."""
    return Tree({f'small.{index}': (8, 32) for index in range(3)}, workload.tree.dtype)


def save(way: Way, workload: Workload, path: str) -> dict[str, Any]:
    """Times a save to a name that is free, with nothing left for the disk to write."""
    tree = workload.tree.arrays()
    little = beside(path, 'small')
    for target in (little, path):
        remove(target)
    way.prepare(little, small(workload).arrays())()
    remove(little)
    timed = way.prepare(path, tree)
    os.sync()
    with Meter() as meter:
        timed()
        meter.stop()
    return {'seconds': meter.seconds, 'peak': meter.peak}


def make(way: Way, workload: Workload, path: str) -> dict[str, Any]:
    """Writes the files that a load needs; not timed."""
    for seed, target in enumerate(paths(path, workload.copies)):
        remove(target)
        way.prepare(target, workload.tree.arrays(seed))()
    os.sync()
    return {}


def background(way: Way, workload: Workload, path: str) -> dict[str, Any]:
    """Times how long a save holds the caller up, and how long it takes to be written."""
    tree = workload.tree.arrays()
    for target, arrays in ((beside(path, 'small'), small(workload).arrays()), (path, tree)):
        remove(target)
        timed = way.prepare(target, arrays)
        os.sync()
        with Meter() as meter:
            start = time.perf_counter()
            finish = timed()
            meter.stop()
            finish()
            done = time.perf_counter() - start
        remove(target)
    return {'seconds': meter.seconds, 'peak': meter.peak, 'done': done}


def held(way: Way, workload: Workload, path: str) -> dict[str, Any]:
    """Times the first step after a background save began, of a training loop that donates its whole state."""
    import jax

    step = jax.jit(lambda state: {name: array * 0.999 for name, array in state.items()}, donate_argnums=0)
    state = jax.block_until_ready(step(workload.tree.arrays()))
    little = beside(path, 'small')
    for target in (little, path):
        remove(target)
    way.prepare(little, small(workload).arrays())()()
    remove(little)
    begin = way.prepare(path, state)
    os.sync()
    finish = begin()
    with Meter() as meter:
        jax.block_until_ready(step(state))
        meter.stop()
    finish()
    remove(path)
    return {'seconds': meter.seconds, 'peak': meter.peak}


def load(way: Way, workload: Workload, path: str, *, check: bool) -> dict[str, Any]:
    """Times a load of any kind, the first in its process, from the page cache."""
    import jax

    with _small_files(way, workload, path) as (little, little_tree):
        jax.block_until_ready(_call(way, little_tree, little, ('small.0',))())
    sources = paths(path, workload.copies)
    for source in sources:
        if os.path.exists(source):  # a limit may need none
            warm(source)
    timed = _call(way, workload.tree, sources, workload.names)
    with Meter() as meter:
        result = jax.block_until_ready(timed())
        meter.stop()
    arrays = result.named_tensors() if hasattr(result, 'named_tensors') else result
    expected = workload.tree.only(workload.names) if way.operation in ('pick', 'open') else workload.tree
    if check and way.title not in _not_checked():
        compare({name: arrays[name] for name in expected.shapes}, workload, way)
    return {
        'seconds': meter.seconds,
        'peak': None if meter.peak is None else max(0, meter.peak - expected.nbytes),
    }


def _call(way: Way, tree: Tree, sources: list[str], names: tuple[str, ...]) -> Callable[[], Any]:
    """What is timed, with nothing else holding on to the arrays of the model."""
    if way.operation == 'mean':
        return way.prepare(sources)
    (source,) = sources[:1]
    if way.operation == 'resume':
        return way.prepare(source, tree.arrays(seed=1))
    if way.operation == 'pick':
        return way.prepare(source, tree.like(), names)
    if way.operation == 'open':
        return way.prepare(source, names)
    return way.prepare(source, tree.like())


@contextlib.contextmanager
def _small_files(way: Way, workload: Workload, path: str) -> Iterator[tuple[list[str], Tree]]:
    """Files of the way's library with next to nothing in them."""
    library = next(library for library in libraries().values() if way in library.ways)
    tree = small(workload)
    little = paths(beside(path, 'small'), workload.copies)
    for name in little:
        remove(name)
        library.way('save').prepare(name, tree.arrays())()
    yield little, tree
    for name in little:
        remove(name)


def _not_checked() -> set[str]:
    """The limits that move other bytes than the arrays, or all of them as one."""
    return {way.title for library in libraries().values() if library.role == 'limit' for way in library.ways}


def compare(arrays: dict[str, Any], workload: Workload, way: Way) -> None:
    """Checks what was loaded against what was saved, bit for bit; a mean within rounding.

    Raises:
        ValueError: an array differs, or is not of the kind that its row stands for.
    """
    import jax
    import numpy as np

    kind = np.ndarray if way.numpy or way.operation == 'open' else jax.Array
    for name, array in arrays.items():
        if not isinstance(array, kind):
            raise ValueError(f'{name} is a {type(array).__name__}, expected a {kind.__name__}')
        found = np.asarray(array)
        if way.operation == 'mean':
            saves = [workload.tree.array(name, seed).astype(np.float64) for seed in range(workload.copies)]
            if not np.allclose(found, sum(saves) / len(saves), rtol=1e-5, atol=1e-6):
                raise ValueError(f'{name} is not the mean of the saves')
            continue
        saved = workload.tree.array(name)
        if found.dtype != saved.dtype or found.shape != saved.shape:
            raise ValueError(f'{name} is {found.dtype} {found.shape}, saved was {saved.dtype} {saved.shape}')
        if not np.array_equal(found.reshape(-1).view(np.uint8), saved.reshape(-1).view(np.uint8)):
            raise ValueError(f'{name} differs from what was saved')


def timed_import(statement: str) -> dict[str, Any]:
    """Times an import in a process that has imported nothing else."""
    run = [sys.executable, '-c', _TIMED_IMPORT.format(statement)]
    return {'seconds': float(subprocess.run(run, check=True, capture_output=True, text=True).stdout), 'peak': None}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Does one job.

    Args:
        job: set, workload, library, operation, title, path, check.
    """
    workload = next(each for each in SETS[job['set']] if each.name == job['workload'])
    library = libraries()[job['library']]
    if job['operation'] == 'make':
        return make(library.way('save'), workload, job['path'])
    way = library.way(job['operation'], job['title'])
    if way.operation == 'import':
        return timed_import(way.prepare())
    if way.operation in ('save', 'background', 'held'):
        do = {'save': save, 'background': background, 'held': held}[way.operation]
        return do(way, workload, job['path'])
    return load(way, workload, job['path'], check=job['check'])


def main() -> None:
    # Whatever a library prints goes to stderr: stdout is the answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = work(json.loads(sys.argv[1]))
        except Exception as error:  # noqa: BLE001  # a library that cannot do it is a result too
            lines = str(error).strip().splitlines()
            answer = {'error': f'{type(error).__name__}: {lines[0][:160]}' if lines else type(error).__name__}
    print(json.dumps(answer))
    sys.stdout.flush()
    # Threads that a library left behind must not hold the next measurement up.
    os._exit(0)


if __name__ == '__main__':
    main()

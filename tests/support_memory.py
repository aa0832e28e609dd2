"""How much memory the verbs take beyond the arrays themselves; run as a program, since a peak belongs to a process."""

import gc
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import objio
from objio.variables import TreeVar

MIB = 1 << 20
MEASURES: dict[str, Callable[[str], float]] = {}


def measure(function: Callable[[str], float]) -> Callable[[str], float]:
    """Enters a function that gives the MiB a verb takes beyond the arrays."""
    MEASURES[function.__name__] = function
    return function


def status(field: str) -> float:
    """A figure of /proc/self/status in MiB."""
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def peak(work: Callable[[], Any]) -> float:
    """How far the resident memory rises above where it was, in MiB, while `work` runs."""
    Path('/proc/self/clear_refs').write_text('5', encoding='ascii')  # VmHWM starts anew from VmRSS
    gc.collect()  # JAX gives memory back when it is asked for something, or at a collection
    before = status('VmRSS')
    result = work()
    after = status('VmHWM')
    del result
    return after - before


def variables(count: int, mib: int, make: Callable[..., Any]) -> dict[str, TreeVar]:
    """Variables of so many MiB each, all of whose pages were touched."""
    return {f'v{index}': TreeVar(make((mib * MIB // 4,), index, np.float32)) for index in range(count)}


@measure
def save_1_gib_of_jax(folder: str) -> float:
    """To a path."""
    vc = variables(4, 256, jnp.full)
    return peak(lambda: objio.save_var_collection(f'{folder}/x.npz', vc, durable=False))


@measure
def save_to_a_pipe(folder: str) -> float:
    """To a file object that cannot seek, where each array is read twice."""

    class Drain(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return len(data)

    vc = variables(2, 64, np.full)
    return peak(lambda: objio.save_var_collection(Drain(), vc))


@measure
def save_fortran_and_strided(folder: str) -> float:
    """Arrays whose bytes do not lie as the file has them are turned a piece at a time."""
    array = np.full((1 << 12, 1 << 12), 1, np.float32)
    vc = {'fortran': TreeVar(array.T), 'strided': TreeVar(array[:, ::2]), 'big': TreeVar(array.view('>f4'))}
    return peak(lambda: objio.save_var_collection(f'{folder}/x.npz', vc, durable=False))


@measure
def load_into_promised_arrays(folder: str) -> float:
    """128 MiB in four arrays, beyond those that were loaded."""
    objio.save_var_collection(f'{folder}/x.npz', variables(4, 32, np.full), durable=False)
    vc = {f'v{index}': TreeVar(jax.ShapeDtypeStruct((8 * MIB,), np.float32)) for index in range(4)}
    return peak(lambda: objio.load_var_collection(f'{folder}/x.npz', vc)) - 128


@measure
def load_with_a_cast(folder: str) -> float:
    """Two arrays of 32 MiB, beyond them and the one array of the file that is being converted."""
    objio.save_var_collection(f'{folder}/x.npz', variables(2, 64, np.full), durable=False)
    vc = {f'v{index}': TreeVar(np.broadcast_to(np.float16(0), (16 * MIB,))) for index in range(2)}
    return peak(lambda: objio.load_var_collection(f'{folder}/x.npz', vc, cast=True)) - 2 * 32 - 64


@measure
def average_of_five(folder: str) -> float:
    """Five files of 64 MiB, beyond the result."""
    paths = [f'{folder}/{index}.npz' for index in range(5)]
    for path in paths:
        objio.save_var_collection(path, variables(1, 64, np.full), durable=False)
    return peak(lambda: objio.average(paths)) - 64


@measure
def verify(folder: str) -> float:
    """A file of 64 MiB in one array."""
    objio.save_var_collection(f'{folder}/x.npz', variables(1, 64, np.full), durable=False)
    return peak(lambda: objio.verify(f'{folder}/x.npz'))


@measure
def open_and_look(folder: str) -> float:
    """The table of contents alone."""
    objio.save_var_collection(f'{folder}/x.npz', variables(1, 64, np.full), durable=False)
    return peak(lambda: objio.open(f'{folder}/x.npz').shapes)


@measure
def a_copy_of_64_mib(folder: str) -> float:
    """What the measure says of a verb that copies."""
    array = np.ones(64 * MIB, np.uint8)
    return peak(array.copy)


def measured() -> dict[str, float]:
    """Runs every measure in a process of its own."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    found: dict[str, float] = json.loads(process.stdout)
    return found


if __name__ == '__main__':
    results = {}
    for name, function in MEASURES.items():
        with tempfile.TemporaryDirectory() as temporary:
            warm = {'x': TreeVar(np.ones(MIB)), 'y': TreeVar(jnp.ones(MIB))}
            objio.save_var_collection(f'{temporary}/warm.npz', warm)
            objio.load_var_collection(f'{temporary}/warm.npz', warm)
            objio.average([f'{temporary}/warm.npz'] * 2)
            del warm
            results[name] = function(temporary)
    print(json.dumps(results))

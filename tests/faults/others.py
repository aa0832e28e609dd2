"""Other libraries under the damage that objio stands, each in a process of its own: `python others.py LIBRARY COUNT SEED`.

A damaged file is read with the defaults of its library. What counts is whether other values come back without an error.
"""

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
"""What is saved and given back, by name."""
Library = Callable[[Path, Arrays], Callable[[], Arrays]]
"""Saves into a folder and gives the function that loads from there."""


def arrays() -> Arrays:
    """A few arrays, most of whose bytes are values."""
    rng = np.random.default_rng(0)
    return {
        'w': rng.standard_normal((32, 32), np.float32),
        'b': np.ones(32, np.float32),
        'step': np.arange(3, dtype=np.int32),
    }


def objio(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    import objio

    objio.save_var_collection(folder / 'x.npz', tree)

    def load() -> Arrays:
        with objio.open(folder / 'x.npz') as saved:
            return dict(saved)

    return load


def savez(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    """As Objax does: the names are one more array."""
    np.savez(folder / 'x.npz', names=np.array(list(tree)), **{str(i): array for i, array in enumerate(tree.values())})

    def load() -> Arrays:
        with np.load(folder / 'x.npz') as saved:
            return {str(name): saved[str(i)] for i, name in enumerate(saved['names'])}

    return load


def safetensors(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    from safetensors.numpy import load_file, save_file

    save_file(tree, folder / 'x.safetensors')
    return lambda: load_file(folder / 'x.safetensors')


def equinox(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    import equinox

    equinox.tree_serialise_leaves(folder / 'x.eqx', tree)
    return lambda: equinox.tree_deserialise_leaves(folder / 'x.eqx', tree)


def flax(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    from flax import serialization

    (folder / 'x.msgpack').write_bytes(serialization.to_bytes(tree))
    return lambda: serialization.from_bytes(tree, (folder / 'x.msgpack').read_bytes())


def orbax(folder: Path, tree: Arrays) -> Callable[[], Arrays]:
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / 'x', tree)

    def load() -> Arrays:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder / 'x', tree)

    return load


LIBRARIES: dict[str, Library] = {
    'objio': objio, 'Orbax': orbax, 'safetensors': safetensors, 'Equinox': equinox, 'Flax msgpack': flax,
    'np.savez (Objax)': savez,
}  # fmt: skip


def outcome(load: Callable[[], Arrays], whole: Arrays) -> str:
    """'same', 'silent' where something else came back, or the name of the error."""
    try:
        found = load()
        same = found.keys() == whole.keys() and all(_bytes(found[name]) == _bytes(whole[name]) for name in whole)
    except Exception as error:  # noqa: BLE001  # which one it is, is what is counted
        return type(error).__name__
    return 'same' if same else 'silent'


def _bytes(array: Any) -> tuple[Any, ...]:
    array = np.asarray(array)
    return array.dtype, array.shape, array.tobytes()


@contextlib.contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file that is damaged for a while."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    yield
    path.write_bytes(before)


def main(name: str, count: int, seed: int) -> None:
    """Damages a save again and again, and prints what its library made of it."""
    rng, whole = random.Random(seed), arrays()
    found: dict[str, dict[str, int]] = {'flips': {}, 'cuts': {}}
    with tempfile.TemporaryDirectory() as temporary:
        load = LIBRARIES[name](Path(temporary), whole)
        assert outcome(load, whole) == 'same'
        files = sorted(path for path in Path(temporary).rglob('*') if path.is_file() and path.stat().st_size)
        sizes = [path.stat().st_size for path in files]
        for turn in range(2 * count):
            (path,) = rng.choices(files, sizes)
            at = rng.randrange(path.stat().st_size)
            kind = 'flips' if turn % 2 else 'cuts'
            mask = 1 << rng.randrange(8)
            with changed(
                path,
                (lambda data, at=at, mask=mask: data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
                if kind == 'flips'
                else (lambda data, at=at: data[:at]),
            ):
                result = outcome(load, whole)
            found[kind][result] = found[kind].get(result, 0) + 1
        assert outcome(load, whole) == 'same'
    sys.stdout.write('\n' + json.dumps(found))


def damaged(name: str, count: int, seed: int) -> dict[str, dict[str, int]]:
    """What a library made of so many flips and cuts: how often 'same', 'silent', or which error."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'JAX_PLATFORMS': 'cpu'}
    process = subprocess.run(
        [sys.executable, __file__, name, str(count), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    result: dict[str, dict[str, int]] = json.loads(io.StringIO(process.stdout).readlines()[-1])
    return result


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

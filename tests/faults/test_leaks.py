"""A thousand loads, good ones and bad ones, leave the process as it was: descriptors, maps, threads, memory."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_memory import status

import objio

WARM = 5  # rounds, after which what is made once has been made
MORE_MIB = 4  # of memory, for what the allocator keeps: less than a hundredth of what is loaded
MORE_MAPS = 8  # pieces of the heap, for the same reason

Loads = list[tuple[Callable[[], Any], type[Exception] | None]]


def tree(array: Callable[..., Any], size: int = 1 << 16) -> objio.VarCollection:
    """A model with a large array, many small ones, a key and a count."""
    small = {f'b{number}': array(number + 1, number, 'float32') for number in range(12)}
    return objio.VarCollection.from_tree({'w': array(size, 1, 'float32'), 'n': 3, **small})


def state(folder: Path) -> dict[str, float]:
    """What the process holds."""
    gc.collect()
    maps = Path('/proc/self/maps').read_text(encoding='utf-8').splitlines()
    return {
        'descriptors': len(os.listdir('/proc/self/fd')),
        'maps of our files': sum(str(folder) in line for line in maps),
        'maps': len(maps),
        'threads': len(os.listdir('/proc/self/task')),
        'MiB': status('VmRSS'),
    }


def go_through(loads: Loads, count: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Does so many loads; what the process held before and after."""

    def load(load: Callable[[], Any], error: type[Exception] | None) -> None:
        if error is None:
            load()
        else:
            with pytest.raises(error):
                load()

    for number in range(WARM * len(loads)):
        load(*loads[number % len(loads)])
    before = state(folder)
    for number in range(count):
        load(*loads[number % len(loads)])
    return before, state(folder)


def check(before: dict[str, float], after: dict[str, float]) -> str:
    """That nothing is left; how much more memory there is."""
    assert after['descriptors'] == before['descriptors']
    assert after['maps of our files'] == 0
    assert after['threads'] <= before['threads']
    assert after['maps'] <= before['maps'] + MORE_MAPS
    assert after['MiB'] <= before['MiB'] + MORE_MIB
    return (
        f'{after["maps"] - before["maps"]:+.0f} maps, {after["MiB"] - before["MiB"]:+.1f} MiB '
        f'(allowed are {MORE_MAPS:+} and {MORE_MIB:+})'
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Whole files, and a folder of saves."""
    paths = {name: tmp_path / f'whole.{name}' for name in ('npz', 'safetensors', 'msgpack')}
    for path in paths.values():
        objio.save_var_collection(path, tree(np.full))
    arrays = tree(np.full).named_tensors()
    paths['numpy'], paths['packed'] = tmp_path / 'numpy.npz', tmp_path / 'packed.npz'
    np.savez(paths['numpy'], **arrays)
    np.savez_compressed(paths['packed'], **arrays)
    paths['saves'] = tmp_path
    with objio.Checkpoint(tmp_path, verbose=False) as ckpt:
        for idx in 1, 2:
            ckpt.save(tree(np.full), idx=idx)
    return paths


def good(files: dict[str, Path]) -> Loads:
    """Every way to read a whole file."""
    npz, ckpt = files['npz'], objio.Checkpoint(files['saves'], verbose=False)

    def through_object() -> None:
        with npz.open('rb') as file:
            objio.load_var_collection(file, tree(np.full))

    loads: list[Callable[[], Any]] = [
        lambda: objio.load_var_collection(npz, tree(np.full), mmap=True),
        lambda: objio.load_var_collection(npz, tree(jnp.full)),
        lambda: objio.load_var_collection(npz, tree(jnp.full), mmap=True),
        lambda: objio.load_var_collection(npz, tree(np.full), only='w', verify=False),
        through_object,
        lambda: dict(objio.open(npz)),  # closed by nobody
        lambda: dict(objio.open(npz, mmap=True)),
        lambda: objio.verify(npz),
        lambda: objio.plan_load(npz, tree(np.full)).apply(),
        lambda: objio.average([npz, npz]),
        lambda: ckpt.restore(tree(np.full)),
        lambda: objio.Checkpoint(files['saves'], verbose=False).average(tree(np.full)),
        *(
            lambda name=name: objio.load_var_collection(files[name], tree(np.full))
            for name in ('npz', 'safetensors', 'msgpack', 'numpy', 'packed')
        ),
    ]
    return [(load, None) for load in loads]


@pytest.mark.proves('good-loads')
def test_good_loads_leave_nothing(
    tmp_path: Path, files: dict[str, Path], amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """However a whole file is read, also where nobody closes it, nothing of it stays."""
    count = amount(100, 1000)
    figure('good-loads', count, check(*go_through(good(files), count, tmp_path)))


def bad(files: dict[str, Path]) -> Loads:
    """Every kind of file that cannot be loaded, and of model that does not fit, in every way to read."""
    folder = files['saves']
    loads: Loads = []

    def add(path: Path, error: type[Exception], vc: Callable[[], objio.VarCollection] = lambda: tree(np.full)) -> None:
        def through_object() -> None:
            with path.open('rb') as file:
                objio.load_var_collection(file, vc())

        def through_checkpoint() -> None:
            objio.Checkpoint(path.parent.parent, verbose=False).restore(vc(), idx=int(path.stem))

        loads.append((lambda: objio.load_var_collection(path, vc()), error))
        loads.append((lambda: objio.load_var_collection(path, vc(), mmap=True), error))
        if path.suffix == '.npz':
            loads.append((through_object, error))
        if path.stem.isdecimal():
            loads.append((through_checkpoint, error))
        if error is objio.FormatError:
            loads.append((lambda: dict(objio.open(path)), error))

    def damaged(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    for suffix in 'npz', 'safetensors', 'msgpack':
        data = files[suffix].read_bytes()
        for name, content in {
            'empty': b'',
            'text': b'not at all',
            'cut': data[: len(data) // 2],
            'short': data[:-1],
            'longer': data + bytes(5),
            'zeros': bytes(len(data)),
            'head': b'\xff' + data[1:],
        }.items():
            add(damaged(f'{name}.{suffix}', content), objio.FormatError)
        add(files[suffix], objio.MismatchError, lambda: tree(np.full, size=5))
        add(files[suffix], objio.MismatchError, lambda: objio.VarCollection.from_tree({'other': np.zeros(3)}))
    data = bytearray(files['npz'].read_bytes())
    data[len(data) // 3] ^= 4  # in the large array
    add(damaged('ckpt/0000000003.npz', data), objio.FormatError)
    np.savez(folder / 'pickled.npz', w=np.array([{}], object))
    add(folder / 'pickled.npz', objio.MismatchError)
    packed = bytearray(files['packed'].read_bytes())
    packed[200] ^= 4
    add(damaged('packed_bit.npz', packed), objio.FormatError)
    add(folder / 'missing.npz', FileNotFoundError)
    return loads


@pytest.mark.proves('bad-loads')
def test_bad_loads_leave_nothing(
    tmp_path: Path, files: dict[str, Path], amount: Callable[[int, int], int], figure: Callable[..., None]
) -> None:
    """However a load fails, nothing of the file stays, and nothing of what had been read of it."""
    count = amount(100, 1000)
    loads = bad(files)
    figure('bad-loads', count, f'{len(loads)} kinds; {check(*go_through(loads, count, tmp_path))}')

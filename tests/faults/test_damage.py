"""Damage by accident: files cut short, bits that changed, bytes that were lost, moved or zeroed."""

import bisect
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import objio
from faults.files import contents, foreign_files, larger_files, objio_files, raw_files, read, saved
from objio.errors import FormatError

Amount = Callable[[int, int], int]
Figure = Callable[..., None]
FILES = {**objio_files(), **foreign_files(), 'Objax 1.8.0': larger_files()['Objax 1.8.0']}
FLIPPED_WHOLE = ['net', 'empty', 'one', 'scalars', *foreign_files()]


@pytest.mark.proves('truncations')
@pytest.mark.parametrize('name', FILES)
def test_a_file_cut_anywhere_is_refused(name: str, amount: Amount, figure: Figure) -> None:
    """Of a file by objio, NumPy or Objax, cut after any number of its bytes, nothing is read."""
    data = FILES[name]
    step = amount(1 + len(data) // 2000, 1)
    sizes = range(0, len(data), step)
    silent = [size for size in sizes if read(data[:size]) is not None]
    assert silent == []
    assert contents(data)
    figure('truncations', len(sizes), f'{name}: {len(data):,} bytes')


@pytest.mark.proves('truncations')
@pytest.mark.parametrize('name', raw_files())
def test_a_file_without_checksums_cut_anywhere_is_refused(name: str, tmp_path: Path, figure: Figure) -> None:
    """Sizes alone show that a safetensors or msgpack file was cut."""
    path, data = tmp_path / name, raw_files()[name]
    path.write_bytes(data)
    assert contents(str(path))
    silent = []
    for size in reversed(range(len(data))):
        os.truncate(path, size)
        if read(str(path)) is not None:
            silent.append(size)
    assert silent == []
    figure('truncations', len(data), f'{name}: {len(data):,} bytes')


@pytest.mark.proves('bits')
@pytest.mark.parametrize('name', FLIPPED_WHOLE)
def test_every_single_bit_flipped(name: str, amount: Amount, figure: Figure) -> None:
    """With one bit flipped a file by objio is refused; one by others is refused, or gives the same to the last bit."""
    data, whole = bytearray(FILES[name]), contents(FILES[name])
    flips = range(0, len(data) * 8, amount(1 + len(data) // 120, 1))
    silent, same = [], 0
    for bit in flips:
        data[bit // 8] ^= 1 << bit % 8
        found = read(bytes(data))
        data[bit // 8] ^= 1 << bit % 8
        if found == whole and name in foreign_files():
            same += 1
        elif found is not None:
            silent.append(bit)
    assert silent == []
    assert same < len(flips) / 4
    figure('bits', len(flips), f'{name}: {len(flips):,} flips, {len(flips) - same:,} refused, {same:,} bit-identical')


class Flipped:
    """A file of 10 MB on the disk of which one bit at a time is wrong, and what stands where in it."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        sizes = [1, 300, 16_000, 16_500, 90_000, 90_000, 90_000, 90_000] * 6 + [100_000] * 2
        arrays = {f'(Net)[{index}].w': rng.standard_normal(size, np.float32) for index, size in enumerate(sizes)}
        arrays['flags'] = rng.integers(0, 2, 90_000).astype(bool)
        path.write_bytes(saved(arrays, metadata={'history': list(range(300))}))
        self.path = str(path)
        self.size = path.stat().st_size
        self._file = os.open(path, os.O_RDWR)
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
        self._starts = [member.header_offset for member in members]
        self._names = [member.filename.removesuffix('.npy') for member in members]
        self.heads = [(start, min(start + 256, self.size)) for start in self._starts[:-1]]
        self.heads.append((self._starts[-1], self.size))  # the manifest, the directory and the end

    def flip(self, bit: int) -> None:
        """Flips a bit, on the disk."""
        byte = os.pread(self._file, 1, bit // 8)[0]
        os.pwrite(self._file, bytes([byte ^ 1 << bit % 8]), bit // 8)

    def is_silent(self, bit: int) -> bool:
        """Whether the file opens, and the array whose member holds the bit is given; behind the arrays, all of them."""
        member = self._names[bisect.bisect_right(self._starts, bit // 8) - 1]
        try:
            with objio.open(self.path) as arrays:
                for name in [member] if member in arrays else arrays:
                    arrays[name]
        except FormatError:
            return False
        return True

    def close(self) -> None:
        os.close(self._file)


@pytest.mark.proves('flips')
@pytest.mark.parametrize('part', ['headers', 'data'])
def test_random_bits_of_a_large_file(part: str, tmp_path: Path, seed: int, amount: Amount, figure: Figure) -> None:
    """A bit flipped anywhere in 10 MB is found when the file is opened or the array that it touches is read.

    At every thousandth flip the whole file is verified, which must find that one part damaged.
    """
    file = Flipped(tmp_path / 'large.npz')
    try:
        assert 9_500_000 < file.size < 10_500_000
        assert objio.verify(file.path)
        rng, silent = random.Random(seed), []
        count = amount(700, 100_000)
        for turn in range(count):
            low, high = rng.choice(file.heads) if part == 'headers' else (0, file.size)
            bit = rng.randrange(low * 8, high * 8)
            file.flip(bit)
            if file.is_silent(bit) or (turn % 1000 == 0 and len(objio.verify(file.path).damaged) != 1):
                silent.append(bit)
            file.flip(bit)
        assert silent == []
        assert objio.verify(file.path), 'the file was put together again'
    finally:
        file.close()
    figure('flips', count, f'{part}: seed {seed}')


def _edited(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file after one accident."""
    one, two = sorted(rng.sample(range(len(data)), 2))
    block = rng.randrange(len(data) // 4096) * 4096
    kind = rng.randrange(7)
    if kind == 0:
        return data[:one] + rng.randbytes(rng.choice([1, 1, 2, 8, 64])) + data[one:]
    if kind == 1:
        return data[:one] + data[one + rng.choice([1, 1, 2, 8, 64]) :]
    if kind == 2:
        return data[:one] + data[two : two + 1] + data[one + 1 : two] + data[one : one + 1] + data[two + 1 :]
    if kind == 3:
        return data[:block] + bytes(4096) + data[block + 4096 :]
    if kind == 4:
        return data[: block + 4096] + data[block:]
    if kind == 5:
        return data[:block] + other[block : block + 4096] + data[block + 4096 :]
    return data[:one] + other[rng.choice([one, two, len(other) - (len(data) - one)]) :]


@pytest.mark.proves('edits')
@pytest.mark.parametrize('half', [0, 1])
def test_bytes_lost_doubled_swapped_zeroed_and_files_spliced(
    half: int, seed: int, amount: Amount, figure: Figure
) -> None:
    """After any such accident a file is refused, or holds what it or the file spliced to it held, to the last bit."""
    files = dict(larger_files())
    files.pop('golden' if half else 'Objax 1.8.0')
    whole = {name: contents(data) for name, data in files.items()}
    rng, wrong, same = random.Random(seed), [], 0
    count = amount(600, 50_000)
    for turn in range(count):
        name, other = rng.choice(list(files)), rng.choice(list(files))
        data = _edited(files[name], files[other], rng)
        found = read(data)
        if found is not None:
            same += 1
            is_objio = found.kind.startswith('objio')
            if found not in (whole[name], whole[other]) or (is_objio and data not in (files[name], files[other])):
                wrong.append(turn)
    assert wrong == []
    assert same < count / 4
    figure('edits', count, f'seed {seed}: {count - same:,} refused, {same:,} bit-identical')

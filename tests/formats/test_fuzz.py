"""Files made at random, with right checksums, so that what is wrong reaches the inner parsers."""

import random
import re
import zipfile

import numpy as np
import pytest
from support_formats import MemorySource, forged, mangled, npy, read_bytes, save, with_header, zipped

from objio.errors import FormatError
from objio.formats import npz

ROUNDS = 3000


def outcome(data: bytes) -> str:
    """Reads a whole file; anything but success and FormatError fails the test."""
    try:
        archive = npz.decode(MemorySource(data))
        for name in archive.specs:
            read_bytes(archive, name)
            archive.mapped(name)
    except FormatError as error:
        return 'refused' if 'net.npz' in str(error) else str(error)
    return 'read'


@pytest.mark.parametrize('seed', range(3))
def test_mangled_manifests(seed: int) -> None:
    """A mangled manifest with the right checksum is read or refused; nothing else happens."""
    rng = random.Random(seed)
    fields = {'metadata': {'a': [1, 'x', {'b': None}], 'c': 1.5}}
    outcomes = [
        outcome(forged(arrays, lambda text: mangled(text, rng), bytes(rng.choice([0, 64, 300])), **fields))
        for arrays in [[], [['a', 'float32', [2, 3]], ['b', 'key<rbg>', []]]]
        for _ in range(ROUNDS // 2)
    ]
    assert set(outcomes) <= {'read', 'refused'}


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mangled_headers(method: int) -> None:
    """A mangled NPY header in a whole zip file is read or refused; nothing else happens."""
    rng = random.Random(method)
    good = npy(np.arange(6, dtype='>i4').reshape(2, 3))
    text = good[10 : 10 + good[8]].rstrip().decode()
    outcomes = set()
    for _ in range(ROUNDS):
        header = mangled(text.encode(), rng).decode('latin-1')
        content = with_header(header, good[-24:], rng.choice([(1, 0), (2, 0), (3, 0)]))
        outcomes.add(outcome(zipped({'a.npy': content}, method)))
    assert outcomes == {'read', 'refused'}


def test_mangled_records() -> None:
    """Swapped, lost and doubled stretches of records, in a file of either kind, are read or refused."""
    rng = random.Random(9)
    arrays = {'a': np.arange(5), 'b': np.ones((2, 3), np.float32)}
    files = [save(arrays), zipped({f'{name}.npy': npy(array) for name, array in arrays.items()})]
    for _ in range(ROUNDS):
        data = rng.choice(files)
        marks = [found.start() for found in re.finditer(b'PK', data)] + [len(data)]
        one, two, three = sorted(rng.choices(marks, k=3))
        pieces = rng.choice(
            [data[:one] + data[two:three] + data[one:], data[:one] + data[two:], data[one:] + data[:one]]
        )
        assert outcome(pieces) in {'read', 'refused'}

"""Files of so many arrays that what is known of them is taken from the file piece by piece."""

import numpy as np
import pytest
from support_formats import MemorySource, read_array, save

from objio.errors import FormatError
from objio.formats import npz
from objio.formats.layout import content_of, lay_out, lay_out_again
from objio.formats.names import member_names

COUNT = 20_500  # more than two pieces of a directory, and more than have lists of names and heads
ARRAYS = {f'{"é" if index % 5000 == 7 else "w"}/{index}': np.full(index % 3, index, np.int32) for index in range(COUNT)}


@pytest.fixture(scope='module')
def data() -> bytes:
    return save(ARRAYS, metadata={'a': 1})


def test_many_arrays_are_given_back(data: bytes) -> None:
    """The first, the last and those at the seams are what was saved, alone and with their neighbours."""
    archive = npz.decode(MemorySource(data))
    names = list(ARRAYS)
    assert list(archive.specs) == names
    for name in (names[0], *names[8190:8194], names[-1]):
        assert np.array_equal(read_array(archive, name), ARRAYS[name])
    some = names[8000:8400]
    found = archive.read_small(some, lambda size: memoryview(bytearray(size)))
    assert list(map(bytes, found)) == [ARRAYS[name].tobytes() for name in some]


@pytest.mark.parametrize('index', [0, 7, 8191, 8192, 16_384, COUNT - 1, COUNT])
def test_a_change_anywhere_in_a_long_directory_is_found(data: bytes, index: int) -> None:
    """The message gives the byte, counted from the start of the directory."""
    start = data.index(b'PK\1\2')
    at = start
    for _ in range(index):
        at = data.index(b'PK\1\2', at + 1)
    broken = bytearray(data)
    broken[at + 36] ^= 1  # an attribute
    with pytest.raises(FormatError, match=f'byte {at + 36 - start} of the directory: expected 0x00, found 0x01'):
        npz.decode(MemorySource(bytes(broken)))


def test_a_layout_made_anew_is_the_same() -> None:
    """Names and heads that are made when they are asked for stand where lists of them would have put them."""
    archive = npz.decode(MemorySource(save({'a': np.ones(3)})))
    specs = dict.fromkeys(ARRAYS, archive.specs['a'])
    heads, sizes = map(list, zip(*map(content_of, specs.values()), strict=True))
    one, other = lay_out(member_names(specs), heads, sizes, 99), lay_out_again(specs, sizes, 99)
    crcs = list(range(COUNT + 1))
    assert one.directory(crcs) == other.directory(crcs)
    for first in (0, 1, 8191, COUNT - 1, COUNT):
        last = min(first + 3, COUNT + 1)
        assert one.local_headers(first, last, crcs[first:last]) == other.local_headers(first, last, crcs[first:last])
    assert (one.names[COUNT], one.heads[COUNT], one.end) == (other.names[COUNT], other.heads[COUNT], other.end)

"""Parts of arrays, as devices hold them: the right bytes, and no others read than needed."""

import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import objio
from objio.io import files, parts
from objio.io.parts import read_parts, rectangles

SHAPES = st.lists(st.integers(1, 6), min_size=0, max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_rectangles_are_a_run_of_elements(shape: tuple[int, ...], data: st.DataObject) -> None:
    """In their order they hold each element of the run once; there are at most two of them for each axis."""
    elements = np.arange(math.prod(shape)).reshape(shape)
    start = data.draw(st.integers(0, elements.size))
    stop = data.draw(st.integers(start, elements.size))
    boxes = list(rectangles(shape, start, stop))
    found = [elements[tuple(slice(*edges) for edges in box)].ravel() for box in boxes]
    assert [int(number) for part in found for number in part] == list(range(start, stop))
    assert len(boxes) <= max(2 * len(shape) - 1, 1)


@given(SHAPES, st.sampled_from(['f4', 'u1', 'c16', 'bool', 'bfloat16', 'int4']), st.data())
def test_a_part_is_the_slice_of_the_whole(shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    """Read with the checksum or without, run by run or with gaps, in pieces of any size: what NumPy cuts out."""
    edge = [data.draw(st.tuples(st.integers(0, size - 1), st.integers(1, size))) for size in shape]
    boxes = [tuple((low, max(high, low + 1)) for low, high in edge), tuple((0, 1) for _ in shape)]
    array = (np.arange(math.prod(shape)).reshape(shape) % 5).astype(np.dtype(dtype))
    page, piece = data.draw(st.sampled_from([1, 8, 1 << 12])), data.draw(st.sampled_from([16, 48, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch, _opened(array) as (archive, _):
        patch.setattr(parts, '_PAGE', page)
        patch.setattr(parts, '_PIECE', piece)
        for options in [{}, {'verify': False}, {'mmap': True}]:
            found = read_parts(archive, 'x', set(boxes), **options)
            assert set(found.arrays) == set(boxes)
            for box, part in found.arrays.items():
                assert part.dtype == array.dtype
                np.testing.assert_array_equal(part, array[tuple(slice(*edges) for edges in box)])


def test_parts_of_what_must_be_inflated_come_from_the_whole() -> None:
    """A compressed file of NumPy has no ranges to read."""
    array = np.arange(600.0).reshape(20, 30)
    file = io.BytesIO()
    np.savez_compressed(file, x=array)
    with files.opened(file) as (archive, _):
        assert archive.ranges('x') is None
        (part,) = read_parts(archive, 'x', [((3, 5), (10, 30))], verify=False).arrays.values()
    np.testing.assert_array_equal(part, array[3:5, 10:])


def test_a_range_outside_the_array_is_refused() -> None:
    """Neither the end of the array before it nor the start of the next one is given away."""
    with _opened(np.arange(4, dtype='u1')) as (archive, _):
        read_range = archive.ranges('x')
        for start, size in [(-1, 2), (3, 2), (5, 0)]:
            with pytest.raises(ValueError, match="'x' has 4 bytes, asked for"):
                read_range(start, memoryview(bytearray(size)))


def _opened(array: np.ndarray[Any, Any]) -> Any:
    file = io.BytesIO()
    objio.save_var_collection(file, {'x': array})
    return files.opened(file)

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from objio.errors import UnsaveableError
from objio.formats import dtypes

PLAIN = [label for label in dtypes.WRITABLE if not label.startswith('key')]
KEYS = [label for label in dtypes.WRITABLE if label.startswith('key')]


def stored_bytes(array: np.ndarray, label: str) -> bytes:
    return b''.join(bytes(block) for block in dtypes.blocks(array, label))


def any_values(label: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """An array of the dtype, made from random bytes, canonical in memory."""
    form = dtypes.stored(label)
    raw = np.random.default_rng(seed).integers(0, 256, (form.nbytes(shape),), np.uint8)
    if form.limits:
        low, high = form.limits
        raw = (raw % (high - low + 1)).astype(np.int16) + low
        raw = raw.astype(np.int8).view(np.uint8)
    return dtypes.from_stored(raw.tobytes(), label, shape)


@pytest.mark.parametrize('label', PLAIN)
def test_every_dtype_comes_back_bit_for_bit(label: str) -> None:
    """Random bits of each dtype, NaN payloads among them, survive the way into a file and back."""
    array = any_values(label, (5, 3, 7))
    assert dtypes.label_of(array.dtype) == label
    back = dtypes.from_stored(stored_bytes(array, label), label, array.shape)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize('label', KEYS)
def test_keys_are_their_words(label: str) -> None:
    """The words of a key are one more axis, whose size the implementation fixes."""
    (words,) = dtypes.stored(label).words
    array = np.arange(3 * words, dtype=np.uint32).reshape(3, words)
    back = dtypes.from_stored(stored_bytes(array, label), label, (3,))
    np.testing.assert_array_equal(back, array)


LAYOUTS = {
    'C': lambda a: a,
    'Fortran': np.asfortranarray,
    'strided': lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    'backwards': lambda a: a[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    'read-only': lambda a: np.frombuffer(a.tobytes(), np.uint8).view(a.dtype).reshape(a.shape),
    'unaligned': lambda a: np.frombuffer(b'x' + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    'big-endian': lambda a: a.astype(a.dtype.newbyteorder('>')) if a.dtype.kind in 'iufc' else a,
    'big-endian Fortran': lambda a: np.asfortranarray(LAYOUTS['big-endian'](a)),
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('label', PLAIN)
def test_the_layout_in_memory_does_not_show_in_the_file(label: str, layout: str) -> None:
    """However an array lies in memory, its stored bytes are those of C order and little-endian."""
    array = any_values(label, (5, 3, 7))
    other = LAYOUTS[layout](array)
    assert other.shape == array.shape
    assert stored_bytes(other, label) == stored_bytes(array, label)


@pytest.mark.parametrize('shape', [(), (0,), (3, 0), (0, 3), (1,), (1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize('label', ['bool', 'float32', 'bfloat16', 'int4', 'float6_e2m3fn'])
def test_arrays_without_axes_or_elements(label: str, shape: tuple[int, ...]) -> None:
    """0-d and empty arrays keep their shape."""
    array = any_values(label, shape)
    back = dtypes.from_stored(stored_bytes(array, label), label, shape)
    assert back.shape == shape
    assert back.tobytes() == array.tobytes()


@given(
    hnp.arrays(hnp.scalar_dtypes().filter(lambda d: d.kind in 'biufc' and d.itemsize <= 16 and d.char not in 'gG'),
               hnp.array_shapes(min_dims=0, min_side=0, max_side=4)),
    st.data(),
)  # fmt: skip
def test_any_view_of_any_array(array: np.ndarray, data: st.DataObject) -> None:
    """Slices and transpositions of arrays in either byte order give the bytes of a plain copy."""
    axes = data.draw(st.permutations(range(array.ndim)))
    index = data.draw(hnp.basic_indices(array.shape, allow_newaxis=True)) if array.ndim else ...
    view = array.transpose(axes) if data.draw(st.booleans()) else array[index]
    view = np.asarray(view)
    label = dtypes.label_of(view.dtype)
    plain = np.ascontiguousarray(view, view.dtype.newbyteorder('<'))
    assert stored_bytes(view, label) == plain.tobytes()


def test_a_repeated_array_is_written_out() -> None:
    """An array that repeats one row by a stride of 0 is stored whole."""
    row = np.arange(3, dtype=np.float32)
    assert stored_bytes(np.broadcast_to(row, (2, 3)), 'float32') == row.tobytes() * 2


def test_a_big_endian_bfloat16_is_turned() -> None:
    """`ml_dtypes` too has big-endian arrays; their bits are stored little-endian."""
    array = np.array([1.0, -2.5], ml_dtypes.bfloat16)
    turned = array.view(np.uint16).byteswap().view(array.dtype.newbyteorder('>'))
    assert dtypes.label_of(turned.dtype) == 'bfloat16'
    assert stored_bytes(turned, 'bfloat16') == array.tobytes()


@pytest.mark.parametrize('label', [label for label, form in dtypes.WRITABLE.items() if form.limits])
def test_equal_values_have_equal_bytes(label: str) -> None:
    """Bits that do not count in memory never reach a file: every byte is stored in its canonical form."""
    form = dtypes.stored(label)
    every = np.arange(256, dtype=np.uint8)
    dirty = every.view(form.dtype)
    clean = stored_bytes(dirty, label)
    dtypes.check_values(memoryview(clean), form)
    back = dtypes.from_stored(clean, label, (256,))
    if label == 'bool':
        np.testing.assert_array_equal(back, every != 0)
    elif 'int' in label:
        np.testing.assert_array_equal(back.astype(np.int8), dirty.astype(np.int8))
    else:
        np.testing.assert_array_equal(back.view(np.uint8), every & form.limits[1])


@pytest.mark.parametrize('label', [label for label, form in dtypes.WRITABLE.items() if form.limits])
def test_bytes_that_are_no_value_are_found(label: str) -> None:
    """Of the 256 bytes exactly those are values that the dtype has."""
    form = dtypes.stored(label)
    low, high = form.limits
    for byte in range(256):
        value = byte - 256 if low < 0 and byte > 127 else byte
        if low <= value <= high:
            dtypes.check_values(memoryview(bytes([byte])), form)
        else:
            with pytest.raises(ValueError, match=f'{label} is stored as {low} to {high}, found {value}'):
                dtypes.check_values(memoryview(bytes([0, byte])), form)


REFUSED = ['O', 'U3', 'S2', 'V3', 'i4,f4', 'M8[s]', 'm8[s]', 'g', 'G', [('float0', 'V')], 'T', ml_dtypes.complex32]


@pytest.mark.parametrize('dtype', REFUSED)
def test_other_dtypes_are_refused(dtype: object) -> None:
    """What objio does not write is refused, and the message names the dtype."""
    with pytest.raises(UnsaveableError, match='cannot be saved') as caught:
        dtypes.label_of(np.dtype(dtype))
    assert str(np.dtype(dtype)) in str(caught.value)


@pytest.mark.parametrize('label', ['V2', '<U5', 'S3', '<M8[s]', '<f16'])
def test_dtypes_of_other_writers_are_read_only(label: str) -> None:
    """Labels of other writers' dtypes can be read, but stand in no table of what is written."""
    assert dtypes.foreign_label(dtypes.stored(label).dtype) == label
    assert label not in dtypes.WRITABLE


@pytest.mark.parametrize('label', ['O', 'V0', 'i4,f4', '<f4', 'f4', '(3,)f4', '>U5', 'key<mine>', '', 'x' * 100])
def test_labels_that_mean_nothing_are_refused(label: str) -> None:
    """A label that no file can hold is an error that gives it."""
    with pytest.raises(ValueError, match='no dtype is called') as caught:
        dtypes.stored(label)
    assert repr(label) in str(caught.value)


def test_blocks_refuse_the_wrong_array() -> None:
    """An array of another dtype than its label says is refused, never reinterpreted."""
    with pytest.raises(TypeError, match="blocks of 'float32' need an array of float32, got one of int32"):
        list(dtypes.blocks(np.zeros(3, np.int32), 'float32'))


def test_plain_arrays_are_not_copied() -> None:
    """A contiguous little-endian array is given as the memory it lies in, but for a small one."""
    for array in (np.zeros((300, 40), np.float32), np.zeros(50_000, ml_dtypes.bfloat16), np.zeros(4, bool)):
        (block,) = dtypes.blocks(array, dtypes.label_of(array.dtype))
        assert np.shares_memory(np.frombuffer(block, np.uint8), array)


@pytest.mark.parametrize('label', ['bool', 'int4', 'float32', 'float6_e3m2fn', 'bfloat16'])
def test_copies_are_made_in_small_pieces(label: str) -> None:
    """An array of 64 MiB that has to be turned takes less than 4 MiB of memory on its way."""
    array = np.zeros((4096, (64 << 20) // 4096 // dtypes.stored(label).itemsize), dtypes.stored(label).dtype).T
    size = 0
    tracemalloc.start()
    for block in dtypes.blocks(array, label):
        size += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 64 << 20
    assert peak < 4 << 20

"""The msgpack of Flax: what objio writes Flax reads, and the other way round; what the format lacks is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from flax import serialization
from hypothesis import given
from hypothesis import strategies as st
from support_formats import MemorySink
from support_interop import opened, read_all, some_arrays, tree_of, written
from support_verbs import bits

from objio.errors import FormatError, UnsaveableError
from objio.formats import ArraySpec, dtypes
from objio.formats import msgpack as ours

LABELS = sorted(ours.DTYPES)


def by_name(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    found = {}
    for key, value in tree.items():
        found |= by_name(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
    return found


@given(some_arrays(LABELS))
def test_what_objio_writes_is_what_flax_writes(arrays: dict[str, np.ndarray]) -> None:
    """The bytes are those of `flax.serialization.to_bytes` of the same tree, for every dtype."""
    assert written(ours, arrays) == serialization.to_bytes(tree_of(arrays))


@given(some_arrays(LABELS))
def test_what_objio_writes_flax_reads(arrays: dict[str, np.ndarray]) -> None:
    """`msgpack_restore` gives every array back, bit for bit."""
    restored = by_name(serialization.msgpack_restore(written(ours, arrays)))
    assert {name: bits(array) for name, array in restored.items()} == {n: bits(array) for n, array in arrays.items()}


@given(some_arrays(LABELS))
def test_what_flax_writes_objio_reads(arrays: dict[str, np.ndarray]) -> None:
    """Every array comes back bit for bit, whole, in pieces, in parts, mapped, and many together."""
    archive = opened(ours, serialization.to_bytes(tree_of(arrays)))
    assert archive.metadata == {}
    assert {n: bits(array) for n, array in read_all(archive).items()} == {n: bits(a) for n, a in arrays.items()}


@given(some_arrays(LABELS), st.integers(1, 40))
def test_large_arrays_go_in_pieces(arrays: dict[str, np.ndarray], largest: int) -> None:
    """What is larger than the limit is cut as Flax cuts it, and read back from there, whatever the limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, 'LARGEST', largest)
        patch.setattr(serialization, 'MAX_CHUNK_SIZE', largest)
        data = written(ours, arrays)
        assert data == serialization.to_bytes(tree_of(arrays))
    restored = by_name(serialization.msgpack_restore(data))
    assert {name: bits(array) for name, array in restored.items()} == {n: bits(array) for n, array in arrays.items()}
    found = read_all(opened(ours, data))
    assert {name: bits(array) for name, array in found.items()} == {name: bits(array) for name, array in arrays.items()}


@pytest.mark.parametrize('nbytes', [0, 1, 2, 3, 255, 256, 65_535, 65_536, 70_000])
def test_sizes_of_every_width(nbytes: int) -> None:
    """Each width that msgpack has for a size is the one that Flax writes."""
    arrays = {'a': np.arange(nbytes, dtype='u1'), 'n' * 300: np.zeros((1, nbytes), 'i1')}
    data = written(ours, arrays)
    assert data == serialization.to_bytes(arrays)
    assert {name: bits(array) for name, array in read_all(opened(ours, data)).items()} == {
        name: bits(array) for name, array in arrays.items()
    }


def test_the_real_limit_is_that_of_flax() -> None:
    """Arrays are cut from the same size on as in the installed Flax."""
    assert ours.LARGEST == serialization.MAX_CHUNK_SIZE


def test_many_arrays_of_one_form() -> None:
    """Thousands of small arrays and some large ones come back, wherever the reader's windows end."""
    rng = np.random.default_rng(0)
    arrays = {f'layer.{index}.w': rng.standard_normal(rng.choice([3, 16, 16, 16, 2000])) for index in range(3000)}
    arrays['large'] = np.arange(300_000)
    data = serialization.to_bytes(tree_of(arrays))
    archive = opened(ours, data)
    assert archive._source.bytes_read < len(data) * 1.5
    assert {name: bits(array) for name, array in read_all(archive).items()} == {n: bits(a) for n, a in arrays.items()}


def test_leaves_that_are_no_arrays() -> None:
    """Numbers are arrays without axes; text, None and bytes stand in the metadata; lists count; empty dicts are passed."""
    tree = {
        'i': 1, 'low': -5, 'big': 2**63, 'least': -(2**63), 'f': 2.5, 'b': True, 'c': 1j, 's': np.float32(1),
        'none': None, 'text': 'adam', 'bytes': b'q', 'empty': {}, 'list': [1, {'x': np.arange(3)}, []],
    }  # fmt: skip
    archive = opened(ours, serialization.msgpack_serialize(tree))
    found = read_all(archive)
    assert {name: (array.dtype.name, array.shape, array.tolist()) for name, array in found.items()} == {
        'i': ('int64', (), 1),
        'low': ('int64', (), -5),
        'big': ('uint64', (), 2**63),
        'least': ('int64', (), -(2**63)),
        'f': ('float64', (), 2.5),
        'b': ('bool', (), True),
        'c': ('complex128', (), 1j),
        's': ('float32', (), 1.0),
        'list.0': ('int64', (), 1),
        'list.1.x': ('int64', (3,), [0, 1, 2]),
    }
    assert archive.metadata == {'none': None, 'text': 'adam', 'bytes': b'q'}
    assert list(opened(ours, msgpack.packb({7: {-1: True}})).specs) == ['7.-1']


def test_small_integers_of_jax_are_canonical() -> None:
    """Bits above those of the dtype, as memory may hold them, do not come through."""
    tree = {'a': jnp.array([-1, 3, -8], jnp.int4), 'b': np.array([-1, 0], 'int2')}
    data = bytearray(serialization.to_bytes(tree))
    at = data.index(b'\x0f\x03\x08')
    data[at : at + 3] = b'\xff\x33\xf8'
    archive = opened(ours, bytes(data))
    found = {name: array.astype(int).tolist() for name, array in read_all(archive).items()}
    assert found == {'a': [-1, 3, -8], 'b': [-1, 0]}
    assert archive.mapped('a') is None


def test_a_name_that_is_a_path_to_others_is_refused() -> None:
    """A tree has no place for an array and others below it; both names are given."""
    for arrays in ({'a': np.ones(1), 'a.b.c': np.ones(1)}, {'a.b.c': np.ones(1), 'a': np.ones(1)}):
        with pytest.raises(UnsaveableError, match=r"'a' cannot be an array .*'a\.b\.c'"):
            written(ours, arrays)


LACKING: list[tuple[dict[str, Any], str]] = [
    ({'aliases': {'tied': 'w'}}, "msgpack stores no further names .*'tied' of 'w'"),
    ({'metadata': {'epoch': 7, 'objio.metrics': {}}}, "no place for metadata, .*'epoch', 'objio.metrics'"),
]


@pytest.mark.parametrize(('options', 'message'), LACKING)
def test_what_the_format_lacks_is_refused(options: dict[str, Any], message: str) -> None:
    """Aliases and metadata that would be lost are named, with a way out, before anything is written."""
    with pytest.raises((UnsaveableError, TypeError), match=message):
        written(ours, {'w': np.ones(3)}, **options)


def test_keys_are_refused() -> None:
    """Typed keys have no dtype there; the error names them and says how to save their words."""
    with pytest.raises(UnsaveableError, match=r"'k' \(key<rbg>\)\. .*jax\.random\.key_data"):
        ours.encode({'k': ArraySpec('key<rbg>', ())}, lambda _: [], {}, {})
    assert {label for label in dtypes.WRITABLE if label not in ours.DTYPES} == {
        label for label in dtypes.WRITABLE if label.startswith('key<')
    }


def test_two_paths_of_one_name_are_refused() -> None:
    """Keys with dots can make two paths one name: neither array is taken for the other."""
    tree = {'a': {'b': np.ones(1)}, 'a.b': np.ones(1)}
    with pytest.raises(FormatError, match=r"'a\.b' at byte \d+: expected each name once"):
        opened(ours, serialization.msgpack_serialize(tree))


@pytest.mark.parametrize('value', [np.ones(3), 5, 'text', None, b'x'])
def test_a_file_without_names_is_refused(value: Any) -> None:
    """A single value has no name that a variable could have."""
    with pytest.raises(FormatError, match='expected a dict of arrays as Flax writes it'):
        opened(ours, serialization.msgpack_serialize(value))


def test_a_single_large_array_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has one in pieces."""
    monkeypatch.setattr(serialization, 'MAX_CHUNK_SIZE', 4)
    with pytest.raises(FormatError, match='one array without a name'):
        opened(ours, serialization.msgpack_serialize(np.ones(3)))


def in_pieces(*pieces: tuple[tuple[int, ...], str, bytes]) -> dict[str, Any]:
    """Two bytes as a large array, in these pieces."""
    chunks = {str(index): msgpack.ExtType(1, msgpack.packb(piece)) for index, piece in enumerate(pieces)}
    return {'a': {ours.CHUNKED: True, 'shape': {'0': 2}, 'chunks': chunks}}


STRANGE: list[tuple[Any, str]] = [
    ({'a': msgpack.ExtType(9, b'x')}, 'an extension of Flax'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((2,), 'str96', b'12')))}, 'a dtype of NumPy or ml_dtypes'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((2,), 'float32', b'1234')))}, r'8 bytes for float32 of shape \(2,\)'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((-1,), 'float32', b'')))}, 'shape, dtype'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((True,), 'uint8', b'1')))}, 'shape, dtype'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((2**40, 2**40, 0), 'float32', b'')))}, r'less than 2\*\*63 bytes'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((1,), 'uint8', b'1', 5)))}, 'shape, dtype'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((1,), 'uint8', b'1')) + b'x')}, 'shape, dtype'),
    ({'a': msgpack.ExtType(3, msgpack.packb(((1,), 'uint8', b'1')))}, 'without axes'),
    ({'a': msgpack.ExtType(2, msgpack.packb((1.0,)))}, 'two parts of a complex'),
    ({'a': msgpack.ExtType(1, msgpack.packb(((2,), 'bool', b'\1\2')))}, 'bool is stored as 0 to 1, found 2'),
    ({'a': {ours.CHUNKED: True, 'shape': {'0': 2}, 'chunks': {}}}, 'pieces of one dtype'),
    ({'a': {ours.CHUNKED: True, 'shape': {'1': 2}, 'chunks': {}}}, 'the key 0'),
    ({'a': {ours.CHUNKED: True, 'chunks': {}, 'shape': {}}}, 'the mark, the shape'),
    (in_pieces(((2, 1), 'uint8', b'12')), 'a flat piece'),
    (in_pieces(((1,), 'uint8', b'1'), ((1,), 'int8', b'1')), 'pieces of one dtype'),
    (in_pieces(((1,), 'uint8', b'1')), r'2 bytes for uint8 of shape \(2,\)'),
    ({1.5: 1}, 'text'),
]


@pytest.mark.parametrize(('tree', 'message'), STRANGE)
def test_what_flax_does_not_write_is_refused(tree: Any, message: str) -> None:
    """Sizes, dtypes and forms that lie are a FormatError that says what was expected."""
    with pytest.raises(FormatError, match=message):
        read_all(opened(ours, msgpack.packb(tree)))


def test_a_mark_that_comes_late_is_refused() -> None:
    """A dict that Flax would take for an array in pieces is not taken for a dict of arrays."""
    tree = {'a': {'x': 1, ours.CHUNKED: True, 'shape': {}, 'chunks': {}}}
    with pytest.raises(FormatError, match='in its first place'):
        opened(ours, msgpack.packb(tree))


def test_a_state_of_flax_needs_its_empty_places() -> None:
    """Empty containers, None and text are written where the tree has them."""
    arrays = {'a.x': np.ones(2, 'f4')}
    specs = {'a.x': ArraySpec('float32', (2,))}
    rest = {'a.e': {}, 'n': None, 't': 'adam'}
    file = ours.encode_tree(specs, lambda name: dtypes.blocks(arrays[name], 'float32'), {}, {}, rest)
    sink = MemorySink()
    file.write(sink)
    assert jax.tree.map(np.shape, serialization.msgpack_restore(sink.value()), is_leaf=lambda x: x is None) == {
        'a': {'x': (2,), 'e': {}}, 'n': (), 't': (),
    }  # fmt: skip

"""`convert`: from every format to every other without loss, or an error that names what would be lost."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from hypothesis import given
from hypothesis import strategies as st
from support_verbs import array_of, bits, tree_vars

import objio
from objio.formats import msgpack, safetensors

SUFFIXES = ['.npz', '.safetensors', '.msgpack']
LABELS = sorted(set(safetensors.DTYPES.values()) & msgpack.DTYPES)
ARRAYS = {'a.w': np.arange(6, dtype='f4').reshape(2, 3), 'b': jnp.ones(5, jnp.bfloat16), 'c.e': np.zeros((0, 2), 'i8')}


def content(path: Path) -> dict[str, Any]:
    """Names, dtypes and bits."""
    with objio.open(path) as saved:
        return {name: bits(saved[name]) for name in saved}


@pytest.mark.parametrize('src', SUFFIXES)
@pytest.mark.parametrize('dst', SUFFIXES)
def test_from_every_format_to_every_other(src: str, dst: str, tmp_path: Path) -> None:
    """Names, dtypes, shapes and bits stay; the new file is the one that a save would have written."""
    one, other = tmp_path / f'one{src}', tmp_path / f'other{dst}'
    objio.save_var_collection(one, tree_vars(ARRAYS))
    objio.convert(one, other)
    assert content(other) == content(one) == {name: bits(array) for name, array in ARRAYS.items()}
    objio.save_var_collection(tmp_path / f'saved{dst}', tree_vars(ARRAYS))
    assert other.read_bytes() == (tmp_path / f'saved{dst}').read_bytes()


@given(
    st.dictionaries(st.sampled_from(['a', 'b', 'c.d']), st.sampled_from(LABELS)), st.binary(min_size=64, max_size=64)
)
def test_every_dtype_goes_through_all_formats(tmp_path_factory: Any, labels: dict[str, str], raw: bytes) -> None:
    """npz -> safetensors -> msgpack -> npz gives the first file again, byte for byte."""
    folder = tmp_path_factory.mktemp('chain')
    objio.save_var_collection(
        folder / '1.npz', tree_vars({n: array_of(label, (2, 2), raw) for n, label in labels.items()})
    )
    for src, dst in (('1.npz', '2.safetensors'), ('2.safetensors', '3.msgpack'), ('3.msgpack', '4.npz')):
        objio.convert(folder / src, folder / dst, durable=False)
    assert (folder / '4.npz').read_bytes() == (folder / '1.npz').read_bytes()


def test_aliases_are_carried_copied_or_refused(tmp_path: Path) -> None:
    """npz keeps them; elsewhere `copy_aliases` stores the array under each name, and without it nothing is written."""
    array = jnp.arange(3.0)
    objio.save_var_collection(tmp_path / 'x.npz', {'w': array, 'tied': array})
    objio.convert(tmp_path / 'x.npz', tmp_path / 'y.npz')
    assert (tmp_path / 'y.npz').read_bytes() == (tmp_path / 'x.npz').read_bytes()
    for suffix in SUFFIXES[1:]:
        with pytest.raises(objio.UnsaveableError, match="'w' of 'tied'.*copy_aliases=True"):
            objio.convert(tmp_path / 'x.npz', tmp_path / f'z{suffix}')
        assert not (tmp_path / f'z{suffix}').exists()
        objio.convert(tmp_path / 'x.npz', tmp_path / f'z{suffix}', copy_aliases=True)
        assert content(tmp_path / f'z{suffix}') == {'tied': bits(array), 'w': bits(array)}
        shared = objio.TrainVar(jnp.zeros(3))
        objio.load_var_collection(tmp_path / f'z{suffix}', {'w': shared, 'tied': shared})
        assert bits(shared.value) == bits(array)


def test_keys_are_carried_as_words_or_refused(tmp_path: Path) -> None:
    """`key_data` stores the words of typed keys, and a load makes keys of them again."""
    keys = jax.random.split(jax.random.key(3), 4)
    objio.save_var_collection(tmp_path / 'x.npz', tree_vars({'k': keys}))
    with pytest.raises(objio.UnsaveableError, match=r"'k' \(key<threefry2x32>\)"):
        objio.convert(tmp_path / 'x.npz', tmp_path / 'x.safetensors')
    objio.convert(tmp_path / 'x.npz', tmp_path / 'x.safetensors', key_data=True)
    vc = tree_vars({'k': jax.random.split(jax.random.key(0), 4)})
    objio.load_var_collection(tmp_path / 'x.safetensors', vc)
    assert bits(vc['k'].value) == bits(keys)


def test_metadata_is_carried_replaced_or_refused(tmp_path: Path) -> None:
    """What the new format keeps goes along; else the error names it, and `metadata` says what stands there instead."""
    objio.save_var_collection(tmp_path / 'x.npz', tree_vars(ARRAYS), metadata={'note': 'x', 'epoch': 7})
    with pytest.raises(TypeError, match=r"metadata\['epoch'\] \(int\)"):
        objio.convert(tmp_path / 'x.npz', tmp_path / 'x.safetensors')
    objio.convert(tmp_path / 'x.npz', tmp_path / 'x.safetensors', metadata={'epoch': '7'})
    with objio.open(tmp_path / 'x.safetensors') as saved:
        assert saved.metadata == {'epoch': '7'}
    objio.convert(tmp_path / 'x.safetensors', tmp_path / 'y.npz')
    with objio.open(tmp_path / 'y.npz') as saved:
        assert saved.metadata == {'epoch': '7'}
    with pytest.raises(TypeError, match="no place for metadata, .*'note', 'epoch'"):
        objio.convert(tmp_path / 'x.npz', tmp_path / 'x.msgpack')
    objio.convert(tmp_path / 'x.npz', tmp_path / 'x.msgpack', metadata={})
    with pytest.raises(ValueError, match=r'keys that start with "objio\." are reserved'):
        objio.convert(tmp_path / 'x.npz', tmp_path / 'z.npz', metadata={'objio.x': 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.msgpack', 'x.npz', 'x.safetensors', 'y.npz']


def test_what_a_tree_has_besides_arrays_is_not_lost(tmp_path: Path) -> None:
    """Text and None of a msgpack file become metadata of an npz; bytes, which JSON has not, are an error."""
    (tmp_path / 'x.msgpack').write_bytes(serialization.msgpack_serialize({'a': np.ones(1), 't': 'adam', 'n': None}))
    objio.convert(tmp_path / 'x.msgpack', tmp_path / 'x.npz')
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved.metadata == {'n': None, 't': 'adam'}
    (tmp_path / 'y.msgpack').write_bytes(serialization.msgpack_serialize({'a': np.ones(1), 'b': b'x'}))
    with pytest.raises(TypeError, match=r"metadata\['b'\] is of type builtins\.bytes"):
        objio.convert(tmp_path / 'y.msgpack', tmp_path / 'y.npz')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_files_of_numpy_are_converted(save: Any, tmp_path: Path) -> None:
    """Fortran order, other byte orders and compression come out as plain arrays; dtypes that nobody has are named."""
    save(tmp_path / 'x.npz', f=np.asfortranarray(np.arange(6.0).reshape(2, 3)), b=np.arange(3, dtype='>i4'))
    objio.convert(tmp_path / 'x.npz', tmp_path / 'x.safetensors')
    assert content(tmp_path / 'x.safetensors') == content(tmp_path / 'x.npz')
    save(tmp_path / 'y.npz', t=np.array(['text']))
    for suffix in SUFFIXES:
        with pytest.raises(objio.UnsaveableError, match="'t'"):
            objio.convert(tmp_path / 'y.npz', tmp_path / f'z{suffix}')


def test_damage_is_found_before_the_new_file_has_its_name(tmp_path: Path) -> None:
    """A checksum that differs is a FormatError; the old file of that name stays, and nothing else is left."""
    objio.save_var_collection(tmp_path / 'x.npz', {'a': np.arange(100_000.0)})
    data = bytearray((tmp_path / 'x.npz').read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / 'x.npz').write_bytes(data)
    (tmp_path / 'y.safetensors').write_bytes(b'old')
    with pytest.raises(objio.FormatError, match='expected the checksum'):
        objio.convert(tmp_path / 'x.npz', tmp_path / 'y.safetensors')
    assert (tmp_path / 'y.safetensors').read_bytes() == b'old'
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_is_converted_in_place_and_to_file_objects(tmp_path: Path) -> None:
    """The new file may have the name of the old one; file objects are npz."""
    np.savez_compressed(tmp_path / 'x.npz', a=np.arange(5))
    objio.convert(tmp_path / 'x.npz', tmp_path / 'x.npz')
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved.kind == 'objio-npz 1'
    memory = io.BytesIO()
    told: list[tuple[int, int]] = []
    objio.convert(tmp_path / 'x.npz', memory, progress=lambda done, total: told.append((done, total)))
    assert memory.getvalue() == (tmp_path / 'x.npz').read_bytes()
    assert told[-1] == (len(memory.getvalue()), len(memory.getvalue()))


@pytest.mark.parametrize('src', SUFFIXES)
@pytest.mark.parametrize('dst', SUFFIXES)
def test_large_arrays_go_through_in_pieces(src: str, dst: str, tmp_path: Path) -> None:
    """Beside a few MiB nothing is in memory, however large an array is."""
    objio.save_var_collection(tmp_path / f'x{src}', {'a': np.zeros(8 << 20)}, durable=False)
    tracemalloc.start()
    try:
        objio.convert(tmp_path / f'x{src}', tmp_path / f'y{dst}', durable=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_object_is_not_converted_into_itself() -> None:
    """It would be overwritten while it is read; the error comes first."""
    file = io.BytesIO()
    objio.save_var_collection(file, {'w': np.ones(3)})
    before = file.getvalue()
    with pytest.raises(ValueError, match='while it is read'):
        objio.convert(file, file)
    assert file.getvalue() == before

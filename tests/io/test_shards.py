"""A collection is written as shards with an index, as Hugging Face has it: the index is replaced last, or nothing is."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import objio
from objio import storage
from objio.io import shards

INDEX = 'model.safetensors.index.json'
ARRAYS: dict[str, Any] = {
    'embed': np.arange(100, dtype='f4').reshape(10, 10),
    'a.w': np.arange(50, dtype='f8'),
    'a.b': np.ones(3, ml_dtypes.bfloat16),
    'large': np.arange(1000, dtype='i4'),
    'half': np.full(4, 0.5, ml_dtypes.float4_e2m1fn),
    'empty': np.zeros((0, 3), 'f2'),
}


def saved(folder: Path, arrays: dict[str, Any] | None = None, **options: Any) -> Path:
    """The arrays as shards of at most 500 bytes, by way of one file; gives the index."""
    one = folder.parent / 'one.npz'
    one.parent.mkdir(exist_ok=True)
    objio.save_var_collection(one, ARRAYS if arrays is None else arrays)
    objio.convert(one, folder / INDEX, **({'shard_bytes': 500} | options))
    return folder / INDEX


def equal(index: Path, arrays: dict[str, Any]) -> bool:
    """Whether the file has these arrays and no others, bit for bit."""
    with objio.open(index) as found:
        here = {name: (array.dtype, array.shape, array.tobytes()) for name, array in found.items()}
    return here == {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def test_a_new_folder_is_as_hugging_face_writes_it(tmp_path: Path) -> None:
    """Names of shards and index, its two keys, no shard larger than asked, and what the real library reads."""
    index = saved(tmp_path / 'a' / 'model')
    names = [f'model-0000{number}-of-00003.safetensors' for number in range(1, 4)]
    assert sorted(os.listdir(index.parent)) == [*names, INDEX]
    content = json.loads(index.read_text())
    assert content['metadata'] == {'total_size': 4808}
    assert list(content['weight_map']) == list(objio.open(tmp_path / 'a' / 'one.npz'))
    for shard in names:
        for name, entry in safetensors.deserialize((index.parent / shard).read_bytes()):
            assert content['weight_map'][name] == shard
            assert tuple(entry['shape']) == ARRAYS[name].shape
            assert bytes(entry['data']) == ARRAYS[name].tobytes() or name == 'half'  # two in a byte
    assert equal(index, ARRAYS)
    assert objio.verify(index.parent)


def test_a_model_is_saved_and_loaded_by_the_index(tmp_path: Path) -> None:
    """The verbs take the name of an index as they take that of a file: metadata, progress, a load bit for bit."""
    net, told = objio.nn.Linear(30, 20), []
    objio.save_var_collection(
        tmp_path / 'new' / INDEX,
        net.vars(),
        metadata={'format': 'pt', 'epoch': [1, {'a': None}], 'ä': '\n"'},
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    again = objio.nn.Linear(30, 20)
    objio.load_var_collection(tmp_path / 'new', again.vars())
    np.testing.assert_array_equal(again(jnp.ones((1, 30))), net(jnp.ones((1, 30))))
    with objio.open(tmp_path / 'new') as found:
        assert found.metadata == {'format': 'pt', 'epoch': [1, {'a': None}], 'ä': '\n"', 'total_size': 2480}
        assert found.kind == 'safetensors in 1 shards'


def test_no_array_at_all(tmp_path: Path) -> None:
    """An index of nothing, without a shard."""
    index = saved(tmp_path / 'model', {})
    assert os.listdir(index.parent) == [INDEX]
    assert equal(index, {})


@given(
    sizes=st.lists(st.integers(0, 40), max_size=8),
    most=st.integers(1, 60),
    names=st.lists(st.text(st.characters(exclude_characters='\0', codec='utf-8'), min_size=1), min_size=8, unique=True),
)
def test_any_arrays_in_shards_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int, names: list[str]
) -> None:
    """Every array comes back, and no shard of several is larger than asked."""
    arrays = {name: np.arange(size, dtype='u1') for name, size in zip(names, sizes, strict=False)}
    index = saved(tmp_path_factory.mktemp('any') / 'model', arrays, shard_bytes=most)
    assert equal(index, arrays)
    for shard in index.parent.glob('*.safetensors'):
        held = load_file(shard)
        assert len(held) <= 1 or sum(array.nbytes for array in held.values()) <= most


def test_shards_are_replaced_whole(tmp_path: Path) -> None:
    """The old shards go when the new index stands; other files of the folder stay, also those of another index."""
    index = saved(tmp_path / 'model')
    (index.parent / 'config.json').write_text('{}')
    objio.save_var_collection(index.parent / 'other.safetensors.index.json', {'x': np.ones(2)})
    for arrays in ({'w': np.arange(900, dtype='f4')}, {'w': np.arange(9, dtype='f4'), 'b': np.zeros(2)}):
        assert equal(saved(tmp_path / 'model', arrays), arrays)
        ours = [name for name in os.listdir(index.parent) if name.startswith('model-')]
        assert len(ours) == 1
        assert re.fullmatch(r'model-[0-9a-f]{8}-00001-of-00001\.safetensors', ours[0])
    assert equal(index.parent / 'other.safetensors.index.json', {'x': np.ones(2)})
    assert len(os.listdir(index.parent)) == 5


def test_what_a_damaged_index_named_stays(tmp_path: Path) -> None:
    """A damaged index names no shard that could go; what it named stays."""
    index = saved(tmp_path / 'model')
    index.write_text('{')
    assert equal(saved(tmp_path / 'model', {'w': np.ones(1)}), {'w': np.ones(1)})
    assert (index.parent / 'model-00001-of-00003.safetensors').exists()


def test_a_file_becomes_shards_of_itself(tmp_path: Path) -> None:
    """`convert` may write over what it reads."""
    index = saved(tmp_path / 'model')
    objio.convert(index, index, shard_bytes=5000)
    assert equal(index, ARRAYS)
    assert len(os.listdir(index.parent)) == 2


def test_a_folder_that_cannot_be_synced_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new index stands, with its shards: that it may not be durable is told, and nothing is taken away."""
    index = saved(tmp_path / 'model')
    with monkeypatch.context() as patch:
        real, calls = storage.local._sync_folder, [0]

        def sync(folder: str, path: str) -> None:
            calls[0] += 1
            if path.endswith('.json'):
                raise objio.SaveNotDurable(errno.EIO, 'no', path)
            real(folder, path)

        patch.setattr(storage.local, '_sync_folder', sync)
        with pytest.raises(objio.SaveNotDurable):
            objio.save_var_collection(index, {'w': np.ones(2)})
    assert equal(index, {'w': np.ones(2)})


def test_what_a_killed_writer_left_goes_after_an_hour(tmp_path: Path) -> None:
    """Shards that no index names are those of a writer that still lives, or of a dead one."""
    index = saved(tmp_path / 'model')
    for name, age in (
        ('model-0123abcd-00001-of-00002.safetensors', 4000),
        ('model-0123abcd-00002-of-00002.safetensors', 60),
    ):
        (index.parent / name).touch()
        now = index.stat().st_mtime
        os.utime(index.parent / name, (now - age, now - age))
    (index.parent / 'model-00009-of-00009.safetensors').touch()
    os.utime(index.parent / 'model-00009-of-00009.safetensors', (0, 0))
    objio.save_var_collection(index, {'w': np.ones(2)})
    left = {name for name in os.listdir(index.parent) if name != INDEX} - set(
        json.loads(index.read_text())['weight_map'].values()
    )
    assert left == {'model-0123abcd-00002-of-00002.safetensors', 'model-00009-of-00009.safetensors'}


def test_a_reader_beside_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is replaced between its reading and the opening of its shards is read again."""
    index = saved(tmp_path / 'model')
    real, calls = storage.open_file, [0]

    def open_file(path: str) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            objio.save_var_collection(index, {'w': np.ones(2)})
        return real(path)

    monkeypatch.setattr(storage, 'open_file', open_file)
    assert equal(index, {'w': np.ones(2)})


BAD: dict[str, tuple[str, dict[str, Any], dict[str, Any], type[Exception], str]] = {
    'another name': (
        'x.index.json',
        {'w': 1.0},
        {},
        objio.UnsaveableError,
        'called as in model.safetensors.index.json',
    ),
    'no name': ('.safetensors.index.json', {'w': 1.0}, {}, objio.UnsaveableError, 'called as in'),
    'a backslash': ('a\\b.safetensors.index.json', {'w': 1.0}, {}, objio.UnsaveableError, 'no name of a file'),
    'no Unicode': ('\udcff.safetensors.index.json', {'w': 1.0}, {}, objio.UnsaveableError, 'no name of a file'),
    'a dtype': (INDEX, {'w': np.ones(2, 'c16'), 'v': np.ones(2, ml_dtypes.int4)}, {}, objio.UnsaveableError, 'w.*v'),
    'metadata': (INDEX, {'w': 1.0}, {'metadata': {'a': float('nan')}}, TypeError, 'metadata'),
    'a surrogate': (INDEX, {'w': 1.0}, {'metadata': {'a': '\ud800'}}, TypeError, 'metadata'),
    'large metadata': (INDEX, {'w': 1.0}, {'metadata': {'a': 'x' * 70_000}}, objio.UnsaveableError, '70.* characters'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_cannot_be_saved_is_told_first(tmp_path: Path, case: str) -> None:
    """One clear error, and nothing is there."""
    name, arrays, options, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        objio.save_var_collection(tmp_path / 'model' / name, arrays, **options)
    assert os.listdir(tmp_path) == []


def test_tied_weights_are_named(tmp_path: Path) -> None:
    """The format has no second names: an error, or with `copy_aliases` a copy."""
    tied = objio.TrainVar(jnp.ones(2))
    objio.save_var_collection(tmp_path / 'a.npz', objio.VarCollection({'a': tied, 'b': tied}))
    with pytest.raises(objio.UnsaveableError, match="'b'"):
        objio.convert(tmp_path / 'a.npz', tmp_path / INDEX)
    objio.convert(tmp_path / 'a.npz', tmp_path / INDEX, copy_aliases=True)
    assert equal(tmp_path / INDEX, {'a': np.ones(2, 'f4'), 'b': np.ones(2, 'f4')})


def test_an_index_too_large_to_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written can be read again."""
    monkeypatch.setattr(shards, 'LARGEST_INDEX', 200)
    with pytest.raises(objio.UnsaveableError, match='at most 200 are read'):
        objio.save_var_collection(tmp_path / INDEX, ARRAYS)
    monkeypatch.undo()
    monkeypatch.setattr(shards, '_MOST', 2)
    with pytest.raises(objio.UnsaveableError, match='3 shards, at most 2'):
        saved(tmp_path / 'model')
    assert not list(tmp_path.glob('model*'))


@pytest.mark.parametrize(('name', 'size'), [(INDEX, 0), ('a.npz', 5), ('a.safetensors', 5)])
def test_shard_bytes_is_of_shards(tmp_path: Path, name: str, size: int) -> None:
    """At least one byte, and only where there are shards."""
    objio.save_var_collection(tmp_path / 'one.npz', {'w': 1.0})
    with pytest.raises(ValueError, match='shard_bytes'):
        objio.convert(tmp_path / 'one.npz', tmp_path / name, shard_bytes=size)


def test_checkpoint_keeps_no_shards(tmp_path: Path) -> None:
    """It removes and lists single files: an index would leave its shards behind."""

    class Sharded(objio.Checkpoint):
        FILE_FORMAT = '%010d.safetensors.index.json'

    with pytest.raises(ValueError, match='an index of several'):
        Sharded(tmp_path).save({'w': jnp.ones(2)}, 1)


def test_an_index_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    """The shards would stand beside the link: the error says where to save, and nothing changes."""
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').mkdir()
    real, link = (tmp_path / folder / 'model.safetensors.index.json' for folder in ('real', 'link'))
    objio.save_var_collection(real, {'w': np.ones(3)})
    link.symlink_to(real)
    with pytest.raises(ValueError, match='is a symbolic link.*real'):
        objio.save_var_collection(link, {'w': np.zeros(3)})
    assert os.listdir(tmp_path / 'link') == ['model.safetensors.index.json']
    with objio.open(real) as saved:
        np.testing.assert_array_equal(saved['w'], np.ones(3))


def test_what_others_left_is_not_looked_for_at_any_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A save that is made is not called failed because the folder cannot be listed after it."""
    index = tmp_path / 'model.safetensors.index.json'

    def file_names(folder: str) -> list[str]:
        raise OSError(errno.EIO, 'Input/output error', folder)

    monkeypatch.setattr(storage, 'file_names', file_names)
    objio.save_var_collection(index, {'w': np.ones(3)})
    assert 'is saved, but shards that others may have left' in caplog.text
    with objio.open(index) as saved:
        np.testing.assert_array_equal(saved['w'], np.ones(3))

"""Shards with an index, as Hugging Face writes them, are one collection."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import objio

ARRAYS = {
    'model.embed.weight': np.arange(40000, dtype='f4').reshape(200, 200),
    'model.layers.0.w': np.arange(6, dtype='f2').reshape(2, 3),
    'model.layers.0.b': np.ones(3, 'f4'),
    'model.layers.1.w': np.arange(6, dtype='i8').reshape(2, 3),
    'lm_head.weight': np.full((2, 2), 0.5, ml_dtypes.bfloat16),
}
HOMES = dict(zip(ARRAYS, ['1', '2', '2', '1', '2'], strict=True))


def written(folder: Path, index: dict[str, Any] | str | None = None, **changed: Any) -> Path:
    """A folder of two shards and their index; gives the index."""
    folder.mkdir()
    weight_map = {name: f'model-0000{home}-of-00002.safetensors' for name, home in HOMES.items()}
    for shard in set(weight_map.values()):
        save_file({name: ARRAYS[name] for name, home in weight_map.items() if home == shard}, folder / shard)
    index = {'metadata': {'total_size': 160100}, 'weight_map': weight_map, **changed} if index is None else index
    path = folder / 'model.safetensors.index.json'
    path.write_text(index if isinstance(index, str) else json.dumps(index, indent=2))
    return path


@pytest.mark.parametrize('of_the_folder', [False, True])
def test_shards_open_as_one_file(tmp_path: Path, of_the_folder: bool) -> None:
    """By the index or by the folder: names in the order of the index, arrays bit for bit, its metadata."""
    index = written(tmp_path / 'model')
    with objio.open(index.parent if of_the_folder else index) as saved:
        assert list(saved) == list(ARRAYS)
        assert saved.metadata == {'total_size': 160100}
        assert saved.kind == 'safetensors in 2 shards'
        for name, array in ARRAYS.items():
            assert saved[name].dtype == array.dtype
            np.testing.assert_array_equal(saved[name], array)
    assert objio.verify(index)


@pytest.mark.parametrize('mmap', [False, True])
def test_shards_load_into_a_model(tmp_path: Path, mmap: bool) -> None:
    """All or nothing, as from one file; what the format cannot prove is reported."""
    index = written(tmp_path / 'model')
    vc = objio.VarCollection.from_tree(
        {name: jnp.zeros(a.shape, a.dtype) for name, a in ARRAYS.items() if a.dtype != 'i8'}
    )
    report = objio.load_var_collection(index, vc, mmap=mmap)
    assert report.unused == ('model.layers.1.w',)
    assert set(report.unverified) == set(report.matched)
    for name, value in vc.named_tensors().items():
        np.testing.assert_array_equal(value, ARRAYS[name])
    with pytest.raises(objio.MismatchError, match='not in the file'):
        objio.load_var_collection(index, vc + objio.VarCollection.from_tree({'more': jnp.zeros(2)}))


def test_shards_become_one_file(tmp_path: Path) -> None:
    """`convert` reads the folder as it reads a file."""
    index = written(tmp_path / 'model')
    objio.convert(index.parent, tmp_path / 'one.npz')
    with objio.open(tmp_path / 'one.npz') as saved:
        assert {name: saved[name].tobytes() for name in saved} == {n: a.tobytes() for n, a in ARRAYS.items()}


BAD: dict[str, tuple[Any, str]] = {
    'no index': ([1], r"at character 0: expected '\{'"),
    'no map': ({'metadata': {}}, "the objects 'weight_map'"),
    'a map of numbers': ({'weight_map': {'w': 3}}, r'at character \d+: expected text in quotes, found .3'),
    'a path': ({'weight_map': {'w': '../secret.safetensors'}}, 'the name of a file beside the index'),
    'a name too long': ({'weight_map': {'w': 'é' * 123 + '.safetensors'}}, 'the name of a file beside the index'),
    'a lone surrogate': ({'weight_map': {'w': '\ud800.safetensors'}}, 'surrogates not allowed'),
    'a folder': ({'weight_map': {'w': 'folder.safetensors'}}, 'is missing beside it'),
    'metadata that is none': ({'weight_map': {}, 'metadata': [1]}, "the objects 'weight_map' and 'metadata'"),
    'metadata twice': ('{"metadata": {"a": {"b": 1, "b": 2}}, "weight_map": {}}', 'a key that stands there twice'),
    'large metadata': ({'metadata': {'a': 'x' * 200_000}, 'weight_map': {}}, 'Unterminated string'),
    'something behind': ('{"weight_map": {}} x', 'nothing but spaces behind the table'),
    'a pickle': ({'weight_map': {'w': 'pytorch_model.bin'}}, 'no pickles'),
    'a shard that is missing': ({'weight_map': {'w': 'model-00003.safetensors'}}, 'is missing beside it'),
    'an array too few': (
        {'weight_map': {'lm_head.weight': 'model-00002-of-00002.safetensors'}},
        "an array that the index does not name, 'model.layers.0.b'",
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_an_index_that_lies_is_refused(tmp_path: Path, case: str) -> None:
    """Before an array is read, with what is wrong; and no file elsewhere is opened."""
    index, message = BAD[case]
    path = written(tmp_path / 'model', index)
    (tmp_path / 'model' / 'folder.safetensors').mkdir()
    with pytest.raises(objio.FormatError, match=message):
        objio.open(path)
    assert not objio.verify(path)


def test_an_array_that_the_shard_lacks_is_refused(tmp_path: Path) -> None:
    """The index and its shards belong together."""
    shard = 'model-00001-of-00002.safetensors'
    weight_map = {'model.embed.weight': shard, 'model.layers.1.w': shard, 'model.layers.9.w': shard}
    with pytest.raises(objio.FormatError, match="no such array, 'model.layers.9.w'"):
        objio.open(written(tmp_path / 'model', {'weight_map': weight_map}))


@pytest.mark.parametrize('text', ['', '{', '{"weight_map": {}, "weight_map": {}}', '[' * 100_000])
def test_text_that_is_no_index_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever the text: one kind of error."""
    path = tmp_path / 'model.safetensors.index.json'
    path.write_text(text)
    with pytest.raises(objio.FormatError, match=r'index\.json'):
        objio.open(path)


def test_a_folder_must_say_what_it_is(tmp_path: Path) -> None:
    """Nothing to open, or several indices, or none at all."""
    with pytest.raises(IsADirectoryError, match='neither a checkpoint of Orbax nor one of shards'):
        objio.open(tmp_path)
    for name in ('a.index.json', 'b.index.json'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(objio.FormatError, match=r'several indices, a\.index\.json, b\.index\.json'):
        objio.open(tmp_path)
    with pytest.raises(FileNotFoundError):
        objio.open(tmp_path / 'c.index.json')


def test_checkpoints_of_orbax_are_not_written(tmp_path: Path) -> None:
    """Told before anything is there."""
    with pytest.raises(objio.UnsaveableError, match='only read'):
        objio.save_var_collection(tmp_path / '0001.orbax', {'w': 1.0})
    assert not list(tmp_path.iterdir())


def test_a_folder_of_shards_leaves_no_file_open(tmp_path: Path) -> None:
    """Closed, or failed half way."""
    index = written(tmp_path / 'model')
    before = len(list(Path('/dev/fd').iterdir()))
    with objio.open(index) as saved:
        assert saved['lm_head.weight'].shape == (2, 2)
    bad = written(tmp_path / 'bad', {'weight_map': {**dict.fromkeys(HOMES, 'model-00001-of-00002.safetensors')}})
    with pytest.raises(objio.FormatError):
        objio.open(bad)
    assert len(list(Path('/dev/fd').iterdir())) == before


def test_an_index_has_little_beside_its_shards(tmp_path: Path) -> None:
    """What people do not write there is not read: a text of many values takes many times its memory."""
    index = {'metadata': {}, 'weight_map': {'a': 'x.safetensors'}} | {f'k{i}': [{}] * 1000 for i in range(60)}
    with pytest.raises(objio.FormatError, match='at most 131072 characters beside the weight_map'):
        objio.open(written(tmp_path / 'net', index))

"""Checkpoints that the real Orbax wrote load into objio."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import objio

WRITERS: dict[str, dict[str, Any]] = {
    'ocdbt': {},
    'plain files': {'use_ocdbt': False},
    'zarr 3': {'use_zarr3': True},
}


def state() -> dict[str, Any]:
    """A training state with all that such states hold."""
    params = {'dense': {'kernel': jnp.arange(6.0).reshape(2, 3) / 7, 'bias': jnp.ones(3, jnp.bfloat16)}}
    return {
        'params': params,
        'opt': optax.adamw(1e-3).init(params),
        'step': 3,
        'rate': 0.5,
        'layers': [jnp.arange(3), np.arange(40_000, dtype='f4').reshape(200, 200), jnp.float32(2)],
        'flags': np.array([True, False]),
        'small': np.array([1, -2], ml_dtypes.int4),
        'complex': np.array([1 + 2j], 'c8'),
        'empty': {},
    }


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Orbax warns of its own coming changes."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@pytest.mark.parametrize('writer', WRITERS)
def test_what_orbax_saved_loads_bit_for_bit(tmp_path: Path, writer: str) -> None:
    """Dicts, lists, optimizer states and numbers, by the names that from_tree gives them."""
    saved = state()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**WRITERS[writer])) as checkpointer:
        checkpointer.save(tmp_path / 'a', saved)
    blank = jax.tree.map(lambda leaf: np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else leaf * 0, saved)
    vc = objio.VarCollection.from_tree(blank)
    report = objio.load_var_collection(tmp_path / 'a', vc)
    assert (report.missing, report.unused) == ((), ())
    loaded = vc.to_tree()
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    for old, new in zip(jax.tree.leaves(saved), jax.tree.leaves(loaded), strict=True):
        assert np.asarray(old).dtype == np.asarray(new).dtype
        assert np.asarray(old).tobytes() == np.asarray(new).tobytes()
    with objio.open(tmp_path / 'a') as file:
        assert file.kind == 'Orbax'
        assert file['params.dense.bias'].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize('writer', WRITERS)
def test_a_folder_may_have_any_name(tmp_path: Path, writer: str) -> None:
    """Letters that mean something in a URL are no more than letters in a path."""
    folder = tmp_path / 'run #1, 100%25 done? é'
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**WRITERS[writer])) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'w': jnp.arange(3)})
    (tmp_path / 'a').rename(folder)
    with objio.open(folder) as file:
        assert file['w'].tolist() == [0, 1, 2]


def test_typed_keys_come_back_as_keys(tmp_path: Path) -> None:
    """Of the implementation that Orbax notes; the data of keys loads into keys too."""
    keys = jax.random.split(jax.random.key(3, impl='rbg'), 4)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'keys': keys, 'data': jax.random.key_data(jax.random.key(7))})
    vc = objio.VarCollection.from_tree(
        {'keys': jax.random.split(jax.random.key(0, impl='rbg'), 4), 'data': jax.random.key(0)}
    )
    report = objio.load_var_collection(tmp_path / 'a', vc)
    assert set(report.converted) == {'data'}
    tree = vc.to_tree()
    np.testing.assert_array_equal(jax.random.key_data(tree['keys']), jax.random.key_data(keys))
    np.testing.assert_array_equal(jax.random.key_data(tree['data']), jax.random.key_data(jax.random.key(7)))


def test_the_steps_of_a_manager(tmp_path: Path) -> None:
    """A step with one item is opened as such; of several steps or items the error lists what there is."""
    with ocp.CheckpointManager(tmp_path / 'run') as manager:
        for step in (5, 10):
            manager.save(
                step, args=ocp.args.StandardSave({'w': jnp.full(3, float(step))}), custom_metadata={'note': step}
            )
    with objio.open(tmp_path / 'run' / '10') as saved:
        assert saved['w'].tolist() == [10, 10, 10]
    with pytest.raises(objio.FormatError, match='a folder of steps, 5, 10; open one of them'):
        objio.open(tmp_path / 'run')
    with ocp.CheckpointManager(tmp_path / 'two') as manager:
        items = {name: ocp.args.StandardSave({'w': jnp.ones(2)}) for name in ('params', 'state')}
        manager.save(1, args=ocp.args.Composite(**items))
    with pytest.raises(objio.FormatError, match='several items, params, state; open one of them'):
        objio.open(tmp_path / 'two' / '1')
    assert objio.open(tmp_path / 'two' / '1' / 'state')['w'].tolist() == [1, 1]


def test_orbax_checkpoints_load_onto_a_sharding_and_into_other_files(tmp_path: Path) -> None:
    """As any other file: placed, compared, converted, averaged."""
    array = np.arange(1 << 16, dtype='f4').reshape(256, 256)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'w': array})
        checkpointer.save(tmp_path / 'b', {'w': array * 3})
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ('a',)), PartitionSpec('a'))
    vc = objio.VarCollection.from_tree({'w': jax.ShapeDtypeStruct((256, 256), 'float32', sharding=sharding)})
    objio.load_var_collection(tmp_path / 'a', vc)
    assert vc['w'].value.sharding == sharding
    np.testing.assert_array_equal(vc['w'].value, array)
    np.testing.assert_array_equal(objio.average([tmp_path / 'a', tmp_path / 'b'])['w'], array * 2)
    objio.convert(tmp_path / 'a', tmp_path / 'a.npz')
    np.testing.assert_array_equal(objio.open(tmp_path / 'a.npz')['w'], array)
    with pytest.raises(objio.MismatchError, match='the shapes differ'):
        objio.load_var_collection(tmp_path / 'a', objio.VarCollection.from_tree({'w': jnp.zeros(3)}))


def test_what_is_missing_is_no_zeros(tmp_path: Path) -> None:
    """A chunk that is gone, a description that is cut, a save that was never finished: a FormatError that says so."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'w': np.ones(3), 'v': np.ones(2)})
    unfinished = (tmp_path / 'a').rename(tmp_path / 'a.orbax-checkpoint-tmp-1')
    with pytest.raises(objio.FormatError, match='never finished'):
        objio.open(unfinished)
    path = unfinished.rename(tmp_path / 'a')
    (path / 'w' / '0').unlink()
    with pytest.raises(objio.FormatError, match="'w'"):
        objio.open(path)['w']
    report = objio.verify(path)
    assert not report
    assert len(report.damaged) == 1
    (path / 'w' / '.zarray').write_text('{')
    with pytest.raises(objio.FormatError, match="'w'"):
        objio.open(path)
    for text in ('{', '[]', '{}', '{"tree_metadata": {"a": 3}}', '{"tree_metadata": []}'):
        (path / '_METADATA').write_text(text)
        with pytest.raises(objio.FormatError, match='_METADATA'):
            objio.open(path)


def test_without_tensorstore_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else works without it."""
    (tmp_path / '_METADATA').write_text('{"tree_metadata": {}}')
    monkeypatch.setitem(sys.modules, 'tensorstore', None)
    with pytest.raises(ImportError, match=r'pip install "objio\[interop\]"'):
        objio.open(tmp_path)


@pytest.mark.parametrize('writer', WRITERS)
def test_a_tree_that_is_one_array_loads(tmp_path: Path, writer: str) -> None:
    """Its name is empty, and its files have no folder of their own."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**WRITERS[writer])) as checkpointer:
        checkpointer.save(tmp_path / 'a', np.arange(3.0))
    with objio.open(tmp_path / 'a') as saved:
        assert list(saved) == ['']
        np.testing.assert_array_equal(saved[''], np.arange(3.0))


@pytest.mark.parametrize(
    ('file', 'change', 'words'),
    [
        ('_CHECKPOINT_METADATA', {'custom_metadata': 5}, 'custom_metadata'),
        ('_CHECKPOINT_METADATA', {'custom_metadata': 'x'}, 'custom_metadata'),
        ('w/.zarray', {'dtype': '|S8'}, "'w': expected numbers"),
        ('w/.zarray', {'shape': 5}, "'w': "),
    ],
)
def test_lies_are_a_format_error(tmp_path: Path, file: str, change: dict[str, Any], words: str) -> None:
    """What the descriptions say is checked, and the error says whose it is."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'w': np.arange(3.0)})
    path = tmp_path / 'a' / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(objio.FormatError, match=words):
        objio.open(tmp_path / 'a')


@pytest.mark.parametrize('key', ['..', '\0', '\ud800'])
def test_a_name_that_is_no_path_is_a_format_error(tmp_path: Path, key: str) -> None:
    """TensorStore refuses such paths, each in its own way."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(tmp_path / 'a', {'w': np.arange(3.0)})
    path = tmp_path / 'a' / '_METADATA'
    tree = json.loads(path.read_text())
    for leaf in tree['tree_metadata'].values():
        leaf['key_metadata'][0]['key'] = key
    path.write_text(json.dumps(tree))
    with pytest.raises(objio.FormatError, match='Use another copy'):
        objio.open(tmp_path / 'a')

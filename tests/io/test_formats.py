"""The verbs with safetensors and msgpack: what the suffix of a name chooses, with models and the real libraries."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.flax
from flax import serialization
from flax.training.train_state import TrainState
from support_verbs import bits, blank, same_objects, tree_vars

import objio

SUFFIXES = ['.safetensors', '.msgpack']


def state(seed: int = 0) -> TrainState:
    """A state of Flax with an optimizer that has empty places, a step that is an int, and bfloat16."""
    rng = np.random.default_rng(seed)
    params = {
        'Dense_0': {'kernel': jnp.asarray(rng.standard_normal((3, 5), np.float32)), 'bias': jnp.full(5, float(seed))},
        'head': jnp.asarray(rng.standard_normal(7), jnp.bfloat16),
    }
    tx = optax.chain(optax.clip(1.0), optax.adamw(1e-3), optax.identity())
    return TrainState.create(apply_fn=lambda x: x, params=params, tx=tx).replace(step=seed)


def all_bits(tree: Any) -> list[Any]:
    """Dtype, shape and bytes of every leaf."""
    return list(map(bits, jax.tree.leaves(tree)))


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('mmap', [False, True])
def test_a_state_comes_back(suffix: str, mmap: bool, tmp_path: Path) -> None:
    """A whole training state is saved in one line and restored in two, each leaf of its own kind."""
    objio.save_var_collection(tmp_path / f'x{suffix}', state(3))
    vc = objio.VarCollection.from_tree(state(4))
    report = objio.load_var_collection(tmp_path / f'x{suffix}', vc, mmap=mmap, allow_unused=False)
    assert all_bits(vc.to_tree()) == all_bits(state(3))
    assert type(vc.to_tree().step) is int
    assert report.unverified == report.matched
    assert 'unverified' in str(report)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_many_and_large_arrays_come_back(suffix: str, tmp_path: Path) -> None:
    """Thousands of small arrays among large ones, which threads read, of every size and order."""
    rng = np.random.default_rng(1)
    sizes = [rng.choice([1, 5, 16, 100, 5000]) for _ in range(1200)] + [400_000, 3, 300_001, 10_000_000]
    values = {f'w{index}': rng.standard_normal(size).astype('f4') for index, size in enumerate(sizes)}
    objio.save_var_collection(tmp_path / f'x{suffix}', tree_vars(values))
    for mmap in (False, True):
        vc = tree_vars({name: blank(value) for name, value in values.items()})
        objio.load_var_collection(tmp_path / f'x{suffix}', vc, mmap=mmap)
        assert all(np.array_equal(vc[name].value, value) for name, value in values.items())
        assert all(vc[name].value.flags.aligned for name in values)
    assert objio.average([tmp_path / f'x{suffix}'] * 2)['w7'].tolist() == values['w7'].tolist()


def test_safetensors_of_flax_reads_it_and_is_read(tmp_path: Path) -> None:
    """`safetensors.flax` gives and takes the same names and arrays as objio."""
    named = objio.VarCollection.from_tree({'params': state(2).params}).named_tensors()
    objio.save_var_collection(tmp_path / 'ours.safetensors', {'params': state(2).params}, metadata={'format': 'pt'})
    theirs = safetensors.flax.load_file(tmp_path / 'ours.safetensors')
    assert {name: bits(array) for name, array in theirs.items()} == {n: bits(array) for n, array in named.items()}
    safetensors.flax.save_file(dict(named), tmp_path / 'theirs.safetensors')
    vc = objio.VarCollection.from_tree({'params': state(1).params})
    objio.load_var_collection(tmp_path / 'theirs.safetensors', vc, allow_unused=False)
    assert all_bits(vc.to_tree()['params']) == all_bits(state(2).params)


def test_flax_reads_a_state_of_objio_and_is_read(tmp_path: Path) -> None:
    """`from_bytes` restores a state that objio saved, empty places included; objio restores one of `to_bytes`."""
    objio.save_var_collection(tmp_path / 'ours.msgpack', state(5))
    restored = serialization.from_bytes(state(1), (tmp_path / 'ours.msgpack').read_bytes())
    assert jax.tree.structure(restored.params) == jax.tree.structure(state(5).params)
    assert jax.tree.structure(restored.opt_state) == jax.tree.structure(state(5).opt_state)
    assert all_bits((restored.params, restored.opt_state)) == all_bits((state(5).params, state(5).opt_state))
    assert restored.step == 5
    (tmp_path / 'theirs.msgpack').write_bytes(serialization.to_bytes(state(5)))
    vc = objio.VarCollection.from_tree(state(1))
    objio.load_var_collection(tmp_path / 'theirs.msgpack', vc, allow_unused=False)
    assert all_bits(vc.to_tree()) == all_bits(state(5))


def test_a_tree_with_none_and_text_is_read_by_flax(tmp_path: Path) -> None:
    """What a tree has besides arrays stands in the file where Flax looks for it, under a scope too."""
    tree = {'a': jnp.ones(2), 'none': None, 'text': 'adam', 'deep': ({}, [None, jnp.zeros(1)]), 'f': (print,)}
    vc = objio.VarCollection.from_tree(tree, scope='run.')
    assert vc.rest() == {
        'run.none': None, 'run.text': 'adam', 'run.deep.0': {}, 'run.deep.1.0': None,
    }  # fmt: skip
    objio.save_var_collection(tmp_path / 'x.msgpack', vc)
    kept = {name: value for name, value in tree.items() if name != 'f'}
    restored = serialization.from_bytes({'run': kept}, (tmp_path / 'x.msgpack').read_bytes())
    assert jax.tree.structure(restored) == jax.tree.structure({'run': kept})
    with objio.open(tmp_path / 'x.msgpack') as saved:
        assert saved.metadata == {'run.none': None, 'run.text': 'adam', 'run.deep.1.0': None}
    assert objio.VarCollection().rest() == {}


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_what_a_format_lacks_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    """Ties, keys and metadata that cannot be kept are refused before anything is written."""
    path = tmp_path / f'x{suffix}'
    objio.save_var_collection(path, {'a': jnp.ones(3)})
    before = path.read_bytes()
    array = jnp.ones(3)
    for values, metadata, message in (
        ({'a': array, 'tied': array}, None, "'tied' of 'a'"),
        ({'a': array, 'k': jax.random.key(0)}, None, r"'k' \(key<threefry2x32>\)"),
        ({'a': array}, {'epoch': 7}, 'epoch'),
    ):
        with pytest.raises((objio.UnsaveableError, TypeError), match=message):
            objio.save_var_collection(path, values, metadata=metadata)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_the_words_of_keys_load_into_keys(suffix: str, tmp_path: Path) -> None:
    """What `jax.random.key_data` gives can be saved anywhere; a load puts it back into a key and says so."""
    key = jax.random.key(7)
    objio.save_var_collection(tmp_path / f'x{suffix}', {'k': jax.random.key_data(key)})
    vc = tree_vars({'k': jax.random.key(0)})
    report = objio.load_var_collection(tmp_path / f'x{suffix}', vc)
    assert bits(vc['k'].value) == bits(key)
    assert report.converted == {'k': 'uint32 -> key<threefry2x32> (key data, as keys)'}


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_damaged_file_changes_nothing(suffix: str, tmp_path: Path) -> None:
    """A file that is cut short is a FormatError with its name, and the model keeps its values."""
    path = tmp_path / f'x{suffix}'
    objio.save_var_collection(path, {'a': jnp.ones(300)})
    path.write_bytes(path.read_bytes()[:-1])
    vc = tree_vars({'a': jnp.zeros(300)})
    before = [variable.value for variable in vc]
    with pytest.raises(objio.FormatError, match=f'x{suffix}'):
        objio.load_var_collection(path, vc)
    assert same_objects(vc, before)
    assert not objio.verify(path)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_verify_promises_no_more_than_the_format_does(suffix: str, tmp_path: Path) -> None:
    """`verify` says that there are no checksums; a flipped bit in a number is not seen, and it does not claim so."""
    path = tmp_path / f'x{suffix}'
    objio.save_var_collection(path, {'a': jnp.ones(300)})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    report = objio.verify(path)
    assert report
    assert not report.checksums
    assert 'nothing wrong is seen, but the format has no checksums' in str(report)


def test_a_large_array_of_msgpack_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array in pieces is saved, loaded and averaged as any other, by Flax too."""
    from objio.formats import msgpack

    monkeypatch.setattr(msgpack, 'LARGEST', 1 << 20)
    array = np.random.default_rng(0).standard_normal(1_000_001)
    objio.save_var_collection(tmp_path / 'x.msgpack', {'a': {'b': array}, 'c': np.ones(3)})
    restored = serialization.msgpack_restore((tmp_path / 'x.msgpack').read_bytes())
    assert np.array_equal(restored['a']['b'], array)
    for mmap in (False, True):
        vc = objio.VarCollection.from_tree({'a': {'b': np.zeros(1_000_001)}, 'c': np.zeros(3)})
        objio.load_var_collection(tmp_path / 'x.msgpack', vc, mmap=mmap)
        assert np.array_equal(vc.to_tree()['a']['b'], array)
    assert np.array_equal(objio.average([tmp_path / 'x.msgpack'] * 2)['a.b'], array)

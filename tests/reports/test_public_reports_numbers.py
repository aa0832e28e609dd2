"""Public reports of numbers that came late or differently, and of metadata that was lost or forged."""

import datetime as dt
import enum
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support_reports import Line, tree_of

import objio

Linear = objio.nn.Linear


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The name of a file to be."""
    return tmp_path / 'x.npz'


@pytest.mark.parametrize(
    ('saved', 'wanted'),
    [
        (jnp.ones(1), jnp.zeros(1, 'bfloat16')),
        (jnp.ones(1, 'bfloat16'), jnp.zeros(1)),
        (np.ones(1), np.zeros(1, 'float32')),
        (np.ones(1, 'int64'), np.zeros(1, 'int32')),
        (jnp.ones(1, 'int4'), jnp.zeros(1, 'int8')),
        (np.ones(1, 'complex128'), np.zeros(1, 'complex64')),
    ],
)
def test_a_dtype_that_differs(file: Path, saved: Any, wanted: Any) -> None:
    """pytorch#187138: a load cast to the dtype of the model, unseen. It is an error; `cast=True` is told in the report."""
    objio.save_var_collection(file, {'w': saved})
    with pytest.raises(objio.MismatchError, match='the dtypes differ'):
        objio.load_var_collection(file, tree_of(w=wanted))
    report = objio.load_var_collection(file, tree_of(w=wanted), cast=True)
    assert report.converted['w'] == f'{saved.dtype} -> {wanted.dtype} (cast)'


@pytest.mark.parametrize(
    ('saved', 'wanted', 'why'),
    [
        (jnp.asarray([1e6]), jnp.zeros(1, 'float16'), 'the value 1000000.0 does not fit float16'),
        (np.array([1e39]), np.zeros(1, 'float32'), r'the value 1e\+39 does not fit float32'),
        (np.array([300]), np.zeros(1, 'int8'), 'the value 300 does not fit int8'),
        (np.array([-1]), np.zeros(1, 'uint32'), 'the value -1 does not fit uint32'),
        (np.array([5]), np.zeros(1), 'the dtypes differ'),
        (np.array([1.5]), np.zeros(1, 'int64'), 'the dtypes differ'),
        (np.array([1j]), np.zeros(1), 'the dtypes differ'),
        (np.array([2]), np.zeros(1, bool), 'the dtypes differ'),
    ],
)
def test_a_step_count_that_became_a_float(file: Path, saved: Any, wanted: Any, why: str) -> None:
    """tensorflow#20487: an int was read as a float, and 5 became 7e-45. What does not fit is refused, with cast too."""
    objio.save_var_collection(file, {'step': saved})
    vc = tree_of(step=wanted)
    with pytest.raises(objio.MismatchError, match=why):
        objio.load_var_collection(file, vc, cast=True)
    assert vc.to_tree()['step'] is wanted


def test_an_optimiser_of_more_precision_than_its_weights(file: Path) -> None:
    """pytorch#43706, fairscale#50: float32 moments of float16 weights were rounded at a load. Each keeps its dtype."""
    params = {'w': jnp.ones(2, 'bfloat16')}
    state = optax.adam(1e-3, mu_dtype=jnp.float32).init(params)
    state = jax.tree.map(lambda x: x + jnp.asarray(1 / 3, x.dtype) if x.dtype != 'int32' else x + 7, state)
    objio.save_var_collection(file, state)
    objio.load_var_collection(file, vc := objio.VarCollection.from_tree(jax.tree.map(jnp.zeros_like, state)))
    back = vc.to_tree()
    assert jax.tree.map(lambda x: (x.dtype, x.tolist()), back) == jax.tree.map(lambda x: (x.dtype, x.tolist()), state)


@pytest.mark.parametrize('dtype', ['float64', 'int64', 'uint64', 'complex128'])
def test_64_bits_where_jax_has_32(file: Path, dtype: str) -> None:
    """jax#1333: JAX makes 32 bits of 64. A load says so and refuses; NumPy's 64 bits stay as they are."""
    objio.save_var_collection(file, {'w': np.ones(1, dtype)})
    with pytest.raises(objio.MismatchError, match=f'JAX would narrow {dtype}; enable it with .*jax_enable_x64'):
        objio.load_var_collection(file, tree_of(w=jax.ShapeDtypeStruct((1,), np.dtype(dtype))))
    objio.load_var_collection(file, vc := tree_of(w=np.zeros(1, dtype)))
    assert vc.to_tree()['w'].dtype == dtype


@pytest.mark.parametrize('shape', [(1, 1), (1,), (), (0, 3), (1, 0)])
def test_shapes_of_one_number(file: Path, shape: tuple[int, ...]) -> None:
    """equinox#914: an array of shape (1, 1) came back with shape (1,). Each comes back as it was."""
    objio.save_var_collection(file, {'w': jnp.ones(shape)})
    objio.load_var_collection(file, vc := tree_of(w=jnp.zeros(shape)))
    assert vc.to_tree()['w'].shape == shape


SETTINGS: list[Any] = [
    lambda x: x,
    dt.date(2020, 1, 1),
    Path('a'),
    np.float32(1),
    np.ones(1),
    {1},
    (1, 2),
    {1: 2},
    math.nan,
    enum.Enum('E', 'A').A,  # type: ignore[attr-defined]
    b'x',
]


@pytest.mark.parametrize('value', SETTINGS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize('nested', [False, True])
def test_settings_that_json_does_not_give_back(tmp_path: Path, value: Any, nested: bool) -> None:
    """octo#77, gate-decorator#15: after 80 epochs the settings could not be saved. A Saver refuses them at its start."""
    with pytest.raises(TypeError, match=r"config\['a'\]"):
        objio.Saver(Linear(1, 1), {'a': {'b': [value]} if nested else value}, root=tmp_path / 'runs')
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('value', SETTINGS, ids=lambda value: type(value).__name__)
def test_metadata_that_json_does_not_give_back(file: Path, value: Any) -> None:
    """loudml#456: saving failed when the training was done. Metadata is refused before anything is written."""
    with pytest.raises(TypeError, match=r"metadata\['a'\]"):
        objio.save_var_collection(file, {'w': 1.0}, metadata={'a': value})
    assert not file.exists()


@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
def test_metadata_that_is_carried_on(tmp_path: Path, suffix: str) -> None:
    """safetensors#549, #147: metadata was gone after a load and a save. `open` gives it, and `convert` carries it on."""
    first, second = tmp_path / f'a.{suffix}', tmp_path / f'b.{suffix}'
    objio.save_var_collection(first, {'w': np.ones(1, 'float32')}, metadata={'format': 'pt', 'epoch': '3'})
    with objio.open(first) as saved:
        objio.save_var_collection(second, dict(saved), metadata=saved.metadata)
    for target in second, tmp_path / 'c.npz', tmp_path / 'd.safetensors':
        if not target.exists():
            objio.convert(second, target)
        with objio.open(target) as saved:
            assert saved.metadata == {'format': 'pt', 'epoch': '3'}
    with pytest.raises(TypeError, match='msgpack has no place for metadata, and this would be lost'):
        objio.convert(second, tmp_path / 'e.msgpack')


@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
def test_metadata_alone(tmp_path: Path, suffix: str) -> None:
    """safetensors#466: a file of metadata alone could not be read. It is written, with a warning in the log, and read."""
    file = tmp_path / f'x.{suffix}'
    objio.save_var_collection(file, {}, metadata={'key': 'value'})
    with objio.open(file) as saved:
        assert (len(saved), saved.metadata) == (0, {'key': 'value'})


@pytest.mark.parametrize('key', ['objio.metrics', 'objio.config', 'objio.weak', 'objio.', 'objio.mine'])
def test_metadata_under_the_names_of_the_library(tmp_path: Path, key: str) -> None:
    """mlflow#514: tags of users and of the library had one namespace. Keys that start with `objio.` are refused."""
    ckpt, model = objio.Checkpoint(tmp_path), Line(tmp_path / 'm')
    saver = objio.Saver(Linear(1, 1), run='a', root=tmp_path / 'runs')
    saves: list[Any] = [
        lambda **options: objio.save_var_collection(tmp_path / 'x.npz', {'w': 1.0}, **options),
        lambda **options: ckpt.save({'w': 1.0}, 1, metrics={'loss': 0.5}, **options),
        model.save,
        lambda **options: model.checkpoint().save(model, 1, **options),
        saver.save,
    ]
    for save in saves:
        with pytest.raises(ValueError, match='reserved; choose another'):
            save(metadata={key: {'loss': 0.0}})
        save(metadata={f'my.{key}': 1, key.removesuffix('.').replace('.', '_'): 2, 'metrics': 3})
    saver.close()
    with objio.open(tmp_path / 'ckpt/0000000001.npz') as saved:
        assert (saved.metadata['objio.metrics'], saved.metadata['metrics']) == ({'loss': 0.5}, 3)


def test_metadata_of_a_save_is_that_of_the_call(tmp_path: Path) -> None:
    """optuna#2912: values of one name replaced each other. What the caller changes later is not in the save."""
    notes = {'tags': ['a']}
    with objio.Checkpoint(tmp_path, background=True) as ckpt:
        ckpt.save({'w': np.ones(1 << 18)}, 1, metadata=notes)
        notes['tags'].append('b')
    with objio.open(tmp_path / 'ckpt/0000000001.npz') as saved:
        assert saved.metadata == {'tags': ['a']}


@pytest.mark.parametrize('name', ['time', 'session'])
def test_a_metric_under_a_name_of_the_library(tmp_path: Path, name: str) -> None:
    """open_clip#613: two meanings of `step` in one log. The names that each line has are refused for metrics."""
    with objio.Saver(Linear(1, 1), run='a', root=tmp_path) as saver:
        with pytest.raises(ValueError, match=name):
            saver.log(step=1, **{name: 1.0})
        saver.log(step=1, train_time=1.0)
    assert objio.runs(tmp_path)['a'].metrics == {'train_time': {1: 1.0}}


def test_metrics_of_an_earlier_step(tmp_path: Path) -> None:
    """wandb#3890, #10628: metrics of a step below the last were dropped. They are kept, under the step they are given."""
    with objio.Saver(Linear(1, 1), run='a', root=tmp_path) as saver:
        for step, loss in (5, 0.5), (3, 0.3), (4, 0.4):
            saver.log(step=step, loss=loss)
        saver.log(step=3, accuracy=0.9)
    metrics = objio.runs(tmp_path)['a'].metrics
    assert metrics == {'loss': {3: 0.3, 4: 0.4, 5: 0.5}, 'accuracy': {3: 0.9}}


def test_settings_under_names_of_the_library(tmp_path: Path) -> None:
    """mlflow#7400: settings of the library stood among those of the user. Where a name means two things, objio asks which."""
    for loss in 1, 2:
        config = {'state': 'new', 'loss': loss, 'run': 'x', 'objio.config': 3}
        with objio.Saver(Linear(1, 1), config, run=f'l{loss}', root=tmp_path) as saver:
            saver.log(step=1, loss=3.0 - loss)
    runs = objio.runs(tmp_path)
    assert runs['l1'].settings == {'state': 'new', 'loss': 1, 'run': 'x', 'objio.config': 3}
    with pytest.raises(ValueError, match="may be the state of a run or its setting 'state'"):
        runs.filter(state='new')
    with pytest.raises(ValueError, match="'loss' is the name of a metric and of a setting"):
        runs.sort('loss')
    assert [run.name for run in runs.sort(lambda run: run.last['loss'])] == ['l2', 'l1']
    assert [run.name for run in runs.filter(loss=2, run='x')] == ['l2']


def test_an_array_that_is_called_metadata(tmp_path: Path) -> None:
    """safetensors keeps its metadata under a name that an array may have: it is refused there, and goes as npz."""
    with pytest.raises(objio.UnsaveableError, match="'__metadata__' is the name of the metadata in safetensors"):
        objio.save_var_collection(tmp_path / 'x.safetensors', {'__metadata__': np.ones(1), 'w': np.ones(1)})
    objio.save_var_collection(tmp_path / 'x.npz', {'__metadata__': np.ones(1), 'objio.json': np.ones(2)})
    with objio.open(tmp_path / 'x.npz') as saved:
        assert sorted(saved) == ['__metadata__', 'objio.json']

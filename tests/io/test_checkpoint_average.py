"""The mean of several saves of a folder, loaded into a model."""

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_checkpoint import cut, fill, flip, model, names, value_of, with_functions

import objio


def test_the_mean_of_the_last_saves_is_loaded(tmp_path: Path) -> None:
    """`average` loads the mean of the newest, of chosen or of all saves, and tells which; integers are the newest's."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 3, 10)
    vc = model()
    assert ckpt.average(vc, last=2) == [3, 10]
    assert (vc['w'].value[0, 0], vc['step'].value) == (6.5, 10)
    assert ckpt.average(vc, idxs=[3, 1]) == [1, 3]
    assert (vc['w'].value[0, 0], vc['step'].value) == (2, 3)
    assert ckpt.average(vc) == [1, 2, 3, 10]
    assert vc['w'].value[0, 0] == 4
    assert ckpt.average(vc, last=9) == [1, 2, 3, 10]
    assert ckpt.average(vc, idxs=[10, 2], weights=[3, 1]) == [2, 10]
    assert vc['w'].value[0, 0] == 8
    assert ckpt.average(vc, last=2, weights=[1, 0]) == [3, 10]
    assert (vc['w'].value[0, 0], vc['step'].value) == (3, 10)


def test_means_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """No saves, missing or damaged ones, an index twice, both choices: one clear error each, the model unchanged."""
    ckpt = objio.Checkpoint(tmp_path)
    vc = model(7)
    with pytest.raises(FileNotFoundError, match='no save in'):
        ckpt.average(vc)
    fill(ckpt, 1, 2, 3)
    for arguments, error, words in [
        ({'idxs': [1, 9]}, FileNotFoundError, 'no save 9 .* there are 1, 2, 3'),
        ({'idxs': []}, FileNotFoundError, 'no save'),
        ({'idxs': [1, 1]}, ValueError, 'once'),
        ({'idxs': [1.0]}, TypeError, 'idxs'),
        ({'idxs': [1], 'last': 1}, TypeError, 'not both'),
        ({'last': 0}, ValueError, 'last'),
        ({'weights': [1]}, ValueError, '3 weights'),
        ({'idxs': [1], 'weights': [1, 2]}, ValueError, '1 weights'),
        ({'idxs': [1, 2], 'weights': {1: 2, 2: 1}}, TypeError, 'a list of numbers'),
    ]:
        with pytest.raises(error, match=words):
            ckpt.average(vc, **arguments)
    flip(tmp_path / 'ckpt' / '0000000003.npz')
    with pytest.raises(objio.FormatError, match='0000000003'):
        ckpt.average(vc)
    cut(tmp_path / 'ckpt' / '0000000002.npz')
    with pytest.raises(objio.FormatError, match='0000000002.*is damaged'):
        ckpt.average(vc, idxs=[1, 2])
    ckpt.save({'other': 1.0}, idx=4)
    with pytest.raises(objio.MismatchError):
        ckpt.average(vc, idxs=[1, 4])
    assert value_of(vc) == 7


def of_every_kind(value: float) -> objio.VarCollection:
    """Variables of many dtypes, in JAX, NumPy and Python, that hold `value`, and a key made of it."""
    return objio.VarCollection.from_tree(
        {
            'f32': jnp.full(3, value, jnp.float32),
            'bf16': jnp.full((2, 2), value, jnp.bfloat16),
            'f16': np.full(2, value, 'float16'),
            'f64': np.full(2, float(value)),
            'c64': np.full(2, value * (1 + 2j), 'complex64'),
            'fp8': np.full(2, value).astype(ml_dtypes.float8_e4m3fn),
            'scalar': float(value),
            'zero_d': jnp.float32(value),
            'int': np.full(2, int(value)),
            'flag': bool(value > 1),
            'key': jax.random.key(int(value)),
        }
    )


def test_a_mean_through_a_function_is_the_mean_of_the_files(tmp_path: Path) -> None:
    """With a loading function of one's own the mean is that of what it loads, in the dtypes of the saves."""

    def load(file: str, vc: objio.VarCollection) -> None:
        objio.load_var_collection(file, vc)

    own = objio.Checkpoint(tmp_path)
    for idx, value in enumerate([1.0, 2.5, 4.0], start=1):
        own.save(of_every_kind(value), idx=idx)
    through = with_functions(objio.save_var_collection, load)(tmp_path)
    for weights in (None, [1, 2, 5]):
        one, two = of_every_kind(0), of_every_kind(0)
        assert own.average(one, weights=weights) == through.average(two, weights=weights) == [1, 2, 3]
        for name, value in one.named_tensors().items():
            other = two[name].value
            assert type(value) is type(other)
            if name == 'key':
                assert (jax.random.key_data(value) == jax.random.key_data(other)).all()
            else:
                assert np.asarray(value).dtype == np.asarray(other).dtype
                np.testing.assert_array_equal(np.asarray(value), np.asarray(other))


@pytest.mark.parametrize('through_a_function', [False, True])
def test_what_has_no_weight_has_no_say(tmp_path: Path, through_a_function: bool) -> None:
    """A save of weight 0 adds nothing, not even an infinity; an infinity in one part of a complex number stays there."""

    def load(file: str, vc: objio.VarCollection) -> None:
        objio.load_var_collection(file, vc)

    kind = with_functions(objio.save_var_collection, load) if through_a_function else objio.Checkpoint
    ckpt = kind(tmp_path)
    vc = objio.VarCollection.from_tree({'x': np.float32([np.inf]), 'c': np.complex64([complex(np.inf, 0)])})
    ckpt.save(vc, idx=1)
    ckpt.save({'x': np.float32([3]), 'c': np.complex64([complex(np.inf, 2)])}, idx=2)
    ckpt.average(vc, weights=[0, 1])
    assert vc['x'].value[0] == 3
    ckpt.average(vc, weights=[1, 1])
    assert vc['c'].value[0] == complex(np.inf, 1)


def test_a_mean_through_a_function_is_all_or_nothing(tmp_path: Path) -> None:
    """Where the function raises at the last save, all variables have the values of before."""

    def load(file: str, vc: objio.VarCollection) -> None:
        objio.load_var_collection(file, vc)
        if file.endswith('2.npz'):
            raise EOFError

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    fill(ckpt, 1, 2)
    vc = model(7)
    with pytest.raises(EOFError):
        ckpt.average(vc)
    assert value_of(vc) == 7


@given(values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5))
def test_a_mean_is_the_mean(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    """The mean of float32 saves is NumPy's mean in double precision, to float32's rounding of the sum."""
    folder = tmp_path_factory.mktemp('mean')
    ckpt = objio.Checkpoint(folder, keep_ckpts=None, durable=False, verbose=False)
    for idx, value in enumerate(values):
        ckpt.save({'x': np.float32([value])}, idx=idx)
    vc = objio.VarCollection.from_tree({'x': np.zeros(1, 'float32')})
    assert ckpt.average(vc) == list(range(len(values)))
    np.testing.assert_allclose(vc['x'].value[0], np.mean(np.float64(values)), rtol=1e-5, atol=1e-3)
    assert names(folder / 'ckpt')

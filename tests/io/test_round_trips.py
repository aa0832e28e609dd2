"""What is saved comes back bit for bit, whatever it is called, holds, or is written to."""

import io
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_verbs import (
    IMPLS,
    JAX_LABELS,
    LABELS,
    Pipe,
    array_of,
    bits,
    blank,
    held,
    keys_of,
    laid_out,
    names,
    same_objects,
    saved,
    tree_vars,
    values,
    x64,
)

import objio
from objio.variables import TreeVar

LAYOUTS = ['plain', 'fortran', 'strided', 'reversed', 'big-endian', 'unaligned', 'read-only']


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a test."""
    return tmp_path_factory.mktemp('files')


def check_round_trip(vc: objio.VarCollection, path: Path) -> None:
    """Saves, and finds every bit again by load, open, plan and np.load."""
    before = held(vc)
    expected = {name: bits(variable.value) for name, variable in vc.items()}
    data = saved(lambda file: objio.save_var_collection(file, vc, durable=False), path)
    assert same_objects(vc, before)
    assert {name: bits(variable.value) for name, variable in vc.items()} == expected
    for file in [path / 'saved.npz', io.BytesIO(data)]:
        into = tree_vars({name: blank(variable.value) for name, variable in vc.items()})
        report = objio.load_var_collection(file, into)
        assert {name: bits(variable.value) for name, variable in into.items()} == expected
        assert [type(new) for new in held(into)] == [type(variable.value) for variable in vc.values()]
        assert report.matched == tuple(into.keys())
        assert str(report) == f'{len(vc)} variables loaded'  # nothing renamed, missing, unused, converted, unverified
        with objio.open(file) as opened:
            assert set(opened) == set(expected)
            for name, (_, shape, content) in expected.items():
                assert opened.shapes[name] == shape[: len(opened.shapes[name])]
                assert bits(opened[name])[2] == content
    with np.load(path / 'saved.npz') as arrays:
        members = {unquote(member): arrays[member] for member in arrays.files if member != 'objio.json'}
    for name, (_, shape, content) in expected.items():
        member = members[opened.aliases.get(name, name)]
        assert (member.shape, member.tobytes()) == (shape, content)


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_saved_comes_back(data: st.DataObject, folder: Path) -> None:
    """Any values under any names, JAX's, NumPy's and Python's, come back bit for bit and of their own kinds."""
    with x64():
        vc = tree_vars(data.draw(st.dictionaries(names(), values(), max_size=4)))
        for alias, name in data.draw(st.lists(st.tuples(names(), st.sampled_from([*vc.keys(), '']))), label='aliases'):
            if name and alias not in vc:
                tie = data.draw(st.sampled_from(['variable', 'reference', 'array']))
                variable = vc[name].ref if isinstance(vc[name], objio.TrainRef) else vc[name]
                vc[alias] = {
                    'variable': variable,
                    'reference': objio.TrainRef(variable),
                    'array': TreeVar(variable.value),
                }[tie]
        check_round_trip_of_ties(vc, folder)


def check_round_trip_of_ties(vc: objio.VarCollection, folder: Path) -> None:
    """A round trip into variables of their own, where every alias must bring its array along."""
    flat = objio.VarCollection({name: TreeVar(variable.value) for name, variable in vc.items()})
    expected = {name: bits(variable.value) for name, variable in vc.items()}
    check_round_trip(flat, folder)
    path = folder / 'ties.npz'
    objio.save_var_collection(path, vc, durable=False)
    into = tree_vars({name: blank(variable.value) for name, variable in vc.items()})
    objio.load_var_collection(path, into)
    assert {name: bits(variable.value) for name, variable in into.items()} == expected
    assert len({id(value) for value in held(into) if isinstance(value, np.ndarray | jax.Array)}) == sum(
        isinstance(value, np.ndarray | jax.Array) for value in held(into)
    )


@pytest.mark.parametrize(
    ('label', 'kind'),
    [(label, kind) for label in LABELS for kind in ['jax', *LAYOUTS] if kind != 'jax' or label in JAX_LABELS],
)
def test_every_dtype_and_layout(label: str, kind: str, tmp_path: Path) -> None:
    """All bit patterns of each dtype survive, from the device and from every layout in memory."""
    array = array_of(label, (16, 16), bytes(range(256)) * 16)
    with x64():
        check_round_trip(tree_vars({'w': jax.device_put(array) if kind == 'jax' else laid_out(array, kind)}), tmp_path)


def test_one_bit_that_jax_computed(tmp_path: Path) -> None:
    """JAX hands computed int1 out as bool; in the file it is the number that it was."""
    # JAX 0.10 takes the program that makes int1 for the one that makes bool: of this shape nobody else needs one.
    shape = (1, 41)
    computed = {'w': jnp.full(shape, -1, ml_dtypes.int1), 'z': jnp.zeros(shape, ml_dtypes.int1)}
    check_round_trip(tree_vars(computed), tmp_path)
    with np.load(tmp_path / 'saved.npz') as arrays:
        assert (arrays['w'].tolist(), arrays['z'].tolist()) == ([[-1] * 41], [[0] * 41])


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('shape', [(), (3,), (2, 0), (2, 2)])
def test_typed_keys_of_every_implementation(impl: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Keys come back as keys of their implementation, and as their words without JAX."""
    check_round_trip(tree_vars({'keys': keys_of(impl, shape, bytes(range(80)))}), tmp_path)
    with objio.open(tmp_path / 'saved.npz') as opened:
        assert opened.dtypes['keys'] == f'key<{impl}>'
        assert opened.shapes['keys'] == shape


@pytest.mark.parametrize('number', [True, -1, 2**63, 2**64 - 1, -(2**63), -0.0, float('nan'), 5e-324, 1e400, -1j])
def test_python_numbers_stay_python_numbers(number: complex, tmp_path: Path) -> None:
    """A Python number comes back as one, with its sign and all its digits, though 64-bit numbers of JAX are off."""
    check_round_trip(tree_vars({'n': number}), tmp_path)


@pytest.mark.parametrize('label', ['float64', 'int64', 'uint64', 'complex128'])
def test_numpy_keeps_64_bits_while_jax_has_32(label: str, tmp_path: Path) -> None:
    """NumPy arrays and scalars of 64 bits stay what they are where JAX would narrow them."""
    array = array_of(label, (4,), bytes(range(64)))
    check_round_trip(tree_vars({'array': array, 'scalar': array[1]}), tmp_path)


def test_equal_collections_make_equal_bytes(folder: Path) -> None:
    """Names, arrays, sharing and metadata decide the bytes; the memory that holds the arrays does not."""

    def data(**of: Any) -> bytes:
        return saved(lambda file: objio.save_var_collection(file, tree_vars(of), metadata={'a': [1]}), folder)

    array = np.arange(6, dtype='float32').reshape(2, 3)
    plain = data(w=array, s=np.float32(1))
    for other in [np.asfortranarray(array), array.astype('>f4'), jnp.asarray(array), array[::-1][::-1]]:
        assert data(w=other, s=jnp.float32(1)) == plain
    assert data(s=np.float32(1), w=array) != plain
    assert data(w=array + 1, s=np.float32(1)) != plain


def test_a_file_object_is_written_from_its_start() -> None:
    """What a file object at position 0 held is replaced, and nothing of it stays behind."""
    file = io.BytesIO(b'x' * 100_000)
    objio.save_var_collection(file, tree_vars({'w': np.ones(3)}))
    into = tree_vars({'w': np.zeros(3)})
    objio.load_var_collection(file, into)
    np.testing.assert_array_equal(into['w'].value, np.ones(3))
    with objio.open(io.BytesIO(file.getvalue())) as opened:
        assert list(opened) == ['w']


def test_a_pipe_is_read_to_its_end() -> None:
    """A file object that cannot seek can be loaded from."""
    pipe = Pipe()
    objio.save_var_collection(pipe, tree_vars({'w': np.ones(3)}))

    class Incoming(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with objio.open(Incoming(bytes(pipe.data))) as opened:
        np.testing.assert_array_equal(opened['w'], np.ones(3))

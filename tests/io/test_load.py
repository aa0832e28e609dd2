"""Loading: all of it or nothing, and a report of what was done."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import Pipe, held, same_objects, tree_vars

import objio
from objio import MismatchError, Renamer, StateVar, TrainRef, TrainVar, VarCollection


class Foreign:
    """A variable of another library, which may refuse its second value after it took it."""

    def __init__(self, value: Any, *, refuses: bool = False) -> None:
        self.value = value
        self.refuses = refuses

    def assign(self, tensor: Any) -> None:
        self.value = tensor
        if self.refuses:
            raise ValueError('not mine')


def file_of(arrays: dict[str, Any]) -> io.BytesIO:
    """A file of some arrays."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars(arrays))
    return file


def model() -> VarCollection:
    """Four variables of different kinds."""
    return tree_vars({'a': jnp.zeros(2), 'b': np.zeros(3), 'c': jnp.int32(0), 'd': 0.0})


GOOD = {'a': np.ones(2, 'f4'), 'b': np.ones(3), 'c': np.int32(1), 'd': 1.0}


def test_a_file_that_fits_is_loaded() -> None:
    """Every variable gets the array of its name; the report says so in one line."""
    vc = model()
    report = objio.load_var_collection(file_of(GOOD), vc)
    assert [np.ravel(value).tolist() for value in vc.tensors()] == [[1, 1], [1, 1, 1], [1], [1]]
    assert report == objio.LoadReport(('a', 'b', 'c', 'd'), {}, (), (), {}, ())
    assert str(report) == '4 variables loaded'


MISMATCHES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    'missing': ({'b': None}, {}, 'b .* float64 .3,.* not in the file'),
    'unused': ({'e': 1.0}, {'allow_unused': False}, 'e .* float64 .. .* not in the model'),
    'shape': ({'a': np.ones(3, 'f4')}, {}, r'a +float32 \(3,\) +float32 \(2,\) +the shapes differ'),
    'rank': ({'a': np.ones((1, 2), 'f4')}, {'cast': True}, 'the shapes differ'),
    'dtype': ({'a': np.ones(2, 'f8')}, {}, r'float64 \(2,\) +float32 \(2,\) +the dtypes differ; cast=True converts'),
    'kind': ({'b': np.ones(3, 'i4')}, {'cast': True}, 'int32 .* float64 .* the dtypes differ'),
    'value': ({'c': np.int64(2**40)}, {'cast': True}, f'the value {2**40} does not fit int32'),
    'number': ({'c': 2**40}, {}, f'the value {2**40} does not fit int32'),
}


@pytest.mark.parametrize('case', MISMATCHES)
def test_a_mismatch_leaves_every_variable_as_it_was(case: str) -> None:
    """The error is a table that names the variable and both sides; every variable holds the very object it held."""
    changes, options, words = MISMATCHES[case]
    vc = model()
    before = held(vc)
    arrays = {name: value for name, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file_of(arrays), vc, **options)
    assert re.search(words, str(info.value))
    assert same_objects(vc, before)


def test_the_table_lists_every_difference_and_the_likely_renames() -> None:
    """One error tells all: both sides of each difference, and what to do about it."""
    vc = tree_vars({'w': jnp.zeros((2, 3)), 'b': jnp.zeros(3), 'n': jnp.zeros(1), 'ok': 0})
    file = file_of({'weight': np.ones((2, 3), 'f4'), 'b': np.ones(4, 'f4'), 'n': np.ones(1, 'f2'), 'ok': 1, 'x': 2})
    file.name = 'net.npz'  # type: ignore[attr-defined]
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file, vc)
    assert (
        str(info.value)
        == """\
net.npz does not fit the model; nothing was assigned.
  name         in the file     in the model
  b            float32 (4,)    float32 (3,)    the shapes differ
  n            float16 (1,)    float32 (1,)    the dtypes differ; cast=True converts
  weight -> w  float32 (2, 3)  float32 (2, 3)  likely renamed
  x            int64 ()        -               not in the model
1 likely rename. To do it, load with the .renamer of plan_load(...), or with
  renamer = objio.Renamer({'weight': 'w'})
Ways out: renamer= maps names; only=/skip= leave variables out; cast=True converts dtypes."""
    )


def test_the_likely_rename_does_what_it_says() -> None:
    """The renamer of the message loads the file, also where another renamer was given already."""
    vc = tree_vars({'net.w': jnp.zeros(2), 'net.b': jnp.zeros(3)})
    file = file_of({'model.weight': np.ones(2, 'f4'), 'model.b': np.ones(3, 'f4')})
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file, vc, {'model.': 'net.'})
    found = re.search(r'renamer = (objio.Renamer.*)', str(info.value))
    assert found
    renamer = eval(found[1], {'objio': objio, 'renamer': {'model.': 'net.'}})
    objio.load_var_collection(file, vc, renamer)
    assert [value.sum() for value in vc.tensors()] == [2, 3]


def test_values_that_do_not_fit_are_listed_together() -> None:
    """Differences that only the values show come in one table too."""
    vc = tree_vars({'a': jnp.zeros(2, 'int8'), 'b': jnp.zeros(1), 'c': jnp.zeros(2, 'uint8')})
    file = file_of({'a': np.array([1, 300]), 'b': np.ones(1, 'f4'), 'c': np.array([-1, 5])})
    before = held(vc)
    with pytest.raises(MismatchError, match=r'(?s)a .*the value 300 does not fit int8\n.*c .*-1 does not fit uint8'):
        objio.load_var_collection(file, vc, cast=True)
    assert same_objects(vc, before)


def test_a_number_of_64_bits_is_not_narrowed() -> None:
    """A 64-bit array for a device where JAX would narrow it is refused before it is read, with the cure."""
    vc = tree_vars({'a': jnp.zeros(2), 'w': jax.ShapeDtypeStruct((2,), np.float64)})
    before = held(vc)
    file = file_of({'a': np.ones(2, 'f4'), 'w': np.ones(2)})
    with pytest.raises(MismatchError, match=r'JAX would narrow float64; enable it with .*jax_enable_x64'):
        objio.load_var_collection(file, vc)
    assert same_objects(vc, before)
    assert 'narrow' in str(objio.plan_load(file, vc))


def test_damage_that_is_found_late_changes_nothing(tmp_path: Path) -> None:
    """A flipped bit in the last array is found before the first is assigned; `verify=False` does not look."""
    vc = tree_vars({'a': jnp.zeros(100_000), 'b': np.zeros(100_000)})
    objio.save_var_collection(tmp_path / 'x.npz', tree_vars({'a': np.ones(100_000, 'f4'), 'b': np.ones(100_000)}))
    data = bytearray((tmp_path / 'x.npz').read_bytes())
    data[-10_000] ^= 1
    (tmp_path / 'x.npz').write_bytes(data)
    before = held(vc)
    for mmap in [False, True]:
        with pytest.raises(objio.FormatError, match=r"x\.npz: 'b'"):
            objio.load_var_collection(tmp_path / 'x.npz', vc, mmap=mmap)
        assert same_objects(vc, before)
    report = objio.load_var_collection(tmp_path / 'x.npz', vc, verify=False)
    assert report.unverified == ('a', 'b')
    assert '2 unverified: a, b' in str(report)
    assert float(vc['a'].value.sum()) == 100_000


@pytest.mark.parametrize('where', [0, 1, 2])
def test_a_variable_that_refuses_its_value_changes_nothing(where: int) -> None:
    """Where an `assign` of another library raises, all variables have their old values again."""
    vc = VarCollection({name: Foreign(np.zeros(2), refuses=name == 'abc'[where]) for name in 'abc'})
    before = held(vc)
    with pytest.raises(ValueError, match='not mine'):
        objio.load_var_collection(file_of({name: np.ones(2) for name in 'abc'}), vc)
    assert same_objects(vc, before)


def test_missing_variables_may_keep_their_values() -> None:
    """`allow_missing=True` loads the rest and reports what was missing."""
    vc = model()
    before = held(vc)
    report = objio.load_var_collection(file_of({'b': np.ones(3), 'other': 1}), vc, allow_missing=True)
    assert report.matched == ('b',)
    assert report.missing == ('a', 'c', 'd')
    assert report.unused == ('other',)
    assert str(report) == '1 variables loaded\n3 missing: a, c, d\n1 unused: other'
    assert [new is old for new, old in zip(held(vc), before, strict=True)] == [True, False, True, True]


def test_an_array_that_the_model_lacks_is_ignored_but_reported() -> None:
    """An alias counts as used where its array is."""
    w = TrainVar(jnp.ones(2))
    file = io.BytesIO()
    objio.save_var_collection(file, VarCollection({'w': w, 'tied': w, 'x': StateVar(0)}))
    report = objio.load_var_collection(file, VarCollection({'tied': TrainVar(jnp.zeros(2))}))
    assert report.unused == ('x',)
    assert report.matched == ('tied',)


@pytest.mark.parametrize(
    'renamer',
    [
        {'old.': 'new.'},
        [(r'^old\.', 'new.')],
        [(re.compile('^old'), 'new')],
        lambda name: name.replace('old', 'new'),
        Renamer({'old': 'mid'}, Renamer({'mid': 'new'})),
        {'old.w': 'new.w', 'old.b': 'new.b'},
    ],
)
def test_a_renamer_maps_the_names_of_the_file(renamer: Any) -> None:
    """A dict, pairs, a callable or a Renamer; the report says what was renamed."""
    vc = tree_vars({'new.w': jnp.zeros(2), 'new.b': 0.0})
    file = file_of({'old.w': np.ones(2, 'f4'), 'old.b': 1.0})
    report = objio.load_var_collection(file, vc, renamer)
    assert report.renamed == {'old.w': 'new.w', 'old.b': 'new.b'}
    assert '2 renamed: old.w: new.w, old.b: new.b' in str(report)
    assert vc['new.b'].value == 1


def test_two_names_that_become_one_are_an_error() -> None:
    """A renamer that maps two names to one loads neither."""
    vc = tree_vars({'w': jnp.zeros(2)})
    before = held(vc)
    file = file_of({'a': np.ones(2, 'f4'), 'b': np.zeros(2, 'f4')})
    with pytest.raises(ValueError, match=r"both 'a' and 'b' the name 'w'"):
        objio.load_var_collection(file, vc, lambda name: 'w')
    with pytest.raises(TypeError, match='expected a str'):
        objio.load_var_collection(file, vc, lambda name: None)  # type: ignore[arg-type,return-value]
    assert same_objects(vc, before)


def test_an_alias_brings_its_array_into_a_variable_of_its_own() -> None:
    """Tied in the file, untied in the model: each variable gets an array of its own."""
    w = TrainVar(jnp.arange(1 << 12, dtype=jnp.float32))
    file = io.BytesIO()
    objio.save_var_collection(file, VarCollection({'emb': w, 'head': w}))
    for kind in [jnp.zeros, np.zeros]:
        vc = tree_vars({'emb': kind(1 << 12, 'float32'), 'head': kind(1 << 12, 'float32')})
        objio.load_var_collection(file, vc)
        one, other = held(vc)
        np.testing.assert_array_equal(one, w.value)
        np.testing.assert_array_equal(other, w.value)
        assert not np.shares_memory(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize('name', ['emb', 'head'])
def test_a_tied_variable_takes_whichever_name_the_file_has(name: str) -> None:
    """One variable of several names is not missing as long as the file has one of them."""
    w = TrainVar(jnp.zeros(2))
    vc = VarCollection({'emb': w, 'head': w, 'ref': TrainRef(w)})
    report = objio.load_var_collection(file_of({name: np.ones(2, 'f4')}), vc)
    assert report.matched == ('emb',)
    assert w.value.tolist() == [1, 1]


def test_several_arrays_for_a_tied_variable_must_be_equal_in_every_bit() -> None:
    """Untied in the file, tied in the model: equal arrays are one, different ones an error that names both."""
    w = TrainVar(jnp.zeros(2))
    vc = VarCollection({'emb': w, 'head': TrainRef(w)})
    nan = np.array([np.nan, -0.0], 'f4')
    objio.load_var_collection(file_of({'emb': nan, 'head': nan.copy()}), vc)
    before = held(vc)
    for other in [np.array([np.nan, 0.0], 'f4'), -nan]:
        with pytest.raises(MismatchError, match="'emb' and 'head' are one variable .* only= or skip="):
            objio.load_var_collection(file_of({'emb': nan, 'head': other}), vc)
    with pytest.raises(MismatchError, match='float16'):
        objio.load_var_collection(file_of({'emb': nan, 'head': nan.astype('f2')}), vc)
    assert same_objects(vc, before)
    objio.load_var_collection(file_of({'emb': nan, 'head': np.ones(2, 'f4')}), vc, only='head')
    assert w.value.tolist() == [1, 1]


BAD_FILES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    'nowhere': (lambda path: path / 'nowhere.npz', FileNotFoundError, 'nowhere.npz'),
    'a folder': (lambda path: path, IsADirectoryError, 'directory'),
    'text mode': (lambda path: io.StringIO('x'), TypeError, 'text mode'),
    'no file': (lambda path: 3, TypeError, 'expected a path'),
    'write only': (lambda path: Pipe(), TypeError, 'not open to read|cannot|can read'),
    'empty': (lambda path: io.BytesIO(), objio.FormatError, 'empty'),
    'junk': (lambda path: io.BytesIO(b'junk' * 100), objio.FormatError, 'junk'),
    'pickle': (lambda path: io.BytesIO(b'\x80\x05K\x01.'), objio.FormatError, 'pickle'),
}


@pytest.mark.parametrize('kind', BAD_FILES)
def test_a_bad_file_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    """Each has an error of its own kind, the model stays, and no file is left open."""
    make, error, words = BAD_FILES[kind]
    vc = model()
    before, count = held(vc), len(os.listdir('/dev/fd')) if os.path.isdir('/dev/fd') else 0
    for verb in [objio.load_var_collection, objio.plan_load]:
        with pytest.raises(error, match=words):
            verb(make(tmp_path), vc)
    assert same_objects(vc, before)
    assert not count or len(os.listdir('/dev/fd')) == count


def test_every_truncation_is_damage(tmp_path: Path) -> None:
    """A file cut short at any byte is a FormatError, and the model stays."""
    data = file_of(GOOD).getvalue()
    vc = model()
    before = held(vc)
    for size in range(0, len(data), 7):
        with pytest.raises(objio.FormatError):
            objio.load_var_collection(io.BytesIO(data[:size]), vc)
    assert same_objects(vc, before)


@pytest.mark.parametrize('subject', [objio.nn.Linear, {'w': jnp.zeros(2)}, 'x.npz', None, [TrainVar(jnp.zeros(2))]])
def test_what_cannot_be_loaded_into_is_refused(subject: Any) -> None:
    """A class, a tree of plain arrays, nothing: a TypeError that says what to pass instead."""
    with pytest.raises(TypeError, match=r'from_tree\(tree\)|make an instance'):
        objio.load_var_collection(file_of({'w': np.ones(2)}), subject)


def test_a_load_inside_jit_is_refused() -> None:
    """Under `pure` the variables hold tracers, which no file can fill; the error names one."""
    net = objio.nn.Linear(2, 1)
    file = file_of({name: np.asarray(value) for name, value in net.vars().named_tensors().items()})
    step = objio.pure(lambda: objio.load_var_collection(file, net) and 0, net.vars())
    with pytest.raises(objio.UnsaveableError, match=r'\(Linear\)\.b.*outside of jit'):
        jax.jit(step)(net.vars().named_tensors())


def test_values_that_no_file_holds_matter_only_where_they_are_loaded() -> None:
    """A variable that holds what no file can is an error by name, unless it takes no part."""
    vc = tree_vars({'a': jnp.zeros(2), 'bad': np.array(['x'])})
    with pytest.raises(objio.UnsaveableError, match='^bad: '):
        objio.load_var_collection(file_of({'a': np.ones(2, 'f4')}), vc)
    objio.load_var_collection(file_of({'a': np.ones(2, 'f4')}), vc, skip='bad')


def test_modules_and_mappings_can_be_loaded_into() -> None:
    """A module, its collection, and a mapping of variables of another library."""
    net = objio.nn.Linear(2, 1)
    arrays = {name: np.asarray(value) + 1 for name, value in net.vars().named_tensors().items()}
    for vc in [net, net.vars(), dict(net.vars().items())]:
        objio.load_var_collection(file_of(arrays), vc)
    np.testing.assert_array_equal(net.w.value, arrays['(Linear).w'])
    foreign = {name: Foreign(np.zeros_like(value)) for name, value in arrays.items()}
    objio.load_var_collection(file_of(arrays), foreign)
    np.testing.assert_array_equal(foreign['(Linear).w'].value, arrays['(Linear).w'])


def test_a_reference_is_loaded_through() -> None:
    """A TrainRef of a name that the file has fills its variable."""
    w = TrainVar(jnp.zeros(2))
    report = objio.load_var_collection(file_of({'ref': np.ones(2, 'f4')}), VarCollection({'ref': TrainRef(w)}))
    assert (report.matched, w.value.tolist()) == (('ref',), [1, 1])

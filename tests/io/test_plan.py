"""Plans: what a load would do, as a table to read and a thing to apply."""

import difflib
import io
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import held, same_objects, tree_vars

import objio
from objio import MismatchError


def file_of(arrays: dict[str, Any]) -> io.BytesIO:
    """A file of some arrays."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars(arrays))
    return file


def test_a_plan_is_a_table_of_both_sides() -> None:
    """Matched, converted, differing, missing and unused names, each with what the file and the model have."""
    vc = tree_vars({'ok': jnp.zeros(2), 'step': jnp.int32(0), 'shape': jnp.zeros(2), 'new': jnp.zeros((2, 2))})
    before = held(vc)
    plan = objio.plan_load(
        file_of({'ok': np.ones(2, 'f4'), 'step': 7, 'shape': np.ones(3, 'f4'), 'x': np.ones((4, 4))}), vc
    )
    assert (
        str(plan)
        == """\
  name   in the file     in the model
  ok     float32 (2,)    float32 (2,)
  step   int64 ()        int32 ()        a 0-d array of the same kind
  shape  float32 (3,)    float32 (2,)    the shapes differ
  new    -               float32 (2, 2)  not in the file
  x      float64 (4, 4)  -               not in the model"""
    )
    assert same_objects(vc, before)
    assert [match.name for match in plan.matches] == ['ok', 'step']
    assert [row.name for row in plan.problems] == ['shape', 'new', 'x']
    assert ([wanted.name for wanted in plan.missing], plan.unused) == (['new'], ('x',))


def test_a_plan_is_applied_all_or_nothing() -> None:
    """`apply` does what `load_var_collection` does: it raises the same error, or returns the same report."""
    file, vc = file_of({'w': np.ones(2, 'f4'), 'x': 1}), tree_vars({'w': jnp.zeros(2), 'b': 0})
    before = held(vc)
    plan = objio.plan_load(file, vc)
    errors = []
    for load in [plan.check, plan.apply, lambda: objio.load_var_collection(file, vc)]:
        with pytest.raises(MismatchError) as info:
            load()
        errors.append(str(info.value))
    assert len(set(errors)) == 1
    assert same_objects(vc, before)
    plan = objio.plan_load(file, vc, allow_missing=True)
    plan.check()
    assert same_objects(vc, before)
    assert plan.apply() == objio.load_var_collection(file, vc, allow_missing=True)
    assert vc['w'].value.tolist() == [1, 1]


def test_a_plan_keeps_every_option() -> None:
    """What was planned is what is applied: renamer, choice, casts and checks."""
    file = file_of({'old.w': np.ones(2, 'f8'), 'old.b': np.ones(3), 'c': 1})
    vc = tree_vars({'w': jnp.zeros(2), 'b': jnp.zeros(2), 'd': 1.5})
    plan = objio.plan_load(
        file,
        vc,
        {'old.': ''},
        only=iter(['w', 'd', 'b']),
        skip=iter(['b']),
        allow_missing=True,
        cast=True,
        mmap=True,
        verify=False,
    )
    report = plan.apply()
    assert report.matched == ('w',)
    assert report.renamed == {'old.w': 'w'}
    assert report.missing == ('d',)
    assert report.converted == {'w': 'float64 -> float32 (cast)'}
    assert report.unverified == ('w',)


def test_a_plan_looks_at_names_alone(tmp_path: Path) -> None:
    """A plan reads no array, so damage in one shows when the plan is applied."""
    path = tmp_path / 'x.npz'
    objio.save_var_collection(path, {'w': np.ones(100_000)})
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    vc = tree_vars({'w': np.zeros(100_000)})
    plan = objio.plan_load(path, vc)
    before = held(vc)
    with pytest.raises(objio.FormatError, match='checksum'):
        plan.apply()
    assert same_objects(vc, before)


def test_a_plan_is_made_anew_when_it_is_applied(tmp_path: Path) -> None:
    """If file or model changed since, the plan does not load by the old table."""
    path = tmp_path / 'x.npz'
    objio.save_var_collection(path, {'w': np.ones(2)})
    vc = tree_vars({'w': np.zeros(2)})
    plan = objio.plan_load(path, vc)
    objio.save_var_collection(path, {'w': np.ones(3)})
    with pytest.raises(MismatchError, match='the shapes differ'):
        plan.apply()


@pytest.mark.parametrize(
    ('saved', 'wanted', 'guesses'),
    [
        ({'weight': (2, 3)}, {'w': (2, 3)}, {'weight': 'w'}),
        ({'weight': (3, 2)}, {'w': (2, 3)}, {}),
        ({'a.enc.w': (2,), 'a.dec.w': (2,)}, {'b.dec.w': (2,), 'b.enc.w': (2,)}, {'a.enc.w': 'b.enc.w', 'a.dec.w': 'b.dec.w'}),
        ({'apple': (2,), 'pear': (2,)}, {'xyz': (2,)}, {}),
    ],
)  # fmt: skip
def test_likely_renames(saved: dict[str, Any], wanted: dict[str, Any], guesses: dict[str, str]) -> None:
    """Same shape and dtype, and alone with them or alike in their letters; nothing else is guessed."""
    file = file_of({name: np.zeros(shape, 'f4') for name, shape in saved.items()})
    plan = objio.plan_load(file, tree_vars({name: jnp.zeros(shape) for name, shape in wanted.items()}))
    assert plan.guesses == guesses
    assert all(f'is it {old!r} there?' in str(plan) for old in guesses)


def test_guesses_are_names_in_the_file() -> None:
    """Also behind a renamer, a guess maps the name in the file."""
    vc = tree_vars({'net.w': jnp.zeros(2)})
    plan = objio.plan_load(file_of({'model.weight': np.ones(2, 'f4')}), vc, {'model': 'net'})
    assert plan.guesses == {'model.weight': 'net.w'}
    assert plan.unused == ('model.weight',)
    assert objio.load_var_collection(file_of({'model.weight': np.ones(2, 'f4')}), vc, plan.guesses).matched


def test_thousands_of_strange_names_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another model altogether does not make the error wait for guesses, nor spell all of them out."""
    compared = []

    def counted(word: str, possibilities: list[str], **options: Any) -> list[str]:
        compared.append(len(possibilities))
        return get_close_matches(word, possibilities, **options)

    get_close_matches = difflib.get_close_matches
    monkeypatch.setattr(difflib, 'get_close_matches', counted)
    indices = [(number, size) for number in range(30) for size in range(100)]
    saved = {f'block{number}.layer{size}': np.zeros(size, 'f4') for number, size in indices}
    wanted = {f'stage.{number}.part.{size}': np.zeros(size, 'f4') for number, size in indices}
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file_of(saved), tree_vars(wanted))
    assert 0 < sum(compared) <= 10_000
    assert str(info.value).count('not in the file') == 3000
    many = {f'w{size}': np.zeros(size, 'f4') for size in range(20)}
    with pytest.raises(MismatchError, match=r'plan_load, with the same arguments, has the likely renames'):
        objio.load_var_collection(file_of(many), tree_vars({f'x{value.size}': value for value in many.values()}))


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    """A misspelt option is refused by name."""
    with pytest.raises(TypeError, match='allow_mising'):
        objio.plan_load(file_of({}), tree_vars({}), allow_mising=True)  # type: ignore[call-arg]


def test_long_lists_of_a_report_are_cut() -> None:
    """A report's text shows five names and counts the rest; its fields have all."""
    vc = tree_vars({f'v{index}': index for index in range(9)})
    report = objio.load_var_collection(file_of({'v0': 1}), vc, allow_missing=True)
    assert str(report) == '1 variables loaded\n8 missing: v1, v2, v3, v4, v5, … 3 more'
    assert len(report.missing) == 8

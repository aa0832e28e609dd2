"""Plans: what a load would do, as a table to read and a thing to apply."""

import io
import tracemalloc
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
    file = file_of({'ok': np.ones(2, 'f4'), 'step': 7, 'shape': np.ones(3, 'f4'), 'x': np.ones((4, 4))})
    file.name = 'net.npz'  # type: ignore[attr-defined]
    plan = objio.plan_load(file, vc)
    assert (
        str(plan)
        == """\
net.npz: 2 taken from the file, 1 different, 1 not in the file, 1 not in the model
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


def test_a_thousand_names_that_match_do_not_drown_three_problems() -> None:
    """Of many lines that say nothing new a plan shows three and counts the rest; problems are shown one by one."""
    arrays: dict[str, Any] = {f'layer{i}.w': np.ones(i % 7 + 1, 'f4') for i in range(1000)}
    vc = tree_vars({**{name: jnp.zeros(array.shape) for name, array in arrays.items()}, 'a': 0, 'b': jnp.zeros(99)})
    arrays['layer500.w'] = np.ones(100, 'f4')
    lines = str(objio.plan_load(file_of(arrays | {'old': np.ones(50)}), vc)).splitlines()
    assert lines[0].endswith(': 999 taken from the file, 1 different, 2 not in the file, 1 not in the model')
    assert lines[5] == '  … 996 more that match as they are'
    assert [line.split()[0] for line in lines[6:]] == ['layer500.w', 'a', 'b', 'old']
    others = {f'other{i}': np.ones((i + 1, 2)) for i in range(1000)}
    many = str(objio.plan_load(file_of(others), vc)).splitlines()
    assert '  … 997 more that are not in the model' in many
    assert sum('not in the file' in line for line in many[1:]) == 1002
    few = str(objio.plan_load(file_of(others), vc, allow_missing=True)).splitlines()
    assert '  … 999 more that are not in the file' in few
    renamed = str(objio.plan_load(file_of({f'net.{name}': array for name, array in arrays.items()}), vc)).splitlines()
    assert '  … 996 more that are likely renamed' in renamed
    assert renamed[-1] == r"  renamer = objio.Renamer([(r'^(?!net\.layer500\.w$)net\.', '')])"


def test_renamed_and_converted_names_are_told_apart() -> None:
    """A name that the renamer changes is shown as 'old -> new', also where it does not fit."""
    vc = tree_vars({'new.a': jnp.zeros(2), 'new.b': jnp.zeros(2), 'new.c': jnp.zeros(2)})
    arrays = {'old.a': np.ones(2, 'f4'), 'old.b': np.ones(2, 'f8'), 'old.c': np.ones(3, 'f4')}
    rows = str(objio.plan_load(file_of(arrays), vc, {'old': 'new'}, cast=True)).splitlines()[2:]
    assert [' '.join(row.split()) for row in rows] == [
        'old.a -> new.a float32 (2,) float32 (2,) renamed',
        'old.b -> new.b float64 (2,) float32 (2,) cast',
        'old.c -> new.c float32 (3,) float32 (2,) the shapes differ',
    ]


def test_arrays_that_nobody_wants_do_not_drown_an_error() -> None:
    """An error lists each variable that is missing, and of many arrays that are left over only the first."""
    vc = tree_vars({'w': jnp.zeros(2), 'b': jnp.zeros(3)})
    arrays = {f'adam.{i}': np.ones(5) for i in range(300)}
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file_of(arrays), vc)
    assert len(str(info.value).splitlines()) == 9
    assert '… 297 more that are not in the model' in str(info.value)
    with pytest.raises(MismatchError) as info:
        objio.load_var_collection(file_of(arrays), vc, allow_unused=False)
    assert str(info.value).count('not in the model') == 300


def test_names_of_thousands_of_numbers_take_no_memory(tmp_path: Path) -> None:
    """Likely renames are guessed for names such as people give; the message shows both ends of a longer one."""
    name = 'a1' * 2000
    objio.save_var_collection(tmp_path / 'a.npz', {name + 'b' * i: np.ones(3) for i in range(50)})
    vc = objio.VarCollection.from_tree({'b': np.ones(3), **{f'w{i}': np.ones(3) for i in range(300)}})
    tracemalloc.start()
    with pytest.raises(objio.MismatchError) as info:
        objio.load_var_collection(tmp_path / 'a.npz', vc, allow_unused=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    assert len(str(info.value)) < 200_000
    assert 'a1a1…a1a1' in str(info.value)

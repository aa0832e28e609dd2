"""Names and variables: which name is a variable's own, what is assigned where, and what is refused."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objio.variables import (
    BaseState,
    Group,
    RandomState,
    Renamer,
    StateVar,
    TrainRef,
    TrainVar,
    TreeVar,
    VarCollection,
    pure,
)


class Foreign:
    """What another library calls a variable: a value, and an assign that refuses negative numbers."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def assign(self, tensor: Any) -> None:
        if (np.asarray(tensor) < 0).any():
            raise RuntimeError('negative')
        self.value = tensor


def weights(*shape: int) -> TrainVar:
    """A variable of zeros."""
    return TrainVar(jnp.zeros(shape))


def test_it_maps_names_to_variables() -> None:
    """`len`, `in`, `keys`, `values`, `items` and `[]` go by name, in the order of adding; a dict can be made of it."""
    a, b = weights(1), weights(2)
    vc = VarCollection([('b', b), ('a', a)])
    vc['tied'] = b
    assert len(vc) == 3
    assert ('b' in vc, 'c' in vc, 3 in vc) == (True, False, False)
    assert list(vc.keys()) == ['b', 'a', 'tied']
    assert [v is w for v, w in zip(vc.values(), [b, a, b], strict=True)] == [True] * 3
    assert [name for name, _ in vc.items()] == ['b', 'a', 'tied']
    assert vc['tied'] is b
    assert dict(vc).keys() == {**vc}.keys() == {'b', 'a', 'tied'}
    with pytest.raises(KeyError, match='c'):
        vc['c']


def test_iteration_gives_each_variable_once() -> None:
    """Also one with several names, or with references before and after it."""
    a, b = weights(1), weights(2)
    vc = VarCollection({'ref': TrainRef(a), 'b': b, 'a': a, 'a2': a, 'ref2': TrainRef(a)})
    assert [v is w for v, w in zip(vc, [b, a], strict=True)] == [True, True]


def test_a_canonical_name_is_where_the_variable_itself_stands() -> None:
    """The first such name; only without one, the first name of a reference; the order is the collection's."""
    a, b, c = weights(1), weights(2), weights(3)
    vc = VarCollection(
        [('r', TrainRef(a)), ('s', TrainRef(b)), ('c', c), ('a', a), ('a2', a), ('s2', TrainRef(TrainRef(b)))]
    )
    assert vc.groups() == [Group('s', ('s', 's2'), b), Group('c', ('c',), c), Group('a', ('r', 'a', 'a2'), a)]
    assert [group.var is v for group, v in zip(vc.groups(), [b, c, a], strict=True)] == [True] * 3
    assert list(vc.named_tensors()) == ['s', 'c', 'a']
    assert [t.shape for t in vc.tensors()] == [(2,), (3,), (1,)]


def test_what_is_held_is_what_the_groups_hold() -> None:
    """`held` gives the groups with their values: of plain variables, ties, references and others' variables."""
    a, b, foreign = weights(1), weights(2), Foreign(jnp.zeros(3))
    for variables in [
        {'a': a, 'b': b},
        {'a': a, 'tied': a, 'b': b},
        {'r': TrainRef(b), 'a': a},
        {'f': foreign, 'a': a},
    ]:
        vc = VarCollection(variables)
        held = list(vc.held())
        assert [Group(name, names, var) for name, names, var, _ in held] == vc.groups()
        assert all(value is var.value for _, _, var, value in held)


def test_values_laid_over_variables_are_held() -> None:
    """Inside of `pure` a collection holds what the function was given."""
    vc = VarCollection({'a': weights(1), 'b': weights(2)})
    seen = []
    pure(lambda: seen.extend(value for *_, value in vc.held()), vc)(vc.named_tensors() | {'a': jnp.full(1, 7.0)})
    assert [float(value[0]) for value in seen] == [7.0, float(vc['b'].value[0])]


def test_an_object_with_a_ref_stands_for_what_it_refers_to() -> None:
    """Another library's reference does too."""

    class ForeignRef:
        def __init__(self, ref: Any) -> None:
            self.ref = ref

        value = property(lambda self: self.ref.value)

        def assign(self, tensor: Any) -> None:
            self.ref.assign(tensor)

    var = Foreign(jnp.zeros(2))
    vc = VarCollection({'ref': ForeignRef(var), 'var': var})
    assert vc.groups() == [Group('var', ('ref', 'var'), var)]
    vc.assign({'var': jnp.ones(2)})
    assert float(var.value.sum()) == 2


def test_a_conflict_changes_nothing() -> None:
    """A name that stands for another variable is refused, compared by identity, and nothing is added."""
    a, same_values = weights(2), weights(2)
    vc = VarCollection({'a': a})
    vc['a'] = a
    for add in [
        lambda: vc.update({'new': weights(1), 'a': same_values}),
        lambda: vc.update([('x', a), ('x', same_values)]),
        lambda: vc + VarCollection({'a': same_values}),
        lambda: vc.__setitem__('a', same_values),
    ]:
        with pytest.raises(ValueError, match=r"stand for other variables already: '[ax]'; .*scope"):
            add()
        assert list(vc.keys()) == ['a']
    assert list((vc + VarCollection({'a': a, 'b': same_values})).keys()) == ['a', 'b']
    assert list(vc.keys()) == ['a']


@pytest.mark.parametrize('wrong', [{'a': jnp.zeros(3)}, {3: weights(1)}, {'a': None}, [('a', StateVar)]])
def test_only_names_and_variables_are_taken(wrong: Any) -> None:
    """Anything else is an error that shows it and says what takes arrays."""
    with pytest.raises(TypeError, match=r'expected names and variables, found .* VarCollection.from_tree takes arrays'):
        VarCollection(wrong)


def test_another_collection_is_read_by_its_items_alone() -> None:
    """Objax's collections are dicts whose iteration gives variables; that is no hindrance."""

    class Objaxlike(dict[str, Any]):
        def __iter__(self) -> Any:
            return iter(self.values())

    a = Foreign(np.zeros(1))
    assert list(VarCollection(Objaxlike({'a': a, 'b': a})).keys()) == ['a', 'b']


def test_subsets_look_at_the_variable() -> None:
    """Types are asked of the variable, not of the reference; the canonical names stay; filters can be combined."""
    w, s, r = weights(1), StateVar(0), RandomState(0)
    vc = VarCollection({'ref': TrainRef(w), 's': s, 'r': r, 'ref2': TrainRef(s)})
    for is_a, is_not, names in [
        (TrainVar, None, ['ref']),
        (None, TrainVar, ['s', 'r', 'ref2']),
        (BaseState, RandomState, ['s', 'ref2']),
        ((TrainVar, RandomState), None, ['ref', 'r']),
        (None, None, ['ref', 's', 'r', 'ref2']),
    ]:
        subset = vc.subset(is_a, is_not)
        assert list(subset.keys()) == names
        assert subset.named_tensors().keys() == vc.named_tensors(is_a, is_not).keys()
    assert len(vc.tensors(BaseState)) == 2
    assert list(vc.named_tensors(is_not=(TrainVar, RandomState))) == ['s']


def test_what_a_gradient_needs_goes_back_by_subset() -> None:
    """What is trained and what is not is all there is, and each part goes back alone."""
    w, s = weights(2), StateVar(0)
    vc = VarCollection({'w': w, 's': s})
    params, state = vc.named_tensors(TrainVar), vc.named_tensors(is_not=TrainVar)
    assert (params | state).keys() == vc.named_tensors().keys()
    vc.subset(TrainVar).assign({'w': params['w'] + 1})
    assert (float(w.sum()), int(s)) == (2, 0)


def test_assign_takes_a_list_or_a_dict() -> None:
    """A list goes by order, a dict by name whatever its order; a variable with many names is assigned once."""
    a, b = weights(2), weights(2)
    vc = VarCollection({'ref': TrainRef(a), 'b': b, 'a': a})
    vc.assign([jnp.full(2, 1.0), jnp.full(2, 2.0)])
    assert (float(b[0]), float(a[0])) == (1, 2)
    vc.assign({'a': jnp.full(2, 3.0), 'b': StateVar(np.full(2, 4.0, 'f4'))})
    assert (float(b[0]), float(a[0])) == (4, 3)
    vc.assign(vc.tensors())
    vc.assign(tuple(vc.tensors()))


@pytest.mark.parametrize(
    ('tensors', 'message'),
    [
        ({'a': 1}, "assign: expected the 2 names of named_tensors(); missing: 'b'"),
        ({'a': 1, 'b': 2, 'c': 3}, "assign: expected the 2 names of named_tensors(); unknown: 'c'"),
        (
            {'ref': 1, 'B': 2},
            (
                "assign: expected the 2 names of named_tensors(); missing: 'b', 'a'; "
                "unknown: 'ref' (another name of 'a'), 'B'"
            ),
        ),
        ([1], 'assign: expected 2 values, one for each variable, found 1'),
        ([1, 2, 3], 'assign: expected 2 values, one for each variable, found 3'),
    ],
)
def test_names_must_be_whole(tensors: Any, message: str) -> None:
    """Missing and unknown names are refused, and so is a list of another length; the text is whole."""
    a = StateVar(0)
    vc = VarCollection({'ref': TrainRef(a), 'b': StateVar(0), 'a': a})
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        vc.assign(tensors)
    assert [int(v) for v in vc] == [0, 0]


@pytest.mark.parametrize('tensors', [3, 'ab', jnp.zeros((2, 0)), VarCollection()])
def test_only_lists_and_dicts_are_assigned(tensors: Any) -> None:
    """An array is no list of arrays, nor is a str or a collection."""
    vc = VarCollection({'a': StateVar(0), 'b': StateVar(0)})
    with pytest.raises(TypeError, match='assign'):
        vc.assign(tensors)


@pytest.mark.parametrize('wrong', [jnp.zeros(3), jnp.zeros(2, 'int32'), None])
def test_assign_is_all_or_nothing(wrong: Any) -> None:
    """Every shape and dtype is checked before anything is assigned, and the error names the variable."""
    vc = VarCollection({name: weights(2) for name in 'abc'})
    before = vc.tensors()
    with pytest.raises((ValueError, TypeError), match=r'^b: cannot assign .*: the variable holds float32\[2\]'):
        vc.assign({'a': jnp.ones(2), 'b': wrong, 'c': jnp.ones(2)})
    assert all(old is new for old, new in zip(before, vc.tensors(), strict=True))


def test_a_failure_of_a_foreign_assign_is_undone() -> None:
    """Where a variable of another library refuses its value, those before it get theirs back."""
    a, b, c = weights(2), Foreign(jnp.zeros(2)), weights(2)
    vc = VarCollection({'a': a, 'b': b, 'c': c})
    before = vc.tensors()
    with pytest.raises(RuntimeError, match='negative'):
        vc.assign([jnp.ones(2), -jnp.ones(2), jnp.ones(2)])
    assert all(old is new for old, new in zip(before, vc.tensors(), strict=True))
    vc.assign([jnp.ones(2)] * 3)
    assert [float(np.sum(v.value)) for v in vc] == [2, 2, 2]


@pytest.mark.parametrize(('half_done', 'calls'), [(True, 2), (False, 1)])
def test_the_first_error_is_the_one_to_see(half_done: bool, calls: int) -> None:
    """A variable that raises at every assign, its value changed or not, hides neither its error nor the others'."""

    class Stubborn(Foreign):
        calls = 0

        def assign(self, tensor: Any) -> None:
            self.calls += 1
            if half_done:
                self.value = tensor
            raise RuntimeError(f'call {self.calls}')

    a, b = weights(2), Stubborn(jnp.zeros(2))
    with pytest.raises(RuntimeError, match='call 1'):
        VarCollection({'a': a, 'b': b}).assign([jnp.ones(2)] * 2)
    assert (float(a.sum()), b.calls) == (0, calls)


def test_a_foreign_check_is_left_out_where_it_can_be() -> None:
    """Objax's own assign checks with what JAX no longer has; `check=False` goes around it."""

    class Objaxlike(Foreign):
        def assign(self, tensor: Any, check: bool = True) -> None:
            if check:
                raise AttributeError('jax.sharding.PmapSharding')
            self.value = tensor

    vc = VarCollection({'a': Objaxlike(jnp.zeros(2))})
    with pytest.raises(ValueError, match='a: cannot assign'):
        vc.assign([jnp.zeros(3)])
    vc.assign([jnp.ones(2)])
    assert float(vc['a'].value.sum()) == 2


def test_a_variable_without_an_array_is_shown() -> None:
    """What another library, or `check=False`, left in a variable is named instead of hidden."""
    vc = VarCollection({'a': Foreign(None), 'b': Foreign('text')})
    assert str(vc).splitlines()[1:] == [
        'a     no array  NoneType',
        'b     no array  str',
        '2 variables, 0 numbers, 0.00 MiB',
    ]
    with pytest.raises(TypeError, match=r'^a: cannot assign float32\[2\]: the variable holds a NoneType, no array$'):
        vc.assign([jnp.zeros(2), jnp.zeros(2)])


def test_renaming_keeps_variables_and_order() -> None:
    """A new collection with the same variables; two names that become one are refused."""
    a, b = weights(1), weights(2)
    vc = VarCollection({'(Net).a': a, '(Net).b': b})
    for renamer in [{'(Net)': 'net'}, Renamer({'(Net)': 'net'}), lambda name: name.replace('(Net)', 'net')]:
        new = vc.rename(renamer)
        assert list(new.keys()) == ['net.a', 'net.b']
        assert new['net.a'] is a
    with pytest.raises(
        ValueError, match="gives both '(Net).a' and '(Net).b' the name 'x'".replace('(', r'\(').replace(')', r'\)')
    ):
        vc.rename(lambda name: 'x')
    assert list(vc.keys()) == ['(Net).a', '(Net).b']


def test_the_table_shows_everything() -> None:
    """Names, shapes, dtypes, sizes in MiB, ties, unsaved leaves and totals, each number once."""
    w = TrainVar(jnp.zeros((512, 1024)))
    vc = VarCollection(
        {'(Net).first.w': w, 'ref': TrainRef(w), 'key': RandomState(0), 'int4': TrainVar(jnp.zeros(3, 'int4'))}
    )
    vc += VarCollection.from_tree({'n': 3, 'kind': 'adam', 'abstract': jax.ShapeDtypeStruct((2,), 'bfloat16')})
    vc['also'] = vc['a name longer than any shape'] = StateVar(0)
    assert str(vc).splitlines() == [
        'name                          shape        dtype              MiB',
        '(Net).first.w                 (512, 1024)  float32            2.00',
        'ref                           = (Net).first.w',
        'key                           ()           key<threefry2x32>  0.00',
        'int4                          (3,)         int4               0.00',
        'abstract                      (2,)         bfloat16           0.00',
        'n                             ()           Python int         0.00',
        'also                          ()           int32              0.00',
        'a name longer than any shape  = also',
        '6 variables under 8 names, 524,296 numbers, 2.00 MiB',
        "not saved, part of the tree only: 'kind': 'adam'",
    ]
    assert str(VarCollection()) == 'name  shape  dtype  MiB\n0 variables, 0 numbers, 0.00 MiB'
    assert str(VarCollection({'a': StateVar(0)})).splitlines()[-1] == '1 variable, 1 numbers, 0.00 MiB'


def test_a_donated_array_does_not_hinder_the_table() -> None:
    """The shape and dtype of a deleted array are known."""
    vc = VarCollection({'w': weights(3)})
    vc['w'].value.delete()
    assert 'w     (3,)   float32  0.00' in str(vc)
    assert repr(vc) == "objio.VarCollection({'w': objio.TrainVar(float32[3], deleted)})"


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12))
def test_every_name_belongs_to_one_group(plan: list[tuple[int, bool]]) -> None:
    """However names and references lie, the groups hold every name once, and their order is the collection's."""
    variables = [TreeVar(i) for i in range(5)]
    vc = VarCollection(
        (f'n{place}', TrainRef(variables[i]) if by_reference else variables[i])
        for place, (i, by_reference) in enumerate(plan)
    )
    groups = vc.groups()
    assert sorted(name for group in groups for name in group.names) == sorted(vc.keys())
    assert len({id(group.var) for group in groups}) == len(groups) == len({i for i, _ in plan})
    places = {name: place for place, name in enumerate(vc.keys())}
    assert [places[g.name] for g in groups] == sorted(places[g.name] for g in groups)
    for group in groups:
        own = [name for name in group.names if vc[name] is group.var]
        assert group.name == (own or list(group.names))[0]
        assert list(group.names) == sorted(group.names, key=places.get)  # type: ignore[arg-type]
    vc.assign({group.name: group.var.value + 10 for group in groups})
    assert [var.value for var in variables] == [i + 10 * any(i == used for used, _ in plan) for i in range(5)]

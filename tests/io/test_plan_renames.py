"""Likely renames: guessed where they are unambiguous, printed as a Renamer that does exactly them, never done unasked."""

import io
import re
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_renames import draw
from support_verbs import tree_vars

import objio
from objio import MismatchError
from objio.io import guesses as guessing
from objio.io.guesses import guess
from objio.io.likeness import likeness, template
from objio.io.rewriting import rewrite
from objio.io.rules import Rule


def file_of(arrays: dict[str, Any]) -> io.BytesIO:
    """A file of some arrays."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars(arrays))
    return file


def plan_of(saved: dict[str, Any], wanted: dict[str, Any], renamer: Any = None, **options: Any) -> Any:
    """The plan to load arrays of these shapes into variables of those."""
    file = file_of({name: np.ones(shape, 'f4') for name, shape in saved.items()})
    return objio.plan_load(
        file, tree_vars({name: np.zeros(shape, 'f4') for name, shape in wanted.items()}), renamer, **options
    )


def printed(plan: Any, **names: Any) -> Any:
    """The renamer that a plan prints, made by running what it prints."""
    code = str(plan).partition('  renamer = ')[2]
    return eval(code, {'objio': objio, **names})


@pytest.mark.parametrize('seed', range(100))
def test_moved_names_are_found(seed: int) -> None:
    """30 of 120 names moved, 2 shapes changed, 3 missing: all moved names are guessed, and none wrongly."""
    moved = draw(seed)
    unused = {name: shape for name, shape in moved.saved.items() if name not in moved.wanted}
    missing = {name: shape for name, shape in moved.wanted.items() if name not in moved.saved}
    assert len(moved.truth) > 20
    assert guess(unused, missing) == moved.truth


def test_a_plan_of_a_moved_network_loads_it() -> None:
    """Loading with the plan's renamer, and with the one it prints, fills what the two sides share; and nothing else."""
    for seed in (1000, 1001, 1002, 1003, 1004, 1005):
        moved = draw(seed)
        file = file_of({name: np.full(shape, len(name), 'f4') for name, shape in moved.saved.items()})
        wanted = {name: np.zeros(shape, 'f4') for name, shape in moved.wanted.items()}
        vc = tree_vars(wanted)
        options: dict[str, Any] = {'allow_missing': True, 'skip': list(moved.reshaped)}
        plan = objio.plan_load(file, vc, **options)
        assert plan.guesses == moved.truth
        for renamer in (plan.renamer, printed(plan)):
            vc = tree_vars(wanted)
            report = objio.load_var_collection(file, vc, renamer, **options)
            assert set(report.missing) == set(moved.lost)
            assert {old: new for old, new in report.renamed.items() if new in moved.wanted} == moved.truth
            for old, new in moved.truth.items():
                assert (np.asarray(vc[new].value) == len(old)).all()


@pytest.mark.parametrize(
    ('saved', 'wanted', 'guesses'),
    [
        ({'weight': (2, 3)}, {'w': (2, 3)}, {'weight': 'w'}),
        ({'weight': (3, 2)}, {'w': (2, 3)}, {}),
        ({'a.enc.w': (2,), 'a.dec.w': (2,)}, {'b.dec.w': (2,), 'b.enc.w': (2,)}, {'a.enc.w': 'b.enc.w', 'a.dec.w': 'b.dec.w'}),
        ({'apple': (2,), 'pear': (2,)}, {'xyz': (2,)}, {}),
        # a tie
        ({'left.w': (2,), 'right.w': (2,)}, {'a.w': (2,), 'b.w': (2,)}, {}),
        # what is certain elsewhere decides it
        (
            {'left.w': (2,), 'right.w': (2,), 'left.k': (3,), 'right.k': (4,)},
            {'a.w': (2,), 'b.w': (2,), 'a.k': (4,), 'b.k': (3,)},
            {'left.k': 'b.k', 'right.k': 'a.k', 'left.w': 'b.w', 'right.w': 'a.w'},
        ),
        # and so does what is certain of its words
        (
            {'mlp.w': (3,), 'x.mlp.k': (2,), 'x.att.k': (2,)},
            {'ffn.w': (3,), 'y.ffn.k': (2,), 'y.sa.k': (2,)},
            {'mlp.w': 'ffn.w', 'x.mlp.k': 'y.ffn.k', 'x.att.k': 'y.sa.k'},
        ),
        # a row of numbers moved by one, and one of them is missing
        (
            {f'layers_{i}.w': (2,) for i in range(5)},
            {f'layer.{i}.w': (2,) for i in range(1, 7) if i != 3},
            {},
        ),
        (
            {f'layers_{i}.w': (2,) for i in range(5) if i != 2},
            {f'layer.{i}.w': (2,) for i in range(1, 6)},
            {f'layers_{i}.w': f'layer.{i + 1}.w' for i in range(5) if i != 2},
        ),
        # two rows of which one is longer: where both begin alike, the numbers stay
        ({f'a{i}.w': (2,) for i in range(3)}, {f'b{i}.w': (2,) for i in range(5)}, {f'a{i}.w': f'b{i}.w' for i in range(3)}),
        ({f'a{i}.w': (2,) for i in (3, 4)}, {f'b{i}.w': (2,) for i in (0, 1, 2)}, {}),
        # Haiku gives the first of a kind no number
        (
            {'net/linear.w': (2,), 'net/linear_1.w': (2,)},
            {'Dense_0.kernel': (2,), 'Dense_1.kernel': (2,)},
            {'net/linear.w': 'Dense_0.kernel', 'net/linear_1.w': 'Dense_1.kernel'},
        ),
    ],
)  # fmt: skip
def test_likely_renames(saved: dict[str, Any], wanted: dict[str, Any], guesses: dict[str, str]) -> None:
    """Same shape and dtype, and alone with them or clearly the nearest; what is ambiguous is not guessed."""
    plan = plan_of(saved, wanted)
    assert plan.guesses == guesses
    assert all(f'  {old} -> {new}  ' in str(plan) for old, new in guesses.items())
    assert (plan.renamer is None) == (not guesses)


def test_a_change_of_shape_is_no_reason_to_take_another_array() -> None:
    """An array whose own variable has another shape now is not put into a missing one that happens to have its shape."""
    plan = plan_of({'model.head.w': (10,), 'model.body.w': (4,)}, {'head.w': (5,), 'head.extra': (10,), 'body.w': (4,)})
    assert plan.guesses == {'model.body.w': 'body.w'}
    assert "not in the file; is it 'model.head.w' there, of the shape (10,)?" in str(plan)


def test_transposed_arrays_are_pointed_out() -> None:
    """Axes the other way round are said, and a square array of that name is not guessed: its shape cannot tell."""
    plan = plan_of(
        {'d0.kernel': (4, 8), 'd0.bias': (8,), 'd1.kernel': (8, 8), 'd1.bias': (5,)},
        {'l.0.weight': (8, 4), 'l.0.bias': (8,), 'l.1.weight': (8, 8), 'l.1.bias': (5,)},
    )
    assert plan.guesses == {'d0.bias': 'l.0.bias', 'd1.bias': 'l.1.bias'}
    assert "is it 'd0.kernel' there, transposed?" in str(plan)
    assert "is it 'd1.kernel' there, perhaps with its axes in another order, as others have them?" in str(plan)


def test_guesses_go_by_what_may_be_exchanged() -> None:
    """With cast=True other precisions are guessed too, keys go by their data, numbers by their kind."""
    vc = tree_vars({'net.w': jnp.zeros((2, 3)), 'net.step': 0})
    file = file_of({'old.w': np.ones((2, 3)), 'old.step': np.int32(7)})
    assert objio.plan_load(file, vc).guesses == {'old.step': 'net.step'}
    plan = objio.plan_load(file, vc, cast=True)
    assert plan.guesses == {'old.w': 'net.w', 'old.step': 'net.step'}
    objio.load_var_collection(file, vc, plan.renamer, cast=True)
    assert vc['net.step'].value == 7


def test_guesses_are_names_in_the_file() -> None:
    """Also behind a renamer, a guess maps the name in the file; the plan's renamer does the work of both."""
    file = file_of({'model.weight': np.ones(2, 'f4'), 'model.b': np.ones(3, 'f4')})
    vc = tree_vars({'net.w': jnp.zeros(2), 'net.b': jnp.zeros(3)})
    given = objio.Renamer({'model': 'net'})
    plan = objio.plan_load(file, vc, given)
    assert plan.guesses == {'model.weight': 'net.w'}
    assert plan.unused == ('model.weight',)
    assert '  renamer = objio.Renamer(renamer, objio.Renamer(' in str(plan)
    for renamer in (plan.renamer, printed(plan, renamer=given)):
        assert objio.load_var_collection(file, vc, renamer).renamed == {'model.weight': 'net.w', 'model.b': 'net.b'}
    assert objio.plan_load(file, vc, plan.renamer).guesses == {}


def test_guesses_are_never_done_by_themselves() -> None:
    """A plan with guesses raises when it is applied; with allow_missing=True the guessed variables keep their values."""
    plan = plan_of({'weight': (2,)}, {'w': (2,)})
    with pytest.raises(MismatchError, match='1 likely rename'):
        plan.apply()
    report = plan_of({'weight': (2,), 'b': (1,)}, {'w': (2,), 'b': (1,)}, allow_missing=True).apply()
    assert (report.matched, report.missing, report.unused) == (('b',), ('w',), ('weight',))


def test_both_names_of_a_tied_variable_may_be_renamed() -> None:
    """A rule that gives a tied variable both of its names in the file does no harm, so it needs no exception."""
    embed = objio.TrainVar(jnp.ones((5, 2)))
    file = io.BytesIO()
    objio.save_var_collection(
        file,
        objio.VarCollection({'model.embed.w': embed, 'model.head.w': embed, 'model.b': objio.TrainVar(jnp.ones(3))}),
    )
    tied = objio.TrainVar(jnp.zeros((5, 2)))
    vc = objio.VarCollection({'embed.w': tied, 'head.w': tied, 'b': objio.TrainVar(jnp.zeros(3))})
    plan = objio.plan_load(file, vc)
    assert str(plan).endswith(r"renamer = objio.Renamer([(r'^model\.', '')])")
    assert objio.load_var_collection(file, vc, plan.renamer).missing == ()
    assert tied.value.sum() == 10
    # the same where the variable has its value already, by its other name
    arrays = {
        'embed.w': embed,
        'model.head.w': embed,
        'model.b': objio.TrainVar(jnp.ones(3)),
        'model.c': objio.TrainVar(jnp.ones(4)),
    }
    objio.save_var_collection(file := io.BytesIO(), objio.VarCollection(arrays))
    vc = objio.VarCollection({**dict(vc.items()), 'c': objio.TrainVar(jnp.zeros(4))})
    plan = objio.plan_load(file, vc)
    assert str(plan).endswith(r"renamer = objio.Renamer([(r'^model\.', '')])")
    assert objio.load_var_collection(file, vc, plan.renamer).missing == ()


@pytest.mark.parametrize(
    ('renames', 'others', 'code'),
    [
        ({'weight': 'w'}, [], "{'weight': 'w'}"),
        ({'weight': 'w'}, ['weight2'], "[('^weight$', 'w')]"),
        ({f'model.{x}.w': f'{x}.w' for x in 'abc'}, [], r"[(r'^model\.', '')]"),
        ({f'{x}.w': f'net.{x}.w' for x in 'abc'}, [], "[('^', 'net.')]"),
        ({f'a/{x}_{i}': f'a.{x}.{i}' for x in 'bc' for i in range(3)}, [], "{'/': '.', '_': '.'}"),
        ({f'(S)[{i}](Linear).w': f'(S)[{i}](Dense).w' for i in range(3)}, ['x'], "{'(Linear)': '(Dense)'}"),
        (
            {f'layers_{i}.w': f'layer.{i + 1}.kernel' for i in range(9)},
            [],
            r"[(r'^layers_(\d+)', lambda m: f'layer.{int(m[1]) + 1}'), (r'\.w$', '.kernel')]",
        ),
        ({'a': 'b', 'b': 'a'}, [], "{'a': 'b', 'b': 'a'}"),
        ({'a': 'b', 'b': 'a'}, ['aa'], "lambda name: {'a': 'b', 'b': 'a'}.get(name, name)"),
    ],
)
def test_renames_are_said_by_a_rule(renames: dict[str, str], others: list[str], code: str) -> None:
    """A prefix, a separator, a class name, a row of numbers are one rule each; a swap is said name by name."""
    assert rewrite(renames, [*renames, *others], others, lambda old, new: False).code == code


def test_what_a_rule_must_not_touch_is_excepted() -> None:
    """An array whose new name is that of a variable it does not fit keeps its name."""
    renames = {f'model.{x}.w': f'{x}.w' for x in 'abc'}
    way = rewrite(renames, [*renames, 'model.head.w'], [], lambda old, new: new == 'head.w')
    assert way.code == r"[(r'^(?!model\.head\.w$)model\.', '')]"


def test_a_rule_makes_no_two_names_one() -> None:
    """Also names that no one wants stay apart: a renamer that makes two of them one could not be used."""
    renames = {f'model.{x}.w': f'{x}.w' for x in 'abc'}
    way = rewrite(renames, [*renames, 'model.z', 'z'], [], lambda old, new: False)
    renamer = objio.Renamer(way.rules)
    assert len({renamer(name) for name in [*renames, 'model.z', 'z']}) == 5


def test_a_group_before_a_digit_keeps_its_number() -> None:
    """The replacement of the first group and then a 2 is not the twelfth group."""
    rule = Rule('^(a)b', ((1, 0), '2'))
    assert eval(rule.code) == rule.pair
    assert objio.Renamer([rule.pair])('ab') == 'a2'


names = st.text('ab_.[]()0123/\\{}\'"$ é\n²٣', min_size=1, max_size=8)


@given(st.lists(names, unique=True, max_size=8), st.lists(names, unique=True, max_size=8), st.data())
def test_the_printed_renamer_does_exactly_the_renames(olds: list[str], news: list[str], data: st.DataObject) -> None:
    """Whatever the names: run as Python, the code renames what it shall, and leaves alone what must stay."""
    renames = {old: new for old, new in zip(olds, news, strict=False) if old != new}
    others = data.draw(st.lists(names.filter(lambda name: name not in renames), unique=True, max_size=5))
    others = [name for name in others if name not in renames.values()]
    kept = [name for name in others if data.draw(st.booleans())]
    taken = {*renames.values(), *kept}
    way = rewrite(renames, [*renames, *others], kept, lambda old, new: new in taken)
    for rules in (way.rules, eval(way.code)):
        renamer = objio.Renamer(rules)
        assert {old: renamer(old) for old in renames} == renames
        assert [renamer(name) for name in kept] == kept
        left = [renamer(name) for name in others if name not in kept]
        assert len({*left, *taken}) == len(left) + len(taken)


@given(st.dictionaries(names, st.integers(0, 3), max_size=10), st.dictionaries(names, st.integers(0, 3), max_size=10))
def test_guesses_are_one_to_one_and_of_one_kind(unused: dict[str, int], missing: dict[str, int]) -> None:
    """No array is guessed twice and no variable either, whatever the names, and the order of the names has no say."""
    guesses = guess(unused, missing)
    assert len(set(guesses.values())) == len(guesses)
    assert all(unused[old] == missing[new] for old, new in guesses.items())
    assert guess(dict(reversed(unused.items())), dict(reversed(missing.items()))) == guesses


@given(names, names)
def test_likeness_is_a_share(left: str, right: str) -> None:
    """Likeness lies between 0 and 1, is 1 for a name and itself, and is the same both ways."""
    (a, _), (b, _) = template(left), template(right)
    assert 0 <= likeness(a, b).score <= 1 + 1e-9
    assert likeness(a, b).score == pytest.approx(likeness(b, a).score)
    assert likeness(a, a).score == pytest.approx(1) or not any(map(str.isalpha, a)) or likeness(a, a).score == 0


def test_ten_thousand_names_take_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbered names are compared once for all numbers; names without any likeness are given up."""
    compared = []
    monkeypatch.setattr(guessing, 'likeness', lambda *names: compared.append(names) or likeness(*names))
    parts = ['q', 'k', 'v', 'o', 'up', 'down', 'gate', 'norm']
    pairs = {f'layers_{i}.{part}.w': f'layer.{i + 1}.{part}.kernel' for i in range(1250) for part in parts}
    start = time.process_time()
    assert guess(dict.fromkeys(pairs, 1), dict.fromkeys(pairs.values(), 1)) == pairs
    assert len(compared) < 200
    strange = [np.base_repr(number * 7919, 36).lower() for number in range(10_000)]
    words = [''.join(letter for letter in word if letter.isalpha()) + f'.{word}' for word in strange]
    assert guess(dict.fromkeys(words, 1), dict.fromkeys([f'{word}x' for word in words], 1)) is not None
    assert len(compared) < 20_000
    assert time.process_time() - start < 10  # a second, on a machine that does nothing else


def test_a_network_of_objax_that_was_rewritten() -> None:
    """A real file of Objax loads into a module whose layers are attributes now, by what the plan guesses."""

    class Net(objio.Module):
        def __init__(self) -> None:
            self.conv, self.norm = objio.nn.Conv2D(1, 2, 3), objio.nn.BatchNorm2D(2)
            self.hidden, self.twice = objio.nn.Linear(32, 3), objio.nn.Linear(3, 3)

    net = Net()
    file = Path(__file__).parents[1] / 'data' / 'objax-1.8.0.npz'
    chosen: dict[str, Any] = {'skip': ['opt', 'ema', 'rng']}
    plan = objio.plan_load(file, net.vars(), **chosen)
    old = {0: 'conv(Conv2D)', 1: 'norm(BatchNorm2D)', 4: 'hidden(Linear)', 5: 'twice(Linear)'}
    for name, new in plan.guesses.items():
        found = re.fullmatch(r'\(Sequential\)\[(\d)\]\(\w+\)\.(\w+)', name)
        assert found
        assert new == f'(Net).{old[int(found[1])]}.{found[2]}'
    assert len(plan.guesses) == 10
    objio.load_var_collection(file, net.vars(), printed(plan), **chosen)
    with objio.open(file) as saved:
        for name, new in plan.guesses.items():
            assert (np.asarray(net.vars()[new].value) == saved[name]).all()


def test_many_guesses_are_not_spelled_out() -> None:
    """A renamer of many names that no rule can say is not printed, but the plan has it."""
    sizes = range(1, 90)
    saved = {f'{np.base_repr(size * 7919 + 40_000, 36).lower()}.{"w" * 20}': (size,) for size in sizes}
    wanted = {f'{np.base_repr(size * 104_729, 36).lower()}.{"k" * 20}': (size,) for size in sizes}
    plan = plan_of(saved, wanted)
    assert len(plan.guesses) == len(saved)
    assert str(plan).endswith(
        '89 likely renames. To do them, load with the .renamer of plan_load(...), or with\n  a long one: it is not printed'
    )
    assert plan_of(saved, wanted, plan.renamer).apply().missing == ()


_LETTERS = st.text(st.sampled_from('\0\1 a.1_0[\ud800\u0660'), max_size=8)


@given(*[st.lists(_LETTERS | st.text(max_size=6), unique=True, max_size=5)] * 2)
def test_any_names_may_be_compared(saved: list[str], wanted: list[str]) -> None:
    """Files of others have names of all sorts: to guess among them is never an error, and neither is the rule."""
    guesses = guess(dict.fromkeys(saved, 'one kind'), dict.fromkeys(wanted, 'one kind'))
    assert set(guesses) <= set(saved)
    assert set(guesses.values()) <= set(wanted)
    assert len(set(guesses.values())) == len(guesses)

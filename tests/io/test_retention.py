"""Which saves stay: the union of the rules, by a second reading of them that is as simple as can be."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import objio
from objio.io.metrics import KEY, decode, encode
from objio.io.retention import Explanation, Fate, Policy, whole_number

SCORES = st.dictionaries(st.integers(0, 40), st.none() | st.floats(width=16), max_size=12)


def better(mode: str, a: tuple[int, float | None], b: tuple[int, float | None]) -> bool:
    """Whether the save `a` (index, score) is better than `b`."""
    good_a = a[1] is not None and not math.isnan(a[1])
    good_b = b[1] is not None and not math.isnan(b[1])
    if good_a != good_b:
        return good_a
    if not good_a or a[1] == b[1]:
        return a[0] > b[0]
    return a[1] < b[1] if mode == 'min' else a[1] > b[1]


@given(
    scores=SCORES,
    keep=st.none() | st.integers(1, 5),
    every=st.none() | st.integers(1, 7),
    best=st.integers(0, 4),
    mode=st.sampled_from(['min', 'max']),
)
def test_a_save_stays_if_any_rule_wants_it(
    scores: dict[int, float | None], keep: int | None, every: int | None, best: int, mode: str
) -> None:
    """Stays: as new as the newest k, divisible by n, or with fewer than m better ones; every other save goes."""
    policy = Policy(keep, every, best, 'loss', mode)
    reasons = policy.reasons(scores)
    expected = set()
    for idx, score in scores.items():
        newer = sum(other > idx for other in scores)
        beaten = sum(better(mode, item, (idx, score)) for item in scores.items())
        if keep is None or newer < keep or (every is not None and idx % every == 0) or beaten < best:
            expected.add(idx)
    assert {idx for idx, why in reasons.items() if why} == expected
    assert list(reasons) == sorted(scores)


@given(scores=SCORES, mode=st.sampled_from(['min', 'max']))
def test_the_best_save_is_beaten_by_none(scores: dict[int, float | None], mode: str) -> None:
    """`best` is a save with a number that no other beats, or None where no save has one."""
    best = Policy(best_metric='loss', best_mode=mode).best(scores)
    if best is None:
        assert all(score is None or math.isnan(score) for score in scores.values())
    else:
        assert not math.isnan(scores[best])
        assert not any(better(mode, item, (best, scores[best])) for item in scores.items())


def test_nan_never_wins_and_ties_go_to_the_later() -> None:
    """A NaN is not the best in either mode; of equal metrics the later save is the better."""
    scores = {1: 0.5, 2: math.nan, 3: 0.5, 4: None}
    assert Policy(best_metric='m', best_mode='min').ranking(scores) == [3, 1, 4, 2]
    assert Policy(best_metric='m', best_mode='max').ranking(scores) == [3, 1, 4, 2]


def test_each_reason_is_told() -> None:
    """A save that several rules want says all of them."""
    reasons = Policy(1, 2, 1, 'loss').reasons({1: None, 2: 0.25, 3: math.nan})
    assert reasons == {1: [], 2: ['divisible by 2', 'number 1 by loss (0.25)'], 3: ['of the newest 1']}
    assert Policy(None).reasons({7: None}) == {7: ['all are kept']}


def test_an_explanation_is_a_list_and_a_table() -> None:
    """An explanation can be indexed, and prints a line for each file."""
    explanation = Explanation([Fate('1.npz', 1, False, 'no rule keeps it'), Fate('notes', None, True, 'is no save')])
    assert explanation[0].idx == 1
    assert str(explanation) == '1.npz  goes   no rule keeps it\nnotes  stays  is no save'
    assert str(Explanation()) == ''


@pytest.mark.parametrize(
    ('arguments', 'error', 'words'),
    [
        ({'keep_ckpts': 0}, ValueError, 'keep_ckpts: expected at least 1, got 0'),
        ({'keep_ckpts': -1}, ValueError, 'keep_ckpts'),
        ({'keep_ckpts': 2.0}, TypeError, 'keep_ckpts: expected an int, got 2.0'),
        ({'keep_ckpts': True}, TypeError, 'keep_ckpts'),
        ({'keep_every': 0}, ValueError, 'keep_every'),
        ({'keep_every': '3'}, TypeError, 'keep_every'),
        ({'keep_best': -1, 'best_metric': 'loss'}, ValueError, 'keep_best'),
        ({'keep_best': None}, TypeError, 'keep_best'),
        ({'keep_best': 1}, ValueError, 'best_metric'),
        ({'best_metric': 3}, TypeError, 'best_metric'),
        ({'keep_best': 1, 'best_metric': 'accuracy_loss'}, ValueError, "both directions; give best_mode='min'"),
        ({'best_metric': 'm'}, ValueError, "does not tell whether less or more of it is better; give best_mode='min'"),
        ({'best_metric': 'loss', 'best_mode': 'most'}, ValueError, "expected 'min' or 'max', got 'most'"),
        ({'best_mode': 'most'}, ValueError, "expected 'min' or 'max', got 'most'"),
    ],
)
def test_rules_that_mean_nothing_are_refused(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """A rule that would keep nothing, or that cannot be followed, is refused with its name."""
    with pytest.raises(error, match=words):
        Policy(**arguments)


@pytest.mark.parametrize('value', [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_every_kind_are_taken(value: Any) -> None:
    """Ints of Python and NumPy are whole numbers, and come out as Python's."""
    assert type(whole_number(value, 'idx', 0)) is int


@pytest.mark.parametrize('value', [True, np.True_, 3.0, np.float32(3), '3', None])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    """A bool, a float or a str is no index, even where it looks like one."""
    with pytest.raises(TypeError, match='idx: expected an int'):
        whole_number(value, 'idx', 0)


@pytest.mark.parametrize('value', [np.zeros((50, 50)), objio.nn.Linear(30, 30).vars(), 'x' * 1000, [0.5] * 100])
def test_a_large_value_does_not_fill_the_message(value: Any) -> None:
    """Swapped arguments put a whole model where a number belongs: the error names its type."""
    with pytest.raises(TypeError, match=f'idx: expected an int, got a value of type {type(value).__name__}') as info:
        whole_number(value, 'idx', 0)
    assert len(str(info.value)) < 200
    with pytest.raises(TypeError, match=r"metrics\['loss'\]: expected ") as info:
        encode({'loss': value})
    assert len(str(info.value)) < 200


@given(st.dictionaries(st.text(max_size=5), st.floats() | st.integers(-(2**53), 2**53)))
def test_metrics_come_back_as_floats(metrics: dict[str, float]) -> None:
    """Metrics survive JSON, NaN and the infinities too."""
    back = decode({KEY: encode(metrics)})
    assert list(back) == list(metrics)
    for name, value in metrics.items():
        assert back[name] == value or (math.isnan(back[name]) and math.isnan(value))
        assert type(back[name]) is float


def test_numbers_of_other_libraries_are_metrics() -> None:
    """A NumPy scalar, a 0-d array and a bool become floats."""
    assert encode({'a': np.float32(0.5), 'b': np.array(2), 'c': True}) == {'a': 0.5, 'b': 2.0, 'c': 1.0}


@pytest.mark.parametrize(
    'metrics', [[0.5], {1: 0.5}, {'a': '0.5'}, {'a': None}, {'a': 1j}, {'a': np.ones(1)}, {'a': 10**400}]
)
def test_what_is_no_number_is_no_metric(metrics: Any) -> None:
    """Metrics that are no dict of names and real numbers are a TypeError that names them."""
    with pytest.raises(TypeError, match='metrics'):
        encode(metrics)


def test_strange_metadata_has_no_metrics() -> None:
    """What another program put in the place of metrics is left out, not believed."""
    assert decode({}) == decode({KEY: 3}) == decode({KEY: {'a': 'high', 'b': [1], 'c': True, 'd': None}}) == {}

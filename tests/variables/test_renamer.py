"""Rules that turn names into names, and what they may not do."""

import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objio.variables import Renamer, renamed


def test_a_dict_replaces_wherever_its_keys_stand() -> None:
    """Every occurrence, in one pass, so that two names can be swapped; the first fitting key wins; no patterns."""
    assert Renamer({'a': 'b', 'b': 'a'})('a.b.ab') == 'b.a.ba'
    assert Renamer({'ab': 'x', 'a': 'y'})('ab.a') == 'x.y'
    assert Renamer({'a': 'y', 'ab': 'x'})('ab.a') == 'yb.y'
    assert Renamer({'(N).*': r'\1'})('(N).*w(N)xw') == r'\1w(N)xw'
    assert Renamer({})('a') == 'a'


def test_pairs_are_applied_in_order() -> None:
    """Each pair sees what those before it made; patterns may be compiled or plain, groups can be used."""
    rules = [(re.compile(r'\((\w+)\)'), r'<\1>'), ('<Net>', 'net'), (r'(\d+)$', r'[\1]')]
    assert Renamer(rules)('(Net).l(Linear)3') == 'net.l<Linear>[3]'
    assert Renamer(tuple(rules[:1]))('(a)') == '<a>'
    assert Renamer([])('a') == 'a'


def test_a_callable_is_called_and_renamers_are_chained() -> None:
    """The chained renamer gets what this one made; any callable will do."""
    assert Renamer(str.upper)('a') == 'A'
    assert Renamer({'a': 'b'}, Renamer({'b': 'c'}, str.upper))('ab') == 'CC'
    assert Renamer({'a': 'b'}, chain=str.upper)('a') == 'B'


@pytest.mark.parametrize('rules', ['ab', 3, None, {'a', 'b'}])
def test_other_rules_are_refused(rules: Any) -> None:
    """A str, a number, None, a set are no rules."""
    with pytest.raises(TypeError, match=r'expected a dict, a list of .* or a callable, found'):
        Renamer(rules)


def test_an_empty_key_is_refused() -> None:
    """The empty string stands between all letters; nobody means that."""
    with pytest.raises(ValueError, match="'' is a key"):
        Renamer({'a': 'b', '': 'x'})


@pytest.mark.parametrize(
    ('rules', 'said'),
    [
        ([Renamer({'a': 'b'}), Renamer({'b': 'c'})], r'found a Renamer; Renamer\(first, chain=second\) does one after'),
        ([str.upper], r'found a method_descriptor; Renamer\(first, chain=second\)'),
        (['a', 'b'], 'found a str$'),
        ([('a', 'b', 'c')], 'found a tuple$'),
        ([{'a': 'b'}], 'found a dict$'),
        ([(1, 'b')], 'found a tuple$'),
    ],
    ids=['renamers', 'functions', 'texts', 'three', 'dicts', 'number'],
)
def test_what_is_no_pair_is_refused(rules: Any, said: str) -> None:
    """The error says what stands in the list, and how renamers are chained."""
    with pytest.raises(TypeError, match=f'Renamer: expected pairs .* in the list, {said}'):
        Renamer(rules)


def test_names_are_not_lost() -> None:
    """Two names that become one are an error with all three names; a result that is no str is one too."""
    assert renamed(['a', 'b'], None) == {'a': 'a', 'b': 'b'}
    assert renamed(['a', 'b'], {'a': 'b', 'b': 'a'}) == {'a': 'b', 'b': 'a'}
    assert list(renamed(['b', 'a'], Renamer(str.upper)).items()) == [('b', 'B'), ('a', 'A')]
    message = "the renamer gives both 'a1' and 'a2' the name 'a'; every name needs one of its own"
    with pytest.raises(ValueError, match=f'^{message}$'):
        renamed(['a1', 'b', 'a2'], [(r'\d', '')])
    with pytest.raises(TypeError, match="the renamer gave None for 'a'; expected a str"):
        renamed(['a'], lambda name: None)  # type: ignore[arg-type, return-value]


def test_a_renamer_is_pickled_with_its_rules() -> None:
    """Rules of all kinds, chained, survive."""
    renamer = Renamer({'a': 'b'}, Renamer([(re.compile('b'), 'c')], Renamer(str.upper)))
    assert pickle.loads(pickle.dumps(renamer))('a') == 'C'


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text())
def test_a_dict_of_any_text_is_taken_literally(rules: dict[str, str], name: str) -> None:
    """No key is read as a pattern, no value as a template: a name that is one key gives its value."""
    renamer = Renamer(rules)
    if not any(key in name for key in rules):
        assert renamer(name) == name
    for key in list(rules)[:1]:
        assert renamer(key) == rules[key]

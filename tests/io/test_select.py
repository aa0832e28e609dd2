"""`only` and `skip`: what a selector chooses, on both sides, after renaming."""

import io
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_verbs import held, same_objects, tree_vars

import objio
from objio import TrainRef, TrainVar, VarCollection

NAMES = ['enc', 'enc.w', 'enc[0].w', 'enc(Linear).w', 'enc/w', 'encoder.w', 'dec.enc', 'dec.w']


def file_of(names: list[str], value: float = 1) -> io.BytesIO:
    """A file with a number under each name."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({name: np.float32(value) for name in names}))
    return file


def loaded(names: list[str] = NAMES, **options: Any) -> list[str]:
    """The names that a load with these options fills."""
    vc = tree_vars({name: jnp.float32(0) for name in names})
    report = objio.load_var_collection(file_of(names), vc, **options)
    filled = [name for name, variable in vc.items() if variable.value == 1]
    assert filled == list(report.matched)
    assert not report.missing
    assert not report.unused
    return filled


@pytest.mark.parametrize(
    ('selector', 'chosen'),
    [
        ('enc', NAMES[:5]),
        ('enc.w', ['enc.w']),
        ('enc.', ['enc.w']),
        ('enc(Linear)', ['enc(Linear).w']),
        ('dec', ['dec.enc', 'dec.w']),
        (re.compile('enc'), NAMES[:7]),
        (re.compile(r'^(enc|dec)\.w$'), ['enc.w', 'dec.w']),
        (lambda name: name.endswith('w') and '.' not in name, ['enc/w']),
        (['dec.w', re.compile(r'\[0\]')], ['enc[0].w', 'dec.w']),
        (('dec.w', ['enc.w', [lambda name: name == 'encoder.w']]), ['enc.w', 'encoder.w', 'dec.w']),
        ({'dec.w'}, ['dec.w']),
    ],
)
def test_what_a_selector_chooses(selector: Any, chosen: list[str]) -> None:
    """A name or a prefix up to one of `.[(/`, a pattern that is searched, a callable, or a list of them."""
    assert loaded(only=selector) == chosen
    assert loaded(skip=selector) == [name for name in NAMES if name not in chosen]


def test_skip_takes_away_from_only() -> None:
    """Both at once: what `only` chooses, less what `skip` names."""
    assert loaded(only='enc', skip=['enc.w', re.compile(r'\(')]) == ['enc', 'enc[0].w', 'enc/w']


def test_an_iterator_is_a_list() -> None:
    """A generator of selectors chooses the same on both sides."""
    assert loaded(only=(name for name in ['dec.w', 'enc.w'])) == ['enc.w', 'dec.w']
    assert loaded(skip=iter(['enc', 'dec'])) == ['encoder.w']


def test_both_sides_are_chosen() -> None:
    """What is skipped is neither missing from the file nor unused in it, nor does its shape matter."""
    vc = tree_vars({'w': jnp.zeros(2), 'head.w': jnp.zeros(3), 'head.b': jnp.zeros(3)})
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'w': np.ones(2, 'f4'), 'head.w': np.ones(5), 'head.old': 1}))
    report = objio.load_var_collection(file, vc, skip='head', allow_unused=False)
    assert report == objio.LoadReport(('w',), {}, (), (), {}, ())
    assert vc['head.w'].value.shape == (3,)
    report = objio.load_var_collection(file, vc, only='w')
    assert report.unused == ()


def test_names_are_chosen_after_renaming() -> None:
    """Selectors see the names of the model, for arrays of the file too."""
    vc = tree_vars({'new.w': jnp.float32(0), 'new.b': jnp.float32(0)})
    file = file_of(['old.w', 'old.b', 'old.x'])
    report = objio.load_var_collection(file, vc, {'old': 'new'}, only='new.w', allow_unused=False)
    assert (report.matched, report.renamed) == (('new.w',), {'old.w': 'new.w'})
    with pytest.raises(ValueError, match='chooses none'):
        objio.load_var_collection(file, vc, {'old': 'new'}, only='old.w')


def test_a_tied_variable_takes_part_under_its_chosen_names() -> None:
    """Of several names of one variable only the chosen ones are looked for."""
    w = TrainVar(jnp.float32(0))
    vc = VarCollection({'emb': w, 'head': TrainRef(w)})
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({'emb': np.float32(1), 'head': np.float32(2)}))
    for only, value in [('emb', 1), ('head', 2)]:
        objio.load_var_collection(file, vc, only=only)
        assert w.value == value
    with pytest.raises(objio.MismatchError, match='differ'):
        objio.load_var_collection(file, vc)


def test_a_choice_of_nothing_is_an_error() -> None:
    """A misspelt `only` would load nothing and say nothing; it raises instead, with a name of the model."""
    vc = tree_vars({'(Net).w': jnp.float32(0)})
    before = held(vc)
    for verb in [objio.load_var_collection, objio.plan_load]:
        with pytest.raises(ValueError, match=r"only='\(Nte\)' chooses none of the 1 variables .* '\(Net\)\.w'"):
            verb(file_of(['(Net).w']), vc, only='(Nte)')
    assert same_objects(vc, before)
    with pytest.raises(ValueError, match=r'only=\[\] chooses none of the 1 variables'):
        objio.load_var_collection(file_of(['(Net).w']), vc, only=[])
    with pytest.raises(ValueError, match=r'chooses none of the 1 variables'):
        objio.load_var_collection(file_of(['(Net).w']), vc, only=re.compile('Nte'))


@pytest.mark.parametrize('argument', ['only', 'skip'])
@pytest.mark.parametrize('selector', [3, ['w', 3], b'w', TrainVar])
def test_a_selector_of_another_kind_is_refused(argument: str, selector: Any) -> None:
    """The error names the argument and says what it takes; for a class it points to `subset`."""
    with pytest.raises(TypeError, match=rf'{argument}= (takes a str|goes by names; .* vc\.subset\(TrainVar\))'):
        objio.load_var_collection(file_of(['w']), tree_vars({'w': jnp.float32(0)}), **{argument: selector})


def test_a_selector_that_raises_changes_nothing() -> None:
    """What a callable raises is raised before anything is assigned."""
    vc = tree_vars({'a': jnp.float32(0), 'b': jnp.float32(0)})
    before = held(vc)
    with pytest.raises(ZeroDivisionError):
        objio.load_var_collection(file_of(['a', 'b']), vc, skip=lambda name: bool(1 / (name == 'a')))
    assert same_objects(vc, before)

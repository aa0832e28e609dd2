"""What a load was asked for by name and found nowhere, and loads that would take nothing."""

import io
import logging
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support_checkpoint import with_functions
from support_verbs import held, same_objects, tree_vars

import objio
from objio import MismatchError, Renamer, VarCollection

NAMES = ('enc.w', 'dec.w', 'head.w')


def file_of(*names: str) -> io.BytesIO:
    """A file with a number under each name."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree_vars({name: np.float32(1) for name in names}))
    return file


def model(*names: str) -> VarCollection:
    """A variable that holds 0 under each name."""
    return tree_vars({name: jnp.float32(0) for name in names})


def filled(vc: VarCollection) -> list[str]:
    """The variables that a load has filled."""
    return [name for name, variable in vc.items() if variable.value == 1]


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({'only': ['enc', 'decoder']}, [r"only='decoder' \(did you mean 'dec'\?\)"]),
    ({'only': 'enc.v'}, [r"only='enc\.v' \(did you mean 'enc\.w'\?\)"]),
    ({'only': 'zzz'}, [r"only='zzz'$", 'In the model: enc.w, dec.w, head.w']),
    ({'only': ('enc', ['dec', ['haed.w']])}, [r"only='haed\.w' \(did you mean 'head\.w'\?\)"]),
    ({'only': {'enc', 'en'}}, [r"only='en' \(did you mean 'enc'\?\)"]),
    ({'only': iter(['enc', 'dex'])}, [r"only='dex' \(did you mean 'dec'\?\)"]),
    ({'only': [re.compile('enc'), 'dex']}, [r"only='dex'"]),
    ({'skip': 'haed'}, [r"skip='haed' \(did you mean 'head'\?\)"]),
    ({'skip': ['head', 'enc.w.x']}, [r"skip='enc\.w\.x'"]),
    ({'skip': ['head', 'Enc']}, [r"skip='Enc' \(did you mean 'enc'\?\)"]),
    ({'renamer': {'encodr': 'enc'}}, [r"renamer=\{'encodr': 'enc'\} \(did you mean 'enc'\?\)"]),
    ({'renamer': {'enc.': 'enc.', 'hed.w': 'head.w'}}, [r"'hed\.w': 'head\.w'\} \(did you mean 'head\.w'\?\)"]),
    ({'renamer': Renamer({'enc': 'enc'}, Renamer({'decc': 'dec'}))}, [r"\{'decc': 'dec'\} \(did you mean 'dec'\?\)"]),
    ({'renamer': Renamer(Renamer({'nothing': 'x'}))}, [r"\{'nothing': 'x'\}"]),
    ({'renamer': Renamer([('enc', 'ENC')], Renamer({'enc': 'enc'}))}, [r"\{'enc': 'enc'\}"]),
    (
        {'renamer': Renamer({'hea': 'hea', 'head': 'tail'})},
        [r"\{'head': 'tail'\} \(it stands in names, but other keys"],
    ),
    (
        {'only': ['enc', 'dex'], 'skip': ['haed'], 'renamer': {'encodr': 'enc', 'x': 'y'}},
        ['These entries match nothing', r"only='dex'", r"skip='haed'", r"\{'encodr': 'enc'\}", r"\{'x': 'y'\}"],
    ),
]


@pytest.mark.parametrize('verb', [objio.load_var_collection, objio.plan_load])
@pytest.mark.parametrize('case', range(len(WRONG)))
def test_a_literal_entry_that_matches_nothing_is_an_error(case: int, verb: Callable[..., Any]) -> None:
    """Wherever it stands; the error lists all such entries, with the nearest names, and nothing is assigned."""
    options, words = WRONG[case]
    if isinstance(options.get('only'), type(iter([]))):
        options = {'only': iter(['enc', 'dex'])}
    vc = model(*NAMES)
    before = held(vc)
    with pytest.raises(ValueError, match='match(es)? nothing') as info:
        verb(file_of(*NAMES), vc, **options)
    for word in words:
        assert re.search(word, str(info.value), re.MULTILINE)
    assert 'leave it out' in str(info.value)
    assert same_objects(vc, before)


FITTING: list[tuple[dict[str, Any], list[str]]] = [
    ({'only': ['enc', 'dec.']}, ['enc.w', 'dec.w']),
    ({'only': ['enc', 'enc.w']}, ['enc.w']),
    ({'skip': 'head'}, ['enc.w', 'dec.w']),
    ({'skip': []}, list(NAMES)),
    ({'renamer': {}}, list(NAMES)),
    ({'renamer': []}, list(NAMES)),
    ({'renamer': {'enc': 'dec', 'dec': 'enc'}}, list(NAMES)),
    ({'renamer': {'.w': '.w'}}, list(NAMES)),
    ({'renamer': {'e': 'e', 'enc': 'enc'}}, list(NAMES)),
    ({'renamer': Renamer({'enc': 'x'}, Renamer([('x', 'enc')]))}, list(NAMES)),
    ({'renamer': Renamer(str.upper, str.lower)}, list(NAMES)),
]


@pytest.mark.parametrize('case', range(len(FITTING)))
def test_entries_that_match_say_nothing(case: int) -> None:
    """No error and no warning where each entry matches; a key that others do the work of has matched too."""
    options, names = FITTING[case]
    vc = model(*NAMES)
    report = objio.load_var_collection(file_of(*NAMES), vc, **options)
    assert filled(vc) == names
    assert report.unmatched == ()


def test_either_side_will_do_for_skip_and_the_model_for_only() -> None:
    """`skip` may name what only the file has, or only the model; what `only` names must be in the model."""
    file = file_of('enc.w', 'old.w')
    vc = model('enc.w', 'new.w')
    assert objio.load_var_collection(file, vc, skip=['old', 'new'], allow_unused=False).matched == ('enc.w',)
    assert objio.load_var_collection(file, vc, only=['enc', 'new'], allow_missing=True).missing == ('new.w',)
    with pytest.raises(ValueError, match=r"only='old' \(in the file, but not in the model\)"):
        objio.load_var_collection(file, vc, only=['enc', 'old'])
    # After renaming: the file's own name is none any more.
    objio.load_var_collection(file, vc, {'old': 'gone'}, skip=['gone', 'new'])
    with pytest.raises(ValueError, match="skip='old'"):
        objio.load_var_collection(file, vc, {'old': 'gone'}, skip=['old', 'new'])


def asked(name: str) -> bool:
    """Takes no name."""
    return False


TOLD: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({'skip': re.compile('haed')}, ("skip=re.compile('haed')",)),
    ({'only': ['enc', re.compile('^decoder')]}, ("only=re.compile('^decoder')",)),
    ({'skip': asked}, ('skip=asked',)),
    ({'skip': [asked, ['head', re.compile('x$')]]}, ('skip=asked', "skip=re.compile('x$')")),
    ({'renamer': [('^encodr', 'enc'), ('enc', 'enc')]}, ("renamer=('^encodr', 'enc')",)),
    ({'renamer': [(re.compile('encodr'), asked)]}, ("renamer=('encodr', asked)",)),
    ({'renamer': str.lower}, ('renamer=str.lower',)),
    (
        {'renamer': Renamer({'enc': 'enc'}, Renamer([('q', 'b')], str.lower))},
        ("renamer=('q', 'b')", 'renamer=str.lower'),
    ),
]


@pytest.mark.parametrize('case', range(len(TOLD)))
def test_a_pattern_or_function_that_matches_nothing_is_told(case: int) -> None:
    """A warning at the caller's line, in the report and in the plan; the load is done all the same."""
    options, entries = TOLD[case]
    vc = model(*NAMES)
    with pytest.warns(UserWarning, match='unmatched, since no name fits') as caught:
        report = objio.load_var_collection(file_of(*NAMES), vc, **options)
    assert [warning.filename for warning in caught] == [__file__]
    assert report.unmatched == entries
    assert 'enc.w' in report.matched
    plan = objio.plan_load(file_of(*NAMES), vc, **options)
    assert plan.unmatched == entries
    for text in (str(report), str(plan), str(caught[0].message)):
        assert f'{len(entries)} unmatched, since no name fits: {", ".join(entries)}' in text
    with pytest.warns(UserWarning, match='unmatched') as caught:
        assert plan.apply() == report
    assert len(caught) == 1


def test_a_warning_that_is_an_error_changes_nothing() -> None:
    """The warning comes before anything is assigned."""
    vc = model(*NAMES)
    before = held(vc)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(UserWarning, match='unmatched'):
            objio.load_var_collection(file_of(*NAMES), vc, skip=re.compile('haed'))
    assert same_objects(vc, before)


NOTHING: list[tuple[tuple[str, ...], tuple[str, ...], dict[str, Any], str]] = [
    (('module.w',), ('w',), {}, 'no array of the file has the name of a variable'),
    (('module.w', 'module.b'), ('w',), {}, r'module\.b .* not in the model'),
    (('w',), (), {}, 'no variable of the model takes part'),
    (('w',), ('w',), {'skip': 'w'}, 'only= and skip= leave nothing to take'),
    (('a', 'b'), ('a', 'b'), {'only': 'a', 'skip': 'a'}, 'leave nothing to take'),
    (('a', 'b'), ('a', 'b'), {'skip': lambda name: True}, '2 arrays'),
    (('a', 'b'), ('b', 'c'), {'only': 'c'}, r'c .* not in the file'),
    (('a',), ('a',), {'renamer': {'a': 'b'}}, 'no array of the file has the name of a variable'),
]


@pytest.mark.parametrize('case', range(len(NOTHING)))
def test_a_load_that_takes_nothing_is_an_error(case: int) -> None:
    """Also with `allow_missing=True`; a plan shows it, and raises it when it is applied."""
    saved, wanted, options, words = NOTHING[case]
    vc = model(*wanted)
    before = held(vc)
    with pytest.raises(MismatchError, match=words) as info:
        objio.load_var_collection(file_of(*saved), vc, allow_missing=True, **options)
    assert 'allow_missing' not in str(info.value)
    assert same_objects(vc, before)
    plan = objio.plan_load(file_of(*saved), vc, allow_missing=True, **options)
    assert 'Nothing would be loaded' in str(plan)
    assert plan.problems
    with pytest.raises(MismatchError, match=words):
        plan.apply()


def test_nothing_into_nothing_is_fine_and_no_arrays_are_told() -> None:
    """An empty model loads an empty file; a file without arrays that leaves variables as they are is a warning."""
    assert objio.load_var_collection(file_of(), model()).matched == ()
    assert objio.load_var_collection(file_of(), objio.Module()).matched == ()
    with pytest.warns(UserWarning, match='has no arrays: all 2 variables kept their values'):
        report = objio.load_var_collection(file_of(), model('a', 'b'), allow_missing=True)
    assert report.missing == ('a', 'b')
    with pytest.raises(MismatchError, match='not in the file'):
        objio.load_var_collection(file_of(), model('a'))


def log_of(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Level and text of each line of the log since the last call."""
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return lines


def test_a_restore_says_in_the_log_what_it_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Variables that kept their values are a warning, whatever `verbose` says; unused arrays are information."""
    caplog.set_level(logging.INFO, 'objio')
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save(model('a', 'b', 'c'), 1)
    path = str(tmp_path / 'ckpt' / '0000000001.npz')
    log_of(caplog)
    ckpt.restore(model('a', 'b', 'c'))
    assert log_of(caplog) == [(logging.INFO, f'restored {path}')]
    missing = '2 of 3 variables are missing there and kept their values: x, y'
    unused = '2 arrays there are unused, since the model lacks them: b, c'
    ckpt.restore(model('a'))
    assert log_of(caplog)[1:] == [
        (logging.INFO, f'restored {path} in part; {unused}'),
    ]
    ckpt.restore(model('a', 'x', 'y'), 1, allow_missing=True)
    assert log_of(caplog)[1:] == [(logging.WARNING, f'restored {path} in part; {missing}; {unused}')]
    quiet = objio.Checkpoint(tmp_path, verbose=False)
    quiet.restore(model('a'))
    assert log_of(caplog) == []
    quiet.restore(model('a', 'b', 'c', 'x'), allow_missing=True)
    ((level, line),) = log_of(caplog)
    assert (level, '1 of 4 variables are missing there and kept their values: x' in line) == (logging.WARNING, True)


def test_a_restore_keeps_its_report(tmp_path: Path) -> None:
    """`report` is that of the last restore or average; None where there is none."""
    ckpt = objio.Checkpoint(tmp_path)
    assert ckpt.report is None
    ckpt.restore(model('a'))  # no save yet
    assert ckpt.report is None
    ckpt.save(model('a', 'b'), 1)
    ckpt.restore(model('a', 'x'), allow_missing=True)
    assert ckpt.report is not None
    assert (ckpt.report.matched, ckpt.report.missing, ckpt.report.unused) == (('a',), ('x',), ('b',))
    assert ckpt.average(model('b')) == [1]
    assert ckpt.report.matched == ('b',)
    with pytest.raises(MismatchError, match='no array of the file'):
        ckpt.restore(model('x'), allow_missing=True)
    assert ckpt.report is None


@pytest.mark.parametrize(
    ('returns', 'kept'), [(lambda report: report, True), (lambda report: None, False), (lambda report: {}, False)]
)
def test_a_loading_function_of_the_user_may_return_a_report(
    tmp_path: Path, returns: Callable[[Any], Any], kept: bool
) -> None:
    """A `LoadReport` that it returns is kept; anything else is none."""

    def load(file: str, vc: Any) -> Any:
        return returns(objio.load_var_collection(file, vc))

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    ckpt.save(model('a'), 1)
    ckpt.restore(model('a'))
    assert isinstance(ckpt.report, objio.LoadReport) == kept


def test_a_restore_warns_at_the_line_of_the_caller(tmp_path: Path) -> None:
    """`Checkpoint.restore` hands the selectors on, and the warning points at who called it."""
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save(model(*NAMES), 1)
    with pytest.warns(UserWarning, match='unmatched') as caught:
        ckpt.restore(model(*NAMES), skip=re.compile('haed'))
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="only='decoder'"):
        ckpt.restore(model(*NAMES), only=['enc', 'decoder'])


def test_many_names_and_many_entries_are_quick() -> None:
    """The work grows with the names and with the entries, not with their product."""
    names = [f'(Net).layers(Sequential)[{i}](Linear).w' for i in range(20_000)]
    file, vc = file_of(*names), model(*names)
    started = time.perf_counter()
    objio.load_var_collection(file, vc)
    plain = time.perf_counter() - started
    started = time.perf_counter()
    entries = [f'(Net).layers(Sequential)[{i}]' for i in range(10_000)]
    report = objio.load_var_collection(file, vc, {'(Net)': '(Net)'}, only=entries, skip=entries[:5])
    assert len(report.matched) == 9_995
    assert time.perf_counter() - started < 5 * plain + 2
    started = time.perf_counter()
    with pytest.raises(ValueError, match='match nothing'):
        objio.load_var_collection(file, vc, only=[f'{entry}x' for entry in entries[:20]])
    assert time.perf_counter() - started < 5 * plain + 10


@pytest.mark.parametrize(
    ('renamer', 'said'),
    [
        (
            {'encoder.kernel': 'enc.ww', 'encoder.bias': 'enc.b'},
            "'encoder.kernel' became 'enc.ww' (did you mean 'enc.w'?)",
        ),
        ({'encoder': 'encc', 'kernel': 'w', 'bias': 'b'}, "'encoder.bias' became 'encc.b' (did you mean 'enc.b'?)"),
        (
            [('encoder[.]kernel', 'enc_w'), ('encoder', 'enc'), ('bias', 'b')],
            "'encoder.kernel' became 'enc_w' (did you",
        ),
        (
            lambda name: name.replace('kernel', 'W').replace('encoder', 'enc'),
            "'encoder.kernel' became 'enc.W' (did you",
        ),
        (objio.Renamer({'encoder': 'e'}, objio.Renamer({'e.': 'en.', 'kernel': 'w', 'bias': 'b'})), "'en.w' (did you"),
    ],
    ids=['dict', 'beginning', 'pairs', 'function', 'chain'],
)
def test_a_rename_to_a_name_near_that_of_a_missing_variable_is_told(renamer: Any, said: str, tmp_path: Path) -> None:
    """Where variables may be missing, a misspelt new name would leave its variable as it was without a word."""
    file = tmp_path / 'x.npz'
    old = {'encoder': {'kernel': np.ones((2, 3)), 'bias': np.ones(3)}, 'head': {'w': np.ones(4)}}
    objio.save_var_collection(file, old)
    vc = objio.VarCollection.from_tree({'enc': {'w': np.zeros((2, 3)), 'b': np.zeros(3)}, 'head': {'w': np.zeros(4)}})
    with pytest.warns(UserWarning, match=f'makes names that the model lacks: .*{re.escape(said)}'):
        objio.load_var_collection(file, vc, renamer, allow_missing=True)
    with pytest.raises(objio.MismatchError, match='likely renamed; the renamer makes it'):
        objio.load_var_collection(file, vc, renamer)


def test_arrays_that_a_smaller_model_lacks_are_renamed_in_silence(tmp_path: Path) -> None:
    """A renamer for the whole file serves a part of the model, whose own new variables are like none of the file's."""
    file = tmp_path / 'x.npz'
    objio.save_var_collection(file, {'encoder': {'kernel': np.ones((2, 3)), 'bias': np.ones(3)}, 'head': np.ones(4)})
    vc = objio.VarCollection.from_tree({'enc': {'w': np.zeros((2, 3))}, 'scale': np.zeros(4)})
    renamer = {'encoder': 'enc', 'kernel': 'w', 'bias': 'b', 'head': 'old'}
    report = objio.load_var_collection(file, vc, renamer, allow_missing=True)
    assert (report.matched, report.missing) == (('enc.w',), ('scale',))


@pytest.mark.parametrize('rules', [{'a': None}, {'a': 3}, {3: 'a'}, {None: None}])
def test_a_dict_that_is_not_of_text_is_refused(rules: Any) -> None:
    """None would have made an empty name, and its array would have gone nowhere."""
    with pytest.raises(TypeError, match='Renamer: expected a dict from str to str, found '):
        objio.Renamer(rules)

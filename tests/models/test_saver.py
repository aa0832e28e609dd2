"""A `Saver` keeps a model with its settings, its metrics and where it came from, in a folder of its own."""

import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import objio
from objio.models import history, sessions
from objio.models.names import check_name, friendly_name
from objio.models.provenance import git


class Net(objio.Module):
    """A plain module that is made from two settings."""

    def __init__(self, nin: int = 3, nout: int = 2) -> None:
        self.layer = objio.nn.Linear(nin, nout)


class Line(objio.Model):
    """A model with an immutable and a mutable setting."""

    class Config(objio.Config):
        width: int = 3
        lr: float = objio.mutable(0.1, gt=0)

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own, and has no run from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)


def content(folder: str = '.') -> dict[str, bytes]:
    """Every file below a folder, and what is in it; folders end in a slash."""
    return {
        str(path) + '/' * path.is_dir(): b'' if path.is_dir() else path.read_bytes() for path in Path(folder).rglob('*')
    }


def assert_equal(a: Any, b: Any) -> None:
    """Two modules have the same weights, bit for bit."""
    assert a.vars().keys() == b.vars().keys()
    for value, other in zip(a.vars().tensors(), b.vars().tensors(), strict=True):
        np.testing.assert_array_equal(value, other, strict=True)


def test_the_three_lines_of_the_document() -> None:
    """The document's basic example, with its names put right: the model is in `storage/<run>/`, and comes back."""
    net = Net()
    # Initialize saver
    saver = objio.Saver(net)
    # Save model
    saver.save()
    assert Path('storage', saver.run, 'model.npz').is_file()
    assert_equal(objio.Saver.load(saver.run, cls=Net), net)


def test_the_documents_example_without_a_model() -> None:
    """`Saver()`, as the document has it in one place, is a TypeError that shows the three lines; nothing is made."""
    with pytest.raises(TypeError, match=re.escape('    net = Net()\n    saver = objio.Saver(net)\n    saver.save()')):
        objio.Saver()
    assert content() == {}


def test_what_is_in_the_folder_of_a_run() -> None:
    """A run's folder holds the model, its settings, its metrics and its provenance; the pickle only on request."""
    with objio.Saver(Net(4), {'nin': 4}, run='a') as saver:
        saver.log(step=1, loss=0.5)
        saver.save()
        files = {'model.npz', 'config.json', 'metrics.jsonl', 'provenance.json', '.lock'}
        assert set(os.listdir('storage/a')) == files
        saver.save(pickle=True)
        assert set(os.listdir('storage/a')) == files | {'model.pickle'}
        assert_equal(objio.load_module('storage/a/model.pickle', trusted=True), saver.model)
        saver.save()  # whose weights the pickle would not have
        assert set(os.listdir('storage/a')) == files
    assert json.loads(Path('storage/a/config.json').read_text())['values'] == {'nin': 4}
    assert objio.verify('storage/a/model.npz')


def test_a_plain_module_comes_back_with_its_settings() -> None:
    """`Saver.load(cls=)` makes the module from the saved settings and loads its weights."""
    net = Net(nin=5, nout=1)
    objio.Saver(net, config={'nin': 5, 'nout': 1}, run='a').save()
    assert_equal(objio.Saver.load('a', cls=Net), net)


def test_a_model_comes_back_by_its_registered_name() -> None:
    """A `Model` is found by its class, with the settings of the run, given ones among them."""
    line = Line('elsewhere', width=5, lr=0.25)
    with objio.Saver(line, run='a') as saver:
        saver.save()
    again = objio.Saver.load('a')
    assert type(again) is Line
    assert again.config == line.config
    assert again.config.given == {'width', 'lr'}
    assert_equal(again, line)
    assert not Path('elsewhere').exists()


def test_a_plain_module_needs_cls() -> None:
    """Without `cls=` a plain module is a LookupError that says to pass it; nothing is imported."""
    objio.Saver(Net(), run='a').save()
    with pytest.raises(LookupError, match='cls='):
        objio.Saver.load('a')


def test_settings_that_do_not_make_the_module_are_told() -> None:
    """Where the class does not take the saved settings, the error says which they were."""
    objio.Saver(Net(), {'depth': 3}, run='a').save()
    with pytest.raises(TypeError, match='depth') as info:
        objio.Saver.load('a', cls=Net)
    assert "the settings {'depth': 3}" in info.value.__notes__[0]


def test_the_name_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes before OBJIO_RUN, and that before a friendly name, which a seeded `random` does not change."""
    import random

    monkeypatch.setenv('OBJIO_RUN', 'from-outside')
    assert objio.Saver(Net(), run='a').run == 'a'
    assert objio.Saver(Net()).run == 'from-outside'
    monkeypatch.setenv('OBJIO_RUN', '')
    random.seed(1)
    state = random.getstate()
    names = [objio.Saver(Net()).run for _ in range(3)]
    assert random.getstate() == state
    assert [name.rpartition('-')[2] for name in names] == ['1', '2', '3']
    assert all(re.fullmatch(r'[a-z]+-[a-z]+-\d', name) for name in names)
    assert {path.name for path in Path('storage').iterdir()} == {'a', 'from-outside', *names}


def test_every_friendly_name_is_a_name() -> None:
    """What the generator gives passes the check of names, and goes on from the greatest number."""
    assert {check_name(friendly_name(['calm-heron-41', 'x', 'a-b-0'])).rpartition('-')[2] for _ in range(200)} == {'42'}


@pytest.mark.parametrize(
    'name',
    ['', '.', '..', '../a', 'a/b', 'a\\b', '/a', '.a', 'a\0', 'a\n', ' a', 'a ', 'a.', 'C:', 'NUL', 'com1.x', 'a' * 129, 'ü' * 65, '\ud800', 'a*'],
)  # fmt: skip
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    """A name that would leave the folder, or that some system cannot hold, is one clear error; nothing is made."""
    for attempt in (lambda: objio.Saver(Net(), run=name), lambda: objio.Saver.load(name), lambda: objio.compare(name, 'a')):
        with pytest.raises(ValueError, match=re.escape(f'{name!r} cannot be the name of a run: ')):
            attempt()
    assert content() == {}


def test_a_name_from_outside_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """OBJIO_RUN cannot lead out of the folder, nor can a name that is no str."""
    monkeypatch.setenv('OBJIO_RUN', '../a')
    with pytest.raises(ValueError, match='starts with a dot'):
        objio.Saver(Net())
    with pytest.raises(TypeError, match='str'):
        objio.Saver(Net(), run=3)
    assert content() == {}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((Net,), 'the class Net'),
        (({'w': 1},), 'got dict'),
        ((Net(), {'lr': (1, 2)}), r"config\['lr'\] is of type builtins.tuple"),
        ((Net(), {'lr': np.float32(1)}), 'numpy.float32'),
        ((Net(), {'lr': float('nan')}), 'nan'),
        ((Net(), {1: 2}), 'key 1'),
        ((Net(), [1]), 'dict of settings'),
    ],
)
def test_what_is_no_model_or_no_settings(arguments: tuple[Any, ...], message: str) -> None:
    """A wrong model or settings that JSON would change are one clear error; nothing is made."""
    with pytest.raises(TypeError, match=message):
        objio.Saver(*arguments)
    assert content() == {}


def test_a_model_has_settings_of_its_own() -> None:
    """`config=` beside a `Model` is refused."""
    with pytest.raises(TypeError, match='leave out config='):
        objio.Saver(Line(), {'lr': 1})
    assert content() == {}


def test_the_settings_of_a_module_are_those_of_the_start() -> None:
    """The dict that a module was given may change later; the run keeps what it was made with."""
    config = {'nin': 3, 'more': {'a': 1}}
    saver = objio.Saver(Net(), config, run='a')
    config['more']['a'] = 2
    saver.save()
    assert objio.runs()[0].config == {'nin': 3, 'more': {'a': 1}}


def test_mutable_settings_are_saved_as_they_are_at_the_save() -> None:
    """A `Model` whose learning rate was changed is saved with the new one."""
    line = Line(lr=0.1)
    saver = objio.Saver(line, run='a')
    line.config.lr = 0.01
    saver.save()
    assert objio.Saver.load('a').config.lr == 0.01


def test_a_second_run_of_one_name_is_refused() -> None:
    """A run that lives, and one that has ended, are each one clear error that says the ways out; nothing changes."""
    saver = objio.Saver(Net(), run='a')
    saver.save()
    before = content()
    with pytest.raises(BlockingIOError, match=f'the process {os.getpid()} on '):
        objio.Saver(Net(), run='a')
    with pytest.raises(BlockingIOError, match='lives'):
        objio.Saver(Net(), run='a', resume=True)
    assert content() == before
    saver.close()
    before = content()
    with pytest.raises(FileExistsError, match='resume=True'):
        objio.Saver(Net(), run='a')
    assert content() == before


def test_a_folder_that_is_no_run_is_not_taken() -> None:
    """A folder with other files in it, and a file of that name, are refused, also to resume; nothing changes."""
    Path('storage/a').mkdir(parents=True)
    Path('storage/a/thesis.tex').write_text('x')
    Path('storage/b').write_text('x')
    before = content()
    for resume in (False, True):
        with pytest.raises(FileExistsError, match='thesis.tex'):
            objio.Saver(Net(), run='a', resume=resume)
        with pytest.raises(FileExistsError, match='there is a file'):
            objio.Saver(Net(), run='b', resume=resume)
    assert content() == before


def test_a_run_that_died_before_it_began_is_taken_over() -> None:
    """A folder with nothing but a free lock, left by a process that died in its first moment, is as good as none."""
    Path('storage/a').mkdir(parents=True)
    Path('storage/a/.lock').touch()
    saver = objio.Saver(Net(), run='a')
    saver.save()
    assert objio.runs()['a'].state == 'running'


def test_a_run_goes_on() -> None:
    """`resume=True` adds a session to a run, or begins one; the metrics go on behind those there are."""
    for session in (1, 2):
        with objio.Saver(Net(), {'nin': 3}, run='a', resume=True) as saver:
            saver.log(step=session, loss=1 / session)
    (run,) = objio.runs()
    assert [session['state'] for session in run.sessions] == ['finished', 'finished']
    assert run.metrics == {'loss': {1: 1.0, 2: 0.5}}


def test_going_on_with_other_settings_is_a_conflict() -> None:
    """A run is resumed with the settings that it was made with; the error lists each difference; nothing changes."""
    objio.Saver(Net(), {'nin': 3, 'opt': {'lr': 0.1}}, run='a').close()
    before = content()
    with pytest.raises(objio.ConfigConflict, match=r'storage/a(?s:.*)opt\.lr: 0\.1 before, 0\.2 now'):
        objio.Saver(Net(), {'nin': 3, 'opt': {'lr': 0.2}}, run='a', resume=True)
    with pytest.raises(objio.ConfigConflict, match='is of a Net, and this is a Linear'):
        objio.Saver(objio.nn.Linear(3, 2), {'nin': 3, 'opt': {'lr': 0.1}}, run='a', resume=True)
    assert content() == before


def test_a_model_goes_on_with_other_mutable_settings() -> None:
    """The mutable settings of a `Model` may change from session to session, the immutable ones may not."""
    objio.Saver(Line(lr=0.1), run='a').close()
    before = content()
    with pytest.raises(objio.ConfigConflict, match='width: 3 before, 4 now'):
        objio.Saver(Line(width=4), run='a', resume=True)
    assert content() == before
    objio.Saver(Line(lr=0.2), run='a', resume=True).close()
    assert objio.runs()[0].config == {'width': 3, 'lr': 0.2}


def test_how_a_run_ends() -> None:
    """A `with` block that ends well is 'finished', also by `sys.exit()`; an exception is kept as the reason."""
    with objio.Saver(Net(), run='well'):
        pass
    with pytest.raises(SystemExit), objio.Saver(Net(), run='exit'):
        sys.exit()
    with pytest.raises(SystemExit), objio.Saver(Net(), run='exit-1'):
        sys.exit('no')
    with pytest.raises(ZeroDivisionError), objio.Saver(Net(), run='error'):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), objio.Saver(Net(), run='ctrl-c'):
        raise KeyboardInterrupt
    ends = {run.name: (run.state, run.provenance['error']) for run in objio.runs()}
    assert ends == {
        'well': ('finished', None),
        'exit': ('finished', None),
        'exit-1': ('failed', 'SystemExit: no'),
        'error': ('failed', 'ZeroDivisionError: division by zero'),
        'ctrl-c': ('failed', 'KeyboardInterrupt'),
    }


def test_a_saver_that_nobody_has_any_more_ends_its_run() -> None:
    """The last name for a `Saver` ends its run, and lets go of its model."""
    saver = objio.Saver(Net(), run='a')
    assert objio.runs()[0].state == 'running'
    del saver
    assert objio.runs()[0].state == 'finished'


def test_a_run_that_has_ended_takes_nothing_more() -> None:
    """After `close` nothing is written; closing again does nothing."""
    saver = objio.Saver(Net(), run='a')
    saver.close()
    saver.close()
    before = content()
    for attempt in (saver.save, lambda: saver.log(step=1, loss=1.0)):
        with pytest.raises(ValueError, match=r'the run has ended; Saver\(\.\.\., resume=True\)'):
            attempt()
    assert content() == before


def test_a_run_whose_folder_is_gone() -> None:
    """A folder that somebody removed is told, and not made anew without its lock."""
    saver = objio.Saver(Net(), run='a')
    os.rename('storage/a', 'storage/b')
    for attempt in (saver.save, lambda: saver.log(step=1, loss=1.0)):
        with pytest.raises(FileNotFoundError, match='was removed while it was running'):
            attempt()
    assert not Path('storage/a').exists()
    saver.close()
    assert objio.runs()[0].state == 'killed'


def test_what_a_run_was_never_given() -> None:
    """A run that is not there names its neighbours; one that has saved nothing says so."""
    objio.Saver(Net(), run='first-run').close()
    with pytest.raises(FileNotFoundError, match=r"no such run \(did you mean 'first-run'\?\)"):
        objio.Saver.load('frist-run', cls=Net)
    with pytest.raises(FileNotFoundError, match='has not saved its model yet'):
        objio.Saver.load('first-run', cls=Net)
    with pytest.raises(FileNotFoundError, match='there are none'):
        objio.Saver.load('a', root='nowhere')


def test_what_cannot_be_pickled_changes_nothing() -> None:
    """A save with `pickle=True` of a module with a lambda is refused before anything is written."""
    net = Net()
    saver = objio.Saver(net, run='a')
    saver.save()
    before = content()
    net.activation = lambda x: x
    net.layer.b.assign(jnp.ones(2))
    with pytest.raises(objio.UnsaveableError, match='activation'):
        saver.save(pickle=True)
    assert content() == before


def test_a_copy_of_the_settings_that_was_edited() -> None:
    """An edited `config.json` is a conflict, one that is cut short an error that says what to do; so says Model, too."""
    objio.Saver(Net(), {'nin': 3}, run='a').save()
    copy = Path('storage/a/config.json')
    text = copy.read_text()
    copy.write_text(text.replace('"nin": 3', '"nin": 4'))
    with pytest.raises(objio.ConfigConflict, match='edited by hand'):
        objio.Saver.load('a', cls=Net)
    copy.write_text(text[:30])
    with pytest.raises((objio.FormatError, objio.ConfigConflict), match='only a copy'):
        objio.Saver.load('a', cls=Net)
    copy.unlink()
    assert_equal(objio.Saver.load('a', cls=Net), objio.Saver.load('a', cls=Net))


def test_a_damaged_model_is_told() -> None:
    """A bit that flipped in the weights is a FormatError that names the file."""
    objio.Saver(Net(), run='a').save()
    path = Path('storage/a/model.npz')
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(objio.FormatError, match=r'storage/a/model\.npz'):
        objio.Saver.load('a', cls=Net)


def test_the_metadata_of_the_user_and_the_metrics_stand_in_the_save() -> None:
    """`metadata=` comes with the weights, and so do the metrics that were logged last; reserved keys are refused."""
    saver = objio.Saver(Net(), run='a')
    saver.log(step=7, loss=0.5, accuracy=float('nan'))
    saver.log(step=8, loss=0.25)
    saver.save(metadata={'note': 'x'})
    with objio.open('storage/a/model.npz') as saved:
        assert saved.metadata['note'] == 'x'
    found = objio.runs()[0].saved
    assert found is not None
    assert str(found) == "{'step': 8.0, 'loss': 0.25, 'accuracy': nan}"
    before = content()
    with pytest.raises(ValueError, match='reserved'):
        saver.save(metadata={'objio.x': 1}, pickle=True)
    with pytest.raises(TypeError, match='tuple'):
        saver.save(metadata={'x': (1,)}, pickle=True)
    assert content() == before


def test_a_save_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line through `logging`, nothing printed."""
    saver = objio.Saver(Net(), run='a')
    with caplog.at_level(logging.INFO, 'objio'):
        saver.save()
    assert [record.getMessage() for record in caplog.records] == ['saved storage/a/model.npz']


def test_the_repr_says_what_and_where() -> None:
    """A Saver names its model's class and its folder."""
    assert repr(objio.Saver(Net(), run='a')) == '<Saver of Net in storage/a>'


def test_the_provenance_of_a_run() -> None:
    """Command, folder, host, process, Python, devices, commit, packages, start and end are kept for each session."""
    with objio.Saver(Net(), run='a'):
        pass
    found = objio.runs()[0].provenance
    assert found['command'] == sys.orig_argv
    assert found['folder'] == os.getcwd()
    assert found['pid'] == os.getpid()
    assert found['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert found['packages']['numpy'] == np.__version__
    assert re.fullmatch(r'\d+ × .+', found['devices'][0])
    assert found['start'] <= found['end']
    assert {'host', 'platform', 'git', 'state', 'error'} < set(found)
    assert objio.runs()[0].sessions[0]['settings']['class'] == f'{__name__}:Net'


def test_the_commit_and_whether_it_was_dirty(tmp_path: Path) -> None:
    """The commit is that of the folder; a changed file makes it dirty, a new one does not; elsewhere there is none."""
    import subprocess

    def run(*command: str) -> str:
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b')
        return subprocess.run(['git', *identity, *command], check=True, capture_output=True, text=True).stdout.strip()

    assert git(str(tmp_path)) is None
    run('init', '-q', '-b', 'trunk')
    assert git(str(tmp_path)) is None  # there is no commit yet
    Path('a').write_text('1')
    run('add', 'a')
    run('commit', '-qm', 'one')
    clean = {'commit': run('rev-parse', 'HEAD'), 'branch': 'trunk', 'dirty': False}
    assert git(str(tmp_path)) == clean
    Path('new').write_text('1')
    assert git(str(tmp_path)) == clean
    Path('a').write_text('2')
    assert git(str(tmp_path)) == clean | {'dirty': True}


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without git keeps everything else."""
    monkeypatch.setenv('PATH', str(tmp_path))
    assert git(str(tmp_path)) is None


def test_names_of_modules_agree() -> None:
    """The files of a run are called alike wherever they are named."""
    from objio.models import record, run

    assert run.WEIGHTS == record.WEIGHTS
    assert history.OWN == ('step', 'session', 'time')
    assert sessions.PROVENANCE == 'provenance.json'

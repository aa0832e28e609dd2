"""A run has a name and a folder that no other run has, it may go on, it ends, and it knows where it came from."""

import contextlib
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_checkpoint import save_with_any_metadata
from support_runs import Line, Net, content

import objio
from objio.models import record, run
from objio.models.names import check_name, friendly_name
from objio.models.provenance import git


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own, and has no run from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)


def test_the_name_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes before OBJIO_RUN, and that before a friendly name, which a seeded `random` does not change."""
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
    for attempt in (
        lambda: objio.Saver(Net(), run=name),
        lambda: objio.Saver.load(name),
        lambda: objio.compare(name, 'a'),
    ):
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


def test_a_second_run_of_one_name_is_refused() -> None:
    """A run that lives, and one that has ended, are each one clear error that says the ways out; nothing changes."""
    saver = objio.Saver(Net(), run='a')
    saver.save()
    before = content()
    with pytest.raises(BlockingIOError, match=f'process {os.getpid()}.*close'):
        objio.Saver(Net(), run='a')
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


def test_going_on_with_damaged_metrics_changes_nothing() -> None:
    """A run whose metrics are damaged is not resumed; the error names the line."""
    with objio.Saver(Net(), run='a') as saver:
        saver.log(step=1, loss=1.0)
    Path('storage/a/metrics.jsonl').write_text('x\n')
    before = content()
    with pytest.raises(objio.FormatError, match=r'metrics\.jsonl, line 1'):
        objio.Saver(Net(), run='a', resume=True)
    assert content() == before


def test_a_session_that_fails_at_once_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk fails after the run began, the run has failed, and its folder is free."""

    def fail(folder: str) -> None:
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr('objio.models.saver.renew_copy', fail)
    with pytest.raises(OSError, match='Input/output'):
        objio.Saver(Net(), run='a')
    monkeypatch.setattr('objio.models.saver.renew_copy', lambda folder: None)
    assert (objio.runs()[0].state, objio.runs()[0].provenance['error']) == (
        'failed',
        'OSError: [Errno 5] Input/output error',
    )
    objio.Saver(Net(), run='a', resume=True).close()


def test_a_program_that_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the working folder does not lead a run away from its own."""
    saver = objio.Saver(Net(), run='a')
    monkeypatch.chdir(tmp_path.parent)
    saver.log(step=1, loss=1.0)
    saver.save(pickle=True)
    assert saver.restore() == 1
    saver.close()
    monkeypatch.chdir(tmp_path)
    assert objio.runs()[0].state == 'finished'
    assert set(content('storage')) >= {'storage/a/model.pickle', 'storage/a/metrics.jsonl', 'storage/a/config.json'}


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
    assert objio.runs()[0].sessions[0]['settings']['class'] == 'support_runs:Net'


def test_the_commit_and_whether_it_was_dirty(tool: Callable[[str], str], tmp_path: Path) -> None:
    """The commit is that of the folder; a changed file makes it dirty, a new one does not; elsewhere there is none."""
    program = tool('git')

    def in_git(*command: str) -> str:
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b')
        return subprocess.run([program, *identity, *command], check=True, capture_output=True, text=True).stdout.strip()

    assert git(str(tmp_path)) is None
    in_git('init', '-q', '-b', 'trunk')
    assert git(str(tmp_path)) is None  # there is no commit yet
    Path('a').write_text('1')
    in_git('add', 'a')
    in_git('commit', '-qm', 'one')
    clean = {'commit': in_git('rev-parse', 'HEAD'), 'branch': 'trunk', 'dirty': False}
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
    """The file of the model is called alike where it is written and where it is read."""
    assert run.WEIGHTS == record.WEIGHTS


@pytest.mark.parametrize('name', ['.lock', 'metrics.jsonl', 'provenance.json'])
def test_a_pipe_among_the_files_of_a_run_is_not_waited_for(name: str) -> None:
    """Whoever looks at runs, or goes on with one, comes to an end."""
    with objio.Saver(objio.nn.Linear(2, 1), run='a') as saver:
        saver.log(step=1, loss=1)
        saver.save()
    os.remove(f'storage/a/{name}')
    os.mkfifo(f'storage/a/{name}')
    assert objio.runs()['a'].state == ('finished' if name == '.lock' else 'unreadable')
    with contextlib.suppress(OSError), objio.Saver(objio.nn.Linear(2, 1), run='a', resume=True):
        assert name == '.lock'


@pytest.mark.parametrize('step', ['nan', 'inf', 1.5])
def test_a_step_that_is_none_changes_no_weights(step: Any) -> None:
    """The step of a save is looked at before its weights are loaded."""
    net = objio.nn.Linear(2, 1)
    with objio.Saver(net, run='a') as saver:
        saver.save()
    with objio.open('storage/a/model.npz') as saved:
        metadata = {**saved.metadata, 'objio.metrics': {'step': step}}
    save_with_any_metadata('storage/a/model.npz', net, metadata)
    os.remove('storage/a/config.json')
    other = objio.nn.Linear(2, 1)
    before = other.w.value
    with objio.Saver(other, run='a', resume=True) as saver, pytest.raises(objio.FormatError, match='a whole number'):
        saver.restore()
    assert other.w.value is before


def test_a_save_that_cannot_be_made_leaves_the_pickle() -> None:
    """What no file can hold is known before anything of the save before is removed."""
    net = objio.nn.Linear(2, 1)
    with objio.Saver(net, run='a') as saver:
        saver.save(pickle=True)
        net.w.value.delete()
        with pytest.raises(objio.UnsaveableError, match='deleted'):
            saver.save()
    assert os.path.exists('storage/a/model.pickle')

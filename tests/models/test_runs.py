"""Runs are listed, filtered, sorted and compared, and the best of them is loaded; damage is told where it is."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import save_with_any_metadata

import objio
from objio.models.run import Run
from objio.models.runs import Runs


class Line(objio.Model):
    """A model with nested settings."""

    class Config(objio.Config):
        class Opt(objio.Config):
            lr: float = objio.mutable(0.1)

        width: int = 3
        opt: Opt = Opt()

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)


def make(name: str, losses: list[float], *, save: bool = True, **config: Any) -> None:
    """A run of a linear layer."""
    with objio.Saver(objio.nn.Linear(2, 1), config, run=name) as saver:
        for step, loss in enumerate(losses, start=1):
            saver.log(step=step, loss=loss, accuracy=1 - loss)
        if save:
            saver.save()


@pytest.fixture
def three() -> Runs:
    """Three runs that differ in one setting."""
    make('a', [0.9, 0.2, 0.3], lr=0.1, width=8)
    make('b', [0.5, 0.25], lr=0.01, width=8)
    make('c', [math.nan], lr=0.001, width=8)
    return objio.runs()


def test_the_table(three: Runs) -> None:
    """A line for each run, in the order of their beginning: state, settings that differ, last and best metrics."""
    assert str(three) == (
        'run  state     lr     loss  loss min  accuracy  accuracy max\n'
        'a    finished  0.1    0.3   0.2       0.7       0.8\n'
        'b    finished  0.01   0.25  0.25      0.75      0.75\n'
        'c    finished  0.001  nan   nan       nan       nan'
    )
    assert three.table({'loss': 'max'}).splitlines()[1].split() == ['a', 'finished', '0.1', '0.3', '0.9', '0.7', '0.8']
    assert repr(three) == '<3 runs in storage>'
    assert repr(three[0]) == '<run a: finished>'


def test_a_table_of_runs_that_have_not_the_same(three: Runs) -> None:
    """Where a run lacks a setting or a metric, a dash stands."""
    make('d', [], lr=0.1, note='x', layers=[1, 2])
    lines = str(objio.runs()).splitlines()
    assert lines[0].split() == [
        'run',
        'state',
        'lr',
        'width',
        'note',
        'layers',
        'loss',
        'loss',
        'min',
        'accuracy',
        'accuracy',
        'max',
    ]
    assert lines[1].split()[2:6] == ['0.1', '8', '-', '-']
    assert lines[4].split() == ['d', 'finished', '0.1', '-', 'x', '[1,', '2]', '-', '-', '-', '-']


def test_a_table_of_nothing() -> None:
    """A folder without runs gives an empty table; a folder that is not there is an error; others are passed over."""
    with pytest.raises(
        FileNotFoundError, match=r'no folder of runs at /.*/storage; give that of the Savers, runs\(root\)'
    ):
        objio.runs()
    Path('storage/other').mkdir(parents=True)
    Path('storage/note.txt').touch()
    assert len(objio.runs()) == 0
    assert str(objio.runs()) == 'run  state'


def test_runs_by_place_and_by_name(three: Runs) -> None:
    """Runs are a sequence, and a run is found by its name too."""
    assert [run.name for run in three] == ['a', 'b', 'c']
    assert three['b'] is three[1]
    assert [run.name for run in three[1:]] == ['b', 'c']
    assert 'a' in three
    assert 'x' not in three
    assert three[0] in three
    with pytest.raises(KeyError, match="no run 'x' in storage"):
        three['x']


def test_filters(three: Runs) -> None:
    """By state, by settings, by a function, and by all of them; an unknown setting names its neighbours."""
    assert [run.name for run in three.filter(lr=0.01)] == ['b']
    assert [run.name for run in three.filter(lambda run: run.last['loss'] < 1, width=8, state='finished')] == ['a', 'b']
    assert len(three.filter(state='killed')) == 0
    with pytest.raises(ValueError, match=r"no run has the setting 'widht' \(did you mean 'width'\?\)"):
        three.filter(widht=8)


def test_filters_by_nested_settings() -> None:
    """A nested setting goes by its dotted name."""
    for lr in (0.1, 0.2):
        objio.Saver(Line(opt={'lr': lr}), run=f'r{lr}').close()
    (run,) = objio.runs().filter(**{'opt.lr': 0.2})
    assert run.settings == {'width': 3, 'opt.lr': 0.2}
    assert run.config == {'width': 3, 'opt': {'lr': 0.2}}


@pytest.mark.parametrize(
    ('by', 'reverse', 'names'),
    [
        ('loss', False, 'bac'),
        ('loss', True, 'abc'),
        ('lr', False, 'cba'),
        ('run', True, 'cba'),
        ('start', False, 'abc'),
        ('state', False, 'abc'),
        (lambda run: run.best('loss'), False, 'abc'),
    ],
)
def test_sorting(three: Runs, by: Any, reverse: bool, names: str) -> None:
    """By a metric, a setting, a name or a function; what has no value, or NaN, comes last either way."""
    assert ''.join(run.name for run in three.sort(by, reverse=reverse)) == names


def test_sorting_by_what_is_not_there(three: Runs) -> None:
    """An unknown name is an error with what is near; values of several kinds are put in some order."""
    with pytest.raises(ValueError, match=r"'los' \(did you mean 'loss'\?\)"):
        three.sort('los')
    make('d', [], lr='auto')
    assert [run.name for run in objio.runs().sort('lr')] == ['c', 'b', 'a', 'd']


def test_the_best(three: Runs) -> None:
    """By the last value, or by the best ever; only runs with a model; NaN never, and of equal ones the later."""
    assert three.best('loss').name == 'b'
    assert three.best('loss', ever=True).name == 'a'
    assert three.best('loss', 'max').name == 'a'
    make('d', [0.0], save=False, lr=1.0)
    assert objio.runs().best('loss').name == 'b'
    make('e', [0.25], lr=1.0)
    assert objio.runs().best('loss').name == 'e'


def test_no_best(three: Runs) -> None:
    """An unknown metric, one that is NaN everywhere, and a wrong mode are one clear error."""
    with pytest.raises(ValueError, match=r"none of 3 runs in storage .*'los' \(did you mean 'loss'\?\)"):
        three.best('los')
    with pytest.raises(ValueError, match='none of 1 runs'):
        three.filter(lr=0.001).best('loss')
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max', got 'least'"):
        three.best('loss', 'least')


def test_the_best_is_loaded_in_one_line(three: Runs) -> None:
    """A plain module needs its class, a model only to be defined."""
    assert isinstance(three.best('loss').load(lambda lr, width: objio.nn.Linear(2, 1)), objio.nn.Linear)
    with objio.Saver(Line(opt={'lr': 0.5}), run='m') as saver:
        saver.log(step=1, loss=0.0)
        saver.save()
    assert objio.runs().best('loss').load().config.opt.lr == 0.5


def test_a_table_shows_the_best_where_the_name_tells(three: Runs) -> None:
    """The best stands beside the last value only where the name, or `modes`, says what is best."""
    with objio.Saver(objio.nn.Linear(2, 1), run='d') as saver:
        for step, value in enumerate([0.25, 0.75, 0.5], 1):
            saver.log(step=step, accuracy_loss=value, lr=value, mcc=value, elbo=-value, progress=value)
    lines = objio.runs().filter(lambda run: run.name == 'd').table({'progress': 'max'}).splitlines()
    assert ' '.join(lines[0].split()) == 'run state accuracy_loss lr mcc mcc max elbo elbo max progress progress max'
    assert lines[1].split() == ['d', 'finished', '0.5', '0.5', '0.5', '0.75', '-0.5', '-0.25', '0.5', '0.75']
    with pytest.raises(ValueError, match=r"modes\['loss'\]: expected 'min' or 'max', got 'least'"):
        three.table({'loss': 'least'})  # type: ignore[dict-item]
    for name in ('Loss', 'losss', 'val_loss'):
        with pytest.raises(
            ValueError, match=rf"no run has the metric '{name}' \(did you mean 'loss'\?\); they have loss"
        ):
            three.table({'loss': 'max', name: 'max'})
    assert three[:0].table({'loss': 'max'}).split() == ['run', 'state']


def test_the_best_by_the_name_alone(three: Runs) -> None:
    """`best` goes by the name as `Checkpoint` does, and refuses one that does not tell, with the cure."""
    for run, value in (('d', 0.2), ('e', 0.9), ('f', 0.5)):
        with objio.Saver(objio.nn.Linear(2, 1), run=run) as saver:
            saver.log(step=1, mIoU=value, win_rate=value, perplexity=value, accuracy_loss=value, progress=value)
            saver.save()
    runs = objio.runs()
    assert [runs.best(name).name for name in ('mIoU', 'win_rate', 'perplexity')] == ['e', 'e', 'd']
    assert [runs.best(name, ever=True).name for name in ('mIoU', 'win_rate', 'perplexity')] == ['e', 'e', 'd']
    assert runs.best('mIoU', 'min').name == 'd'
    assert (runs['e'].best('mIoU'), runs['e'].best('accuracy_loss', 'min')) == (0.9, 0.9)
    for name, words in (('accuracy_loss', ', as it has words of both directions'), ('progress', '')):
        message = f"the name of the metric '{name}' does not tell whether less or more of it is better{words}; give mode='min' "
        with pytest.raises(ValueError, match=message):
            runs.best(name)
        with pytest.raises(ValueError, match=message):
            runs['e'].best(name)
        assert runs.best(name, mode='max').name == 'e'


def test_a_comparison(three: Runs) -> None:
    """What differs in settings, last metrics and provenance, and nothing else."""
    found = objio.compare(three[0], 'b')
    assert found.settings == {'lr': (0.1, 0.01)}
    assert found.metrics == {'loss': (0.3, 0.25), 'accuracy': (0.7, 0.75)}
    assert found.provenance == {}
    assert found
    assert str(found) == (
        '            a    b\nsettings\n  lr        0.1  0.01\nmetrics\n  loss      0.3  0.25\n  accuracy  0.7  0.75'
    )
    alike = objio.compare('a', 'a')
    assert not alike
    assert str(alike) == 'a and a do not differ'
    with pytest.raises(FileNotFoundError, match='there is no such run; the folder has a, b, c'):
        objio.compare('a', 'x')


def test_a_comparison_of_where_runs_came_from(three: Runs) -> None:
    """Other packages, commits and commands are told, one by one; what only one run has stands against a dash."""
    path = Path('storage/b/provenance.json')
    content = json.loads(path.read_text())
    content['sessions'][-1]['packages'] |= {'numpy': '0.1', 'extra': '2'}
    content['sessions'][-1]['git'] = {'commit': 'abc', 'dirty': 'perhaps'}
    path.write_text(json.dumps(content))
    found = objio.compare('a', 'b').provenance
    assert found['packages.numpy'][1] == '0.1'
    assert found['packages.extra'] == (None, '2')
    assert found['git.dirty'][1] == 'perhaps'
    assert any(line.split() == ['packages.extra', '-', '2'] for line in str(objio.compare('a', 'b')).splitlines())


@pytest.mark.parametrize(
    ('file', 'data', 'message'),
    [
        ('provenance.json', b'{', 'expected JSON'),
        ('provenance.json', b'[' * 10**5, 'expected JSON'),
        ('provenance.json', b'[]', "expected the format 'objio-run 1', found"),
        ('provenance.json', b'{"format": "objio-run 2", "sessions": []}', "found 'objio-run 2'"),
        ('provenance.json', b'{"format": "objio-run 1", "sessions": []}', 'expected a list of sessions'),
        ('provenance.json', b'{"format": "objio-run 1", "sessions": [{"state": "idle"}]}', 'expected a list'),
        ('metrics.jsonl', b'{}\n', 'line 1: expected'),
        ('metrics.jsonl', b'{"step": 1, "session": 1, "loss": 1%s}\n' % (b'0' * 400), 'line 1: expected a number'),
        ('model.npz', b'PK', 'model.npz'),
    ],
)
def test_damage_hides_no_other_run(three: Runs, file: str, data: bytes, message: str) -> None:
    """A run with a damaged file is listed as such, with the reason; asking for what is damaged raises it."""
    Path('storage/b', file).write_bytes(data)
    found = objio.runs()
    assert [run.name for run in found if run.state == 'damaged'] == ['b']
    assert found['b'].damaged in str(found)
    assert message in found['b'].damaged
    assert found.best('loss').name == 'a'
    assert len(found.sort('loss')) == 3
    assert [run.name for run in found.filter(width=8)] == ['a', 'c']
    with pytest.raises(objio.FormatError):
        objio.compare('a', 'b')
    if file == 'provenance.json':
        with pytest.raises(objio.FormatError, match='provenance.json'):
            objio.Saver(objio.nn.Linear(2, 1), {'lr': 0.01, 'width': 8}, run='b', resume=True)
        assert Path('storage/b', file).read_bytes() == data


@pytest.mark.parametrize('file', ['provenance.json', 'metrics.jsonl', 'model.npz'])
def test_what_cannot_be_read_hides_no_other_run(three: Runs, file: str) -> None:
    """A run with a file that the system does not give is listed as such, with the reason."""
    Path('storage/b', file).unlink()
    Path('storage/b', file).mkdir()  # which root, too, cannot read as a file
    found = objio.runs()
    assert {run.name: run.state for run in found} == {'a': 'finished', 'b': 'unreadable', 'c': 'finished'}
    assert file in found['b'].damaged
    assert found.best('loss').name == 'a'
    assert [run.name for run in found.sort('start')] == ['a', 'c', 'b']


def test_a_folder_that_is_no_run() -> None:
    """`Run` of any other folder says that there is none."""
    with pytest.raises(FileNotFoundError, match='there is no run'):
        Run('.')


def test_when_a_run_began_and_ended(three: Runs) -> None:
    """Start and end are times that sort; a run that goes on has no end."""
    first = three[0]
    assert first.start is not None
    assert first.end is not None
    assert first.start < first.end < (three[2].end or '')
    saver = objio.Saver(objio.nn.Linear(2, 1), run='d')
    assert objio.runs()['d'].end is None
    saver.close()


def test_runs_are_listed_without_jax(three: Runs) -> None:
    """A table and a comparison need neither JAX nor pydantic, so that a command line answers at once."""
    code = (
        "import sys, objio\nprint(objio.runs())\nprint(objio.runs().best('loss').name)\nobjio.compare('a', 'b')\n"
        "print({'jax', 'pydantic'} & set(sys.modules))"
    )
    environment = os.environ | {'PYTHONPATH': str(Path(objio.__file__).parents[1])}
    output = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, env=environment)
    assert output.stdout == f'{three}\nb\nset()\n'


def test_a_plain_module_is_kept_without_pydantic() -> None:
    """Only settings of a `Config` need it."""
    code = (
        "import sys\nsys.modules['pydantic'] = None\nimport objio\nnet = objio.nn.Linear(2, 1)\n"
        "objio.Saver(net, config={'width': 2}, run='a').save()\n"
        "print(objio.Saver.load('a', cls=lambda width: net) is net)"
    )
    environment = os.environ | {'PYTHONPATH': str(Path(objio.__file__).parents[1])}
    output = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, env=environment)
    assert output.stdout == 'True\n'


READ_ONLY = """
import os, sys
import objio
net, config = objio.nn.Linear(2, 1), {'lr': 0.01, 'width': 8}
cls = lambda lr, width: net
with objio.Saver(net, config, run='b', root='here') as saver:  # so that all of Python that is needed is loaded
    saver.save()
objio.Saver.load('b', 'here', cls)
objio.runs('here')
os.chdir(sys.argv[1])
if os.geteuid() == 0:  # whom no folder is closed to
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print([run.state for run in objio.runs()], objio.Saver.load('b', cls=cls) is net)
for name, resume in ('new', False), ('b', True):
    try:
        objio.Saver(net, config, run=name, resume=resume)
    except PermissionError as error:
        print(error)
"""


def test_a_storage_that_is_read_only(three: Runs) -> None:
    """Where nothing may be written, runs are listed and loaded; to begin or to go on is one error, nothing changes."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree('storage', Path(folder, 'storage'))
        files = sorted(Path(folder).rglob('*'))
        before = [path.read_bytes() for path in files if path.is_file()]
        for path in [Path(folder), *files]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        environment = os.environ | {'PYTHONPATH': str(Path(objio.__file__).parents[1])}
        command = [sys.executable, '-c', READ_ONLY, folder]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        for path in [Path(folder), *files]:
            path.chmod(0o755)
        assert [path.read_bytes() for path in sorted(Path(folder).rglob('*')) if path.is_file()] == before
    found, new, old = output.splitlines()
    assert found == "['finished', 'finished', 'finished'] True"
    assert new == (
        '[Errno 13] Permission denied: a run makes a folder of its own; nothing was written: '
        f'{os.path.join("storage", "new")!r}'
    )
    assert 'Permission denied' in old
    assert os.path.join('storage', 'b') in old


@pytest.mark.parametrize('record', ['x', [], 5, None, {}, {'values': 5}])
def test_settings_that_are_none_hide_no_other_run(three: Runs, record: Any) -> None:
    """A model whose metadata hold something else in the place of the settings is a damaged run among others."""
    save_with_any_metadata('storage/b/model.npz', {'w': 1.0}, {'objio.config': record})
    found = objio.runs()
    assert found['b'].state == 'damaged'
    assert 'expected the settings of a run' in str(found)
    assert found.best('loss').name == 'a'
    assert [run.name for run in found.filter(width=8)] == ['a', 'c']

"""A notebook: the cell that begins a run is run again in the same program, and classes are defined again."""

import gc
import os
from pathlib import Path
from typing import Any

import pytest

import objio
from objio.models.sessions import read_sessions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of its own."""
    monkeypatch.chdir(tmp_path)


def net() -> objio.nn.Linear:
    """A small module."""
    return objio.nn.Linear(1, 1)


def states(run: str = 'a') -> list[str]:
    """How the sessions of a run stand."""
    return [session['state'] for session in read_sessions(f'storage/{run}') or []]


def test_a_cell_that_resumes_takes_the_run_over() -> None:
    """The later Saver goes on with the run; the earlier one is told so at its next call, and changes nothing."""
    first = objio.Saver(net(), run='a', resume=True)
    first.log(step=1, loss=0.5)
    first.save()
    second = objio.Saver(net(), run='a', resume=True)
    assert states() == ['finished', 'running']
    for call in (lambda: first.log(step=2, loss=9.0), first.save):
        with pytest.raises(ValueError, match='taken over by a newer Saver of this program'):
            call()
    assert second.restore() == 1
    second.log(step=2, loss=0.25)
    first.close()
    first = None
    gc.collect()
    assert states() == ['finished', 'running']
    second.log(step=3, loss=0.125)
    second.close()
    assert states() == ['finished', 'finished']
    assert objio.runs()['a'].metrics == {'loss': {1: 0.5, 2: 0.25, 3: 0.125}}


def test_a_name_that_is_used_again_takes_over_too() -> None:
    """As a cell does: the old Saver is freed only when the new one is there."""
    for step in 1, 2, 3:
        saver = objio.Saver(net(), run='a', resume=True)
        saver.log(step=step, loss=1.0)
    saver.close()
    assert states() == ['finished'] * 3
    assert list(objio.runs()['a'].metrics['loss']) == [1, 2, 3]


@pytest.mark.parametrize('named', ['argument', 'environment', 'with block'])
def test_a_cell_that_does_not_resume_is_told_what_to_do(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that this program has the run, and names `close()` and `resume=True`; the run goes on."""
    options: dict[str, Any] = {'run': 'a'}
    if named == 'environment':
        monkeypatch.setenv('OBJIO_RUN', 'a')
        options = {}
    first = objio.Saver(net(), **options)
    with pytest.raises(BlockingIOError, match=rf'this program .*\(process {os.getpid()}\).*close\(\).*resume=True'):
        objio.Saver(net(), **options)
    first.log(step=1, loss=0.5)
    assert states() == ['running']
    if named == 'with block':
        with pytest.raises(ZeroDivisionError), first:
            raise ZeroDivisionError
    first.close()
    with pytest.raises(FileExistsError, match='resume=True'):
        objio.Saver(net(), **options)
    objio.Saver(net(), **options, resume=True).close()
    assert len(states()) == 2


def test_other_settings_take_nothing_over() -> None:
    """The settings are compared first: where they differ, the Saver that has the run goes on."""
    first = objio.Saver(net(), {'lr': 0.1}, run='a')
    with pytest.raises(objio.ConfigConflict, match='0.1 before, 0.2 now'):
        objio.Saver(net(), {'lr': 0.2}, run='a', resume=True)
    first.log(step=1, loss=0.5)
    first.close()
    assert states() == ['finished']


def test_another_way_to_the_folder_is_the_same_run(tmp_path: Path) -> None:
    """By a link, by an absolute path, from another working folder."""
    first = objio.Saver(net(), run='a')
    (tmp_path / 'link').symlink_to(tmp_path / 'storage')
    second = objio.Saver(net(), run='a', root='link', resume=True)
    (tmp_path / 'elsewhere').mkdir()
    os.chdir(tmp_path / 'elsewhere')
    third = objio.Saver(net(), run='a', root=tmp_path / 'storage', resume=True)
    for old in (first, second):
        with pytest.raises(ValueError, match='a newer Saver'):
            old.log(step=1, loss=0.5)
    third.close()


@pytest.mark.parametrize('root', ['storage', 'a/../storage', '.'])
def test_the_folder_of_a_run_is_the_same_wherever_the_program_goes(root: str, tmp_path: Path) -> None:
    """`saver.path` is what was given, and absolute elsewhere: a Checkpoint there stands beside the model."""
    (tmp_path / 'a').mkdir()
    saver = objio.Saver(net(), run='b', root=root)
    assert saver.path == Path(root, 'b')
    os.chdir(tmp_path / 'a')
    assert saver.path == (tmp_path / root / 'b').resolve()
    saver.save()
    with objio.Checkpoint(saver.path, background=True) as ckpt:
        ckpt.save(saver.model, 1)
    assert objio.runs(tmp_path / root)[0].path.joinpath('ckpt/0000000001.npz').is_file()
    assert list(Path().iterdir()) == []
    os.chdir(tmp_path)
    assert saver.path == Path(root, 'b')
    saver.close()


def test_what_was_begun_goes_on_where_the_working_folder_is_removed(tmp_path: Path) -> None:
    """Relative folders mean what they meant: a run, a Checkpoint and a Model save and load as before, in the background too."""
    model = objio.nn.Linear(1, 1)
    saver = objio.Saver(model, run='a')
    ckpts = [objio.Checkpoint('ckpts', background=background) for background in (False, True)]
    gone = tmp_path / 'gone'
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    saver.log(step=1, loss=0.5)
    saver.save()
    assert (saver.restore(), saver.path) == (1, tmp_path / 'storage/a')
    for idx, ckpt in enumerate(ckpts, 1):
        ckpt.save(model, idx)
        assert ckpt.restore(model) == (idx, str(tmp_path / f'ckpts/ckpt/000000000{idx}.npz'))
    saver.close()
    assert objio.runs(tmp_path / 'storage')['a'].last == {'loss': 0.5}
    os.chdir(tmp_path)


def test_the_folder_of_one_run_is_no_folder_of_runs(tmp_path: Path) -> None:
    """It would be an empty list without a word; what the message says to call works.."""
    objio.Saver(net(), run='a', root='deep/storage').close()
    for root in ('deep/storage/a', Path('deep/storage/a'), 'deep/storage/a/', tmp_path / 'deep/storage/a'):
        with pytest.raises(ValueError, match='is the folder of one run; give the folder of all runs') as info:
            objio.runs(root)
        call = str(info.value).partition('all runs, ')[2]
        assert eval(call, {'runs': objio.runs}).name == 'a'
    assert len(objio.runs('deep')) == 0
    objio.Saver(net(), run='inner', root='deep/storage/a').close()
    assert [run.name for run in objio.runs('deep/storage/a')] == ['inner']


def test_other_runs_of_the_program_go_on() -> None:
    """Only the Saver of the same run ends."""
    a, b = objio.Saver(net(), run='a'), objio.Saver(net(), run='b')
    again = objio.Saver(net(), run='a', resume=True)
    b.log(step=1, loss=0.5)
    b.save()
    for saver in (a, b, again):
        saver.close()
    assert (states(), states('b')) == (['finished', 'finished'], ['finished'])


def test_a_class_that_is_defined_again() -> None:
    """The run of the old class goes on with the new one, and `load` gives the new one; old models are still saved."""

    def define() -> Any:
        class Net(objio.Model):
            class Config(objio.Config):
                width: int = 2

            def build(self) -> None:
                self.layer = objio.nn.Linear(self.config.width, 1)

        return Net

    old = define()
    model = old(None, width=3)
    with objio.Saver(model, run='a') as saver:
        saver.save()
    new = define()
    again = new(None, width=3)
    with objio.Saver(again, run='a', resume=True) as saver:
        saver.restore()
        saver.save()
    assert type(objio.Saver.load('a')) is new
    assert (again.layer.w.value == model.layer.w.value).all()
    model.save('m')
    assert (new('m').layer.w.value == model.layer.w.value).all()
    assert type(old('m')) is old


def layers() -> objio.nn.Sequential:
    """A network that no settings make."""
    return objio.nn.Sequential([objio.nn.Linear(2, 3), abs, objio.nn.Linear(3, 1)])


def test_a_network_that_its_class_alone_does_not_make_is_told() -> None:
    """An empty one would come back without a word; the error says what `cls=` can be, and that works."""
    made = layers()
    with objio.Saver(made, run='a') as saver:
        saver.log(step=1, loss=0.5)
        saver.save()
    for load in (
        lambda: objio.Saver.load('a', cls=objio.nn.Sequential),
        lambda: objio.runs().best('loss').load(objio.nn.Sequential),
    ):
        with pytest.raises(
            objio.MismatchError, match=r'a save of objio\.nn:Sequential, and Sequential\(\) did not.*Pass cls='
        ):
            load()
    with pytest.raises(LookupError, match='pass cls=, the class or a function that makes it'):
        objio.Saver.load('a')
    back = objio.runs().best('loss').load(layers)
    assert (back[2].w.value == made[2].w.value).all()


def test_a_module_that_takes_only_a_part_of_the_save_is_told() -> None:
    """Arrays that the module lacks would be lost; their names are in the error."""
    with objio.Saver(layers(), run='a') as saver:
        saver.save()
    with pytest.raises(objio.MismatchError, match=r'\(Sequential\)\[2\]\(Linear\)\.w'):
        objio.Saver.load('a', cls=lambda: objio.nn.Sequential([objio.nn.Linear(2, 3)]))
    objio.Saver(objio.nn.Linear(2, 3), {'nin': 2, 'nout': 3}, run='b').save()
    with pytest.raises(objio.MismatchError, match=r'Conv\(nin=2, nout=3\) did not make'):
        objio.Saver.load('b', cls=type('Conv', (), {'__new__': lambda cls, **_: objio.nn.Linear(2, 4)}))


@pytest.mark.parametrize(
    'made', [objio.nn.Linear(2, 3), objio.nn.Linear(2, 3).vars(), 'Linear'], ids=lambda x: type(x).__name__
)
def test_a_module_in_place_of_its_class_is_refused(made: Any, tmp_path: Path) -> None:
    """It would be called with the settings; the error says what fills a module that is there already."""
    saver = objio.Saver(objio.nn.Linear(2, 3), run='a', root=tmp_path, config={'nin': 2, 'nout': 3})
    saver.save()
    saver.close()
    with pytest.raises(TypeError, match=f'got a {type(made).__name__}; to load into a module: load_var_collection'):
        objio.Saver.load('a', root=tmp_path, cls=made)

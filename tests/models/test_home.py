"""A leading `~` is the home folder in every call that takes a path; no folder called `~` comes into being."""

import os
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import pytest

import objio


class Line(objio.Model):
    class Config(objio.Config):
        width: int = 3

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 1)


def weights() -> objio.VarCollection:
    return objio.nn.Linear(3, 1).vars()


def checkpoint(path: str) -> None:
    ckpt = objio.Checkpoint(path, verbose=False)
    ckpt.save(weights(), 1)
    assert ckpt.restore(weights()) == (1, os.path.expanduser(f'{path}/ckpt/0000000001.npz'))
    assert ckpt.logdir == os.path.expanduser(path)
    assert [path for _, path in ckpt.watch(timeout=0)] == [os.path.expanduser(f'{path}/ckpt/0000000001.npz')]


def background(path: str) -> None:
    with objio.Checkpoint(Path(path), verbose=False, background=True) as ckpt:
        ckpt.save(weights(), 1)
    assert objio.verify(f'{path}/ckpt/0000000001.npz')


def model(path: str) -> None:
    line = Line(path, width=4)
    assert line.directory == line.config.directory == Path(path).expanduser()
    line.save()
    line.save(background=True)
    line.wait()
    line.checkpoint().save(line, 1)
    assert Line(Path(path)).config.width == 4


def model_elsewhere(path: str) -> None:
    line = Line('here')
    line.save(path)
    line.save(f'{path}/one.npz')
    line.load(Path(path))
    line.load(f'{path}/one.npz')


def run(path: str) -> None:
    with objio.Saver(Line(), run='first', root=path) as saver:
        saver.save()
        assert saver.path == Path(path, 'first').expanduser()
    with objio.Saver(objio.nn.Linear(3, 1), {'nin': 3, 'nout': 1}, run='second', root=Path(path)) as saver:
        saver.save()
    assert [run.name for run in objio.runs(path)] == ['first', 'second']
    assert len(objio.runs(Path(path))) == 2
    assert isinstance(objio.Saver.load('first', root=path), Line)
    assert isinstance(objio.Saver.load('second', root=Path(path), cls=objio.nn.Linear), objio.nn.Linear)
    assert 'first' in str(objio.compare('first', 'second', root=path))
    with objio.Saver(Line(), run='first', root=path, resume=True) as saver:
        saver.save()


def arrays(path: str) -> None:
    os.makedirs(os.path.expanduser(path), exist_ok=True)
    objio.save_var_collection(f'{path}/a.npz', {'w': jnp.ones(2)})
    objio.convert(Path(f'{path}/a.npz'), f'{path}/a.safetensors')
    objio.save_var_collection(f'{path}/model.safetensors.index.json', {'w': jnp.ones(2)})
    for file in (f'{path}/a.npz', Path(f'{path}/a.safetensors'), f'{path}/model.safetensors.index.json', f'{path}/'):
        vc = objio.VarCollection.from_tree({'w': jnp.zeros(2)})
        assert objio.plan_load(file, vc)
        objio.load_var_collection(file, vc)
        assert vc['w'].value.sum() == 2
        assert objio.verify(file)
        with objio.open(file, mmap=True) as saved:
            assert list(saved) == ['w']
        assert list(objio.average([file, file])) == ['w']


def module(path: str) -> None:
    os.makedirs(os.path.expanduser(path), exist_ok=True)
    objio.save_module(f'{path}/net.pickle', objio.nn.Linear(3, 1))
    objio.load_module(Path(f'{path}/net.pickle'), trusted=True)


@pytest.mark.parametrize('path', ['~', '~/runs', '~/a/~/b'])
@pytest.mark.parametrize('use', [checkpoint, background, model, model_elsewhere, run, arrays, module])
def test_home_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[str], None], path: str) -> None:
    """What is saved under `~` is in the home folder, found there again, and nothing of it is in the working folder."""
    home, here = tmp_path / 'home', tmp_path / 'here'
    here.mkdir()
    home.mkdir()
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.chdir(here)
    use(path)
    assert any(Path(path).expanduser().iterdir())
    assert os.listdir(here) == []
    assert not (home / '~').exists()


CALLS: dict[str, Callable[[str], object]] = {
    'save': lambda path: objio.save_var_collection(path, {'w': jnp.ones(2)}),
    'save_module': lambda path: objio.save_module(path, objio.nn.Linear(3, 1)),
    'open': objio.open,
    'verify': objio.verify,
    'Checkpoint': objio.Checkpoint,
    'Model': Line,
    'Model.save': lambda path: Line('here').save(path),
    'Saver': lambda path: objio.Saver(objio.nn.Linear(3, 1), root=path),
    'Saver.load': lambda path: objio.Saver.load('first', root=path),
    'runs': objio.runs,
    'compare': lambda path: objio.compare('first', 'second', root=path),
}


@pytest.mark.parametrize('path', ['~/a', 's3://bucket/a', Path('s3://bucket/a'), 'file:///a', 'a\0b'], ids=repr)
@pytest.mark.parametrize('call', CALLS)
def test_what_names_no_place_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, path: str
) -> None:
    """A home that is not known, a URL and a path with NUL are one ValueError, before a folder of that name exists."""
    monkeypatch.setenv('HOME', '')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='HOME|is a URL|NUL'):
        CALLS[call](path)
    assert os.listdir(tmp_path) == []


def test_a_model_saves_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that goes elsewhere takes the relative directory of its model, and all that is saved there, not along."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    monkeypatch.chdir(tmp_path / 'a')
    line = Line('line', width=5)
    assert line.directory == Path('line')
    monkeypatch.chdir(tmp_path / 'b')
    assert line.directory == tmp_path / 'a' / 'line'
    line.save()
    line.save(background=True)
    line.wait()
    line.checkpoint().save(line, 1)
    line.load()
    assert os.listdir(tmp_path / 'b') == []
    assert sorted(os.listdir(tmp_path / 'a' / 'line')) == ['ckpt', 'config.json', 'model.npz']
    monkeypatch.chdir(tmp_path / 'a')
    assert line.directory == Path('line')
    assert Line('line').config.width == 5

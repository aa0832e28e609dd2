"""Public reports of folders that were taken unseen, and of files that were overwritten or made elsewhere."""

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_reports import Line, told, tree_of

import objio

Linear = objio.nn.Linear


def test_a_directory_with_a_model_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TabPFN#814: training went on from an old checkpoint in its output folder, unasked. A load is told in the log."""
    monkeypatch.chdir(tmp_path)
    old = Line()
    old.layer.b.assign(old.layer.b.value + 5)
    old.save()
    with told() as heard:
        assert Line().layer.b.value.tolist() == [5]
    assert 'Line() loaded' in heard[0]
    assert 'as no directory was given' in heard[0]
    assert Line(directory=None).layer.b.value.tolist() == [0]
    with told() as heard:
        assert Line('model_dir').layer.b.value.tolist() == [5]
    assert str(tmp_path / 'model_dir/model.npz') in heard[0]


def test_a_run_of_the_same_name(tmp_path: Path) -> None:
    """ray#35812: a second experiment of the same name replaced the first. It is refused, and the first is as it was."""
    with objio.Saver(Linear(1, 1), {'a': 1}, run='dirname', root=tmp_path) as saver:
        saver.log(step=1, loss=0.5)
        saver.save()
    before = {path.name: path.read_bytes() for path in saver.path.iterdir()}
    with pytest.raises(FileExistsError, match='another name, or go on with it: resume=True'):
        objio.Saver(Linear(1, 1), {'a': 2}, run='dirname', root=tmp_path)
    assert {path.name: path.read_bytes() for path in saver.path.iterdir()} == before


def test_a_run_that_was_deleted_and_made_anew(tmp_path: Path) -> None:
    """optuna-dashboard#503: a study of the same name showed the trials of the deleted one. Nothing of it comes back."""
    for loss in 0.1, 0.9:
        shutil.rmtree(tmp_path / 's', ignore_errors=True)
        with objio.Saver(Linear(1, 1), run='s', root=tmp_path) as saver:
            saver.log(step=1, loss=loss)
    assert objio.runs(tmp_path)['s'].metrics == {'loss': {1: 0.9}}


@pytest.mark.parametrize('keep', [1, 2, 5])
def test_a_restore_from_another_run(tmp_path: Path, keep: int) -> None:
    """Lightning#11379, #16426: a resumed run deleted the checkpoint it came from. Only saves of its own folder go."""
    old = objio.Checkpoint(tmp_path / 'old', keep_ckpts=keep)
    old.save({'w': np.ones(1)}, 1)
    old.restore(vc := tree_of(w=np.zeros(1)))
    new = objio.Checkpoint(tmp_path / 'new', keep_ckpts=keep)
    for idx in range(2, 9):
        new.save(vc, idx)
    assert (old.idxs(), new.idxs()) == ([1], list(range(9 - keep, 9)))


@pytest.mark.parametrize('idx', [0, 1, 4])
def test_a_training_that_begins_anew_in_an_old_folder(tmp_path: Path, idx: int) -> None:
    """tensorflow#18696, fvcore#25: old checkpoints won over the new start, or were kept instead. The save is refused.

    One index can still be mistaken: that of the newest save, which a save of the same index replaces.
    """
    old = objio.Checkpoint(tmp_path, keep_ckpts=2)
    for epoch in 3, 4, 5:
        old.save({'w': np.ones(1)}, epoch)
    new = objio.Checkpoint(tmp_path, keep_ckpts=2)
    with pytest.raises(objio.SaveOrderError, match='would stand below'):
        new.save({'w': np.zeros(1)}, idx)
    assert new.idxs() == [4, 5]
    new.save({'w': np.zeros(1)}, 5)
    new.restore(vc := tree_of(w=np.ones(1)))
    assert vc.to_tree()['w'] == 0


def test_two_runs_of_the_same_second(tmp_path: Path) -> None:
    """profam#261: two runs of one second shared a folder. Each takes a name of its own, or is refused."""
    savers = [objio.Saver(Linear(1, 1), root=tmp_path) for _ in range(5)]
    assert len({saver.path for saver in savers}) == 5
    for saver in savers:
        saver.close()


@pytest.mark.parametrize('name', ['foo', 'foo.v1.2', 'foo.NPZ', 'a b', 'model.ckpt-7'])
def test_a_name_without_a_suffix(tmp_path: Path, name: str) -> None:
    """numpy#9929: `save` added a suffix that `load` did not. A name is taken as given, by both."""
    objio.save_var_collection(tmp_path / name, {'w': np.ones(1)})
    assert os.listdir(tmp_path) == [name]
    objio.load_var_collection(tmp_path / name, vc := tree_of(w=np.zeros(1)))
    assert vc.to_tree()['w'] == 1


@pytest.mark.parametrize('mmap', [False, True])
@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
def test_a_file_that_is_saved_again_while_it_is_open(tmp_path: Path, suffix: str, mmap: bool) -> None:
    """numpy#22435: an open npz could not be read once it was saved again. What was opened stays readable, as it was."""
    file = tmp_path / f'x.{suffix}'
    objio.save_var_collection(file, {'a': np.array([1.0]), 'b': np.array([2.0])})
    with objio.open(file, mmap=mmap) as saved:
        objio.save_var_collection(file, {'a': np.array([33.0]), 'c': np.ones(9)})
        assert (saved['a'], saved['b']) == (1, 2)
    with objio.open(file) as saved:
        assert (saved['a'], list(saved)) == (33, ['a', 'c'])


@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
@pytest.mark.parametrize('changed', [False, True])
def test_a_mapped_file_that_is_saved_to_its_own_name(tmp_path: Path, suffix: str, changed: bool) -> None:
    """safetensors#762, #395, tinygrad#6294: loaded, saved to the same name, and all was zeros or gone. Both are whole."""
    file, values = tmp_path / f'x.{suffix}', np.arange(1e5, dtype=np.float32)
    objio.save_var_collection(file, {'w': values})
    objio.load_var_collection(file, vc := tree_of(w=np.zeros(100_000, np.float32)), mmap=True)
    tree = {**vc.to_tree(), **({'more': np.ones(3)} if changed else {})}
    objio.save_var_collection(file, tree)
    assert np.array_equal(tree['w'], values)
    with objio.open(file) as saved:
        assert np.array_equal(saved['w'], values)


def here(folder: Path) -> set[str]:
    """The files in a folder, by their path in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file() and path.name != '.lock'}


def test_a_program_that_changes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hydra#990, #2414: after a change of the working folder paths meant other files. They mean what they meant."""
    monkeypatch.chdir(tmp_path)
    Path('sub').mkdir()
    ckpt, saver, model = objio.Checkpoint('run'), objio.Saver(Linear(1, 1), {'nin': 1, 'nout': 1}, run='r'), Line('m')
    saver.save()
    objio.save_var_collection('x.npz', {'w': np.ones(1)})
    plan, runs = objio.plan_load('x.npz', vc := tree_of(w=np.zeros(1))), objio.runs()
    before = here(tmp_path)
    monkeypatch.chdir('sub')
    objio.save_var_collection('x.npz', {'w': np.full(1, 7.0)})  # of the same name, in the other folder
    with objio.Saver(Linear(1, 1), {'nin': 1, 'nout': 1, 'use_bias': False}, run='r') as other:
        other.save()
    ckpt.save({'w': np.ones(1)}, 1)
    saver.save()
    model.save()
    plan.apply()
    assert vc.to_tree()['w'] == 1
    assert ckpt.restore(vc) == (1, str(tmp_path / 'run/ckpt/0000000001.npz'))
    assert runs['r'].load(Linear).b is not None
    assert (runs['r'].path, runs['r'] in runs) == (tmp_path / 'storage/r', True)
    saver.close()
    new = here(tmp_path) - before - {str(Path('sub', name)) for name in here(tmp_path / 'sub')}
    assert new == {'run/ckpt/0000000001.npz', 'm/model.npz', 'm/config.json'}


@pytest.mark.parametrize('at', [1, 4, 100])
def test_a_file_object_that_stands_elsewhere(at: int) -> None:
    """pytorch#88320, #3694: what was saved behind a header could not be loaded. It is refused before the header goes."""
    file = io.BytesIO(b'h' * at)
    file.seek(at)
    with pytest.raises(ValueError, match=f'stands at position {at}.*nothing was written'):
        objio.save_var_collection(file, {'w': np.ones(1)})
    assert file.getvalue() == b'h' * at
    part = io.BytesIO()
    objio.save_var_collection(part, {'w': np.ones(1)})
    file.write(part.getvalue())
    file.seek(at)
    with pytest.raises(objio.FormatError):  # read from its position 0, wherever it stands
        objio.open(file)
    with objio.open(io.BytesIO(file.read())) as saved:
        assert saved['w'] == 1


def test_files_of_others_in_the_folder_of_saves(tmp_path: Path) -> None:
    """Lightning#5173: other files of the folder seemed to go with old checkpoints. What is no save is never touched."""
    folder = tmp_path / 'ckpt'
    folder.mkdir()
    others = {'notes.npz', '0000000001.npz.bak', 'best.npz', '0000000001 (copy).npz', '0000000002.safetensors', 'x.tmp'}
    for name in others:
        (folder / name).write_bytes(b'mine')
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    for idx in 1, 2, 3:
        ckpt.save({'w': np.ones(1)}, idx)
    assert set(os.listdir(folder)) == others | {'0000000003.npz'}


@pytest.mark.parametrize('home', ['~/x.npz', Path('~/x.npz')])
def test_a_path_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Any) -> None:
    """turicreate#593, MedCAT#237: the model went into a folder called `~`, and was not found. It is the home folder."""
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    objio.save_var_collection(home, {'w': np.ones(1)})
    objio.load_var_collection(home, tree_of(w=np.zeros(1)))
    assert os.listdir(tmp_path) == ['x.npz']

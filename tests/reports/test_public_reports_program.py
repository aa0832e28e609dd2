"""Public reports of programs that run in their own way: cells that run twice, saves that are still being written."""

import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_reports import Line, tree_of

import objio


class Slow:
    """A saving function that is still writing until it is told to finish."""

    def __init__(self) -> None:
        self.begun, self.finish = threading.Event(), threading.Event()

    def __call__(self, file: str, vc: Any, *, metadata: Any = None) -> None:
        """Saves as objio does, once it may."""
        self.begun.set()
        assert self.finish.wait(30)
        objio.save_var_collection(file, vc, metadata=metadata)


@pytest.mark.parametrize('ask', ['restore', 'idxs', 'latest', 'average', 'best', 'explain', 'truncate'])
def test_a_load_right_after_a_save_that_is_still_written(tmp_path: Path, ask: str) -> None:
    """torchtitan#930: a load after an async save found no checkpoint. Any Checkpoint of the folder waits for the save.

    It may be another object, as in a notebook whose cell runs again.
    """
    slow = Slow()
    first = type('Slowly', (objio.Checkpoint,), {'SAVE_FN': staticmethod(slow)})(tmp_path, background=True)
    first.save({'w': np.ones(2)}, 5)
    assert slow.begun.wait(30)
    again = objio.Checkpoint(tmp_path, best_metric='loss')
    vc = tree_of(w=np.zeros(2))
    verbs: dict[str, Any] = {
        'restore': lambda: again.restore(vc)[0],
        'idxs': lambda: again.idxs()[-1],
        'latest': again.latest,
        'average': lambda: again.average(vc)[-1],
        'best': lambda: again.best() or 5,
        'explain': lambda: 5 if '0000000005.npz' in str(again.explain()) else 0,
        'truncate': lambda: again.truncate(after=-1)[0],
    }
    threading.Timer(0.05, slow.finish.set).start()
    assert verbs[ask]() == 5
    first.close()


def test_a_save_below_one_that_is_still_written(tmp_path: Path) -> None:
    """Two writers of one folder in one program: the save that another Checkpoint is writing counts as the newest already."""
    slow = Slow()
    first = type('Slowly', (objio.Checkpoint,), {'SAVE_FN': staticmethod(slow)})(tmp_path, background=True)
    first.save({'w': np.ones(2)}, 5)
    again = objio.Checkpoint(tmp_path)
    threading.Timer(0.05, slow.finish.set).start()
    with pytest.raises(objio.SaveOrderError, match='the save 3 would stand below'):
        again.save({'w': np.ones(2)}, 3)
    first.close()


def test_a_model_made_while_its_directory_is_still_written(tmp_path: Path) -> None:
    """torchtitan#930 again, of whole models: a model of the directory waits, and has what was saved."""
    old = Line(tmp_path / 'm', width=1 << 18)
    old.layer.b.assign(old.layer.b.value + 3)
    old.save(background=True)
    again = Line(tmp_path / 'm')
    assert again.layer.b.value.tolist() == [3]
    old.layer.b.assign(old.layer.b.value + 1)
    old.save(background=True)
    again.load()
    assert again.layer.b.value.tolist() == [4]
    old.wait()


def test_of_two_models_of_a_directory_the_later_save_stays(tmp_path: Path) -> None:
    """An async save that finishes late must not replace a save that was made after it."""
    old, new = Line(tmp_path / 'm', width=1 << 18), Line(tmp_path / 'm', width=1 << 18)
    old.save(background=True)
    new.layer.b.assign(new.layer.b.value + 3)
    new.save()
    old.wait()
    assert Line(tmp_path / 'm').layer.b.value.tolist() == [3]


@pytest.mark.parametrize('ends', ['close', 'wait', 'save', 'with'])
def test_a_background_save_that_fails(tmp_path: Path, ends: str) -> None:
    """orbax#605, keras#23609: a failed async save went unnoticed. The next save, `wait`, `close` or `with` raises it."""

    def fail(file: str, vc: Any) -> None:
        raise OSError(28, 'No space left on device', file)

    full = type('Full', (objio.Checkpoint,), {'SAVE_FN': staticmethod(fail)})(tmp_path, background=True)
    full.save({'w': np.ones(1)}, 3)
    with pytest.raises(objio.SaveFailed, match='No space left') as raised:
        if ends == 'with':
            with full:
                pass
        elif ends == 'save':
            full.save({'w': np.ones(1)}, 4)
        else:
            getattr(full, ends)()
    assert raised.value.idx == 3
    assert full.idxs() == []


def test_an_array_that_was_donated_before_the_save(tmp_path: Path) -> None:
    """orbax#626: the async save met an array that had been deleted. `save` itself names it, before it begins."""
    before = jnp.ones(4)
    after = jax.jit(lambda x: x + 1, donate_argnums=0)(before)
    with objio.Checkpoint(tmp_path, background=True) as ckpt:
        with pytest.raises(objio.UnsaveableError, match=r'w: its array was deleted, probably donated'):
            ckpt.save({'w': before}, 1)
        ckpt.save({'w': after}, 1)
        jax.jit(lambda x: x + 1, donate_argnums=0)(after)  # after the call it changes nothing
        vc = tree_of(w=jnp.zeros(4))
        assert ckpt.restore(vc)[0] == 1
    assert vc.to_tree()['w'].tolist() == [2, 2, 2, 2]


def test_a_cell_that_trains_runs_twice(tmp_path: Path) -> None:
    """flax#1091: run again, the cell failed on the old files. Here too it is refused, with the two ways to go on."""

    def cell() -> None:
        with objio.Checkpoint(tmp_path, keep_ckpts=1) as ckpt:
            for epoch in 1, 2, 3:
                ckpt.save({'w': np.full(1, epoch)}, epoch)

    cell()
    with pytest.raises(objio.SaveOrderError, match=r'restore first and go on from 3, or .*truncate\(after=1\)'):
        cell()
    vc = tree_of(w=np.zeros(1, int))
    assert objio.Checkpoint(tmp_path).restore(vc)[0] == 3
    assert vc.to_tree()['w'].tolist() == [3]


def test_a_run_begun_anew_with_other_settings_in_the_same_program(tmp_path: Path) -> None:
    """wandb#912: a second init of a run overwrote its settings. Other settings are a `ConfigConflict` that names them."""
    net = objio.nn.Linear(1, 1)
    with objio.Saver(net, {'batch': 16}, run='a', root=tmp_path) as saver:
        saver.save()
    with pytest.raises(objio.ConfigConflict, match='batch: 16 before, 32 now'):
        objio.Saver(net, {'batch': 32}, run='a', root=tmp_path, resume=True)
    with pytest.raises(objio.ConfigConflict, match='batch: 16 before, None now'):
        objio.Saver(net, run='a', root=tmp_path, resume=True)
    assert objio.runs(tmp_path)['a'].settings == {'batch': 16}
    live = objio.Saver(net, {'batch': 16}, run='a', root=tmp_path, resume=True)
    with pytest.raises(objio.ConfigConflict, match='batch: 16 before, 32 now'):
        objio.Saver(net, {'batch': 32}, run='a', root=tmp_path, resume=True)
    again = objio.Saver(net, {'batch': 16}, run='a', root=tmp_path, resume=True)  # the cell, run again as it was
    again.log(step=1, loss=0.5)
    with pytest.raises(ValueError, match='.'):
        live.log(step=1, loss=0.9)
    again.close()
    assert objio.runs(tmp_path)['a'].metrics == {'loss': {1: 0.5}}

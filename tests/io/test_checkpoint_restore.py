"""Restoring past damage and past files that vanish, and retention over a folder."""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import cut, fill, flip, model, names, value_of, with_functions

import objio
from objio import storage
from objio.io.saves import Folder


def path(folder: Path, idx: int) -> Path:
    """The file of a save."""
    return folder / 'ckpt' / f'{idx:010d}.npz'


def empty(file: Path) -> None:
    """Leaves nothing of a file, as a power cut does where nothing was synced."""
    file.write_bytes(b'')


@pytest.mark.parametrize('damage', [cut, flip, empty])
def test_damaged_saves_are_passed_over_and_told(tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """`restore` takes the newest whole save, and warns of each damaged one that it passed over, by its path."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 3, 4)
    damage(path(tmp_path, 3))
    damage(path(tmp_path, 4))
    vc = model()
    assert ckpt.restore(vc) == (2, str(path(tmp_path, 2)))
    assert value_of(vc) == 2
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert str(path(tmp_path, 4)) in warnings[0]
    assert str(path(tmp_path, 3)) in warnings[1]


def test_a_damaged_save_that_is_asked_for_is_an_error(tmp_path: Path) -> None:
    """With `idx` nothing else is taken: the error names the file, and the variables keep their values."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2)
    flip(path(tmp_path, 2))
    vc = model(9)
    for _ in range(2):
        with pytest.raises(objio.FormatError, match='0000000002'):
            ckpt.restore(vc, idx=2)
    assert value_of(vc) == 9


def test_when_all_are_damaged_each_is_listed(tmp_path: Path) -> None:
    """A folder with nothing but damaged saves never looks like a fresh start."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 3)
    cut(path(tmp_path, 1))
    flip(path(tmp_path, 2))
    empty(path(tmp_path, 3))
    vc = model(9)
    with pytest.raises(
        objio.FormatError, match=r'every save in .* is damaged(.|\n)*03\.npz(.|\n)*02\.npz(.|\n)*01\.npz'
    ):
        ckpt.restore(vc)
    assert value_of(vc) == 9
    with pytest.raises(objio.FormatError):
        ckpt.restore(vc)


def test_a_save_that_does_not_fit_is_not_passed_over(tmp_path: Path) -> None:
    """A whole save of another model is an error: an older one would be the wrong cure."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1)
    ckpt.save({'other': 1.0}, idx=2)
    with pytest.raises(objio.MismatchError):
        ckpt.restore(model())
    assert ckpt.idxs() == [1, 2]


def test_a_bad_disk_is_not_a_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError goes through: nothing older is restored in its place."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2)
    real = storage.open_file

    def failing(path: str) -> storage.LocalSource:
        if '0000000002' in path:
            raise OSError(5, 'Input/output error', path)
        return real(path)

    monkeypatch.setattr(storage, 'open_file', failing)
    with pytest.raises(OSError, match='Input/output error'):
        ckpt.restore(model())
    assert ckpt.idxs() == [1, 2]


def test_what_cannot_be_read_now_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save whose metrics cannot be read at this moment might be the best: it stays."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    real = storage.open_file

    def failing(path: str) -> storage.LocalSource:
        if '0000000001' in path:
            raise OSError(5, 'Input/output error', path)
        return real(path)

    other = objio.Checkpoint(tmp_path, keep_ckpts=1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, 'open_file', failing)
        fill(other, 2)
        assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000002.npz']
        assert 'could not be read' in str(other.explain())
    fill(other, 3)
    assert names(tmp_path / 'ckpt') == ['0000000003.npz']


@pytest.mark.parametrize('when', ['named', 'listed'])
@pytest.mark.parametrize(
    'verb',
    [
        lambda ckpt: ckpt.restore(model())[0] == 2,
        lambda ckpt: ckpt.latest() == 2,
        lambda ckpt: ckpt.idxs() == [2],
        lambda ckpt: [idx for idx, _ in ckpt.watch(0)] == [2],
    ],
)
def test_a_save_that_vanishes_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, verb: Callable[[objio.Checkpoint], bool]
) -> None:
    """Another process may remove the newest save under the reader's eyes, and write a newer one: that is found."""
    writer, reader = objio.Checkpoint(tmp_path, keep_ckpts=1), objio.Checkpoint(tmp_path)
    fill(writer, 1)
    owner, name = (storage, 'file_names') if when == 'named' else (Folder, 'saves')
    real = getattr(owner, name)

    def late(folder: Any) -> Any:
        found = real(folder)
        monkeypatch.setattr(owner, name, real)
        fill(writer, 2)
        return found

    monkeypatch.setattr(owner, name, late)
    assert verb(reader)


def test_a_save_that_vanishes_before_it_is_loaded_is_looked_for_again(tmp_path: Path) -> None:
    """The loading function may find nothing at the path: then the folder is listed again."""
    writer = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(writer, 1)

    def load(file: str, vc: Any) -> None:
        if writer.latest() == 1:
            fill(writer, 2)
        objio.load_var_collection(file, vc)

    vc = model()
    kind = with_functions(objio.save_var_collection, load)
    assert kind(tmp_path).restore(vc)[0] == 2
    assert value_of(vc) == 2
    with pytest.raises(FileNotFoundError, match='no save 1 in .*; there are 2'):
        kind(tmp_path).restore(vc, idx=1)


def test_a_file_that_a_function_misses_is_not_the_save(tmp_path: Path) -> None:
    """A FileNotFoundError over another file goes through, with `idx` and without."""

    def load(file: str, vc: Any) -> None:
        raise FileNotFoundError('vocabulary.txt')

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    fill(ckpt, 1)
    for idx in (None, 1):
        with pytest.raises(FileNotFoundError, match='vocabulary'):
            ckpt.restore(model(), idx=idx)


def test_options_reach_the_loading_function(tmp_path: Path) -> None:
    """`restore` passes on what `load_var_collection` takes, and refuses what it does not."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 3)
    vc = model()
    ckpt.restore(vc, only='w')
    assert (vc['w'].value.sum(), vc['b'].value.sum()) == (18, 0)
    ckpt.restore(vc, None, renamer=lambda name: {'w': 'x'}.get(name, name), allow_missing=True)
    assert vc['b'].value.sum() == 9
    with pytest.raises(TypeError, match="no parameter 'strict'"):
        ckpt.restore(vc, strict=True)


def test_best_and_round_and_newest_saves_stay(tmp_path: Path) -> None:
    """Rules add up, a new process knows the best too, and `explain` says why of each file."""
    rules: dict[str, Any] = {'keep_ckpts': 1, 'keep_every': 4, 'keep_best': 1, 'best_metric': 'loss'}
    ckpt = objio.Checkpoint(tmp_path, **rules)
    for idx, loss in enumerate([0.9, 0.3, 0.5, 0.4, math.nan, 0.3, 0.6], start=1):
        ckpt.save(model(idx), idx=idx, metrics={'loss': loss})
    assert ckpt.idxs() == [4, 6, 7]
    again = objio.Checkpoint(tmp_path, **rules)
    assert again.best() == 6
    again.save(model(8), idx=9, metrics={'loss': math.nan})
    assert again.idxs() == [4, 6, 9]
    cut(path(tmp_path, 4))
    (tmp_path / 'ckpt' / 'notes.txt').touch()
    assert [(fate.file, fate.idx, fate.stays) for fate in again.explain()] == [
        ('0000000004.npz', 4, True),
        ('0000000006.npz', 6, True),
        ('0000000009.npz', 9, True),
        ('notes.txt', None, True),
    ]
    lines = str(again.explain()).splitlines()
    for line, words in zip(lines, ['damaged', 'number 1 by loss (0.3)', 'of the newest 1', 'is no save'], strict=True):
        assert words in line


def test_explain_tells_what_other_rules_would_remove(tmp_path: Path) -> None:
    """`explain` is a rehearsal: what goes is still there, and the next save removes exactly that."""
    fill(objio.Checkpoint(tmp_path, keep_ckpts=None), 1, 2, 3, 4)
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=2, keep_every=2)
    assert [fate.idx for fate in ckpt.explain() if not fate.stays] == [1]
    assert ckpt.idxs() == [1, 2, 3, 4]
    fill(ckpt, 4)
    assert ckpt.idxs() == [2, 3, 4]


def test_best_needs_a_metric(tmp_path: Path) -> None:
    """`best` without a metric to go by is an error; without a save that has it, there is none."""
    with pytest.raises(ValueError, match='best_metric='):
        objio.Checkpoint(tmp_path).best()
    ckpt = objio.Checkpoint(tmp_path, best_metric='acc', best_mode='max')
    assert ckpt.best() is None
    ckpt.save(model(), idx=1, metrics={'loss': 1})
    ckpt.save(model(), idx=2, metrics={'acc': math.nan})
    assert ckpt.best() is None
    ckpt.save(model(), idx=3, metrics={'acc': 0.1})
    ckpt.save(model(), idx=4, metrics={'acc': math.inf})
    assert ckpt.best() == 4


def test_metadata_and_metrics_stand_in_the_file(tmp_path: Path) -> None:
    """Metadata is stored beside the metrics, whose names are spelled so that JSON keeps them."""
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save(model(), idx=1, metadata={'lr': 0.1}, metrics={'a': 1, 'b': math.nan, 'c': -math.inf})
    with objio.open(path(tmp_path, 1)) as saved:
        assert saved.metadata == {'lr': 0.1, 'objio.metrics': {'a': 1.0, 'b': 'nan', 'c': '-inf'}}
    for wrong, error in [({'objio.x': 1}, ValueError), ({'objio.metrics': {}}, ValueError), ([1], TypeError)]:
        with pytest.raises(error, match='metadata'):
            ckpt.save(model(), idx=2, metadata=wrong)
    with pytest.raises(TypeError, match='metrics'):
        ckpt.save(model(), idx=2, metrics={'a': 'low'})
    assert ckpt.idxs() == [1]


def test_nothing_is_removed_before_the_new_save_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder cannot be synced the new save is in place, the error says so, and nothing older is gone."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)

    def failing(folder: str) -> None:
        raise OSError(5, 'Input/output error', folder)

    with monkeypatch.context() as patch:
        patch.setattr('objio.storage.local.sync_folder', failing)
        with pytest.raises(objio.SaveNotDurable):
            fill(ckpt, 2)
    assert ckpt.idxs() == [1, 2]
    fill(ckpt, 3)
    assert ckpt.idxs() == [3]


def test_syncs_come_before_removals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, name, folder, and only then the removal, which is synced too; `durable=False` leaves the syncs out."""
    events: list[str] = []
    for name in ('fsync', 'replace', 'unlink'):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _n=name, _r=real, **kw: (events.append(_n), _r(*args, **kw))[1])
    fill(objio.Checkpoint(tmp_path / 'a', keep_ckpts=1), 1, 2)
    last = events[-5:]
    assert last == ['fsync', 'replace', 'fsync', 'unlink', 'fsync']
    fast = objio.Checkpoint(tmp_path / 'b', keep_ckpts=1, durable=False)
    events.clear()
    fill(fast, 1, 2)
    assert events == ['replace', 'replace', 'unlink']


def test_a_save_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a full disk the folder is as it was: nothing removed, no temporary file."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)

    def full(fd: int, buffer: memoryview, offset: int) -> int:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'pwrite', full)
        with pytest.raises(OSError, match='No space'):
            fill(ckpt, 2)
    assert names(tmp_path / 'ckpt') == ['0000000001.npz']


def test_a_save_that_cannot_be_read_back_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new file is damaged as soon as it is written, the old ones stay, and the save is an error."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    real = ckpt._recorder.prepare

    def damaging(*args: Any, **options: Any) -> Callable[[str], None]:
        put = real(*args, **options)
        return lambda file: (put(file), cut(file))[1]

    monkeypatch.setattr(ckpt._recorder, 'prepare', damaging)
    with pytest.raises(objio.FormatError, match='cannot be read back'):
        fill(ckpt, 2)
    assert ckpt.idxs() == [1]


def test_a_save_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An old save that cannot be removed is a warning; the new one is made, and the next one tries again."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)

    def failing(path: str) -> None:
        raise PermissionError(13, 'Permission denied', path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, 'remove', failing)
        fill(ckpt, 2)
    assert 'could not be removed' in caplog.text
    assert ckpt.idxs() == [1, 2]
    fill(ckpt, 3)
    assert ckpt.idxs() == [3]


def test_temporary_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    """Opening a Checkpoint and saving remove what killed writers left; a live writer's file stays."""
    folder = tmp_path / 'ckpt'
    folder.mkdir()
    with storage.create(str(folder / 'live.npz'), durable=False, size=10):
        live = names(folder)
        dead = folder / live[0].replace('.tmp', 'x.tmp')  # of this kernel, and nobody holds its lock
        dead.touch()
        ckpt = objio.Checkpoint(tmp_path)
        assert names(folder) == live
        dead.touch()
        fill(ckpt, 1)
        assert names(folder) == sorted([*live, '0000000001.npz'])


def test_many_loads_leak_no_descriptor(tmp_path: Path) -> None:
    """Good and bad restores, lists and explanations leave no file open."""
    ckpt = objio.Checkpoint(tmp_path, best_metric='loss', verbose=False)
    fill(ckpt, 1, 2, 3)
    flip(path(tmp_path, 3))
    cut(path(tmp_path, 1))
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(30):
        fresh = objio.Checkpoint(tmp_path, verbose=False)
        assert fresh.restore(model())[0] == 2
        with pytest.raises(objio.FormatError):
            fresh.restore(model(), idx=3)
        with pytest.raises(objio.MismatchError):
            fresh.restore({'v': objio.StateVar(1.0)})
        fresh.explain()
    assert len(os.listdir('/proc/self/fd')) == before

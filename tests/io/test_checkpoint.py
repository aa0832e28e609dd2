"""Checkpoint: names, indices, order, replacement, and what else lies in the folder."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support_checkpoint import cut, fill, flip, model, names, save_with_any_metadata, value_of

import objio
from objio import storage
from objio.io.naming import index_pattern


def test_saves_are_restored_by_index_and_newest_first(tmp_path: Path) -> None:
    """Each index gives its own values back, and no index gives the newest."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 10)
    vc = model()
    for idx in (1, 10, 2):
        assert ckpt.restore(vc, idx=idx)[0] == idx
        assert value_of(vc) == idx
    assert ckpt.restore(vc) == (10, str(tmp_path / 'ckpt' / '0000000010.npz'))
    assert value_of(vc) == 10
    assert (ckpt.idxs(), ckpt.latest()) == ([1, 2, 10], 10)


def test_arguments_have_the_places_of_objax(tmp_path: Path) -> None:
    """`Checkpoint(logdir, keep_ckpts, makedir, verbose)` works by position."""
    ckpt = objio.Checkpoint(str(tmp_path / 'run'), 2, True, False)
    fill(ckpt, 1, 2, 3)
    assert ckpt.idxs() == [2, 3]
    assert not ckpt.verbose


def test_a_relative_path_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that `restore` gives begins as `logdir` does, and is a str."""
    monkeypatch.chdir(tmp_path)
    ckpt = objio.Checkpoint(Path('run'))
    fill(ckpt, 3)
    assert ckpt.restore(model()) == (3, 'run/ckpt/0000000003.npz')


def test_a_change_of_the_working_folder_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves go on into the folder that the Checkpoint was made for, and the paths it gives still lead there."""
    monkeypatch.chdir(tmp_path)
    ckpt = objio.Checkpoint('run', keep_ckpts=1)
    fill(ckpt, 1)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir('elsewhere')
    fill(ckpt, 2)
    assert ckpt.restore(model()) == (2, str(tmp_path / 'run' / 'ckpt' / '0000000002.npz'))
    assert names(tmp_path / 'elsewhere') == []
    assert names(tmp_path / 'run' / 'ckpt') == ['0000000002.npz']


def test_modules_collections_and_trees_are_saved(tmp_path: Path) -> None:
    """`save` and `restore` take a module, a collection or a mapping of variables; `save` any other tree too."""
    ckpt = objio.Checkpoint(tmp_path)
    net = objio.nn.Linear(2, 1)
    ckpt.save(net, idx=1)
    net.b.assign(net.b.value + 1)
    ckpt.restore(net)
    assert net.b.value == 0
    ckpt.save({'w': np.ones(2)}, idx=2)
    variables = {'w': objio.StateVar(np.zeros(2, 'float32'))}
    with pytest.raises(objio.MismatchError):
        ckpt.restore(variables)
    ckpt.restore(variables, cast=True)
    assert variables['w'].value.sum() == 2
    with pytest.raises(TypeError, match='from_tree'):
        ckpt.restore({'w': np.ones(2)})


@pytest.mark.parametrize('idx', [1.0, True, '1', None, np.float32(1)])
def test_an_index_is_an_int(tmp_path: Path, idx: Any) -> None:
    """What is no int is refused before anything happens."""
    ckpt = objio.Checkpoint(tmp_path)
    with pytest.raises(TypeError, match='idx: expected an int'):
        ckpt.save(model(), idx=idx)
    assert names(tmp_path / 'ckpt') == []


def test_an_index_is_not_negative_and_may_be_of_any_width(tmp_path: Path) -> None:
    """Zero and indices beyond ten digits are saves like any other, compared as numbers; -1 is refused."""
    ckpt = objio.Checkpoint(tmp_path)
    with pytest.raises(ValueError, match='idx: expected at least 0, got -1'):
        ckpt.save(model(), idx=-1)
    fill(ckpt, 0, np.int64(9_999_999_999), 10_000_000_000)
    assert ckpt.idxs() == [0, 9_999_999_999, 10_000_000_000]
    assert ckpt.restore(model())[0] == 10_000_000_000


def test_a_lower_index_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """A save below the newest whole one names both ways out; nothing is written or removed, and both ways work."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=2)
    fill(ckpt, 20, 30)
    before = {name: (tmp_path / 'ckpt' / name).stat().st_mtime_ns for name in names(tmp_path / 'ckpt')}
    with pytest.raises(objio.SaveOrderError, match=r'save 5 would stand below .*0000000030(.|\n)*restore.*truncate'):
        ckpt.save(model(), idx=5)
    assert {name: (tmp_path / 'ckpt' / name).stat().st_mtime_ns for name in names(tmp_path / 'ckpt')} == before
    idx, _ = ckpt.restore(model())
    fill(ckpt, idx + 1)
    assert ckpt.truncate(after=5) == [30, 31]
    fill(ckpt, 5)
    assert ckpt.idxs() == [5]


def test_an_equal_index_is_replaced(tmp_path: Path) -> None:
    """The last save of an index is the one that counts."""
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save(model(1), idx=4)
    ckpt.save(model(2), idx=4)
    vc = model()
    ckpt.restore(vc)
    assert value_of(vc) == 2
    assert names(tmp_path / 'ckpt') == ['0000000004.npz']


def test_strange_files_are_ignored_and_kept(tmp_path: Path) -> None:
    """Files and folders that are no saves stop nothing, count for nothing and are never deleted."""
    folder = tmp_path / 'ckpt'
    folder.mkdir()
    strangers = [
        'best.npz',
        'a.npz.tmp',
        '0000000009.npz.tmp',
        '.objio-x',
        'notes.txt',
        '-3.npz',
        '1.5.npz',
        '\u0663.npz',
    ]
    for name in strangers:
        (folder / name).write_text('mine', encoding='utf-8')
    (folder / '0000000099.npz').mkdir()
    os.symlink('nowhere', folder / '0000000098.npz')
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    assert ckpt.restore(model()) == (0, '')
    fill(ckpt, 1, 2, 3)
    assert ckpt.idxs() == [3]
    assert names(folder) == sorted([*strangers, '0000000003.npz', '0000000098.npz', '0000000099.npz'])


@pytest.mark.parametrize('logdir', ['[run]', 'a*b', 'run?', 'ünï', 'sp ace', '%d'])
def test_any_name_of_a_folder_works(tmp_path: Path, logdir: str) -> None:
    """A folder's name is taken as it is: brackets and stars match nothing."""
    ckpt = objio.Checkpoint(tmp_path / logdir, keep_ckpts=1)
    fill(ckpt, 1, 2)
    assert ckpt.idxs() == [2]
    assert ckpt.restore(model())[1] == str(tmp_path / logdir / 'ckpt' / '0000000002.npz')


def test_an_empty_folder_is_a_warning_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without saves `restore` gives `(0, '')`, changes nothing, and warns with the absolute path, even if quiet."""
    monkeypatch.chdir(tmp_path)
    vc = model(5)
    assert objio.Checkpoint('new', verbose=False).restore(vc) == (0, '')
    assert value_of(vc) == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(tmp_path / 'new' / 'ckpt') in caplog.text


def test_without_makedir_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """`makedir=False` makes no folder, and everything that needs one says that it is missing."""
    ckpt = objio.Checkpoint(tmp_path / 'typo', makedir=False)
    for verb in (lambda: ckpt.restore(model()), lambda: fill(ckpt, 1), ckpt.idxs, lambda: next(ckpt.watch(0))):
        with pytest.raises(FileNotFoundError, match='the folder of saves does not exist'):
            verb()
    assert names(tmp_path) == []


def test_a_missing_index_is_told_with_those_there_are(tmp_path: Path) -> None:
    """`restore(idx=…)` of a save that is not there lists what is; the variables keep their values."""
    ckpt = objio.Checkpoint(tmp_path)
    vc = model(5)
    with pytest.raises(FileNotFoundError, match='no save 3 in .*ckpt; it has none'):
        ckpt.restore(vc, idx=3)
    fill(ckpt, 1, 2)
    with pytest.raises(FileNotFoundError, match='no save 3 in .*ckpt; there are 1, 2'):
        ckpt.restore(vc, idx=3)
    assert value_of(vc) == 5


def test_two_files_of_one_index_are_one_save(tmp_path: Path) -> None:
    """The file named as `FILE_FORMAT` says counts; all of an index are replaced together and removed together."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    folder = tmp_path / 'ckpt'
    objio.save_var_collection(folder / '0000000001.npz', model(10))
    objio.save_var_collection(folder / '1.npz', model(20))
    objio.save_var_collection(folder / '00000000000001.npz', model(30))
    vc = model()
    ckpt.restore(vc)
    assert (value_of(vc), ckpt.idxs()) == (10, [1])
    cut(folder / '0000000001.npz')
    ckpt.restore(vc)
    assert value_of(vc) == 20  # the next by name that is whole
    fill(ckpt, 1)
    assert names(folder) == ['0000000001.npz', '0000000001.npz.damaged']
    (folder / '0000000001.npz').rename(folder / '1.npz')
    assert ckpt.restore(vc, idx=1) == (1, str(folder / '1.npz'))
    fill(ckpt, 2)
    assert names(folder) == ['0000000001.npz.damaged', '0000000002.npz']


def test_a_damaged_save_does_not_count_and_makes_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A cut file stands in no list and stops no save; where its place is needed it gets another name, never the same."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=2)
    folder = tmp_path / 'ckpt'
    for _ in range(3):
        fill(ckpt, 5)
        cut(folder / '0000000005.npz')
        assert (ckpt.idxs(), ckpt.latest()) == ([], None)
    fill(ckpt, 3, 4, 5)
    damaged = ['0000000005.npz.damaged', '0000000005.npz.damaged.2', '0000000005.npz.damaged.3']
    assert names(folder) == ['0000000004.npz', '0000000005.npz', *damaged]
    assert ckpt.idxs() == [4, 5]
    assert caplog.text.count('is damaged and in the way') == 3


def test_damage_that_only_a_restore_finds_is_remembered(tmp_path: Path) -> None:
    """A flipped bit is found when the save is restored; from then on the save does not count, until it is replaced."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=2)
    fill(ckpt, 1, 2)
    flip(tmp_path / 'ckpt' / '0000000002.npz')
    assert ckpt.idxs() == [1, 2]
    assert ckpt.restore(model())[0] == 1
    assert ckpt.idxs() == [1]
    fill(ckpt, 2)
    assert ckpt.idxs() == [1, 2]
    assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000002.npz', '0000000002.npz.damaged']


def test_truncate_removes_what_comes_after(tmp_path: Path) -> None:
    """`truncate` removes the later saves and tells which; damaged ones and strangers stay."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 3, 4)
    cut(tmp_path / 'ckpt' / '0000000003.npz')
    assert ckpt.truncate(after=9) == []
    assert ckpt.truncate(after=1) == [2, 4]
    assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000003.npz']
    assert ckpt.truncate(after=-1) == [1]
    with pytest.raises(TypeError, match='after'):
        ckpt.truncate(after=0.5)


def test_truncate_is_durable_and_leaves_a_history_without_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest save goes first, so that a crash leaves no gap; then the folder is synced, once."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2, 3)
    events: list[str] = []
    unlink, fsync = os.unlink, os.fsync
    monkeypatch.setattr(os, 'unlink', lambda path: (events.append(os.path.basename(path)), unlink(path)))
    monkeypatch.setattr(os, 'fsync', lambda fd: (events.append('sync'), fsync(fd)))
    assert ckpt.truncate(after=1) == [2, 3]
    assert events == ['0000000003.npz', '0000000002.npz', 'sync']


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several processes the first writes and removes; the others check their arguments, return, and can read."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    fill(ckpt, 0, 2)
    assert ckpt.truncate(after=0) == []
    with pytest.raises(TypeError):
        ckpt.save(model(), idx=None)
    assert ckpt.idxs() == [1]
    assert ckpt.restore(model())[0] == 1


def test_one_line_in_the_log_for_each_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A save and a restore log one line each, none with `verbose=False`; nothing is printed."""
    caplog.set_level(logging.DEBUG, 'objio')
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1, 2)
    ckpt.restore(model())
    folder = tmp_path / 'ckpt'
    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        ('objio', 'INFO', f'saved {folder}/0000000001.npz'),
        ('objio', 'INFO', f'saved {folder}/0000000002.npz, removed 1'),
        ('objio', 'INFO', f'restored {folder}/0000000002.npz'),
    ]
    caplog.clear()
    quiet = objio.Checkpoint(tmp_path, verbose=False)
    fill(quiet, 3)
    quiet.restore(model())
    assert not caplog.records
    assert capfd.readouterr() == ('', '')


def test_urls_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL is no folder here, and none is made of it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='is a URL'):
        objio.Checkpoint('s3://bucket/run')
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ('file_format', 'name', 'idx'),
    [
        ('%010d.npz', '0000000012.npz', 12),
        ('%010d.npz', '7.npz', 7),
        ('%d.npz', '10000000000000000.npz', 10**16),
        ('model-%d.npz', 'model-3.npz', 3),
        ('%05d.ckpt.npz', '00003.ckpt.npz', 3),
        ('100%%_%i.npz', '100%_3.npz', 3),
        ('%5u', '    3', 3),
        ('%.4d[a].npz', '0003[a].npz', 3),
        ('%010d.npz', 'x0000000012.npz', None),
        ('%010d.npz', '0000000012.npz.tmp', None),
        ('%010d.npz', '0000000012xnpz', None),
        ('%010d.npz', '-000000012.npz', None),
        ('%010d.npz', '\u0660.npz', None),
        ('%d.npz', ' 3.npz', None),
    ],
)
def test_a_format_is_read_backwards(file_format: str, name: str, idx: int | None) -> None:
    """The index comes back from a whole name, of any width, in plain digits; nothing else gives one."""
    found = index_pattern(file_format).fullmatch(name)
    assert (int(found[1]) if found else None) == idx


@pytest.mark.parametrize('file_format', ['last.npz', '%d-%d.npz', '%s.npz', '%x.npz', '%.npz', '%d%', '%+d', '%(a)d'])
def test_a_format_without_one_plain_integer_is_refused(tmp_path: Path, file_format: str) -> None:
    """A format that cannot be read backwards is refused when the Checkpoint is made."""
    with pytest.raises(ValueError, match='FILE_FORMAT'):
        index_pattern(file_format)
    with pytest.raises(ValueError, match='FILE_FORMAT'):
        type('Odd', (objio.Checkpoint,), {'FILE_FORMAT': file_format})(tmp_path)


def test_a_signal_handler_may_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that comes from a handler while another one removes what no rule keeps comes to its end."""
    ckpt, last = objio.Checkpoint(tmp_path, keep_ckpts=1), objio.Checkpoint(tmp_path / 'last', keep_ckpts=1)
    for one in (ckpt, last):
        fill(one, 1)
    remove, inside = storage.remove, []

    def interrupted(path: str) -> None:
        remove(path)
        if not inside:
            inside.append(path)
            fill(last, 2)

    monkeypatch.setattr(storage, 'remove', interrupted)
    done = threading.Thread(target=fill, args=(ckpt, 2), daemon=True)
    done.start()
    done.join(30)
    assert not done.is_alive()
    assert (ckpt.idxs(), last.idxs()) == ([2], [2])


def test_a_metric_that_no_float_holds_is_none(tmp_path: Path) -> None:
    """An integer of hundreds of digits, in a save that somebody else made, is in nobody's way."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=2, keep_best=1, best_metric='loss')
    ckpt.save(model(1), 1, metrics={'loss': 3})
    metadata = {'objio.metrics': {'loss': 10**400}}
    save_with_any_metadata(tmp_path / 'ckpt/0000000002.npz', model(2), metadata)
    assert (ckpt.idxs(), ckpt.latest(), ckpt.best()) == ([1, 2], 2, 1)
    assert ckpt.restore(model())[0] == 2
    ckpt.save(model(3), 3, metrics={'loss': 4})
    assert ckpt.idxs() == [1, 2, 3]

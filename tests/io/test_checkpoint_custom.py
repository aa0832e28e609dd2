"""Saving and loading functions, names and indices of the user's own."""

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_checkpoint import cut, fill, model, names, value_of, with_functions

import objio
from objio import storage


def save_pickle(file: str, vc: objio.VarCollection) -> None:
    """Writes in place, as people do."""
    with open(file, 'wb') as f:
        pickle.dump({name: np.asarray(value) for name, value in vc.named_tensors().items()}, f)


def load_pickle(file: str, vc: objio.VarCollection) -> None:
    """Raises EOFError where the file is cut short."""
    with open(file, 'rb') as f:
        vc.assign(pickle.load(f))


PickleCheckpoint = with_functions(save_pickle, load_pickle, FILE_MATCH='*.pickle', FILE_FORMAT='%d.pickle')


def test_functions_get_the_final_path_and_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SAVE_FN` and `LOAD_FN` are called with the path as a str and a VarCollection, and with nothing else."""
    monkeypatch.chdir(tmp_path)
    calls: list[Any] = []

    def save(file: str, vc: objio.VarCollection) -> None:
        calls.append(('save', file, type(vc)))
        save_pickle(file, vc)

    def load(file: str, vc: objio.VarCollection) -> None:
        calls.append(('load', file, type(vc)))
        load_pickle(file, vc)

    ckpt = with_functions(save, load, DIR_NAME='mine')(Path('run'))
    ckpt.save(objio.nn.Linear(1, 1), idx=3)
    ckpt.restore(objio.nn.Linear(1, 1))
    path = 'run/mine/0000000003.npz'
    assert calls == [('save', path, objio.VarCollection), ('load', path, objio.VarCollection)]


def test_a_file_that_objio_cannot_read_is_a_save_like_any_other(tmp_path: Path) -> None:
    """Only the user's function reads the files: they count, are kept by the rules, and restore."""
    ckpt = PickleCheckpoint(tmp_path, keep_ckpts=2, keep_every=2)
    fill(ckpt, 1, 2, 3, 4, 5)
    assert names(tmp_path / 'ckpt') == ['2.pickle', '4.pickle', '5.pickle']
    vc = model()
    assert ckpt.restore(vc) == (5, str(tmp_path / 'ckpt' / '5.pickle'))
    assert value_of(vc) == 5


@pytest.mark.parametrize('error', [EOFError, zipfile.BadZipFile, objio.FormatError])
def test_what_a_function_calls_damaged_is_passed_over(tmp_path: Path, error: type[Exception]) -> None:
    """FormatError, EOFError and BadZipFile mean a damaged file; it no longer counts and its place can be taken."""

    def load(file: str, vc: objio.VarCollection) -> None:
        if file.endswith('2.pickle'):
            raise error
        load_pickle(file, vc)

    ckpt = with_functions(save_pickle, load, FILE_MATCH='*.pickle', FILE_FORMAT='%d.pickle')(tmp_path)
    fill(ckpt, 1, 2)
    with pytest.raises(error):
        ckpt.restore(model(), idx=2)
    assert ckpt.restore(model())[0] == 1
    assert ckpt.idxs() == [1]
    fill(ckpt, 2)
    assert names(tmp_path / 'ckpt') == ['1.pickle', '2.pickle', '2.pickle.damaged']


def test_any_other_error_goes_through_and_the_variables_come_back(tmp_path: Path) -> None:
    """Where a loading function raises half-way, all variables have the values, and arrays the content, of before."""

    def load(file: str, vc: objio.VarCollection) -> None:
        vc['step'].assign(99)
        vc['w'].value[...] = 99  # in place: the variable holds the same array
        vc['b'].assign(np.full(3, 99, 'float32'))
        raise RuntimeError('half-way')

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    fill(ckpt, 1, 2)
    vc = model(7)
    array = vc['w'].value
    with pytest.raises(RuntimeError, match='half-way'):
        ckpt.restore(vc)
    assert value_of(vc) == 7
    assert vc['w'].value is array


def test_what_a_failed_function_leaves_is_no_save(tmp_path: Path) -> None:
    """Where a saving function raises, its half-written file does not count, older saves stay, and the next one works."""
    broken = True

    def save(file: str, vc: objio.VarCollection) -> None:
        save_pickle(file, vc)
        if broken:
            cut(file)
            raise RuntimeError('no')

    ckpt = with_functions(save, load_pickle)(tmp_path, keep_ckpts=1)
    broken = False
    fill(ckpt, 1)
    broken = True
    with pytest.raises(RuntimeError, match='no'):
        fill(ckpt, 2)
    assert ckpt.idxs() == [1]
    assert ckpt.restore(model())[0] == 1
    broken = False
    fill(ckpt, 2)
    assert ckpt.idxs() == [2]
    assert names(tmp_path / 'ckpt') == ['0000000002.npz', '0000000002.npz.damaged']


@pytest.mark.parametrize('synced_by', ['the function', 'Checkpoint'])
def test_a_save_that_is_whole_but_not_durable_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced_by: str
) -> None:
    """Where only the sync of the folder fails, the new save is a save, the error says so, and nothing is removed."""

    def save(file: str, vc: objio.VarCollection) -> None:
        objio.save_var_collection(file, vc, durable=synced_by == 'the function')

    ckpt = with_functions(save, load_pickle)(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)

    def failing(folder: str) -> None:
        raise OSError(5, 'Input/output error', folder)

    monkeypatch.setattr('objio.storage.local.sync_folder', failing)
    with pytest.raises(objio.SaveNotDurable):
        fill(ckpt, 2)
    assert ckpt.idxs() == [1, 2]


def test_metadata_needs_a_parameter(tmp_path: Path) -> None:
    """Metrics, metadata and `keep_best` are a TypeError where `SAVE_FN` takes no metadata; nothing is written."""
    ckpt = PickleCheckpoint(tmp_path)
    for wanted in ({'metrics': {'loss': 1}}, {'metadata': {'a': 1}}):
        with pytest.raises(TypeError, match='SAVE_FN with a parameter metadata'):
            fill(ckpt, 1, **wanted)
    assert names(tmp_path / 'ckpt') == []
    with pytest.raises(TypeError, match='keep_best needs metrics'):
        PickleCheckpoint(tmp_path, keep_best=1, best_metric='loss')
    with pytest.raises(TypeError, match="LOAD_FN has no parameter 'cast'"):
        ckpt.restore(model(), cast=True)


@pytest.mark.parametrize('any_option', [False, True])
def test_what_a_function_takes_it_gets(tmp_path: Path, any_option: bool) -> None:
    """`metadata` and `durable` reach a function that has parameters for them, or takes any; metrics come along."""
    seen: list[dict[str, Any]] = []

    def save(file: str, vc: objio.VarCollection, *, metadata: Any = None, durable: bool = True) -> None:
        seen.append({'metadata': metadata, 'durable': durable})
        objio.save_var_collection(file, vc, metadata=metadata, durable=durable)

    def save_any(file: str, vc: objio.VarCollection, **options: Any) -> None:
        seen.append({'metadata': None, **options})
        objio.save_var_collection(file, vc, **options)

    def load(file: str, vc: objio.VarCollection, **options: Any) -> None:
        seen.append(options)
        objio.load_var_collection(file, vc, **options)

    kind = with_functions(save_any if any_option else save, load)
    ckpt = kind(tmp_path, keep_ckpts=1, keep_best=1, best_metric='loss', durable=False)
    ckpt.save(model(1), idx=1, metadata={'lr': 0.5}, metrics={'loss': 2})
    ckpt.save(model(2), idx=2, metrics={'loss': 3})
    ckpt.restore(model(), cast=True)
    assert seen == [
        {'metadata': {'lr': 0.5, 'objio.metrics': {'loss': 2.0}}, 'durable': False},
        {'metadata': {'objio.metrics': {'loss': 3.0}}, 'durable': False},
        {'cast': True},
    ]
    assert kind(tmp_path, best_metric='loss').best() == 1
    assert ckpt.idxs() == [1, 2]


def save_without_metadata(file: str, vc: objio.VarCollection, metadata: Any = None) -> None:
    """Writes what objio reads, but for the metadata."""
    objio.save_var_collection(file, vc)


def save_pickle_anyhow(file: str, vc: objio.VarCollection, **_: Any) -> None:
    """Takes any option, and does nothing with it."""
    save_pickle(file, vc)


@pytest.mark.parametrize('save', [save_pickle, save_pickle_anyhow])
def test_a_file_is_synced_for_a_function_that_does_not(
    save: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a function that syncs nothing, whatever it takes, file and folder are synced before anything is removed."""
    kind = with_functions(save, load_pickle)
    ckpt = kind(tmp_path, keep_ckpts=1)
    lazy = kind(tmp_path, keep_ckpts=1, durable=False)
    fill(ckpt, 1)
    events: list[str] = []
    for name in ('fsync', 'unlink'):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _n=name, _r=real, **kw: (events.append(_n), _r(*args, **kw))[1])
    fill(ckpt, 2)
    assert events == ['fsync', 'fsync', 'unlink', 'fsync']
    events.clear()
    fill(lazy, 3)
    assert events == ['unlink']


@pytest.mark.parametrize('save', [save_pickle_anyhow, save_without_metadata])
def test_nothing_is_removed_where_metrics_are_not_found_again(
    save: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A function whose files objio cannot read, or that drops the metadata, costs `keep_best` no save: the log tells."""
    ckpt = with_functions(save, load_pickle)(tmp_path, keep_ckpts=1, keep_best=1, best_metric='loss')
    for idx in (1, 2, 3):
        ckpt.save(model(idx), idx, metrics={'loss': idx})
    assert ckpt.idxs() == [1, 2, 3]
    assert caplog.text.count('its metrics loss cannot be read back') == 3
    ckpt = with_functions(save, load_pickle)(tmp_path, keep_ckpts=1)
    ckpt.save(model(4), 4, metrics={'loss': 4})  # where nobody asks for the best, they are not needed
    assert ckpt.idxs() == [4]


def test_a_function_that_writes_elsewhere_is_told(tmp_path: Path) -> None:
    """`np.savez` adds a suffix to a name without one: a save that is not at its path is an error, nothing is removed."""

    def save(file: str, vc: objio.VarCollection) -> None:
        np.savez(file, **vc.named_tensors())

    for durable in (True, False):
        kind = with_functions(save, load_pickle, FILE_MATCH='*', FILE_FORMAT='%d')
        ckpt = kind(tmp_path, durable=durable)
        with pytest.raises(FileNotFoundError, match='has to write to this name'):
            fill(ckpt, 1)


def objax_idx(filename: str) -> int:
    """As in Objax: a ValueError for what is no save."""
    return int(os.path.basename(filename).split('.')[0])


def cautious_idx(filename: str) -> int | None:
    """None for what is no save."""
    stem = os.path.basename(filename).split('.')[0]
    return int(stem) if stem.isdecimal() else None


@pytest.mark.parametrize('index', [objax_idx, cautious_idx])
def test_an_index_function_of_ones_own(tmp_path: Path, index: Callable[[str], int | None]) -> None:
    """`checkpoint_idx` may be redefined; ValueError or None say that a file is no save, and damaged files are none."""
    kind = type('Own', (objio.Checkpoint,), {'checkpoint_idx': staticmethod(index), 'FILE_MATCH': '*'})
    ckpt = kind(tmp_path, keep_ckpts=1)
    for name in ('best.npz', 'notes'):
        (tmp_path / 'ckpt' / name).touch()
    fill(ckpt, 1)
    cut(tmp_path / 'ckpt' / '0000000001.npz')
    fill(ckpt, 1, 2)
    assert names(tmp_path / 'ckpt') == ['0000000001.npz.damaged', '0000000002.npz', 'best.npz', 'notes']
    assert [fate.idx for fate in ckpt.explain()] == [2, None, None, None]


def test_a_temporary_file_is_no_save_whatever_the_index_function_says(tmp_path: Path) -> None:
    """A function that finds a number anywhere in a name is not asked about the file that a writer is busy with."""
    index = staticmethod(lambda name: int(re.findall('[0-9]+', os.path.basename(name))[0]))
    ckpt = type('Loose', (objio.Checkpoint,), {'checkpoint_idx': index, 'FILE_MATCH': '*'})(tmp_path)
    fill(ckpt, 1)
    with storage.create(str(tmp_path / 'ckpt' / '2.npz'), durable=False, size=10):
        assert len(names(tmp_path / 'ckpt')) == 2
        assert [fate.idx for fate in ckpt.explain()] == [1, None]
        assert ckpt.restore(model())[0] == 1


@pytest.mark.parametrize(
    'constants',
    [
        {'FILE_FORMAT': '%d.pickle'},  # and FILE_MATCH still '*.npz'
        {'FILE_FORMAT': 'run/%d.npz'},
        {'FILE_FORMAT': '%d.npz.damaged', 'FILE_MATCH': '*'},
        {'checkpoint_idx': staticmethod(lambda filename: 7)},
        {'checkpoint_idx': staticmethod(lambda filename: None)},
        {'checkpoint_idx': staticmethod(lambda filename: '1')},
    ],
)
def test_constants_that_do_not_fit_each_other_are_refused(tmp_path: Path, constants: dict[str, Any]) -> None:
    """A class whose saves it would not find again is refused when it is used, before it starts from scratch."""
    with pytest.raises(ValueError, match='not be found again'):
        type('Odd', (objio.Checkpoint,), constants)(tmp_path)


def test_an_index_that_would_not_be_found_again_is_refused(tmp_path: Path) -> None:
    """Where the pattern holds for some indices only, a save of another is refused before it is written."""
    ckpt = type('Narrow', (objio.Checkpoint,), {'FILE_FORMAT': '%02d.npz', 'FILE_MATCH': '??.npz'})(tmp_path)
    fill(ckpt, 99)
    with pytest.raises(ValueError, match='the save 100 would be called'):
        fill(ckpt, 100)
    assert names(tmp_path / 'ckpt') == ['99.npz']


def test_a_function_without_staticmethod_is_told(tmp_path: Path) -> None:
    """A plain function in the class would get the Checkpoint for a file: the error says what to write."""
    with pytest.raises(TypeError, match=r'SAVE_FN = staticmethod\(function\)'):
        type('Plain', (objio.Checkpoint,), {'SAVE_FN': save_pickle})(tmp_path)


def test_a_wrapped_function_of_objio_keeps_its_checks(tmp_path: Path) -> None:
    """Where only the loading is wrapped, files are still objio's: a cut one is seen without loading it."""

    def load(file: str, vc: objio.VarCollection) -> None:
        objio.load_var_collection(file, vc, cast=True)

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path, keep_best=1, best_metric='loss')
    fill(ckpt, 1, 2, metrics={'loss': 1})
    cut(tmp_path / 'ckpt' / '0000000002.npz')
    assert (ckpt.idxs(), ckpt.best()) == ([1], 1)

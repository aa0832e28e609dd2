"""Several processes on one folder, each meeting the others at the worst moment."""

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import cut, fill, flip, model, names, value_of, with_functions

import objio
from objio import storage
from objio.io import recording
from objio.io.files import write
from objio.io.restoring import Restorer


@pytest.fixture
def afterwards(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """`afterwards(action)`: something happens as soon as the next save is in place, before anybody looks."""

    def arrange(action: Callable[[], Any]) -> None:
        def write_then(path: str, **options: Any) -> None:
            monkeypatch.setattr(recording, 'write', write)
            write(path, **options)
            action()

        monkeypatch.setattr(recording, 'write', write_then)

    return arrange


def test_a_saver_that_was_overtaken_has_saved(tmp_path: Path, afterwards: Callable[..., None]) -> None:
    """A save that another process has saved beyond, and removed by its own rules, is no error."""
    slow, fast = objio.Checkpoint(tmp_path), objio.Checkpoint(tmp_path, keep_ckpts=1)
    afterwards(lambda: fill(fast, 2))
    fill(slow, 1)
    assert names(tmp_path / 'ckpt') == ['0000000002.npz']
    with pytest.raises(objio.SaveOrderError):
        fill(slow, 1)


def test_a_save_that_somebody_removed_is_an_error(tmp_path: Path, afterwards: Callable[..., None]) -> None:
    """A save that is gone, and no newer one in its place, was not made."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1)
    afterwards((tmp_path / 'ckpt' / '0000000002.npz').unlink)
    with pytest.raises(FileNotFoundError, match='removed by somebody else'):
        fill(ckpt, 2)
    assert ckpt.idxs() == [1]


@pytest.mark.parametrize('idx', [None, 1])
def test_a_save_that_is_made_anew_under_the_reader_is_read(tmp_path: Path, idx: int | None) -> None:
    """A file that was gone when it was opened, and is there again, is another one: the folder is listed again."""
    writer = objio.Checkpoint(tmp_path)
    fill(writer, 1)

    def load(file: str, vc: Any) -> None:
        if os.path.getmtime(file):
            objio.load_var_collection(file, vc)
            return
        os.unlink(file)
        error = FileNotFoundError(errno.ENOENT, 'gone', file)
        fill(writer, 1)
        raise error

    os.utime(tmp_path / 'ckpt' / '0000000001.npz', (0, 0))
    vc = model(-1)
    with_functions(objio.save_var_collection, load)(tmp_path).restore(vc, idx)
    assert value_of(vc) == 1


def test_a_damaged_file_that_is_not_set_aside_durably_is_no_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder cannot be synced before anything is written, nobody is told that the save is in place."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1)
    cut(tmp_path / 'ckpt' / '0000000001.npz')

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fail)
        with pytest.raises(OSError, match='error') as caught:
            fill(ckpt, 1)
    assert not isinstance(caught.value, objio.SaveNotDurable)
    assert ckpt.idxs() == []
    fill(ckpt, 1)
    assert ckpt.idxs() == [1]
    assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000001.npz.damaged']


def refuse(*_: object) -> None:
    """What `os.link` does where there are no links."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize('links', [True, False])
@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('moment', ['before', 'after'])
def test_two_savers_that_meet_one_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, own: bool, moment: str
) -> None:
    """Whoever comes second replaces the save of the first, and sets nothing aside: that is done, and never twice."""
    kind = objio.Checkpoint if own else with_functions(objio.save_var_collection, objio.load_var_collection)
    first, second = kind(tmp_path), kind(tmp_path)
    fill(first, 1)
    path = tmp_path / 'ckpt' / '0000000001.npz'
    cut(path)
    damaged = path.read_bytes()
    if not links:
        monkeypatch.setattr(os, 'link', refuse)
    link = storage.link

    def meet(old: str, new: str) -> None:
        monkeypatch.setattr(storage, 'link', link)
        if moment == 'after':
            link(old, new)
        fill(first, 1)
        assert path.read_bytes() != damaged
        if moment == 'before':
            link(old, new)

    monkeypatch.setattr(storage, 'link', meet)
    fill(second, 1)
    assert second.idxs() == [1]
    assert second.restore(model()) == (1, str(path))
    assert names(path.parent) == ['0000000001.npz', '0000000001.npz.damaged']
    assert (path.parent / '0000000001.npz.damaged').read_bytes() == damaged


def test_a_function_that_writes_in_place_leaves_what_was_set_aside(tmp_path: Path) -> None:
    """A damaged file has lost its name before a function of the user's opens that name to write."""

    def save(file: str, vc: objio.VarCollection) -> None:
        with open(file, 'wb') as sink:
            objio.save_var_collection(sink, vc)

    ckpt = with_functions(save, objio.load_var_collection)(tmp_path)
    fill(ckpt, 1)
    path = tmp_path / 'ckpt' / '0000000001.npz'
    flip(path)
    damaged = path.read_bytes()
    with pytest.raises(objio.FormatError):
        ckpt.restore(model())
    fill(ckpt, 1)
    assert path.read_bytes() != damaged
    assert path.with_name('0000000001.npz.damaged').read_bytes() == damaged


@pytest.mark.parametrize('links', [True, False])
def test_a_save_that_another_saver_made_meanwhile_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Of damage that only one saver knows of: what the other has put in its place keeps its name, and is no damage."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2)
    path = tmp_path / 'ckpt' / '0000000002.npz'
    flip(path)
    assert ckpt.restore(model())[0] == 1
    if not links:
        monkeypatch.setattr(os, 'link', refuse)
    link = storage.link

    def meet(old: str, new: str) -> None:
        monkeypatch.setattr(storage, 'link', link)
        objio.save_var_collection(old, model(7))
        link(old, new)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(storage, 'link', meet)
    monkeypatch.setattr(recording, 'write', fail)
    with pytest.raises(OSError, match='full'):
        fill(ckpt, 2)
    vc = model()
    assert ckpt.restore(vc) == (2, str(path))
    assert value_of(vc) == 7
    assert names(path.parent) == ['0000000001.npz', '0000000002.npz']


@pytest.mark.parametrize('own', [True, False])
def test_an_average_of_saves_that_vanish_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Where another process removes a save before it is read, the mean is that of the saves there are then."""
    writer = objio.Checkpoint(tmp_path, keep_ckpts=2)
    fill(writer, 1, 2)
    real = Restorer.choose

    def late(self: Restorer, *arguments: Any) -> Any:
        found = real(self, *arguments)
        monkeypatch.setattr(Restorer, 'choose', real)
        fill(writer, found[-1].idx + 1)
        return found

    load = objio.load_var_collection if own else functools.partial(objio.load_var_collection)
    reader = with_functions(objio.save_var_collection, load)(tmp_path)
    monkeypatch.setattr(Restorer, 'choose', late)
    vc = model(-1)
    assert reader.average(vc, last=2) == [2, 3]
    assert (vc['w'].value == 2.5).all()
    monkeypatch.setattr(Restorer, 'choose', late)
    with pytest.raises(FileNotFoundError, match='no save 2 in .*; there are 3, 4'):
        reader.average(vc, idxs=[2, 3])


def test_a_file_that_is_missed_in_an_average_is_told(tmp_path: Path) -> None:
    """A loading function that misses another file than the save is not asked for ever."""

    def load(file: str, vc: Any) -> None:
        raise FileNotFoundError('vocabulary.txt')

    ckpt = with_functions(objio.save_var_collection, load)(tmp_path)
    fill(ckpt, 1)
    with pytest.raises(FileNotFoundError, match='vocabulary'):
        ckpt.average(model())

"""A Checkpoint on a disk that cannot be read for a moment: what is not seen is neither replaced nor a reason to delete."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import cut, fill, model, names, value_of

import objio
from objio import storage
from objio.io.saves import Folder


def fail(patch: pytest.MonkeyPatch, module: Any, name: str, path: str, *, after: int = 0, times: int = 1000) -> None:
    """Lets a function report EIO for one path, some times; the first so many calls for it still work."""
    real: Callable[..., Any] = getattr(module, name)
    seen: list[str] = []

    def failing(given: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(given, str) and given.endswith(path):
            seen.append(given)
            if after < len(seen) <= after + times:
                raise OSError(errno.EIO, os.strerror(errno.EIO), given)
        return real(given, *rest, **options)

    patch.setattr(module, name, failing)


def test_a_save_that_cannot_be_read_now_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the new file cannot be looked at the older ones stay, with a warning; the next save removes them."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    with monkeypatch.context() as patch:
        fail(patch, storage, 'open_file', '2.npz')
        fill(ckpt, 2)
    assert 'nothing was removed' in caplog.text
    assert ckpt.idxs() == [1, 2]
    fill(ckpt, 3)
    assert ckpt.idxs() == [3]


def test_a_save_is_made_also_where_older_ones_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be listed after the save is a warning: the save is whole, and was acknowledged."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    with monkeypatch.context() as patch:
        fail(patch, storage, 'file_names', 'ckpt', after=1)
        fill(ckpt, 2)
    assert 'nothing was removed' in caplog.text
    assert ckpt.idxs() == [1, 2]


def test_a_removal_that_cannot_be_synced_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The save was acknowledged before it: a warning says that what was removed may be back after a power cut."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    with monkeypatch.context() as patch:
        fail(patch, storage, 'sync_folder', 'ckpt')
        fill(ckpt, 2)
    assert 'may bring back what was removed' in caplog.text
    assert ckpt.idxs() == [2]


def test_what_cannot_be_read_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the new save may be damaged, and those are never deleted: the error goes through."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2)
    cut(tmp_path / 'ckpt' / '0000000002.npz')
    for module, name, times in ((storage, 'open_file', 1000), (os, 'stat', 1)):
        with monkeypatch.context() as patch:
            patch.setattr('objio.io.recording.Recorder.check_order', lambda *_: None)  # which would look first
            fail(patch, module, name, '2.npz', times=times)
            with pytest.raises(OSError, match='Input/output error'):
                fill(objio.Checkpoint(tmp_path), 2)
        assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000002.npz']
    fill(ckpt, 2)
    assert names(tmp_path / 'ckpt') == ['0000000001.npz', '0000000002.npz', '0000000002.npz.damaged']


def test_a_file_that_cannot_be_closed_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of closing what was only read is none: to raise it after the values were assigned would be a lie."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1)
    close = os.close

    def fail_to_close(fd: int) -> None:
        close(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    vc = model()
    with monkeypatch.context() as patch:
        patch.setattr(os, 'close', fail_to_close)
        assert ckpt.restore(vc)[0] == 1
    assert value_of(vc) == 1


def test_a_save_that_cannot_be_looked_at_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the disk does not tell of the file that was just written, nothing is removed, and the log says so."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1)
    fill(ckpt, 1)
    real, looks = Folder.at, []

    def at(self: Folder, path: str) -> Any:
        looks.append(path)
        if len(looks) > 1:
            raise OSError(errno.EIO, 'Input/output error', path)
        return real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, 'at', at)
        fill(ckpt, 2)
    assert 'is saved, but nothing was removed: [Errno 5]' in caplog.text
    assert ckpt.idxs() == [1, 2]

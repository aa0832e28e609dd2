"""Watching a folder of saves."""

import threading
from pathlib import Path
from typing import Any

import pytest
from support_checkpoint import cut, fill, model, names

import objio
from objio.io import saves, watching


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for saves of other processes a thousand times a second."""
    monkeypatch.setattr(watching, '_POLL_S', 0.001)


def test_saves_that_are_there_come_first_in_order(tmp_path: Path) -> None:
    """A watcher is given each whole save, the oldest first, and ends after the time without a new one."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 2, 10, 11)
    cut(tmp_path / 'ckpt' / '0000000010.npz')
    folder = tmp_path / 'ckpt'
    expected = [(2, str(folder / '0000000002.npz')), (11, str(folder / '0000000011.npz'))]
    assert list(ckpt.watch(timeout=0)) == expected
    assert list(ckpt.watch(timeout=0.01)) == expected


def test_new_and_replaced_saves_follow(tmp_path: Path) -> None:
    """What another Checkpoint saves, replaces, or saves again after a truncation is yielded, each once."""
    writer = objio.Checkpoint(tmp_path, keep_ckpts=None)
    watched = objio.Checkpoint(tmp_path, makedir=False).watch(timeout=30)
    fill(writer, 1, 2)
    assert [next(watched)[0], next(watched)[0]] == [1, 2]
    fill(writer, 2)
    assert next(watched)[0] == 2
    fill(writer, 3, 4)
    assert next(watched)[0] == 3
    writer.truncate(after=1)
    fill(writer, 2)
    assert next(watched)[0] == 2


def test_a_save_of_the_same_process_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that waits is woken by a save of the same Checkpoint, without looking again and again."""
    monkeypatch.setattr(watching, '_POLL_S', 3600)
    ckpt = objio.Checkpoint(tmp_path)
    seen: list[int] = []
    watcher = threading.Thread(target=lambda: seen.append(next(ckpt.watch())[0]), daemon=True)
    watcher.start()
    while not ckpt._changed._waiters:  # until it waits
        watcher.join(0.001)
    fill(ckpt, 1)
    watcher.join(30)
    assert seen == [1]


def test_what_is_being_watched_is_not_removed(tmp_path: Path) -> None:
    """While a loop works on a save, this process keeps it; with the next step it goes like any other."""
    trainer, evaluator = objio.Checkpoint(tmp_path, keep_ckpts=1), objio.Checkpoint(tmp_path)
    fill(trainer, 1)
    watched = evaluator.watch(timeout=0)
    assert next(watched)[0] == 1
    fill(trainer, 2, 3)
    assert trainer.idxs() == [1, 3]
    assert 'is being watched' in str(trainer.explain())
    assert evaluator.restore(model(), idx=1)[0] == 1
    assert next(watched)[0] == 3  # 2 came and went
    fill(trainer, 4)
    assert trainer.idxs() == [3, 4]
    watched.close()
    fill(trainer, 5)
    assert trainer.idxs() == [5]


def test_a_hold_begins_before_any_removal(tmp_path: Path) -> None:
    """A save that is held when it is about to be removed stays, whatever was decided before; by any path to it."""
    path = tmp_path / 'a.npz'
    path.touch()
    with saves.hold(str(path)), saves.hold(str(path)):
        assert not saves.remove_unless_held(str(tmp_path / '.' / 'a.npz'))
    assert saves.remove_unless_held(str(path))
    assert not saves.remove_unless_held(str(path))  # somebody was faster
    assert names(tmp_path) == []


def test_a_save_removed_after_the_listing_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that another process removes between the listing and the loop is not yielded."""
    ckpt = objio.Checkpoint(tmp_path)
    fill(ckpt, 1, 2)
    real = watching.hold

    def removing(path: str) -> Any:
        Path(path).unlink(missing_ok=path.endswith('1.npz'))
        monkeypatch.setattr(watching, 'hold', real)
        return real(path)

    monkeypatch.setattr(watching, 'hold', removing)
    assert [idx for idx, _ in ckpt.watch(timeout=0)] == [2]


@pytest.mark.parametrize('timeout', [-1, float('nan')])
def test_a_timeout_is_at_least_zero(tmp_path: Path, timeout: float) -> None:
    """A negative time is refused when `watch` is called, not when the loop begins."""
    with pytest.raises(ValueError, match='timeout'):
        objio.Checkpoint(tmp_path).watch(timeout)

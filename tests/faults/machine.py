"""Whatever can happen to a folder of saves, in any order, beside a plain dict that says what has to come of it."""

import errno
import math
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support_checkpoint import model, names, value_of

import objio
from faults.expected import NUMBERS, Expected, File
from faults.interruptions import Calls, Killed, interrupted
from objio.storage.temporary import create_temporary

FOREIGN = ['best.npz', '0000000001.npz.tmp', 'x0000000002.npz', '-1.npz', '1.5.npz', '0000000003.npz.damaged', 'notes']
PICKS = st.integers(0, 20)
POLICIES = st.fixed_dictionaries(
    {
        'keep_ckpts': st.sampled_from([1, 2, 3, None]),
        'keep_every': st.sampled_from([None, 4]),
        'keep_best': st.integers(0, 2),
        'best_mode': st.sampled_from(['min', 'max']),
        'background': st.booleans(),
        'durable': st.booleans(),
    }
)


class Folder(Expected, RuleBasedStateMachine):
    """A Checkpoint, and the files it should have."""

    steps = 50
    """How many steps make a run; hypothesis ends some earlier."""
    counted: ClassVar[Counter[str]] = Counter()
    """How often each rule was followed, in all runs; 'run' is a run of so many steps."""

    @initialize(policy=POLICIES, base=st.sampled_from([0, 10**10 - 5]))
    def start(self, policy: dict[str, Any], base: int) -> None:
        """An empty folder; one where indices soon have more digits than names are padded to."""
        self.left = self.steps + 1  # with this one
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name) / 'ckpt'
        self.base = base
        self.files, self.others, self.living, self.dead = {}, set(), {}, set()
        self.count = 0
        self.open(policy)

    def open(self, policy: dict[str, Any]) -> None:
        """A Checkpoint as a new process would make it: it knows only the damage that a table of contents shows."""
        self.policy = policy
        self.ckpt = objio.Checkpoint(self.temporary.name, verbose=False, best_metric='loss', **policy)
        self.dead.clear()
        for idx, file in self.files.items():
            file.known = file.damaged and not opens(self.path(idx))

    def save_now(self, idx: int, loss: float | None) -> None:
        """Saves, and waits until it is done."""
        self.count += 1
        metrics = None if loss is None else {'loss': loss}
        if loss is None and self.policy['keep_best']:
            with pytest.raises(ValueError, match="keep_best goes by the metric 'loss', and metrics has none"):
                self.ckpt.save(model(self.count), idx=idx)
            metrics = {'loss': math.nan}
        self.ckpt.save(model(self.count), idx=idx, metrics=metrics)
        self.ckpt.wait()

    def attempt(self, idx: int, loss: float | None) -> BaseException | None:
        """Saves; what was raised, or is the cause of what the background tells."""
        try:
            self.save_now(idx, loss)
        except (OSError, Killed) as error:
            assert not self.policy['background']
            return error
        except objio.SaveFailed as error:
            failed = error
        else:
            return None
        assert (failed.idx, self.policy['background']) == (idx, True)
        return failed.__cause__

    @rule(step=st.integers(0, 3), loss=st.sampled_from([None, *NUMBERS, math.nan]), watched=st.booleans())
    def save(self, step: int, loss: float | None, watched: bool) -> None:
        """A save replaces an equal one and thins out the rest, but for one that is being watched."""
        self.counted['save'] += 1
        whole, idx = self.whole(), self.upwards(step)
        watch = self.ckpt.watch(timeout=0)
        held = [next(watch)[0]] if watched and whole else []
        assert held == whole[: len(held)]
        self.save_now(idx, loss)
        watch.close()
        self.dead.clear()
        self.make_way(idx)
        self.files[idx] = File(self.count, loss)
        for gone in self.goers(idx, *held):
            del self.files[gone]

    @rule(step=st.integers(0, 3), loss=st.sampled_from([None, *NUMBERS]), at=st.integers(0, 12))
    def killed_save(self, step: int, loss: float | None, at: int) -> None:
        """A save that is killed has happened or not; what it meant to remove is there or not; the next process goes on."""
        idx = self.upwards(step)
        with interrupted(at, None) as calls:
            raised = self.attempt(idx, loss)
        assert isinstance(raised, Killed) == (calls.cut is not None)
        self.counted['killed save' if calls.cut else 'save'] += 1
        self.follow(calls, idx, loss)
        removed = {int(name[:-4]) for name in calls.paths('unlink') if name.endswith('.npz')}
        assert removed <= self.goers(idx)
        assert calls.cut or removed == self.goers(idx)
        for gone in removed:
            del self.files[gone]
        left = set(names(self.folder)).difference(self.expected())
        assert len(left) <= 1, left
        assert all(name.startswith('.objio-') for name in left)
        self.open(self.policy)

    @rule(step=st.integers(0, 3), at=st.integers(0, 12), code=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT]))
    def failed_save(self, step: int, at: int, code: int) -> None:
        """A disk that errs once fails the save without a trace, unless it had happened, and then the error says so."""
        idx = self.upwards(step)
        with interrupted(at, code) as calls:
            raised = self.attempt(idx, 0.5)
        self.counted['failed save' if calls.cut else 'save'] += 1
        in_place = self.follow(calls, idx, 0.5)
        removed = [name for name in calls.paths('unlink') if name.endswith('.npz')]
        of_a_removal = calls.cut and (calls.cut[0] == 'unlink' or (calls.cut[0] == 'sync folder' and removed))
        # Where a damaged file gets no second name, it gets another.
        if calls.cut and calls.cut[0] != 'link' and not of_a_removal:
            assert isinstance(raised, OSError)
            assert raised.errno == code
            assert isinstance(raised, objio.SaveNotDurable) == in_place
            return
        assert raised is None
        for gone in self.goers(idx):
            if calls.cut != ('unlink', str(self.path(gone))):
                del self.files[gone]

    def follow(self, calls: Calls, idx: int, loss: float | None) -> bool:
        """Takes the calls that were made as done, as far as the promises allow them; whether the save is in place."""
        order = [name for name, _ in calls.made]
        swept = {name for name in calls.paths('unlink') if name.endswith('.tmp')}
        self.dead -= swept
        if calls.paths('link') or calls.paths('rename'):
            self.make_way(idx)
        if calls.paths('rename'):
            del self.files[idx]
        in_place = self.path(idx).name in calls.paths('replace')
        if in_place:
            self.files[idx] = File(self.count, loss)
        for place, (name, path) in enumerate(calls.made):
            if name == 'unlink' and path.endswith('.npz'):
                assert in_place
                assert not self.policy['durable'] or order[order.index('replace') : place].count('sync folder')
            if name == 'replace' and self.policy['durable']:
                assert 'sync file' in order[:place]
        return in_place

    @precondition(lambda self: self.whole())
    @rule(below=st.integers(1, 3))
    def save_below(self, below: int) -> None:
        """A save below the newest is refused."""
        self.counted['refused save'] += 1
        idx = self.whole()[-1] - below
        with pytest.raises(objio.SaveOrderError if idx >= 0 else ValueError):
            self.save_now(idx, 0.0)

    @rule()
    def restore(self) -> None:
        """The newest whole save comes back; what is passed over is known from then on; a stranger is an error."""
        self.counted['restore'] += 1
        vc = model(-1)
        for idx in reversed(self.whole()):
            file = self.files[idx]
            file.known = file.damaged
            if file.damaged:
                continue
            if file.value is None:
                with pytest.raises(objio.MismatchError):
                    self.ckpt.restore(vc)
                break
            assert self.ckpt.restore(vc) == (idx, str(self.path(idx)))
            assert value_of(vc) == file.value
            return
        else:
            if self.files:
                with pytest.raises(objio.FormatError):
                    self.ckpt.restore(vc)
            else:
                assert self.ckpt.restore(vc) == (0, '')
        assert value_of(vc) == -1

    @rule(number=PICKS)
    def restore_one(self, number: int) -> None:
        """A save that is asked for comes back, or is told to be damaged, missing or another's."""
        self.counted['restore'] += 1
        idx = self.pick(number)
        vc, file = model(-1), self.files.get(idx)
        error: type[Exception] | None = None
        if file is None:
            error = FileNotFoundError
        elif file.damaged:
            error, file.known = objio.FormatError, True
        elif file.value is None:
            error = objio.MismatchError
        if error is None:
            assert self.ckpt.restore(vc, idx=idx)[0] == idx
        else:
            with pytest.raises(error):
                self.ckpt.restore(vc, idx=idx)
        assert value_of(vc) == (file.value if file and not error else -1)

    @rule(last=st.integers(1, 3))
    def average(self, last: int) -> None:
        """The newest so many are averaged, or the model stays as it was."""
        self.counted['average'] += 1
        meant = self.whole()[-last:]
        vc, files = model(-1), [self.files[idx] for idx in meant]
        try:
            assert self.ckpt.average(vc, last=last) == meant
        except FileNotFoundError:
            assert not meant
        except objio.MismatchError:
            assert any(file.value is None for file in files)
        except objio.FormatError:
            assert any(file.damaged for file in files)
        else:
            # Of an older save the integers are not read, so that a bit of them may be wrong.
            assert not any(file.value is None or (file.damaged and file.kind != 'bit') for file in files)
            assert not files[-1].damaged
            assert vc['step'].value == files[-1].value
            assert all(np.allclose(vc[name].value, np.mean([file.value for file in files])) for name in 'wb')
            return
        assert value_of(vc) == -1

    @rule(number=PICKS, at=st.integers(0, 2), killed=st.booleans())
    def truncate(self, number: int, at: int, killed: bool) -> None:
        """What comes later goes, the newest first, but for what is known to be damaged."""
        after = self.pick(number) - 1
        goes = [idx for idx in self.whole() if idx > after]
        if killed:
            with interrupted(at, None) as calls:
                try:
                    self.ckpt.truncate(after)
                except Killed:
                    goes = goes[len(goes) - len(calls.paths('unlink')) :]
            self.counted['killed truncate' if calls.cut else 'truncate'] += 1
        else:
            self.counted['truncate'] += 1
            assert self.ckpt.truncate(after) == goes
        for idx in goes:
            del self.files[idx]
        if killed:
            self.open(self.policy)

    @precondition(lambda self: self.undamaged())
    @rule(number=PICKS, kind=st.sampled_from(['cut', 'empty', 'zeros', 'bit']), at=st.floats(0, 1), told=st.booleans())
    def damage(self, number: int, kind: str, at: float, told: bool) -> None:
        """A file is damaged, and its time says so or, as where a disk rots, does not."""
        self.counted['damage'] += 1
        idx = self.undamaged()[number % len(self.undamaged())]
        path, time = self.path(idx), self.path(idx).stat().st_mtime_ns
        data = bytearray(path.read_bytes())
        if kind in ('cut', 'empty'):
            data = data[: int(at * (len(data) - 1)) if kind == 'cut' else 0]
        elif kind == 'zeros':
            data = bytearray(len(data))
        else:
            data[min(int(at * len(data)), len(data) - 1)] ^= 1
        told = told or kind in ('cut', 'empty')  # there the size does
        path.write_bytes(data)
        os.utime(path, ns=(time + told, time + told))
        assert kind == 'bit' or not opens(path)
        file = self.files[idx]
        file.damaged, file.kind, file.known = True, kind, told and not opens(path)

    @precondition(lambda self: self.files)
    @rule(number=PICKS)
    def remove(self, number: int) -> None:
        """Somebody else removes a file."""
        self.counted['remove'] += 1
        idx = sorted(self.files)[number % len(self.files)]
        self.path(idx).unlink()
        del self.files[idx]

    @rule(number=PICKS)
    def strangers_save(self, number: int) -> None:
        """Somebody else puts a whole file of another model there."""
        self.counted['stranger'] += 1
        idx = self.pick(number)
        np.savez(self.folder.parent / 'other.npz', v=np.ones(number + 1))
        os.replace(self.folder.parent / 'other.npz', self.path(idx))
        self.files[idx] = File(None, None)

    @rule(name=st.sampled_from(FOREIGN))
    def foreign(self, name: str) -> None:
        """A file that is no save is in nobody's way."""
        self.counted['foreign'] += 1
        (self.folder / name).write_bytes(b'mine')
        self.others.add(name)

    @rule(ends=st.booleans())
    def writer_elsewhere(self, ends: bool) -> None:
        """Another process writes a temporary file, and at some time is killed."""
        self.counted['other writer'] += 1
        if ends and self.living:
            name, fd = self.living.popitem()
            os.close(fd)
            self.dead.add(name)
        else:
            fd, path = create_temporary(str(self.folder))
            self.living[os.path.basename(path)] = fd

    @rule(policy=POLICIES)
    def reopen(self, policy: dict[str, Any]) -> None:
        """A new process, perhaps with other rules."""
        self.counted['reopen'] += 1
        self.ckpt.close()
        self.open(policy)

    @invariant()
    def folder_is_as_expected(self) -> None:
        """The folder holds what the dict says and nothing else; the lists agree, and `explain` knows what will go."""
        self.left -= 1
        assert set(names(self.folder)) == self.expected()
        whole = self.whole()
        assert self.ckpt.idxs() == whole
        assert self.ckpt.latest() == (whole[-1] if whole else None)
        best = self.ranked()[:1]
        assert self.ckpt.best() == (best[0] if best and self.files[best[0]].loss in NUMBERS else None)
        goers = self.goers()
        fates = {fate.file: (fate.idx, fate.stays) for fate in self.ckpt.explain()}
        saves = {self.path(idx).name: (idx, idx not in goers) for idx in self.files}
        assert fates == saves | dict.fromkeys(self.expected().difference(saves), (None, True))
        assert list(self.ckpt.watch(timeout=0)) == [(idx, str(self.path(idx))) for idx in whole]

    def teardown(self) -> None:
        """Leaves nothing behind."""
        if hasattr(self, 'ckpt'):
            self.counted['run'] += not self.left
            self.ckpt.close()
            for fd in self.living.values():
                os.close(fd)
            self.temporary.cleanup()


def opens(path: Path) -> bool:
    """Whether the table of contents is whole."""
    try:
        objio.open(path).close()
    except objio.FormatError:
        return False
    return True

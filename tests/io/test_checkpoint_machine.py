"""Any order of saves, restores, truncations and damage, beside a dict that says what has to come of it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support_checkpoint import cut, flip, model, names, value_of

import objio

KEEP, EVERY = 2, 4


@dataclass
class File:
    """What the dict knows of a save."""

    value: int
    loss: float
    damaged: bool = False
    known: bool = False  # whether the Checkpoint knows of the damage


class Folder(RuleBasedStateMachine):
    """A Checkpoint, and the files it should have."""

    @initialize(background=st.booleans())
    def start(self, background: bool) -> None:
        """An empty folder."""
        self.background = background
        self.temporary = tempfile.TemporaryDirectory()
        self.files: dict[int, File] = {}
        self.set_aside: list[str] = []
        self.count = 0
        self.open()

    def open(self) -> None:
        """A Checkpoint as a new process would make it."""
        self.ckpt = objio.Checkpoint(
            self.temporary.name,
            keep_ckpts=KEEP,
            verbose=False,
            keep_every=EVERY,
            keep_best=1,
            best_metric='loss',
            background=self.background,
            durable=False,
        )
        self.folder = Path(self.temporary.name) / 'ckpt'

    def counted(self) -> list[int]:
        """The indices that are not known to be damaged, ascending."""
        return sorted(idx for idx, file in self.files.items() if not file.known)

    @rule(idx=st.integers(0, 12), loss=st.sampled_from([0.0, 1.0, float('nan')]))
    def save(self, idx: int, loss: float) -> None:
        """A save is refused below the newest, replaces an equal one, and thins out the rest."""
        self.count += 1
        counted = self.counted()
        if counted and idx < counted[-1]:
            with pytest.raises(objio.SaveOrderError):
                self.ckpt.save(model(self.count), idx=idx, metrics={'loss': loss})
            return
        self.ckpt.save(model(self.count), idx=idx, metrics={'loss': loss})
        self.ckpt.wait()
        name = f'{idx:010d}.npz'
        if idx in self.files and self.files[idx].known:
            earlier = sum(aside.startswith(name) for aside in self.set_aside)
            self.set_aside.append(f'{name}.damaged' + (f'.{earlier + 1}' if earlier else ''))
        self.files[idx] = File(self.count, loss)
        counted = self.counted()
        best = min(counted, key=lambda i: (self.files[i].loss != self.files[i].loss, self.files[i].loss, -i))
        for i in counted:
            if i not in counted[-KEEP:] and i % EVERY and i != best:
                del self.files[i]

    @rule()
    def restore(self) -> None:
        """The newest whole save comes back; what is passed over is known from then on."""
        vc = model(-1)
        for idx in reversed(self.counted()):
            self.files[idx].known = self.files[idx].damaged
            if not self.files[idx].damaged:
                assert self.ckpt.restore(vc)[0] == idx
                assert value_of(vc) == self.files[idx].value
                return
        if self.files:
            with pytest.raises(objio.FormatError):
                self.ckpt.restore(vc)
        else:
            assert self.ckpt.restore(vc) == (0, '')
        assert value_of(vc) == -1

    @rule(idx=st.integers(0, 12))
    def restore_one(self, idx: int) -> None:
        """A save that is asked for comes back, or is told to be damaged or missing."""
        vc, file = model(-1), self.files.get(idx)
        if file is None or file.damaged:
            with pytest.raises(FileNotFoundError if file is None else objio.FormatError):
                self.ckpt.restore(vc, idx=idx)
            assert value_of(vc) == -1
            if file is not None:
                file.known = True
        else:
            assert self.ckpt.restore(vc, idx=idx)[0] == idx
            assert value_of(vc) == file.value

    @rule(after=st.integers(-1, 12))
    def truncate(self, after: int) -> None:
        """What comes later goes, but for what is known to be damaged."""
        gone = [idx for idx in self.counted() if idx > after]
        assert self.ckpt.truncate(after) == gone
        for idx in gone:
            del self.files[idx]

    @precondition(lambda self: any(not file.damaged for file in self.files.values()))
    @rule(data=st.data(), seen=st.booleans())
    def damage(self, data: st.DataObject, seen: bool) -> None:
        """A file is cut, which shows at once, or a bit of an array flips, which a restore finds."""
        whole = sorted(idx for idx, file in self.files.items() if not file.damaged)
        idx = data.draw(st.sampled_from(whole))
        (cut if seen else flip)(self.folder / f'{idx:010d}.npz')
        self.files[idx].damaged, self.files[idx].known = True, seen

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Somebody else removes a file."""
        idx = data.draw(st.sampled_from(sorted(self.files)))
        (self.folder / f'{idx:010d}.npz').unlink()
        del self.files[idx]

    @rule()
    def reopen(self) -> None:
        """A new process knows only the damage that a table of contents shows."""
        self.ckpt.close()
        for idx, file in self.files.items():
            file.known = file.damaged and not objio_opens(self.folder / f'{idx:010d}.npz')
        self.open()

    @invariant()
    def folder_is_as_expected(self) -> None:
        """The folder holds the saves, what was set aside, and nothing else; the lists agree."""
        assert names(self.folder) == sorted([f'{idx:010d}.npz' for idx in self.files] + self.set_aside)
        counted = self.counted()
        assert self.ckpt.idxs() == counted
        assert self.ckpt.latest() == (counted[-1] if counted else None)
        assert {fate.idx for fate in self.ckpt.explain() if fate.idx is not None} == set(self.files)

    def teardown(self) -> None:
        """Leaves nothing behind."""
        if hasattr(self, 'ckpt'):
            self.ckpt.close()
            self.temporary.cleanup()


def objio_opens(path: Path) -> bool:
    """Whether the table of contents is whole."""
    try:
        objio.open(path).close()
    except objio.FormatError:
        return False
    return True


TestFolder = Folder.TestCase
TestFolder.settings = settings(max_examples=40, stateful_step_count=25)

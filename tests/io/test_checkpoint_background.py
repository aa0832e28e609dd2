"""Saves in the background: what is written is what was there at the call, and failures are told."""

import copy
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_checkpoint import fill, model, names, value_of, with_functions

import objio


class Gate:
    """A saving function that waits until it is let through."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def save(self, file: str, vc: objio.VarCollection, *, metadata: Any = None) -> None:
        """Saves as objio does, after the gate was opened."""
        self.reached.set()
        assert self.open.wait(30)
        objio.save_var_collection(file, vc, metadata=metadata)


@pytest.fixture
def gate() -> Gate:
    """A gate of the test's own."""
    return Gate()


def gated(gate: Gate, folder: Path, **options: Any) -> objio.Checkpoint:
    """A Checkpoint whose background saves wait at a gate."""
    return with_functions(gate.save, objio.load_var_collection)(folder, background=True, **options)


def test_save_returns_while_the_file_is_written(tmp_path: Path, gate: Gate) -> None:
    """`save` does not wait for the disk; `wait` does."""
    ckpt = gated(gate, tmp_path)
    fill(ckpt, 1)
    assert gate.reached.wait(30)
    assert names(tmp_path / 'ckpt') == []
    gate.open.set()
    ckpt.wait()
    assert names(tmp_path / 'ckpt') == ['0000000001.npz']


def test_what_changes_after_the_call_is_not_written(tmp_path: Path, gate: Gate) -> None:
    """Arrays that are changed, assigned or donated, and metadata that is changed, are written as they were."""
    vc = objio.VarCollection.from_tree(
        {'numpy': np.ones(1000), 'jax': jnp.ones(1000), 'count': 1, 'k': jax.random.key(1)}
    )
    key = np.asarray(jax.random.key_data(vc['k'].value)).copy()
    metadata = {'names': ['a']}
    ckpt = gated(gate, tmp_path)
    ckpt.save(vc, idx=1, metadata=metadata)
    metadata['names'].append('b')
    vc['numpy'].value[...] = -1
    vc['count'].assign(2)
    step = jax.jit(lambda x, k: (x * 2, jax.random.split(k)[0]), donate_argnums=(0, 1))
    x, k = vc['jax'].value, vc['k'].value
    for _ in range(3):
        x, k = step(x, k)
    jax.block_until_ready(x)
    gate.open.set()
    ckpt.close()
    with objio.open(tmp_path / 'ckpt' / '0000000001.npz') as saved:
        assert (saved['numpy'] == 1).all()
        assert (saved['jax'] == 1).all()
        assert saved['count'] == 1
        assert (saved['k'] == key).all()
        assert saved.metadata == {'names': ['a']}


def test_fifty_donating_steps_write_what_they_held(tmp_path: Path) -> None:
    """A loop that donates its buffers and saves each step in the background writes each step's own values."""
    vc = objio.VarCollection({'w': objio.TrainVar(jnp.zeros(4096)), 'n': objio.StateVar(jnp.int32(0))})
    step = jax.jit(lambda t: {'w': t['w'] + 1, 'n': t['n'] + 1}, donate_argnums=0)
    tensors = vc.named_tensors()
    with objio.Checkpoint(tmp_path, keep_ckpts=None, background=True, durable=False, verbose=False) as ckpt:
        for idx in range(1, 51):
            tensors = step(tensors)
            vc.assign(tensors)
            ckpt.save(vc, idx=idx)
    for idx in range(1, 51):
        with objio.open(tmp_path / 'ckpt' / f'{idx:010d}.npz') as saved:
            assert saved['n'] == idx
            assert (saved['w'] == idx).all()


def test_background_and_foreground_write_equal_bytes(tmp_path: Path) -> None:
    """A file does not tell in which way it was written: ties, references and shared arrays included."""
    w, shared = objio.TrainVar(jnp.ones(3)), jnp.zeros(5)
    vc = objio.VarCollection(
        {
            'r': objio.TrainRef(w),
            'w': w,
            'a': objio.StateVar(shared),
            'b': objio.StateVar(shared),
            'k': objio.RandomState(0),
        }
    )
    for background in (False, True):
        with objio.Checkpoint(tmp_path / str(background), background=background) as ckpt:
            ckpt.save(vc, idx=1, metadata={'a': 1}, metrics={'loss': 0.5})
    one, two = (tmp_path / str(background) / 'ckpt' / '0000000001.npz' for background in (False, True))
    assert one.read_bytes() == two.read_bytes()


def test_a_function_gets_a_snapshot_with_the_same_names_and_ties(tmp_path: Path) -> None:
    """In the background a saving function sees the same names, classes and ties, in the thread, and not the originals."""
    w = objio.TrainVar(jnp.ones(3))
    vc = objio.VarCollection({'ref': objio.TrainRef(w), 'w': w, 'again': w, 's': objio.StateVar(jnp.ones(1))})
    seen: list[Any] = []

    def save(file: str, snapshot: objio.VarCollection) -> None:
        seen.append((threading.current_thread().name, snapshot))
        objio.save_var_collection(file, snapshot)

    with with_functions(save, objio.load_var_collection)(tmp_path, background=True) as ckpt:
        ckpt.save(vc, idx=4)
    ((thread, snapshot),) = seen
    assert thread == 'objio-save-4'
    assert [(g.name, g.names, type(g.var)) for g in snapshot.groups()] == [
        (g.name, g.names, type(g.var)) for g in vc.groups()
    ]
    assert not {id(var) for var in snapshot} & {id(var) for var in vc}


@pytest.mark.parametrize(
    'verb',
    [
        lambda ckpt: ckpt.restore(model())[0] == 2,
        lambda ckpt: ckpt.idxs() == [1, 2],
        lambda ckpt: ckpt.latest() == 2,
        lambda ckpt: ckpt.best() == 2,
        lambda ckpt: ckpt.average(model()) == [1, 2],
        lambda ckpt: ckpt.truncate(after=1) == [2],
        lambda ckpt: [fate.idx for fate in ckpt.explain()] == [1, 2],
        lambda ckpt: fill(ckpt, 3) is None,
        lambda ckpt: ckpt.wait() is None,
        lambda ckpt: ckpt.close() is None,
    ],
)
def test_verbs_wait_for_the_save_in_flight(
    tmp_path: Path, gate: Gate, verb: Callable[[objio.Checkpoint], bool]
) -> None:
    """What asks for the saves, or makes another, sees the one that is being written."""
    fill(objio.Checkpoint(tmp_path), 1)
    ckpt = gated(gate, tmp_path, best_metric='loss')
    fill(ckpt, 2, metrics={'loss': 1})
    assert gate.reached.wait(30)
    answers: list[bool] = []
    asker = threading.Thread(target=lambda: answers.append(verb(ckpt)))
    asker.start()
    asker.join(0.05)
    assert answers == []
    gate.open.set()
    asker.join(30)
    assert answers == [True]
    ckpt.close()


def test_a_failure_is_raised_by_the_next_call_with_its_index(tmp_path: Path) -> None:
    """SaveFailed names the save that failed, and is raised once, by `save`, `wait` or `close`; reading calls keep it."""

    def save(file: str, vc: objio.VarCollection) -> None:
        if not file.endswith('1.npz'):
            raise OSError(28, 'No space left on device')
        objio.save_var_collection(file, vc)

    ckpt = with_functions(save, objio.load_var_collection)(tmp_path, background=True)
    fill(ckpt, 1)
    for verb in (lambda: fill(ckpt, 3), ckpt.wait, ckpt.close):
        fill(ckpt, 2)
        assert ckpt.idxs() == [1]
        assert ckpt.restore(model())[0] == 1
        with pytest.raises(objio.SaveFailed, match='the save 2 failed') as caught:
            verb()
        assert caught.value.idx == 2
        assert caught.value.__cause__.errno == 28
        ckpt.wait()
    assert ckpt.idxs() == [1]


def test_what_can_be_known_is_raised_at_once(tmp_path: Path) -> None:
    """Order, index, metadata and values that no file can hold are errors of `save` itself, not of the thread."""
    ckpt = objio.Checkpoint(tmp_path, background=True)
    fill(ckpt, 5)
    with pytest.raises(objio.SaveOrderError):
        fill(ckpt, 4)
    with pytest.raises(TypeError, match='JSON'):
        fill(ckpt, 6, metadata={'a': (1, 2)})
    with pytest.raises(objio.UnsaveableError, match='name'):
        ckpt.save({'name': np.array(['text'])}, idx=6)
    gone = objio.VarCollection({'w': objio.TrainVar(jnp.ones(2))})
    gone['w'].value.delete()
    with pytest.raises(objio.UnsaveableError, match='w: its array was deleted'):
        ckpt.save(gone, idx=6)
    with pytest.raises(objio.UnsaveableError, match='lone|surrogate'):
        ckpt.save({'\udc80': 1.0}, idx=6)
    ckpt.close()
    assert ckpt.idxs() == [5]


def test_the_save_in_flight_counts_for_the_order(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save below the one that is being written is refused, though that is not there yet."""
    ckpt = gated(gate, tmp_path)
    fill(ckpt, 2)
    wait = ckpt._writer.wait
    monkeypatch.setattr(ckpt._writer, 'wait', lambda: (gate.open.set(), wait())[1])
    with pytest.raises(objio.SaveOrderError):
        fill(ckpt, 1)
    assert ckpt.idxs() == [2]


def test_leaving_the_block_finishes_the_save(tmp_path: Path) -> None:
    """After a `with` block the save is on the disk, and its failure is raised."""
    with objio.Checkpoint(tmp_path, background=True) as ckpt:
        fill(ckpt, 1)
    assert names(tmp_path / 'ckpt') == ['0000000001.npz']

    def save(file: str, vc: objio.VarCollection) -> None:
        raise OSError('no')

    kind = with_functions(save, objio.load_var_collection)
    with pytest.raises(objio.SaveFailed), kind(tmp_path, background=True) as ckpt:
        fill(ckpt, 2)


def test_an_error_in_the_block_is_the_one_to_see(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the block itself fails, its error is raised, and that of the save is logged."""

    def save(file: str, vc: objio.VarCollection) -> None:
        raise OSError('the disk is gone')

    kind = with_functions(save, objio.load_var_collection)
    with pytest.raises(KeyError), kind(tmp_path, background=True) as ckpt:
        fill(ckpt, 2)
        raise KeyError('mine')
    assert [record.levelno for record in caplog.records if 'the save 2 failed' in record.message] == [logging.ERROR]


def test_a_forgotten_checkpoint_finishes_its_save(tmp_path: Path, gate: Gate) -> None:
    """A Checkpoint without a name goes on writing; nothing of it is left afterwards."""
    fill(gated(gate, tmp_path), 1)
    gc.collect()
    gate.open.set()
    for thread in threading.enumerate():
        if thread.name == 'objio-save-1':
            thread.join(30)
    vc = model()
    objio.Checkpoint(tmp_path).restore(vc)
    assert value_of(vc) == 1


def test_a_program_that_ends_finishes_the_save(tmp_path: Path) -> None:
    """Leaving the program right after `save` writes the file; a failure is logged as an error."""
    program = """
import sys, threading
import jax
import numpy as np
import objio

def slow(file, vc):
    threading.main_thread().join()  # until the program has run its last line
    objio.save_var_collection(file, vc)

def fail(file, vc):
    threading.main_thread().join()  # until the program has run its last line
    raise OSError('the disk is gone')

class Slow(objio.Checkpoint):
    SAVE_FN = staticmethod(slow)

class Fail(objio.Checkpoint):
    SAVE_FN = staticmethod(fail)

Slow(sys.argv[1], background=True).save({'w': np.ones((512, 1024)), 'k': jax.random.key(0)}, idx=1)
ckpt = Fail(sys.argv[1] + '/other', background=True)
ckpt.save({'w': np.ones(3)}, idx=2)
"""
    command = [sys.executable, '-c', program, str(tmp_path)]
    result = subprocess.run(
        command, cwd=Path(objio.__file__).parents[1], capture_output=True, text=True, timeout=120, check=True
    )
    assert 'the save 2 failed in the background: the disk is gone' in result.stderr
    assert objio.verify(tmp_path / 'ckpt' / '0000000001.npz')
    assert names(tmp_path / 'ckpt') == ['0000000001.npz']


def test_snapshots_are_freed(tmp_path: Path) -> None:
    """When a save is done nothing holds its arrays: a donated buffer is reused again."""
    vc = objio.VarCollection({'w': objio.TrainVar(jnp.ones(1 << 16))})
    ckpt = objio.Checkpoint(tmp_path, background=True)
    ckpt.save(vc, idx=1)
    ckpt.wait()
    gc.collect()
    array = copy.copy(vc)['w'].value
    before = array.unsafe_buffer_pointer()
    after = jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    assert array.is_deleted()
    assert after.unsafe_buffer_pointer() == before


def test_a_save_does_not_depend_on_where_the_program_goes(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another working folder while the save is written changes neither its place nor what is removed after it."""
    for folder in ('home', 'away/run/ckpt'):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'home')
    ckpt = gated(gate, Path('run'), keep_ckpts=1)
    gate.open.set()
    fill(ckpt, 1)
    ckpt.wait()
    gate.open.clear()
    gate.reached.clear()
    fill(ckpt, 2)
    assert gate.reached.wait(30)
    monkeypatch.chdir(tmp_path / 'away')
    gate.open.set()
    ckpt.wait()
    assert names(tmp_path / 'home/run/ckpt') == ['0000000002.npz']
    assert names(tmp_path / 'away/run/ckpt') == []
    assert ckpt.idxs() == [2]


def test_a_save_at_the_end_of_the_program_is_done_at_once(tmp_path: Path) -> None:
    """Nobody waits for the threads that an exit function starts, so there a save in the background is none."""
    program = """
import atexit, sys
import numpy as np
import objio

ckpt = objio.Checkpoint(sys.argv[1], background=True)

@atexit.register
def last():
    ckpt.save({'w': np.ones(1_000_000)}, idx=1)
    try:
        objio.Checkpoint(sys.argv[1], background=True).save({'w': np.ones(3)}, idx=2, metadata={'objio.no': 1})
    except ValueError as error:
        print(error)
"""
    command = [sys.executable, '-c', program, str(tmp_path)]
    result = subprocess.run(
        command, cwd=Path(objio.__file__).parents[1], capture_output=True, text=True, timeout=120, check=True
    )
    assert 'reserved' in result.stdout
    assert result.stderr == ''
    assert names(tmp_path / 'ckpt') == ['0000000001.npz']
    assert objio.verify(tmp_path / 'ckpt' / '0000000001.npz')

"""Every row of the page "Errors and cures" is provoked: the error it names comes, and nothing else changes."""

import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_errors import error_of, rows_of

import objio

ROWS = rows_of('Loading', 'Saving', 'Checkpoints', 'In the code')
CASES: dict[str, Callable[[Any], object]] = {}
# Rows that need more than one process; they have tests of their own.
ELSEWHERE = {'an array spread over several processes'}
# Rows in which the error comes after the new file is in place.
AFTER_THE_SAVE = {'a folder that cannot be synced after the rename'}


def case(row: str) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
    """Enters a function as what a row of the page describes."""

    def enter(function: Callable[[Any], object]) -> Callable[[Any], object]:
        CASES[row] = function
        return function

    return enter


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A small model, its file, and a folder of checkpoints, in the working folder."""
    monkeypatch.chdir(tmp_path)
    net = objio.nn.Linear(3, 2)
    vc = net.vars()
    objio.save_var_collection('net.npz', vc)
    ckpt = objio.Checkpoint('run', verbose=False)
    ckpt.save(vc, idx=1)
    ckpt.save(vc, idx=2)
    (tmp_path / 'folder').mkdir()
    data = (tmp_path / 'net.npz').read_bytes()
    (tmp_path / 'cut.npz').write_bytes(data[:-100])
    (tmp_path / 'notes.npz').write_text('not weights', encoding='utf-8')
    net.b.assign(net.b.value + 7)
    return SimpleNamespace(net=net, vc=vc, ckpt=ckpt, data=data, patch=monkeypatch)


def tree(**leaves: Any) -> objio.VarCollection:
    """A collection of leaves."""
    return objio.VarCollection.from_tree(leaves)


def files() -> list[str]:
    """Every file in and under the working folder."""
    return sorted(str(path) for path in Path().rglob('*') if path.is_file())


@case('a file that is not there')
def _(w: Any) -> None:
    objio.load_var_collection('nowhere.npz', w.vc)


@case('a folder that is no Orbax checkpoint and has no index of shards')
def _(w: Any) -> None:
    objio.load_var_collection('folder', w.vc)


@case('an empty or truncated file, or one with changed bytes')
def _(w: Any) -> None:
    objio.load_var_collection('cut.npz', w.vc)


@case('a file of another kind')
def _(w: Any) -> None:
    objio.load_var_collection('notes.npz', w.vc)


@case('names that the file lacks')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc + tree(more=jnp.ones(2)))


@case('names that the model lacks, with allow_unused=False')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', objio.VarCollection({'(Linear).b': w.net.b}), allow_unused=False)


@case('another shape')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', objio.nn.Linear(4, 2).vars())


@case('another dtype')
def _(w: Any) -> None:
    other = objio.nn.Linear(3, 2)
    other.w.assign(other.w.value.astype(jnp.bfloat16), check=False)
    objio.load_var_collection('net.npz', other.vars())


@case('names that a renamer makes equal')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, lambda name: '(Linear).w')


@case('one tied variable, several different arrays for it')
def _(w: Any) -> None:
    np.savez('untied.npz', a=np.zeros(2, 'f4'), b=np.ones(2, 'f4'))
    variable = objio.TrainVar(jnp.ones(2))
    try:
        objio.load_var_collection('untied.npz', objio.VarCollection({'a': variable, 'b': variable}))
    finally:
        os.remove('untied.npz')


@case(
    'cast=True with a value that the other dtype cannot hold: an integer that is too large, '
    'a float that would become infinite or NaN'
)
def _(w: Any) -> None:
    file = io.BytesIO()
    objio.save_var_collection(file, tree(w=np.float64([1, 1e300])))
    objio.load_var_collection(file, tree(w=jnp.zeros(2)), cast=True)


@case('a file with arrays of which nothing would be loaded, also with allow_missing=True')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', tree(w=jnp.zeros(2)), allow_missing=True)


@case('a literal name in only=, skip= or a dict for renamer= that matches nothing')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, skip='(Liner)', renamer={'weight': 'w'})


@case('a pattern or a function that matches nothing')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, skip=re.compile('bias'))


@case("only= that chooses none of the model's variables")
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, only='(Liner)')


@case('a class, a path or a dict of plain arrays in the place of variables')
def _(w: Any) -> None:
    for subject in [objio.nn.Linear, 'net.npz', {'w': jnp.ones(2)}]:
        with pytest.raises(TypeError, match='expected'):
            objio.load_var_collection('net.npz', subject)
    objio.save_var_collection('new.npz', 'net.npz')


@case('a tree with a variable, a module, or an array of another library among its leaves')
def _(w: Any) -> None:
    for leaf in [objio.TrainVar(jnp.ones(2)), jax.new_ref(jnp.ones(2))]:
        with pytest.raises(objio.UnsaveableError, match='would not be saved'):
            objio.save_var_collection('new.npz', {'w': jnp.ones(2), 'rest': leaf})
    objio.save_var_collection('new.npz', {'net': w.net})


@case('a tree with anything else that holds data: a set of numbers, bytes, an object with an array in it')
def _(w: Any) -> None:
    for leaf in [{1.5}, b'abc', Holder(jnp.ones(2))]:
        with pytest.raises(objio.UnsaveableError, match=r"at \['rest'\]"):
            objio.save_var_collection('new.npz', {'w': jnp.ones(2), 'rest': leaf})
    w.ckpt.save({'rest': {1.5}}, 3)


class Holder(objio.Module):
    """A module, or an object, with something in it."""

    def __init__(self, held: Any) -> None:
        self.held = held


@case('a module with variables in a set, a deque, a dataclass, a collection')
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', Holder({w.net}))


@case('a module without variables that holds arrays')
def _(w: Any) -> None:
    w.ckpt.save(Holder(jnp.ones(2)), 3)


@case('a module that holds arrays beside its variables')
def _(w: Any) -> None:
    w.net.scale = jnp.ones(2)
    with pytest.warns(UserWarning, match='scale is no variable'):
        objio.load_var_collection('net.npz', w.net, only='(Linear).w')


@case('a name in ignore= that nothing has')
def _(w: Any) -> None:
    with pytest.raises(ValueError, match='did you mean'):
        objio.save_var_collection('new.npz', {'opt': 1.0}, ignore='otp')
    w.ckpt.save(w.net, 3, ignore='(Linear).W')


@case('nothing at all, {}')
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', {})
    Path('new.npz').unlink()


@case('a file object in text mode')
def _(w: Any) -> None:
    with pytest.raises(TypeError, match='binary'), open('net.npz') as file:
        objio.load_var_collection(file, w.vc)
    with open('text', 'w') as file:
        try:
            objio.save_var_collection(file, w.vc)
        finally:
            os.remove('text')


@case('a file object that does not stand at position 0')
def _(w: Any) -> None:
    with open('cut.npz', 'r+b') as file:
        file.seek(0, os.SEEK_END)
        objio.save_var_collection(file, w.vc)


@case('a file object that is open for appending')
def _(w: Any) -> None:
    with open('notes.npz', 'ab') as file:
        objio.save_var_collection(file, w.vc)


@case('a path that starts with ~ where the home folder is not known')
def _(w: Any) -> None:
    w.patch.setenv('HOME', '')
    objio.save_var_collection('~/net.npz', w.vc)


@case('a URL')
def _(w: Any) -> None:
    objio.save_var_collection('s3://bucket/net.npz', w.vc)


@case('a pickle, without trusted=True')
def _(w: Any) -> None:
    objio.load_module('net.pickle', trusted=False)


@case('an array of objects, str, dates or records')
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', tree(bad=np.array([None])))


@case('an array that was deleted, as a donated one is')
def _(w: Any) -> None:
    gone = jnp.ones(3)
    gone.delete()
    objio.save_var_collection('new.npz', objio.VarCollection({'gone': objio.TrainVar(gone)}))


@case('a name that is empty, or has NUL or a lone surrogate in it')
def _(w: Any) -> None:
    for name in ['', 'a\0b']:
        with pytest.raises(objio.UnsaveableError):
            objio.save_var_collection('new.npz', objio.VarCollection({name: w.net.b}))
    objio.save_var_collection('new.npz', objio.VarCollection({'a\ud800': w.net.b}))


@case('a name of more than 4,095 bytes')
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', objio.VarCollection({'a' * 5000: w.net.b}))


@case('metadata that JSON would change: tuples, keys that are no str, NaN')
def _(w: Any) -> None:
    for metadata in [{1: 'a'}, {'a': float('nan')}]:
        with pytest.raises(TypeError):
            objio.save_var_collection('new.npz', w.vc, metadata=metadata)
    objio.save_var_collection('new.npz', w.vc, metadata={'a': (1, 2)})


@case('ties, typed keys or dtypes that .safetensors or .msgpack cannot hold')
def _(w: Any) -> None:
    with pytest.raises(objio.UnsaveableError):
        objio.save_var_collection('new.msgpack', tree(bad=jax.random.key(0)))
    objio.save_var_collection('new.safetensors', tree(bad=jnp.ones(2, jnp.int4)))


@case('metadata that is no text for .safetensors, or any for .msgpack')
def _(w: Any) -> None:
    with pytest.raises(TypeError):
        objio.save_var_collection('new.msgpack', w.vc, metadata={'a': 'b'})
    objio.save_var_collection('new.safetensors', w.vc, metadata={'a': 1})


@case('a folder that is not there')
def _(w: Any) -> None:
    objio.save_var_collection('nowhere/new.npz', w.vc)


@case('a key of the metadata that starts with objio.')
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', w.vc, metadata={'objio.metrics': {'loss': 0.1}})


@case('a full disk')
def _(w: Any) -> None:
    disk = os.statvfs('.')
    full = SimpleNamespace(f_bavail=0, f_frsize=disk.f_frsize, f_blocks=disk.f_blocks)
    w.patch.setattr(os, 'statvfs', lambda folder: full)
    objio.save_var_collection('net.npz', w.vc)


@case('a folder that cannot be synced after the rename')
def _(w: Any) -> None:
    sync, calls = os.fsync, []

    def fail_for_the_folder(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, 'Input/output error')
        sync(fd)

    w.patch.setattr(os, 'fsync', fail_for_the_folder)
    objio.save_var_collection('net.npz', w.vc)


@case('a lambda or a wrapped function in a module, for save_module')
def _(w: Any) -> None:
    with pytest.raises(objio.UnsaveableError):
        objio.save_module('new.pickle', objio.nn.Sequential([lambda x: x]))
    objio.save_module('new.pickle', objio.nn.Sequential([jax.nn.relu]))


@case('a save below the newest one')
def _(w: Any) -> None:
    w.ckpt.save(w.vc, idx=1)


@case('a save in the background failed')
def _(w: Any) -> None:
    def fail(file: str, vc: objio.VarCollection) -> None:
        raise OSError('the disk is gone')

    class Failing(objio.Checkpoint):
        SAVE_FN = staticmethod(fail)

    ckpt = Failing('run', background=True, verbose=False)
    ckpt.save(w.vc, idx=3)
    ckpt.wait()


@case('restore(idx=…) of a save that is damaged')
def _(w: Any) -> None:
    Path('run/ckpt/0000000002.npz').write_bytes(w.data[:-1])
    w.ckpt.restore(w.vc, idx=2)


@case('every save is damaged')
def _(w: Any) -> None:
    for path in ['run/ckpt/0000000001.npz', 'run/ckpt/0000000002.npz']:
        Path(path).write_bytes(w.data[:-1])
    w.ckpt.restore(w.vc)


@case('a restore with allow_missing=True that left variables as they were')
def _(w: Any) -> None:
    w.ckpt.restore(objio.nn.Linear(3, 2).vars() + tree(more=jnp.ones(2)), allow_missing=True)


@case('no save at all')
def _(w: Any) -> None:
    assert objio.Checkpoint('new', makedir=True, verbose=False).restore(w.vc) == (0, '')


@case('a best_metric whose name does not tell what is best')
def _(w: Any) -> None:
    objio.Checkpoint('new', best_metric='accuracy_loss')


@case('a save without the metric that keep_best goes by')
def _(w: Any) -> None:
    objio.Checkpoint('run', keep_best=1, best_metric='val_loss').save(w.vc, idx=3, metrics={'valid_loss': 0.1})


@case('keep_ckpts=0, an index that is negative or no int')
def _(w: Any) -> None:
    for idx in [1.5, True]:
        with pytest.raises(TypeError):
            w.ckpt.save(w.vc, idx=idx)
    with pytest.raises(ValueError, match='-1'):
        w.ckpt.save(w.vc, idx=-1)
    objio.Checkpoint('run', keep_ckpts=0)


@case('var.assign(x) of another shape or dtype')
def _(w: Any) -> None:
    w.net.b.assign(jnp.ones(5))


@case('vc.assign(tensors) with names missing or unknown')
def _(w: Any) -> None:
    w.vc.assign({'b': jnp.ones(2)})


@case('a variable assigned inside jax.jit without pure')
def _(w: Any) -> None:
    jax.jit(w.net.b.assign)(jnp.ones(2))


@case('two variables under one name')
def _(w: Any) -> None:
    w.vc + objio.nn.Linear(3, 2).vars()


def test_every_row_is_provoked() -> None:
    """The page and the cases below agree row by row."""
    assert set(ROWS) == set(CASES) | ELSEWHERE


@pytest.mark.parametrize('row', CASES)
def test_a_bad_input_gives_the_error_of_the_page(row: str, world: SimpleNamespace) -> None:
    """The error is the one that the page names, with a message; the model and the files are as they were."""
    expected = error_of(ROWS[row])
    before, weights = files(), jax.tree.map(np.asarray, world.vc.tensors())
    old = Path('net.npz').read_bytes()
    if expected:
        with pytest.raises(expected) as info:
            CASES[row](world)
        assert isinstance(info.value, expected)
        assert len(str(info.value)) > 10
    else:
        CASES[row](world)
    assert files() == before
    assert row in AFTER_THE_SAVE or Path('net.npz').read_bytes() == old
    for value, weight in zip(world.vc.tensors(), weights, strict=True):
        np.testing.assert_array_equal(value, weight, strict=True)

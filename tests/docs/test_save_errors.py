"""Every row about saving of the page "Errors and cures" is provoked: the error it names comes, and nothing else changes."""

import errno
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_errors import Page, make_world, tree

import objio

PAGE = Page('Saving')
case = PAGE.case
# Rows that need more than one process; they have tests of their own.
ELSEWHERE = {'an array spread over several processes'}
# Rows in which the error comes after the new file is in place.
AFTER_THE_SAVE = {'a folder that cannot be synced after the rename'}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return make_world(tmp_path, monkeypatch)


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


@case('a module with an iterator, a loader with a state, or a random generator')
def _(w: Any) -> None:
    for thing in iter([1]), random.Random(0), np.random.default_rng(0):
        net = type('Net', (objio.Module,), {})()
        net.layer, net.thing = w.net, thing
        with pytest.warns(UserWarning, match='thing is no variable'):
            objio.load_var_collection('net.npz', net, {'(Linear)': '(Net).layer(Linear)'}, only='(Net).layer(Linear).w')


class Shared(objio.Module):
    """A module with a variable in its class."""

    weight = objio.TrainVar(jnp.ones(2))


@case(
    'a module with variables in the body of its class, in a slot, or as the items of a list or a dict that it is itself'
)
def _(w: Any) -> None:
    objio.save_var_collection('new.npz', Shared())


@case(
    'a module with a function that alone leads to variables: a method of another module, a closure, a compiled module'
)
def _(w: Any) -> None:
    w.net.act = objio.nn.Linear(1, 1).__call__
    with pytest.warns(UserWarning, match='in an attribute'):
        objio.load_var_collection('net.npz', w.net, only='(Linear).w')


@case('an array of a class of its own with more than numbers, such as a unit')
def _(w: Any) -> None:
    array = np.ones(2).view(type('Quantity', (np.ndarray,), {}))
    array.unit = 'km'
    objio.save_var_collection('new.npz', {'x': array})


@case('a tree that has no end, or a dict in it whose keys JAX cannot sort')
def _(w: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(objio.UnsaveableError, match='no end'):
        objio.save_var_collection('new.npz', endless)
    w.ckpt.save({'a': {1: 1.0, 'b': 2.0}}, 3)


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


def test_every_row_is_provoked() -> None:
    """The page and the cases above agree row by row."""
    assert set(PAGE.rows) == set(PAGE.cases) | ELSEWHERE


@pytest.mark.parametrize('row', PAGE.cases)
def test_a_bad_input_gives_the_error_of_the_page(row: str, world: SimpleNamespace) -> None:
    """The error is the one that the page names, with a message; the model and the files are as they were."""
    PAGE.check(row, world, replaced=row in AFTER_THE_SAVE)

"""Whole modules in pickles: only where they are trusted, never half, never in silence."""

import collections
import functools
import io
import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objio
from objio import FormatError, Module, StateVar, TrainRef, TrainVar, UnsaveableError

RAN: list[str] = []


class Net(Module):
    """Ties, references, odd dtypes, keys, and attributes of any kind."""

    def __init__(self, **attributes: Any) -> None:
        self.w = TrainVar(jnp.arange(6.0).reshape(2, 3))
        self.tied = self.w
        self.ref = TrainRef(self.w)
        self.half = StateVar(jnp.ones(3, jnp.bfloat16))
        self.keys = objio.random.Generator(3)
        self.layers = objio.nn.Sequential([objio.nn.Linear(3, 2), objio.functional.relu])
        self.__dict__ |= attributes


class Careful(Module):
    """Leaves out what cannot be pickled, by a method of its own."""

    def __init__(self) -> None:
        self.w = TrainVar(jnp.ones(2))
        self.activation: Callable[[Any], Any] = lambda x: x

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {'activation': None}


class Traitor(Module):
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return RAN.append, ('ran',)


def test_a_module_comes_back_whole(tmp_path: Path) -> None:
    """Values, dtypes, ties, references and functions; to a path and to a file object of equal bytes."""
    net = Net(note='as it was', sizes=[1, 2])
    net.keys()
    file = io.BytesIO()
    for target in [tmp_path / 'net.pickle', file]:
        objio.save_module(target, net)
        new = objio.load_module(target, trusted=True)
        assert isinstance(new, Net)
        assert str(new.vars()) == str(net.vars())
        for value, old in zip(new.vars().tensors(), net.vars().tensors(), strict=True):
            assert value.dtype == old.dtype
            assert bool((value == old).all())
        assert new.tied is new.w
        assert new.ref.ref is new.w
        assert new.layers[1] is objio.functional.relu
        assert vars(new)['note'] == 'as it was'
    assert (tmp_path / 'net.pickle').read_bytes() == file.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ['net.pickle']


def test_any_pickle_load_reads_it(tmp_path: Path) -> None:
    """The file is a pickle; its checksum stands where no unpickler looks, and names nothing of JAX."""
    objio.save_module(tmp_path / 'net.pickle', Net())
    with (tmp_path / 'net.pickle').open('rb') as file:
        new = pickle.load(file)
    assert isinstance(new, Net)
    named = set()

    class Listener(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            named.add(module.split('.', maxsplit=1)[0])
            return super().find_class(module, name)

    Listener(io.BytesIO((tmp_path / 'net.pickle').read_bytes())).load()
    assert named <= {'objio', 'numpy', '_codecs', Net.__module__.split('.')[0]}


def test_a_plain_pickle_is_loaded(tmp_path: Path) -> None:
    """What `pickle.dump` wrote has no checksum, and is loaded all the same."""
    with (tmp_path / 'net.pickle').open('wb') as file:
        pickle.dump(Net(), file)
    assert isinstance(objio.load_module(tmp_path / 'net.pickle', trusted=True), Net)


@pytest.mark.parametrize('trusted', [False, None, 1, 'yes'])
def test_nothing_is_touched_before_it_is_trusted(trusted: Any) -> None:
    """Without `trusted=True` the file is not even looked at."""

    class Untouchable(io.BytesIO):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f'{name} was asked for')

    with pytest.raises(ValueError, match=r'trusted=True.*load_var_collection'):
        objio.load_module(Untouchable(), trusted=trusted)
    with pytest.raises(TypeError, match='trusted'):
        objio.load_module('nowhere.pickle')  # type: ignore[call-arg]


def test_no_other_verb_unpickles(tmp_path: Path) -> None:
    """A pickle given to a verb for arrays is a FormatError, and its code does not run."""
    (tmp_path / 'x.npz').write_bytes(pickle.dumps(Traitor()))
    RAN.clear()
    for verb in [objio.open, objio.verify, lambda file: objio.load_var_collection(file, Net())]:
        try:
            assert not verb(tmp_path / 'x.npz')
        except FormatError as error:
            assert 'pickle' in str(error)  # noqa: PT017
    assert not RAN


def make_local() -> Callable[[Any], Any]:
    """A function that no name leads to."""

    def local(x: Any) -> Any:
        return x

    return local


class Weird(dict):  # type: ignore[type-arg]
    """A dict with a lambda where nobody looks."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = lambda: 0


UNPICKLABLE: dict[str, tuple[Callable[[], Module], str]] = {
    'a lambda': (lambda: Net(act=lambda x: x), r'module\.act cannot be pickled.*lambda'),
    'a local function': (lambda: Net(act=make_local()), r'module\.act cannot be pickled.*local'),
    'a wrapped function': (lambda: Net(act=jax.nn.relu), r'module\.act cannot be pickled.*relu.*objio\.functional'),
    'in a layer': (lambda: objio.nn.Sequential([objio.nn.Sequential([lambda x: x])]), r'module\[0\]\[0\] cannot'),
    'in a dict': (lambda: Net(table={'a': [1, lambda x: x]}), r"module\.table\['a'\]\[1\] cannot"),
    'in a partial': (lambda: Net(act=functools.partial(make_local(), 1)), r'module\.act cannot'),
    'a file': (lambda: Net(log=open(os.devnull, 'rb')), r'module\.log cannot be pickled'),
    'a local class': (type('Local', (Module,), {}), 'the class of module cannot be pickled'),
    'out of sight': (lambda: Net(weird=Weird()), 'the module Net cannot be pickled'),
    'a deleted array': (lambda: (net := Net(), net.half.value.delete())[0], 'deleted'),
}


@pytest.mark.parametrize('kind', UNPICKLABLE)
@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_what_cannot_be_pickled_is_named(kind: str, tmp_path: Path) -> None:
    """The error names the attribute and the cure, before a byte is written anywhere."""
    make, words = UNPICKLABLE[kind]
    objio.save_module(tmp_path / 'old.pickle', Net())
    old, file, net = (tmp_path / 'old.pickle').read_bytes(), io.BytesIO(b'old'), make()
    for target in [tmp_path / 'old.pickle', tmp_path / 'new.pickle', file]:
        with pytest.raises(UnsaveableError, match=rf'(?s){words}'):
            objio.save_module(target, net)
    assert (tmp_path / 'old.pickle').read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ['old.pickle']
    assert file.getvalue() == b'old'


def test_a_module_may_pickle_itself_its_own_way(tmp_path: Path) -> None:
    """Where a class leaves out what pickle cannot take, nothing is refused."""
    objio.save_module(tmp_path / 'x.pickle', Careful())
    new = objio.load_module(tmp_path / 'x.pickle', trusted=True)
    assert isinstance(new, Careful)
    assert new.activation is None
    outer = Net(inner=Careful())
    objio.save_module(tmp_path / 'x.pickle', outer)
    assert objio.load_module(tmp_path / 'x.pickle', trusted=True)


def test_only_modules_are_saved_and_loaded(tmp_path: Path) -> None:
    """Anything else is refused, with the verb for arrays."""
    for thing in [Net, {'w': 1}, Net().vars(), np.ones(2)]:
        with pytest.raises(TypeError, match=r'expected a module.*save_var_collection'):
            objio.save_module(tmp_path / 'x.pickle', thing)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    for thing in [{'w': 1}, 3, np.ones(2)]:
        with pytest.raises(FormatError, match=rf'found one of {type(thing).__name__}'):
            objio.load_module(io.BytesIO(pickle.dumps(thing)), trusted=True)


def test_every_changed_byte_is_damage() -> None:
    """A file of `save_module` with any byte changed, cut anywhere or with bytes behind its end is a FormatError."""
    file = io.BytesIO()
    objio.save_module(file, objio.nn.Linear(2, 1))
    data = file.getvalue()
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1 << index % 8
        with pytest.raises(FormatError):
            objio.load_module(io.BytesIO(bytes(changed)), trusted=True)
    whole = len(data) - 20  # without its checksum it is a whole pickle
    for size in {*range(0, len(data), 3)} - {whole}:
        with pytest.raises(FormatError):
            objio.load_module(io.BytesIO(data[:size]), trusted=True)
    with pytest.raises(FormatError, match='more bytes'):
        objio.load_module(io.BytesIO(data + b'x'), trusted=True)


def test_junk_is_a_format_error() -> None:
    """Bytes that no pickler wrote, or that were changed where no checksum is, give no other error."""
    buffer = io.BytesIO()
    pickle.dump(objio.nn.Linear(2, 1), buffer, protocol=5)
    plain, rng, outcomes = buffer.getvalue(), random.Random(0), collections.Counter[str]()
    for _ in range(300):
        data = bytearray(plain)
        data[rng.randrange(len(data))] = rng.randrange(256)
        for junk in [bytes(data), rng.randbytes(rng.randrange(100))]:
            try:
                objio.load_module(io.BytesIO(junk), trusted=True)
            except FormatError:
                outcomes['refused'] += 1
            else:
                outcomes['loaded'] += 1
    assert outcomes['refused'] > 500


def test_a_class_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle whose classes are not there says which, and what to do."""
    objio.save_module(tmp_path / 'x.pickle', Careful())
    monkeypatch.delattr(sys.modules[Careful.__module__], 'Careful')
    with pytest.raises(FormatError, match=r'(?s)names something that is not there.*Careful.*npz'):
        objio.load_module(tmp_path / 'x.pickle', trusted=True)


def test_an_error_of_the_objects_own_code_is_told_as_it_is(tmp_path: Path) -> None:
    """Where the checksum fits, the bytes are not to blame: 64-bit arrays need x64, and the error says so."""
    with jax.enable_x64(True):
        objio.save_module(tmp_path / 'x.pickle', objio.ModuleList([TrainVar(jnp.ones(2, jnp.float64))]))
    with pytest.raises(ValueError, match='jax_enable_x64') as info:
        objio.load_module(tmp_path / 'x.pickle', trusted=True)
    assert not isinstance(info.value, FormatError)


@pytest.mark.parametrize(
    ('file', 'error'), [('nowhere.pickle', FileNotFoundError), ('.', IsADirectoryError), (None, TypeError)]
)
def test_a_file_that_cannot_be_opened(file: Any, error: type[Exception]) -> None:
    """A missing file, a folder, no file at all: the error of the system, or a TypeError."""
    with pytest.raises(error):
        objio.load_module(file, trusted=True)

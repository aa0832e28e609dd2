"""Keeping a whole module, code references and all, in a pickle.

A pickle runs code when it is loaded. So these verbs are named for what they do, ask for `trusted=True`, and are never
what another verb falls back to. What they write any `pickle.load` reads: a note after the pickle's end, where no
unpickler looks, carries a CRC-32 of everything before it.
"""

import io
import pickle
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from isal import isal_zlib

from objio import storage
from objio.errors import FormatError, UnsaveableError
from objio.formats import Sink
from objio.io.files import File, open_source, open_target
from objio.variables import BaseVar, Module

_NOTE = b'objio-crc32:'
_NOTE_SIZE = len(_NOTE) + 8
_PIECE = 1 << 20
# What pickle raises over bytes that no pickler wrote.
_BAD_BYTES = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, OverflowError, MemoryError)


def save_module(file: File, module: Module) -> None:
    """Saves a whole module: its variables, its other attributes, and references to its classes and functions.

    The arrays are kept as NumPy, never as objects of JAX, so that the file outlives JAX upgrades. The classes and
    functions are kept by name and must be there, under that name, at the load. For weights alone, which anybody may
    load, use `save_var_collection`.

    Args:
        file: a path or a binary file object; a path is replaced whole or not at all, as by `save_var_collection`.
        module: the module.

    Raises:
        UnsaveableError: an attribute cannot be pickled, such as a lambda; the message names it and the cure.
        TypeError: `module` is no module.
        ValueError: a file object does not stand at position 0; nothing was written.
        OSError: the file cannot be written.

    Example:
        >>> import objio
        >>> objio.save_module('net.pickle', objio.nn.Linear(3, 2))
        >>> objio.load_module('net.pickle', trusted=True)
        objio.nn.Linear(nin=3, nout=2, use_bias=True)
    """
    check_picklable(module)
    with open_target(file, durable=True, size=0) as sink:
        checked = _CheckedWriter(sink)
        pickle.dump(module, checked, protocol=5)
        sink.write(_NOTE + f'{checked.crc:08x}'.encode())


def load_module(file: File, *, trusted: bool) -> Module:
    """Loads a module that `save_module`, or `pickle.dump`, wrote.

    Args:
        file: a path or a binary file object.
        trusted: say `True` if you know who wrote the file. A pickle can do anything you can do; nothing here or
            anywhere can tell a good one from a bad one.

    Raises:
        ValueError: `trusted` is not `True`; nothing was read.
        FormatError: the file is damaged or no pickle, holds something else, or names classes that are not there.
        OSError: the file cannot be opened or read.
    """
    if trusted is not True:
        raise ValueError(
            'loading a pickle runs the code it names, so load_module(file, trusted=True) wants to hear that you trust '
            'the file; for weights from elsewhere use load_var_collection'
        )
    with open_source(file) as source:
        name = source.name
        checked = _check_crc(source)
        reader = io.BufferedReader(_Reader(source), _PIECE)
        try:
            module = pickle.load(reader)
        except (AttributeError, ImportError) as error:
            raise FormatError(
                f'{name}: the pickle names something that is not there: {error}; '
                'import or restore the class, or load the weights alone from an npz'
            ) from error
        except _BAD_BYTES as error:
            if checked:
                raise  # the bytes are those that were written: it comes from the objects' own code
            raise FormatError(
                f'{name}: expected the pickle of a module, found bytes that are none: {str(error) or type(error).__name__}'
            ) from error
        if not checked and reader.read(1):
            raise FormatError(f'{name}: expected the end of the file after the pickle, found more bytes')
    if not isinstance(module, Module):
        raise FormatError(f'{name}: expected the pickle of a module, found one of {type(module).__name__}')
    return module


class _CheckedWriter:
    """The file that pickle writes to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.crc = 0

    def write(self, data: Any) -> int:
        buffer = memoryview(data).cast('B')
        self.crc = isal_zlib.crc32(buffer, self.crc)
        self._sink.write(buffer)
        return len(buffer)


class _Reader(io.RawIOBase):
    """A source as the file that pickle reads from."""

    def __init__(self, source: storage.LocalSource | storage.FileSource) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._source.size - self._position]
        self._source.read_into(self._position, view)
        self._position += len(view)
        return len(view)


def _check_crc(source: storage.LocalSource | storage.FileSource) -> bool:
    """Whether the file ends with a checksum, which then fits; what `pickle.dump` wrote has none."""
    end = source.size - _NOTE_SIZE
    if end < 0:
        return False
    note = bytearray(_NOTE_SIZE)
    source.read_into(end, memoryview(note))
    if not note.startswith(_NOTE):
        return False
    crc = 0
    piece = memoryview(bytearray(_PIECE))
    for start in range(0, end, _PIECE):
        view = piece[: min(_PIECE, end - start)]
        source.read_into(start, view)
        crc = isal_zlib.crc32(view, crc)
    if note[len(_NOTE) :] != f'{crc:08x}'.encode():
        raise FormatError(
            f'{source.name}: the file is damaged: expected the CRC-32 {note[len(_NOTE) :].decode("latin-1")}, '
            f'found {crc:08x}'
        )
    return True


def check_picklable(module: object) -> None:
    """Pickles to nowhere, so that what cannot be pickled shows before a byte is written, and names it.

    Raises:
        UnsaveableError: something cannot be pickled.
        TypeError: it is no module.
    """
    if not isinstance(module, Module):
        raise TypeError(f'expected a module, got {type(module).__name__}; for arrays use save_var_collection')
    try:
        pickle.Pickler(_Nowhere(), 5).dump(module)
    except Exception as error:
        for path, value in _leaves(module, 'module', set()):
            try:
                pickle.Pickler(_Nowhere(), 5).dump(value)
            except Exception as cause:
                raise UnsaveableError(
                    f'{path} cannot be pickled: {value!r} ({cause}). Pickle keeps functions and classes by name only: '
                    'use a function defined with def at the top level of a module (objio.functional has the usual '
                    'activations), or build the part anew after loading'
                ) from cause
        raise UnsaveableError(f'the module {type(module).__name__} cannot be pickled: {error}') from error


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _leaves(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Everything in a module whose pickling may fail, and is cheap to try."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Module | BaseVar):
        yield f'the class of {path}', type(thing)
    if isinstance(thing, Module):
        for name, value in vars(thing).items():
            yield from _leaves(value, f'{path}.{name}', seen)
    if isinstance(thing, list | tuple):
        for index, value in enumerate(thing):
            yield from _leaves(value, f'{path}[{index}]', seen)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from _leaves(value, f'{path}[{key!r}]', seen)
    elif not isinstance(thing, Module | BaseVar | np.ndarray | jax.Array):
        yield path, thing

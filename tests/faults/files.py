"""Files of many shapes, by objio and by others, and what comes of reading one in memory."""

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

import objio
from objio.errors import FormatError
from objio.formats.dtypes import WRITABLE
from objio.variables import TreeVar

DATA = Path(__file__).parents[1] / 'data'


class Contents(NamedTuple):
    """All that a reader is given: two files are the same where these are equal."""

    arrays: dict[str, tuple[str, tuple[int, ...], bytes]]  # name -> dtype, shape, bytes
    aliases: dict[str, str]
    metadata: str
    kind: str


def contents(file: bytes | str) -> Contents:
    """Opens a file through the public function and reads everything.

    Raises:
        FormatError: the file is damaged.
    """
    with objio.open(io.BytesIO(file) if isinstance(file, bytes) else file) as saved:
        arrays = {name: (saved.dtypes[name], saved.shapes[name], saved[name].tobytes()) for name in saved}
        return Contents(arrays, dict(saved.aliases), json.dumps(saved.metadata, default=repr), saved.kind)


def read(file: bytes | str) -> Contents | None:
    """What a file holds, or None where it is refused; any other exception fails the test."""
    try:
        return contents(file)
    except FormatError:
        return None


def saved(tree: Any, **options: Any) -> bytes:
    """The bytes of a file that objio writes."""
    file = io.BytesIO()
    objio.save_var_collection(file, tree, **options)
    return file.getvalue()


class Stream(io.BytesIO):
    """A file that can only be written on, as Objax's: sizes and checksums then stand behind the contents."""

    def seek(self, *_: Any) -> int:
        raise OSError('no way back')

    def tell(self) -> int:
        raise OSError('no way back')


def foreign(
    arrays: dict[str, np.ndarray], save: Callable[..., None] = np.savez, file: Callable[[], io.BytesIO] = io.BytesIO
) -> bytes:
    """The bytes of a file that NumPy writes."""
    target = file()
    save(target, **arrays)
    return target.getvalue()


def objax(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file as Objax writes it: the names as one more array, then the arrays by number."""
    return foreign({'names': np.array(list(arrays))} | {str(i): a for i, a in enumerate(arrays.values())}, file=Stream)


def net() -> dict[str, Any]:
    """A small network with all that a collection can hold: ties, keys, names that need care, an empty array."""
    weights = jax.numpy.arange(6, dtype='float32').reshape(2, 3)
    return {
        'encoder': TreeVar(weights),
        'decoder': TreeVar(weights),
        'größe 50%/../b.npy': TreeVar(np.array([True, False, True])),
        'key': TreeVar(jax.random.key(3)),
        'step': TreeVar(np.int64(7)),
        'nothing': TreeVar(np.zeros((0, 4), ml_dtypes.bfloat16)),
    }


_METADATA = {'step': 3, 'loss': [0.5, 1e-7, 'nan'], 'note': 'x"\n😀', 'more': {'a': None, 'b': [True, {}]}}


@cache
def objio_files() -> dict[str, bytes]:
    """Small files by objio."""
    plain = {label: form for label, form in WRITABLE.items() if not form.words}
    arrays = {label: np.arange(2).astype(form.dtype) for label, form in plain.items()}
    return {
        'net': saved(net(), metadata=_METADATA),
        'empty': saved({}),
        'one': saved({'w': np.ones((2, 3), np.float32)}, metadata={'a': 1}),
        'scalars': saved({'a': 1, 'b': 2.5, 'c': True, 'd': np.float16(1)}),
        'dtypes': saved(arrays),
    }


@cache
def foreign_files() -> dict[str, bytes]:
    """Small files by others."""
    arrays = {'a': np.arange(5, dtype=np.int16), 'b/c': np.ones((2, 2), '>f4'), 'é': np.asfortranarray(np.eye(3))}
    return {
        'savez': foreign(arrays),
        'savez_compressed': foreign(arrays | {'zeros': np.zeros(99)}, np.savez_compressed),
        'streamed': foreign(arrays, np.savez_compressed, Stream),
        'Objax': objax({'(Net).w': np.ones((2, 2), np.float32), '(Net).b': np.arange(3)}),
    }


@cache
def raw_files() -> dict[str, bytes]:
    """Small files of the formats without checksums, by the names that they must have."""
    arrays = {
        'a.w': np.arange(6, dtype=np.float32).reshape(2, 3),
        'a.b': np.ones(2, ml_dtypes.bfloat16),
        'n': np.int8(3),
    }
    arrays |= {'flag': np.array([True, False]), 'nothing': np.zeros((0, 2))}
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, metadata in (('x.safetensors', {'k': 'v'}), ('x.msgpack', {})):
            path = Path(folder, name)
            objio.save_var_collection(path, arrays, metadata=metadata)
            files[name] = path.read_bytes()
    return files


@cache
def larger_files() -> dict[str, bytes]:
    """Files of 15 to 40 KB by objio, NumPy and Objax."""
    rng = np.random.default_rng(0)
    arrays = {f'layer{i}.w': rng.standard_normal((4 + i, 90)).astype(np.float32) for i in range(9)}
    shared = jax.numpy.ones(900)
    return {
        'objio': saved(arrays | {'tied': shared, 'twin': shared}),
        'objio beside': saved({name: array + 1 for name, array in arrays.items()}, metadata=_METADATA),
        'golden': (DATA / 'objio-npz-1.npz').read_bytes(),
        'savez': foreign(arrays),
        'savez_compressed': foreign(arrays, np.savez_compressed),
        'Objax 1.8.0': (DATA / 'objax-1.8.0.npz').read_bytes(),
    }

"""Checkpoints of Orbax, read through TensorStore, which is what wrote their arrays."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from objio import storage
from objio.errors import FormatError, UnsaveableError
from objio.formats import Allocate, ArraySpec, Prepare, ReadRange
from objio.formats.dtypes import WRITABLE, blocks, label_of
from objio.io.texts import read_text

_TREE = '_METADATA'
_ABOUT = '_CHECKPOINT_METADATA'
_KEYS = 'array_metadatas'
_NO_ARRAYS = ('None', 'string', 'Dict', 'List', 'Tuple', 'NamedTuple', 'Empty')  # kinds of leaves that hold no array
_LARGEST = 1 << 30  # bytes of the description of a tree


def open_checkpoint(path: str) -> 'OrbaxArchive':
    """Opens one checkpoint, or the one item of a step that `CheckpointManager` wrote.

    Arrays are called by their paths in the tree, joined with dots, as `VarCollection.from_tree` calls them. Text and
    None hold no arrays and are left out.

    Raises:
        FormatError: the checkpoint is damaged, or the folder holds several.
        IsADirectoryError: the folder holds none.
        ImportError: tensorstore is not installed.
    """
    path = os.path.abspath(_item(path))
    try:
        import tensorstore
    except ImportError as error:
        raise ImportError(
            f'{path} is a checkpoint of Orbax, which is read through tensorstore; pip install "objio[interop]"'
        ) from error
    description = _json(os.path.join(path, _TREE))
    try:
        leaves = {
            '.'.join(str(part['key']) for part in leaf['key_metadata']): leaf['value_metadata']['value_type']
            for leaf in description['tree_metadata'].values()
        }
        folder = {'driver': 'file', 'path': f'{path}/'}  # no URL, which takes some letters of a path for its own
        store: dict[str, Any] = {'driver': 'ocdbt', 'base': folder} if description.get('use_ocdbt', True) else folder
        driver = 'zarr3' if description.get('use_zarr3') else 'zarr'
        implementations = _key_implementations(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f'{path}: {_TREE}: expected the description of a tree, found {error!r} amiss') from error
    if len(leaves) != len(description['tree_metadata']):
        raise FormatError(f'{path}: {_TREE}: two leaves have one path, joined with dots')
    names = [name for name, kind in leaves.items() if kind not in _NO_ARRAYS]
    opening = {}
    for name in names:
        # A tree that is one array alone has its files in the folder itself.
        kvstore = {**store, 'path': store.get('path', '') + (f'{name}/' if name or store is not folder else '')}
        # Orbax stores every chunk: one that is missing is no zeros, it is lost.
        spec = {'driver': driver, 'kvstore': kvstore, 'fill_missing_data_reads': False}
        with _telling(path, name):
            opening[name] = tensorstore.open(spec, open=True, read=True)
    arrays = {name: _result(path, name, future) for name, future in opening.items()}
    about = os.path.join(path, _ABOUT)
    metadata = _json(about).get('custom_metadata') if os.path.exists(about) else None
    metadata = metadata or description.get('custom_metadata') or {}
    if not isinstance(metadata, dict):
        raise FormatError(f'{path}: expected custom_metadata to be an object, found {str(metadata)[:60]!r}')
    return OrbaxArchive(path, arrays, implementations, metadata)


def _item(path: str) -> str:
    """The folder of the tree: the one that is given, or the only item of a step."""
    if '.orbax-checkpoint-tmp' in os.path.basename(path.rstrip('/')):
        raise FormatError(f'{path}: a checkpoint that Orbax never finished; use another one')
    if os.path.exists(os.path.join(path, _TREE)):
        return path
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    items = [name for name in folders if os.path.exists(os.path.join(path, name, _TREE))]
    if len(items) == 1:
        return os.path.join(path, items[0])
    if items:
        raise FormatError(f'{path}: several items, {", ".join(items)}; open one of them')
    steps = [name for name in folders if name.isdecimal()]
    if steps:
        raise FormatError(f'{path}: a folder of steps, {", ".join(sorted(steps, key=int))}; open one of them')
    wrong = 'a directory, and neither a checkpoint of Orbax nor one of shards with an index; open a file in it'
    raise IsADirectoryError(errno.EISDIR, wrong, path)


def _json(path: str) -> Any:
    try:
        found = json.loads(read_text(path, _LARGEST))
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{path}: expected JSON: {error}') from error
    if not isinstance(found, dict):
        raise FormatError(f'{path}: expected an object in JSON, found {type(found).__name__}')
    return found


def _key_implementations(path: str) -> dict[str, str]:
    """Of arrays of typed keys: their implementation. Older versions of Orbax do not note it."""
    folder = os.path.join(path, _KEYS)
    found = {}
    for name in storage.file_names(folder) if os.path.isdir(folder) else []:
        for entry in _json(os.path.join(folder, name))['array_metadatas']:
            about = entry['array_metadata']
            if about.get('ext_metadata') and 'random_key_impl' in about['ext_metadata']:
                found[about['param_name']] = about['ext_metadata']['random_key_impl']
    return found


def _result(path: str, name: str, future: Any) -> Any:
    """What TensorStore gives."""
    with _telling(path, name):
        return future.result()


@contextlib.contextmanager
def _telling(path: str, name: str) -> Iterator[None]:
    """Lets the errors of TensorStore say which array of which checkpoint is damaged."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise FormatError(f'{path}: {name!r}: {str(error)[:300]}. Use another copy, or an older checkpoint') from error


class OrbaxArchive:
    """A checkpoint whose description was read; see `Archive`. TensorStore decompresses; Orbax keeps no checksums."""

    kind = 'Orbax'
    keyless = True
    checksums = False
    aliases: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, path: str, arrays: Mapping[str, Any], implementations: Mapping[str, str], metadata: Mapping[str, Any]
    ) -> None:
        self._path = path
        self._arrays = arrays
        self.metadata = metadata
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(
            {name: self._spec(name, array, implementations.get(name)) for name, array in arrays.items()}
        )

    def _spec(self, name: str, array: Any, implementation: str | None) -> ArraySpec:
        try:
            label, shape = label_of(array.dtype.numpy_dtype), tuple(map(int, array.shape))
        except UnsaveableError as error:
            raise FormatError(
                f'{self._path}: {name!r}: expected numbers, found the dtype {array.dtype.name}'
            ) from error
        if implementation is None:
            return ArraySpec(label, shape)
        key = WRITABLE.get(f'key<{implementation}>')
        if key is None or label != 'uint32' or shape[-1:] != key.words:
            raise FormatError(f'{self._path}: {name!r}: expected keys of {implementation!r}, found {label} {shape}')
        return ArraySpec(key.label, shape[:-1])

    def nbytes(self, name: str) -> int:
        """See `Archive`."""
        spec = self.specs[name]
        return WRITABLE[spec.dtype].nbytes(spec.shape)

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """See `Archive`; there is no checksum that `verify` could ask for."""
        self._fill(name, self._arrays[name].read(), buffer)

    def _fill(self, name: str, future: Any, buffer: memoryview) -> None:
        if buffer.nbytes != self.nbytes(name):
            raise ValueError(f'{name!r} has {self.nbytes(name)} bytes, the buffer {buffer.nbytes}')
        at = 0
        for block in blocks(np.asarray(_result(self._path, name, future)), self.specs[name].dtype):
            buffer[at : at + len(block)] = block
            at += len(block)

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """See `Archive`; all of them are asked for at once."""
        futures = [self._arrays[name].read() for name in names]
        for name, future in zip(names, futures, strict=True):
            buffer = allocate(self.nbytes(name))
            self._fill(name, future, buffer)
            yield buffer

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """See `Archive`; the array is held whole, since it is compressed."""
        whole = memoryview(bytearray(self.nbytes(name)))
        self.read_into(name, whole)
        for at in range(0, len(whole), len(buffer)):
            yield whole[at : at + len(buffer)]

    def ranges(self, name: str) -> ReadRange | None:
        """See `Archive`; the chunks are compressed."""
        return None

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """See `Archive`; the chunks are compressed."""
        return None

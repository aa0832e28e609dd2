"""Folders that hold one collection: shards with an index, as Hugging Face writes them, and checkpoints of Orbax."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any

from objio import storage
from objio.errors import FormatError
from objio.formats import Allocate, Archive, ArraySpec, Prepare, ReadRange, by_suffix
from objio.formats.safetensors_table import parse_index
from objio.io.texts import read_text

INDEX = '.index.json'  # how the names of indices end
LARGEST_INDEX = 100 << 20  # bytes of an index: what safetensors allows for a header
_LONGEST_NAME = 255  # bytes of the name of a shard: what file systems take


@contextlib.contextmanager
def open_folder(path: str) -> Iterator[Archive]:
    """Opens a folder, or an index of shards, as one archive.

    Args:
        path: the index; or a folder with one index, or with one checkpoint of Orbax.

    Raises:
        FormatError: the folder holds several collections, or what it holds is damaged.
        IsADirectoryError: it holds none.
        OSError: a file cannot be opened or read.
        ImportError: it is a checkpoint of Orbax, and tensorstore is not installed.
    """
    if not os.path.isdir(path):
        with open_index(path) as archive:
            yield archive
        return
    indices = [name for name in storage.file_names(path) if name.endswith(INDEX)]
    if len(indices) == 1:
        with open_index(os.path.join(path, indices[0])) as archive:
            yield archive
    elif indices:
        raise FormatError(f'{path}: several indices, {", ".join(sorted(indices))}; open one of them')
    else:
        from objio.io.orbax import open_checkpoint

        yield open_checkpoint(path)


@contextlib.contextmanager
def open_index(path: str) -> Iterator['Shards']:
    """Opens the shards that an index names; all of them lie beside it.

    Raises:
        FormatError: the index is none, or a shard is not what it says.
        OSError: a file cannot be opened or read.
    """
    with contextlib.ExitStack() as stack:
        metadata, homes, sources = _open_shards(path, stack)
        archives = {shard: by_suffix(shard).decode(source) for shard, source in sources.items()}
        lists: dict[str, set[str]] = {shard: set() for shard in archives}
        for name, shard in homes.items():
            lists[shard].add(name)
        for shard, archive in archives.items():
            listed = lists[shard]
            for name in sorted(listed ^ archive.specs.keys()):
                here = 'an array that the index does not name' if name not in listed else 'no such array'
                raise FormatError(f'{path}: the shard {shard!r} has {here}, {name!r}; they do not belong together')
        yield Shards({name: archives[shard] for name, shard in homes.items()}, metadata)


def _open_shards(
    path: str, stack: contextlib.ExitStack
) -> tuple[dict[str, Any], dict[str, str], dict[str, storage.LocalSource]]:
    """What `read_index` gives, and the shards, open."""
    folder = os.path.dirname(path)
    while True:
        seen = storage.identity(path)
        metadata, homes = read_index(path)
        try:
            with contextlib.ExitStack() as opening:
                sources = {
                    shard: opening.enter_context(storage.open_file(os.path.join(folder, shard)))
                    for shard in dict.fromkeys(homes.values())
                }
                stack.push(opening.pop_all())
            return metadata, homes, sources
        except (FileNotFoundError, IsADirectoryError) as error:
            if storage.identity(path) == seen:  # else a save has replaced the index and its shards meanwhile
                name = os.path.basename(error.filename)
                raise FormatError(f'{path}: the shard {name!r} is missing beside it; fetch it again') from error


def read_index(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The metadata of an index, and the shard of each array.

    Raises:
        FormatError: the index is none, or names what is no shard beside it.
        OSError: it cannot be read.
    """
    try:
        text = read_text(path, LARGEST_INDEX)
        homes, metadata = parse_index(text)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{path}: expected the JSON text of an index, found an error: {error}') from error
    for name, shard in homes.items():
        # What is named may lie nowhere else: an index from elsewhere must not reach other files.
        if len(shard.encode()) > _LONGEST_NAME or {*'/\\\0'} & {*shard}:
            raise FormatError(f'{path}: {name!r}: expected the name of a file beside the index, found {shard!r}')
        if not shard.endswith('.safetensors'):
            raise FormatError(f'{path}: {name!r} is in {shard!r}; only .safetensors shards are read, no pickles')
    return metadata, homes


class Shards:
    """Several files as one archive; see `Archive`."""

    keyless = True
    checksums = False
    aliases: Mapping[str, str] = MappingProxyType({})

    def __init__(self, homes: dict[str, Archive], metadata: Mapping[str, Any]) -> None:
        self._homes = homes
        self.metadata = metadata
        self.kind = f'safetensors in {len(set(map(id, homes.values())))} shards'
        self.specs: Mapping[str, ArraySpec] = MappingProxyType(
            {name: archive.specs[name] for name, archive in homes.items()}
        )

    def nbytes(self, name: str) -> int:
        """See `Archive`."""
        return self._homes[name].nbytes(name)

    def read_into(self, name: str, buffer: memoryview, *, verify: bool = True, prepare: Prepare | None = None) -> None:
        """See `Archive`."""
        self._homes[name].read_into(name, buffer, verify=verify, prepare=prepare)

    def read_small(
        self, names: Sequence[str], allocate: Allocate, *, mmap: bool = False, verify: bool = True
    ) -> Iterator[memoryview]:
        """See `Archive`."""
        for _, run in groupby(names, lambda name: id(self._homes[name])):
            together = list(run)
            yield from self._homes[together[0]].read_small(together, allocate, mmap=mmap, verify=verify)

    def pieces(self, name: str, buffer: memoryview, *, verify: bool = True) -> Iterator[memoryview]:
        """See `Archive`."""
        return self._homes[name].pieces(name, buffer, verify=verify)

    def ranges(self, name: str) -> ReadRange | None:
        """See `Archive`."""
        return self._homes[name].ranges(name)

    def mapped(self, name: str, *, verify: bool = True) -> memoryview | None:
        """See `Archive`."""
        return self._homes[name].mapped(name, verify=verify)

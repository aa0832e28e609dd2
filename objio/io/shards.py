"""Writes a collection as shards of safetensors with an index, as Hugging Face has it.

The index is what makes the shards a collection, so its rename is the moment of the save: shards get names that no
index names yet, and those of the index before go when the new one stands.
"""

import contextlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from objio import storage
from objio.errors import FormatError, SaveNotDurable, UnsaveableError
from objio.formats import ArraySpec, Blocks, Encoded, safetensors
from objio.formats.manifest import check_metadata
from objio.formats.safetensors_table import LARGEST_VALUE
from objio.io.folders import INDEX, LARGEST_INDEX, read_index
from objio.io.progress import Progress, reporting

SHARD_BYTES = 5_000_000_000
"""How large a shard becomes, as Hugging Face has it; an array that is larger gets one of its own."""
_SUFFIX = '.safetensors'
_MOST = 99_999  # shards: their names have five digits
_FORGOTTEN_AFTER_S = 3600.0
_LOG = logging.getLogger('objio')


class EncodedShards:
    """Shards and their index, checked and laid out, but not yet written.

    Attributes:
        size: bytes of all shards together.
    """

    def __init__(self, stem: str, shards: list[Encoded], homes: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
        self._stem = stem
        self._shards = shards
        self._homes = homes
        self._metadata = metadata
        self.size = sum(shard.size for shard in shards)

    def save(self, path: str, *, durable: bool, progress: Progress | None) -> None:
        """Writes the shards, then the index; a folder that is missing appears whole.

        Raises:
            ValueError: the index is a symbolic link.
            OSError: they cannot be written; what was there is as it was.
            SaveNotDurable: all is written, but a folder could not be synced.
        """
        if os.path.islink(path):
            raise ValueError(
                f'{path} is a symbolic link: the shards would stand beside the link, and not beside the index that it '
                f'leads to. Save to {os.path.realpath(path)} or to another folder'
            )
        folder = storage.folder_of(path)
        if not os.path.lexists(folder):
            # Another process may make it meanwhile; then this is a save like any other.
            with contextlib.suppress(FileExistsError), storage.create_folder(folder, durable=durable) as new:
                index = os.path.join(new, os.path.basename(path))
                self._write(index, self.names(), durable=durable, progress=progress)
                return
        storage.sweep(folder)
        names = self.names(f'{secrets.token_hex(4)}-')
        try:
            before = self._write(path, names, durable=durable, progress=progress)
        except BaseException:
            # The index may have its name already, where only its folder could not be synced.
            with contextlib.suppress(OSError):  # the first error is the one to see
                if not set(names) & _named(path):
                    _remove(folder, names)
            raise
        _remove(folder, before - set(names))
        try:
            self._remove_forgotten(folder, set(names))
        except OSError as error:  # the save is made
            _LOG.warning(
                '%s is saved, but shards that others may have left beside it were not looked for: %s', path, error
            )

    def names(self, tag: str = '') -> list[str]:
        """The names of the shards; with a tag of hex digits, ones that no index names yet."""
        count = len(self._shards)
        return [f'{self._stem}-{tag}{number:05}-of-{count:05}{_SUFFIX}' for number in range(1, count + 1)]

    def _write(self, index: str, names: list[str], *, durable: bool, progress: Progress | None) -> set[str]:
        """Writes shards under these names and the index; returns the names of the shards that it replaces."""
        text = self.index(names)
        folder, done = storage.folder_of(index), 0
        with storage.create(index, durable=durable, size=len(text)) as sink:
            sink.write(text)
            try:
                with contextlib.ExitStack() as stack:
                    for name, shard in zip(names, self._shards, strict=True):
                        target = storage.create(os.path.join(folder, name), durable=durable, size=shard.size)
                        told = _told(progress, done, self.size)
                        shard.write(reporting(stack.enter_context(target), told, shard.size))
                        done += shard.size
            except SaveNotDurable as error:
                raise OSError(error.errno, f'{error.strerror}; the index was not replaced', index) from error
            return {name for name in _named(index) if self._is_ours(name)}

    def index(self, names: list[str]) -> bytes:
        """The text of the index, where the shards have these names."""
        homes = {name: names[home] for name, home in self._homes.items()}
        content = {'metadata': self._metadata, 'weight_map': homes}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode() + b'\n'

    def _is_ours(self, name: str, tag: str = r'(?:[0-9a-f]{8}-)?') -> bool:
        pattern = rf'{re.escape(self._stem)}-{tag}[0-9]{{5}}-of-[0-9]{{5}}{re.escape(_SUFFIX)}'
        return re.fullmatch(pattern, name) is not None

    def _remove_forgotten(self, folder: str, names: set[str]) -> None:
        """Removes shards whose writer was killed before their index had its name."""
        for name in storage.file_names(folder):
            path = os.path.join(folder, name)
            if name not in names and self._is_ours(name, r'[0-9a-f]{8}-'):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - os.stat(path).st_mtime >= _FORGOTTEN_AFTER_S:
                        _remove(folder, {name})


def lay_out_shards(
    path: str,
    specs: Mapping[str, ArraySpec],
    blocks: Blocks,
    aliases: Mapping[str, str],
    metadata: Mapping[str, Any],
    *,
    shard_bytes: int,
) -> EncodedShards:
    """Checks names, dtypes, shapes and metadata and lays shards and index out; nothing is written yet.

    Args:
        path: that of the index.
        specs: this and what follows: as in `Format.encode`.
        blocks: gives the bytes of the arrays.
        aliases: must be empty.
        metadata: any JSON; `total_size` is put in its place.
        shard_bytes: a shard ends before the array that would make it larger.

    Raises:
        UnsaveableError: what a shard or the index cannot hold; the message names it.
        TypeError: metadata that is no JSON.
    """
    name = os.path.basename(path)
    if not name.endswith(_SUFFIX + INDEX) or name == _SUFFIX + INDEX:
        raise UnsaveableError(f'{path}: an index is called as in model{_SUFFIX}{INDEX}, after its shards')
    if '\\' in name or not name.isprintable():
        raise UnsaveableError(f'{path!r}: shards are called after the index, and elsewhere that is no name of a file')
    sizes = safetensors.sizes_of(specs, aliases)
    check_metadata(dict(metadata))
    content = {**metadata, 'total_size': sum(sizes.values())}
    length = len(json.dumps(content, indent=2, ensure_ascii=False))
    if length > LARGEST_VALUE // 2:  # half, for it is indented once more in the index
        raise UnsaveableError(f'{path}: the metadata take {length} characters, an index has {LARGEST_VALUE // 2}')
    homes: dict[str, int] = {}
    parts: list[dict[str, ArraySpec]] = []
    for array, home in zip(sizes, _homes(sizes.values(), shard_bytes), strict=True):
        if home == len(parts):
            parts.append({})
        parts[home][array] = specs[array]
        homes[array] = home
    if len(parts) > _MOST:
        raise UnsaveableError(f'{path}: {len(parts)} shards, at most {_MOST} have names; make them larger')
    shards = [safetensors.encode(part, blocks, {}, {}) for part in parts]
    encoded = EncodedShards(name.removesuffix(_SUFFIX + INDEX), shards, homes, content)
    length = len(encoded.index(encoded.names('0' * 8 + '-')))
    if length > LARGEST_INDEX:
        raise UnsaveableError(f'{path}: the index takes {length} bytes, at most {LARGEST_INDEX} are read; save as .npz')
    return encoded


def _homes(sizes: Iterable[int], most: int) -> Iterator[int]:
    """The shard of each array, in their order."""
    home = filled = 0
    for number, size in enumerate(sizes):
        if number and filled + size > most:
            home, filled = home + 1, 0
        filled += size
        yield home


def _told(progress: Progress | None, done: int, total: int) -> Progress | None:
    return None if progress is None else lambda here, _: progress(done + here, total)


def _named(path: str) -> set[str]:
    """The shards that an index names; none where it is missing or damaged."""
    with contextlib.suppress(FileNotFoundError, FormatError):
        _, homes = read_index(path)
        return set(homes.values())
    return set()


def _remove(folder: str, names: Iterable[str]) -> None:
    for name in names:
        try:
            storage.remove(os.path.join(folder, name))
        except FileNotFoundError:
            pass  # another writer was faster
        except OSError as error:
            _LOG.warning('%s is in no index any more, but could not be removed: %s', os.path.join(folder, name), error)

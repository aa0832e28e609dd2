"""From one kind of file to another, array by array, without loss and without JAX."""

from collections.abc import Iterator, Mapping
from typing import Any

from objio import storage
from objio.formats import ArraySpec
from objio.formats.dtypes import stored
from objio.io.conversion import is_key
from objio.io.files import File, display_name, lay_out, opened, path_of, write
from objio.io.folders import INDEX
from objio.io.metrics import to_write
from objio.io.progress import Progress
from objio.io.shards import SHARD_BYTES
from objio.io.weak import weak_names

# No less than what a writer gathers: it would take the pieces of a small array for bytes that last.
_PIECE = 1 << 20


def convert(
    src: File,
    dst: File,
    *,
    metadata: Mapping[str, Any] | None = None,
    copy_aliases: bool = False,
    key_data: bool = False,
    shard_bytes: int | None = None,
    max_bytes: int | None = None,
    durable: bool = True,
    progress: Progress | None = None,
) -> None:
    """Writes the arrays of a file into a file of another format, which the suffix of its name chooses.

    Dtypes, shapes and bytes stay as they are, names too. What the new format cannot hold is an error that names it, and
    nothing is written then; `metadata`, `copy_aliases` and `key_data` say what to do instead. Arrays go through in
    pieces, and each is checked against its checksum, where it has one, before the new file takes its name.

    Args:
        src: a path or a binary file object, of any format that `open` reads.
        dst: as for `save_var_collection`; it may be the same path, but no file object of the file that is read.
        metadata: what the new file is given instead of the metadata of the old one; {}: nothing.
        copy_aliases: store an array under each of its names, for formats that know no aliases.
        key_data: store typed PRNG keys as their words, uint32 with one more axis, for formats that know no keys; a
            load puts them back into keys.
        shard_bytes: how large the shards become, where `dst` is an index, `model.safetensors.index.json`; by default
            5 GB. An array that is larger gets a shard of its own.
        max_bytes: how many bytes a compressed file of another library may grow to; by default 100 times its size.
        durable: as in `save_var_collection`.
        progress: called with the bytes that were written and those of the whole file.

    Raises:
        UnsaveableError: dtypes, names or aliases that the new format cannot hold; the message lists them.
        TypeError: metadata that it cannot hold.
        ValueError: a key of `metadata` is reserved, `shard_bytes` is less than 1, or `dst` is no index; or `dst` is a
            file object of the file that is read.
        FormatError: the old file is damaged.
        OSError: a file cannot be read or written.

    Example:
        >>> import numpy as np, objio
        >>> objio.save_var_collection('net.npz', {'w': np.ones(3, np.float32)}, metadata={'epoch': 7})
        >>> objio.convert('net.npz', 'net.safetensors', metadata={'epoch': '7'})
        >>> with objio.open('net.safetensors') as saved:
        ...     print(saved['w'], saved.metadata)
        [1. 1. 1.] {'epoch': '7'}
    """
    if shard_bytes is not None and (shard_bytes < 1 or not (path_of(dst) or '').endswith(INDEX)):
        raise ValueError(
            f'shard_bytes={shard_bytes} for {display_name(dst)}: expected at least 1, and a name that ends in {INDEX}'
        )
    if path_of(dst) is None and (src is dst or storage.is_same_file(path_of(src) or src, dst)):
        raise ValueError(f'{display_name(dst)} cannot be written while it is read; convert into another file')
    with opened(src, max_bytes=max_bytes) as (archive, _):
        sources = {name: name for name in archive.specs}
        aliases = dict(archive.aliases)
        if copy_aliases:
            sources |= aliases
            aliases = {}
        specs = {name: archive.specs[source] for name, source in sources.items()}
        if key_data:
            specs = {name: _without_keys(spec) for name, spec in specs.items()}

        def blocks(name: str) -> Iterator[memoryview]:
            source = sources[name]
            return archive.pieces(source, memoryview(bytearray(min(_PIECE, archive.nbytes(source) or 1))))

        content = archive.metadata if metadata is None else to_write(metadata)
        weakly = weak_names(archive)
        weak = [name for name, source in sources.items() if source in weakly]
        encoded = lay_out(dst, specs, blocks, aliases, content, weak=weak, shard_bytes=shard_bytes or SHARD_BYTES)
        write(dst, encoded, durable=durable, progress=progress)


def _without_keys(spec: ArraySpec) -> ArraySpec:
    return ArraySpec('uint32', spec.shape + stored(spec.dtype).words) if is_key(spec.dtype) else spec

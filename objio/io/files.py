"""Opening, checking and writing whole files of named arrays; no JAX, so that a look into a file is instant."""

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType, TracebackType
from typing import IO, Any, Self

import numpy as np

from objio import storage
from objio.errors import FormatError, UnsaveableError
from objio.formats import Archive, ArraySpec, Blocks, Encoded, Format, TreeFormat, by_suffix, safetensors
from objio.io.arrays import read_array
from objio.io.folders import INDEX, open_folder
from objio.io.progress import Progress, reporting
from objio.io.shards import SHARD_BYTES, EncodedShards, lay_out_shards
from objio.io.weak import recorded

File = str | os.PathLike[str] | IO[bytes]
"""What every verb takes as a file: a path, or a binary file object."""
# A scheme with one slash. A scheme has two letters at least: one is a drive of Windows.
_SHORTENED_URL = re.compile(rf'^([A-Za-z][A-Za-z0-9+.-]+):{re.escape(os.sep)}(?!/)')
_PIECE = 1 << 20  # bytes that `verify` looks at while they are in the cache
_SHOWN = 60  # characters of what is no path
_COMPARED = 1000  # names; looking for a similar one takes up to 0.1 ms for each


class SavedArrays(Mapping[str, np.ndarray[Any, Any]]):
    """The arrays of a file by name, each read when it is asked for, as NumPy has them.

    Aliases are names like any other. Typed PRNG keys come as their data, `uint32` with the words of a key as the last
    axis. A context manager; the arrays outlive it.

    Attributes:
        aliases: name -> the name in the same file whose array it shared at the save.
        metadata: what `save_var_collection(metadata=…)` was given, and what objio adds under keys that start with `objio.`.
        kind: what wrote the file: 'objio-npz 1', 'numpy npz', 'Objax npz', 'safetensors' or 'Flax msgpack'.
    """

    def __init__(self, archive: Archive, file: str, close: Callable[[], Any], *, mmap: bool, verify: bool) -> None:
        self._archive = archive
        self._file = file
        self._mmap = mmap
        self._verify = verify
        self._close = close
        self._closed = False
        self.aliases: Mapping[str, str] = MappingProxyType(dict(archive.aliases))
        self.metadata: dict[str, Any] = dict(archive.metadata)
        self.kind = archive.kind
        self._specs = archive.specs
        if self.aliases:
            self._specs = {**archive.specs, **{name: archive.specs[home] for name, home in self.aliases.items()}}

    @cached_property
    def dtypes(self) -> Mapping[str, str]:
        """Name -> label of the dtype in the file, such as 'bfloat16' or 'key<threefry2x32>'."""
        return MappingProxyType({name: spec.dtype for name, spec in self._specs.items()})

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> logical shape."""
        return MappingProxyType({name: spec.shape for name, spec in self._specs.items()})

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._specs:
            # `get` of a name that is not there must stay quick where there are many.
            near = difflib.get_close_matches(str(name), self._specs, n=3) if len(self) <= _COMPARED else []
            raise KeyError(
                f'{self._file} has no array {name!r}' + (f'; near it are {", ".join(map(repr, near))}' if near else '')
            )
        if self._closed:
            raise ValueError(f'{self._file} was closed; read {name!r} before that')
        return read_array(self._archive, self.aliases.get(name, name), mmap=self._mmap, verify=self._verify)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __repr__(self) -> str:
        return f'<{self._file}: {self.kind}, {len(self) - len(self.aliases)} arrays, {len(self.aliases)} aliases>'

    def close(self) -> None:
        """Closes the file; arrays that were read, and pages that were mapped, stay."""
        self._closed = True
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found; true where everything is whole.

    Attributes:
        file: the file's name.
        kind: what wrote the file, or '' where its table of contents is damaged.
        arrays: number of arrays.
        nbytes: bytes of all arrays together.
        damaged: what is wrong, a message for each damaged part; empty where the file is whole.
        checksums: whether the format has checksums; without them a changed number in an array cannot be seen.
    """

    file: str
    kind: str
    arrays: int
    nbytes: int
    damaged: tuple[str, ...]
    checksums: bool = True

    def __bool__(self) -> bool:
        return not self.damaged

    def __str__(self) -> str:
        if not self.damaged:
            what = f'{self.kind}, {self.arrays} arrays, {self.nbytes / 2**20:.1f} MiB'
            if not self.checksums:
                return f'{self.file}: nothing wrong is seen, but the format has no checksums ({what})'
            return f'{self.file}: whole ({what})'
        return f'{self.file}: damaged\n' + '\n'.join(f'  {message}' for message in self.damaged)


def open(file: File, *, mmap: bool = False, verify: bool = True, max_bytes: int | None = None) -> SavedArrays:
    """Opens a file of named arrays, for NumPy alone: no model is needed, and JAX is not imported.

    A path may also be that of an index of safetensors shards, of the folder they lie in, or of a checkpoint of Orbax.

    Args:
        file: a path or a binary file object.
        mmap: give read-only arrays that are the pages of the file, where the file allows it. The file must then not be
            changed in place while they live; a save by objio never does that.
        verify: check the CRC-32 of each array when it is read.
        max_bytes: how many bytes a compressed file of another library may grow to; by default 100 times its size.

    Returns:
        a mapping from names to arrays.

    Raises:
        FormatError: the file is damaged, or of another kind.
        OSError: the file cannot be opened or read.

    Example:
        >>> import numpy as np, objio
        >>> np.savez('weights.npz', w=np.ones((2, 3), np.float32))
        >>> with objio.open('weights.npz') as saved:
        ...     print(saved.shapes['w'], saved['w'].sum())
        (2, 3) 6.0
    """
    with contextlib.ExitStack() as stack:
        archive, name = stack.enter_context(opened(file, max_bytes=max_bytes))
        # Nothing was raised, so the file stays open until it is closed, or nobody can ask it any more.
        close = stack.pop_all().close
    return SavedArrays(archive, name, close, mmap=mmap, verify=verify)


def verify(file: File, *, progress: Progress | None = None) -> VerifyReport:
    """Reads a whole file and checks everything that its format lets be checked.

    Args:
        file: a path or a binary file object.
        progress: called with the bytes of arrays that were read and those there are.

    Returns:
        a report; damage is told there, not raised.

    Raises:
        OSError: the file cannot be opened or read.

    Example:
        >>> import objio
        >>> objio.save_var_collection('net.npz', {'w': 1.5})
        >>> print(objio.verify('net.npz'))
        net.npz: whole (objio-npz 1, 1 arrays, 0.0 MiB)
    """
    damaged: list[str] = []
    kind, nbytes, arrays, done = '', 0, 0, 0
    with contextlib.ExitStack() as stack:
        try:
            archive, _ = stack.enter_context(opened(file))
        except FormatError as error:
            return VerifyReport(display_name(file), kind, arrays, nbytes, (str(error),))
        kind, arrays = archive.kind, len(archive.specs)
        piece = memoryview(bytearray(_PIECE))
        nbytes = sum(map(archive.nbytes, archive.specs))
        for name in archive.specs:
            at = done
            done += archive.nbytes(name)
            try:
                for found in archive.pieces(name, piece):
                    at += len(found)
                    if progress is not None:
                        progress(at, nbytes)
            except FormatError as error:
                damaged.append(str(error))
    return VerifyReport(display_name(file), kind, arrays, nbytes, tuple(damaged), archive.checksums)


@contextlib.contextmanager
def opened(file: File, *, max_bytes: int | None = None) -> Iterator[tuple[Archive, str]]:
    """Opens a file, or a folder that holds one collection, for a verb: its archive, and its name for messages."""
    path = path_of(file)
    if path is not None and (path.endswith(INDEX) or os.path.isdir(path)):
        with open_folder(path) as archive:
            yield archive, path
        return
    with open_source(file) as source:
        yield _format(file).decode(source, max_bytes=max_bytes), source.name


def lay_out(
    file: File,
    specs: Mapping[str, ArraySpec],
    blocks: Blocks,
    aliases: Mapping[str, str],
    metadata: Mapping[str, Any],
    *,
    weak: Iterable[str] = (),
    rest: Callable[[], Mapping[str, Any]] = dict,
    shard_bytes: int = SHARD_BYTES,
) -> Encoded | EncodedShards:
    """A file whose names, dtypes and metadata are checked, ready for `write`; see `Format.encode`.

    Args:
        file: whose suffix chooses the format.
        specs: this and what follows: as in `Format.encode`.
        blocks: gives the bytes of the arrays.
        aliases: more names for them.
        metadata: what stands beside them.
        weak: the arrays that are weakly typed, in order; a format without metadata loses that.
        rest: gives what a tree has besides arrays, for the formats that keep trees.
        shard_bytes: how large shards become, where the file is the index of some.
    """
    path = path_of(file) or ''
    if path.endswith('.orbax'):
        raise UnsaveableError(f'{path}: checkpoints of Orbax are only read; save as .npz or .safetensors')
    form = _format(file)
    if isinstance(form, TreeFormat):
        return form.encode_tree(specs, blocks, aliases, recorded(metadata, (), as_text=False), rest())
    in_shards = path.endswith(INDEX)
    metadata = recorded(metadata, weak, as_text=form is safetensors and not in_shards)
    if in_shards:
        return lay_out_shards(path, specs, blocks, aliases, metadata, shard_bytes=shard_bytes)
    return form.encode(specs, blocks, aliases, metadata)


def write(file: File, encoded: Encoded | EncodedShards, *, durable: bool, progress: Progress | None = None) -> None:
    """Writes a whole file that was laid out for this name."""
    if isinstance(encoded, EncodedShards):
        encoded.save(path_of(file) or '', durable=durable, progress=progress)
        return
    with open_target(file, durable=durable, size=encoded.size) as sink:
        encoded.write(reporting(sink, progress, encoded.size))


def open_target(
    file: File, *, durable: bool, size: int
) -> AbstractContextManager[storage.LocalSink | storage.StreamSink]:
    """Where a verb writes `size` bytes: a path is replaced whole at the end, or not at all."""
    path = path_of(file)
    if path is None:
        return storage.write_file_object(file)  # type: ignore[arg-type]  # a file object, as path_of says
    return storage.create(path, durable=durable, size=size)


def open_source(file: File) -> storage.LocalSource | storage.FileSource:
    """What a verb reads from."""
    path = path_of(file)
    if path is None:
        return storage.open_file_object(file)  # type: ignore[arg-type]  # a file object, as path_of says
    return storage.open_file(path)


def path_of(file: File) -> str | None:
    """The path as a str, or None for a file object.

    A leading `~` or `~/` is the home folder; otherwise the path is taken as given.

    Raises:
        TypeError: it is neither.
        ValueError: the path has NUL in it, which no system can open, or is a URL, or starts in a home folder that is
            not known.
    """
    if isinstance(file, str | bytes | os.PathLike):
        return _local(file)
    if not hasattr(file, 'read') and not hasattr(file, 'write'):
        raise TypeError(f'expected a path (str or PathLike) or a binary file object, got {type(file).__name__}')
    return None


def path_of_folder(folder: str | os.PathLike[str]) -> str:
    """The path of a folder as a str, as `path_of` has it; a file object is refused.

    Raises:
        TypeError: it is no path.
        ValueError: as `path_of`.
    """
    if not isinstance(folder, str | bytes | os.PathLike):
        raise TypeError(f'expected the path of a folder (str or PathLike), got {type(folder).__name__}')
    return _local(folder)


class FixedPath:
    """A path that means what it meant when it was given, wherever the program goes meanwhile.

    Args:
        given: a path, perhaps relative to the working folder of now.
    """

    def __init__(self, given: str) -> None:
        self._given = given
        self.absolute = os.path.abspath(given)

    @property
    def path(self) -> str:
        """The path as it was given, or absolute where the working folder is another by now."""
        with contextlib.suppress(FileNotFoundError):  # the working folder was removed
            if os.path.abspath(self._given) == self.absolute:
                return self._given
        return self.absolute


def _local(given: str | bytes | os.PathLike[str]) -> str:
    path = os.fsdecode(given)
    if '\0' in path:
        cure = '; for the bytes of a file pass io.BytesIO(them)' if isinstance(given, bytes) else ''
        raise ValueError(f'a path cannot contain NUL: {path[:_SHOWN]!r}{cure}')
    storage.refuse_url(path)
    shortened = _SHORTENED_URL.match(path)
    # A Path makes one slash of two, and so does its str. Who has a folder `s3:` may name it with a str.
    if shortened and (isinstance(given, os.PathLike) or not os.path.isdir(f'{shortened[1]}:')):
        storage.refuse_url(_SHORTENED_URL.sub(r'\1://', path))
    if path != '~' and path[:2] not in {'~/', f'~{os.sep}'}:
        return path
    # An empty HOME would make `~/x` a path from the root.
    home = '' if os.name == 'posix' and os.environ.get('HOME') == '' else os.path.expanduser('~')
    if not os.path.isabs(home):
        raise ValueError(
            f'{path!r}: expected the absolute path of the home folder in the variable HOME, found {home!r}; '
            'set HOME, or give the whole path'
        )
    return os.path.expanduser(path)


def _format(file: File) -> Format:
    """The suffix of a path chooses; a file object is npz, whatever it is called."""
    return by_suffix(path_of(file) or '')


def display_name(file: File) -> str:
    """The file's name for messages."""
    path = path_of(file)
    return str(getattr(file, 'name', f'<{type(file).__name__}>')) if path is None else path

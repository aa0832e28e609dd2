"""objio-npz 1 (draft)."""

from collections.abc import Mapping, Sequence
from typing import Any

from objio.formats import Archive, Encoded, Entry, Source
from objio.formats.foreign import ForeignArchive
from objio.formats.names import MANIFEST
from objio.formats.npz_reader import open_archive
from objio.formats.npz_writer import NpzFile
from objio.formats.reading import damaged
from objio.formats.zip_directory import first_is_aligned, last_entry, read_end


def encode(entries: Sequence[Entry], aliases: Mapping[str, str], metadata: Mapping[str, Any]) -> Encoded:
    """Checks names, aliases and metadata and lays the file out; nothing is written yet.

    Raises:
        UnsaveableError: a name, dtype or shape that the format cannot hold, or a name given twice.
        TypeError: metadata that JSON does not give back unchanged; the message says where.
    """
    return NpzFile(entries, aliases, metadata)


def decode(source: Source, *, max_bytes: int | None = None) -> Archive:
    """Reads and checks the table of contents of an objio-npz file, or of one that NumPy or Objax wrote.

    Raises:
        FormatError: the file is damaged, cut short, or of another kind.
    """
    end = read_end(source)
    last = last_entry(source, end, MANIFEST.encode())
    if last is not None:
        return open_archive(source, end, last)
    if first_is_aligned(source):
        raise damaged(source, 'the directory', f'{MANIFEST} as its last entry, since objio wrote the file', 'another')
    return ForeignArchive(source, end, max_bytes)

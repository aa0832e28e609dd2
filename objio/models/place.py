"""Where a model is saved: a folder with its weights and a copy of its settings, or a single file."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from objio import storage
from objio.formats import Archive
from objio.io.contents import Contents
from objio.io.files import opened, path_of, write
from objio.models.record import WEIGHTS, Record, check_copy, write_copy


class Place(NamedTuple):
    """Where a model is saved.

    Attributes:
        file: the weights, with the settings in them.
        folder: that of the copy of the settings; None where there is none, beside a single file.
    """

    file: str
    folder: str | None

    @classmethod
    def at(cls, path: Any) -> 'Place':
        """What a path means: a file where it ends in `.npz`, else a folder."""
        text = path_of(path)
        if text is None:
            raise TypeError(f'expected the path of a folder or of an .npz file, got {type(path).__name__}')
        if text.endswith('.npz') and not os.path.isdir(text):
            return cls(text, None)
        return cls(os.path.join(text, WEIGHTS), text)

    def absolute(self) -> 'Place':
        """The same place, wherever the working folder is by then."""
        return Place(os.path.abspath(self.file), self.folder and os.path.abspath(self.folder))

    def is_saved(self) -> bool:
        """Whether something was saved here. What cannot be looked at is not taken for missing."""
        return _stat(self.file) is not None

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Archive, str, Record]]:
        """Opens what was saved: its arrays, its name for messages, its settings.

        Raises:
            ConfigConflict: it carries no settings of a model, or the copy of them was edited.
            FormatError: it is damaged, or the copy cannot be read.
        """
        with opened(self.file) as (archive, name):
            record = Record.read(archive, name)
            if self.folder is not None:
                check_copy(self.folder, archive, record)
            yield archive, name, record

    def write(self, contents: Contents, metadata: Mapping[str, Any], *, durable: bool) -> None:
        """Writes weights and settings; a folder that is missing appears whole, with both.

        Raises:
            OSError: it cannot be written; what was there is as it was.
            SaveNotDurable: all is written, but a folder could not be synced.
        """
        if self.folder is None:
            write(self.file, contents.laid_out(self.file, metadata), durable=durable)
            return
        found = _stat(self.folder)
        if found is None:
            # Another process may make it meanwhile; then this is a save like any other.
            with contextlib.suppress(FileExistsError), storage.create_folder(self.folder, durable=durable) as new:
                _fill(new, contents, metadata, durable=durable)
                return
        elif not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(
                errno.ENOTDIR, 'expected a folder for the model, or a name that ends in .npz', self.folder
            )
        storage.sweep(self.folder)
        _fill(self.folder, contents, metadata, durable=durable)


def _fill(folder: str, contents: Contents, metadata: Mapping[str, Any], *, durable: bool) -> None:
    file = os.path.join(folder, WEIGHTS)
    write(file, contents.laid_out(file, metadata), durable=durable)
    try:
        write_copy(folder, durable=durable)
    except OSError as error:
        error.add_note(f'{file} is saved, with the settings in it; only their copy for people is not')
        raise


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None

"""Folders that appear whole: made beside their place with all files in them, made durable, then renamed."""

import contextlib
import errno
import os
from collections.abc import Iterator

from objio.errors import SaveNotDurable
from objio.storage.local import folder_of, make_folder, sync_folder
from objio.storage.temporary import is_left, new_name

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


@contextlib.contextmanager
def create_folder(path: str, *, durable: bool) -> Iterator[str]:
    """Gives a folder to put files into, which takes the name `path` when the block ends without an exception.

    The folders above are made where they are missing. What dead writers left there is removed first.

    Args:
        path: the folder; nothing may stand there but an empty one.
        durable: sync the folder before the rename and the one above after it; its files are the caller's to sync.

    Raises:
        FileExistsError: somebody else made it meanwhile; nothing was changed.
        SaveNotDurable: the folder is in place, but the one above could not be synced.
        OSError: it cannot be made.
    """
    target = os.path.realpath(path)
    above = folder_of(target)
    make_folder(above)
    _sweep(above)
    temporary = os.path.join(above, new_name())
    try:
        os.mkdir(temporary)
    except OSError as error:
        raise OSError(
            error.errno,
            f'{error.strerror}: the folder is made in {above!r} and then renamed; nothing was written',
            path,
        ) from error
    try:
        yield temporary
        if durable:
            sync_folder(temporary)
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FileExistsError(errno.EEXIST, 'somebody else made the folder meanwhile', path) from error
            raise
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to see
            _remove(temporary)
        if isinstance(error, SaveNotDurable):  # it tells of a file that is in place, and this one went with the folder
            cause = os.strerror(error.errno or 0)
            raise OSError(
                error.errno, f'{cause}: a file of the folder is not durable; nothing was written', path
            ) from error
        raise
    if durable:
        try:
            sync_folder(above)
        except OSError as error:
            raise SaveNotDurable(
                error.errno,
                f'the folder is complete and in place, but the one above could not be synced ({error.strerror}): '
                'after a power cut it may be gone',
                path,
            ) from error


def _sweep(folder: str) -> None:
    """Removes the temporary folders of dead writers."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # gone meanwhile, or it may not be changed: the next one sees
            if is_left(path) and os.path.isdir(path) and not os.path.islink(path):
                _remove(path)


def _remove(folder: str) -> None:
    """Removes a folder and the files in it; what lies deeper is not ours, and stays with the folder."""
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)

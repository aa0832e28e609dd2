"""Files on a disk: written beside the target, made durable, then renamed, so that a name always holds a whole file.

The order is that of the crash-consistency literature (Pillai et al., "All File Systems Are Not Created Equal",
OSDI 2014): write a temporary file in the same folder, fsync it, rename it, fsync the folder. Without the first fsync
a rename can reach the disk before the bytes do; without the second the name itself may be lost.
"""

import contextlib
import errno
import io
import os
import stat
import time
from collections.abc import Iterator

from objio.errors import SaveNotDurable
from objio.storage import kernel
from objio.storage.handles import LocalSink, LocalSource
from objio.storage.temporary import create_temporary

_MOMENTS_S = (0.01, 0.05, 0.2, 0.5)  # how long a reader or a virus scanner keeps a file open on Windows


@contextlib.contextmanager
def create(path: str, *, durable: bool, size: int) -> Iterator[LocalSink]:
    """Gives a sink for a file of `size` bytes that takes the name `path` when the block ends without an exception.

    Until then, and for ever if anything is raised, `path` holds what it held. A symbolic link keeps pointing where it
    points: the file behind it is replaced. The mode is that of the old file, or follows the umask.

    Args:
        durable: sync the file before the rename and the folder after it.
        size: what is asked of the disk before the first byte; the file ends after the last byte written, though.

    Raises:
        OSError: among others ENOSPC, before the first byte, where the disk has less than `size` bytes left.
        SaveNotDurable: the file is in place, but its folder could not be synced.
    """
    target, old = _replaced(path)
    folder = folder_of(target)
    _check_space(folder, size, path)
    # Nobody but the owner looks into the new bytes before the old file's mode says who may.
    fd, temporary = _create_beside(path, folder, 0o666 if old is None else 0o600)
    file = None
    try:
        file = io.FileIO(fd, 'r+')
        sink = LocalSink(fd, path, durable=durable)
        sink.reserve(size)
        yield sink
        if old is not None:
            _keep_mode(fd, old, path)
        sink.settle()
        if kernel.WINDOWS:
            file.close()
            _replace_patiently(temporary, target)
        else:
            _replace_open_file(fd, temporary, target)
    except BaseException:
        # The first error is the one to see. Closed first, because Windows removes no open file.
        with contextlib.suppress(OSError):
            if file is None:
                os.close(fd)
            else:
                file.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # Nothing is left to be written: what close could report, `settle` did.
    with contextlib.suppress(OSError):
        file.close()
    if durable:
        _sync_folder(folder, path)


def open_file(path: str) -> LocalSource:
    """Opens a file for reading.

    Raises:
        OSError: FileNotFoundError, IsADirectoryError, PermissionError and their like, as the system gives them.
    """
    refuse_url(path)
    _refuse_special(os.stat(path), path)
    return LocalSource(os.open(path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)), path)


def file_names(folder: str) -> list[str]:
    """The names of the files in `folder`, in no order; links to files count as files."""
    refuse_url(folder)
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if _is_file(entry)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        # A link to where this process may not look: whoever opens it hears why. A circle leads to no file.
        return error.errno != errno.ELOOP


def folder_of(path: str) -> str:
    """The folder a path stands in."""
    return os.path.dirname(path) or os.curdir


def make_folder(folder: str) -> None:
    """Makes a folder and those above it where they are missing, durably: a save is no safer than the way to it."""
    refuse_url(folder)
    missing = []
    above = os.path.abspath(folder)
    while not os.path.isdir(above) and above != os.path.dirname(above):
        missing.append(above)
        above = os.path.dirname(above)
    if missing:
        os.makedirs(folder, exist_ok=True)
    for made in missing:
        sync_folder(folder_of(made))


def identity(path: str) -> tuple[int, ...]:
    """What changes whenever another file takes the name, or the file is written to."""
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size


def remove(path: str) -> None:
    """Removes a file."""
    os.unlink(path)


def link(path: str, new: str) -> None:
    """Gives a file one more name in its folder, durably; where it can have only one, the new one.

    Raises:
        FileExistsError: there is something of that name.
        FileNotFoundError: there is no file.
    """
    # A second name of a symbolic link would lead to whatever is written through the first one next.
    single = os.path.islink(path)
    try:
        if not single:
            os.link(path, new)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # each system says in its own way that it has no links, or none to this file
        single = True
    if single:
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(path, new)
    sync_folder(folder_of(new))


def unlink(new: str, path: str) -> None:
    """Undoes `link`, durably: the name `new` goes, and the file gets `path` again where nothing else has that."""
    if os.path.lexists(path):
        os.unlink(new)
    else:
        os.rename(new, path)
    sync_folder(folder_of(new))


def sync_folder(folder: str) -> None:
    """Makes the names in a folder durable: those that were added, and that others are gone."""
    if kernel.WINDOWS:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.sync_file(fd)
    except OSError as error:
        # Some network file systems sync no folder; what they can do is done.
        if error.errno not in kernel.NOT_OFFERED:
            error.filename = folder
            raise
    finally:
        os.close(fd)


def sync(path: str) -> None:
    """Makes a file that somebody else wrote durable: its bytes, then its name.

    Raises:
        SaveNotDurable: the file was synced, its folder could not be.
    """
    fd = os.open(path, os.O_RDWR if kernel.WINDOWS else os.O_RDONLY)  # there only a writer may sync
    try:
        kernel.sync_file(fd)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)
    _sync_folder(folder_of(os.path.realpath(path)), path)


def _replaced(path: str) -> tuple[str, os.stat_result | None]:
    """The file that a save to `path` replaces, where symbolic links end, and what stands there now."""
    refuse_url(path)
    # Absolute, too: a background save must not depend on what the working folder is by then.
    target = os.path.realpath(path)
    try:
        old = os.stat(path)
    except FileNotFoundError:
        if os.path.basename(path) in ('', os.curdir, os.pardir):
            raise IsADirectoryError(errno.EISDIR, 'expected the name of a file, found that of a folder', path) from None
        folder = folder_of(target)
        try:
            os.stat(folder)  # not `isdir`, which takes a bad disk for a missing folder
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT, f'the folder {folder!r} does not exist; make it first', path
            ) from None
        return target, None
    _refuse_special(old, path)
    return target, old


def _refuse_special(info: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, 'expected a file, found a directory', path)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(
            errno.EINVAL, 'expected a regular file, found a device, pipe or socket; pass it as an open file', path
        )


def refuse_url(path: str) -> None:
    """Refuses a URL before a folder called `s3:` comes into being.

    Raises:
        ValueError: it is one.
    """
    if '://' in path:
        raise ValueError(
            f'{path!r} is a URL, but objio reads and writes local files only so far. '
            'Copy the file, or pass an open binary file: with fsspec.open(url) as file: …'
        )


def _check_space(folder: str, size: int, path: str) -> None:
    if not hasattr(os, 'statvfs'):
        return
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < size:  # no blocks at all: the file system does not count them
        raise OSError(
            errno.ENOSPC,
            f'the file needs {size / 2**20:.1f} MiB, the disk has {free / 2**20:.1f} MiB left; nothing was written',
            path,
        )


def _create_beside(path: str, folder: str, mode: int) -> tuple[int, str]:
    try:
        return create_temporary(folder, mode)
    except OSError as error:
        raise OSError(
            error.errno,
            f'{error.strerror}: a save makes a new file in the folder {folder!r} and then renames it; '
            'nothing was written',
            path,
        ) from error


def _keep_mode(fd: int, old: os.stat_result, path: str) -> None:
    mode = stat.S_IMODE(old.st_mode)
    # Asked for only where it is needed: file systems without modes refuse.
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode and not kernel.WINDOWS:
        try:
            os.fchmod(fd, mode)
        except OSError as error:
            error.filename = path
            raise


def _replace_open_file(fd: int, temporary: str, target: str) -> None:
    try:
        os.replace(temporary, target)
    except OSError:
        # Over NFS the reply to a rename that was done can be lost; the file itself tells.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), os.stat(target)):
                return
        raise


def _replace_patiently(temporary: str, target: str) -> None:
    """Windows replaces no file that somebody reads."""
    for moment in _MOMENTS_S:
        try:
            os.replace(temporary, target)
        except PermissionError:
            time.sleep(moment)
        else:
            return
    os.replace(temporary, target)


def _sync_folder(folder: str, path: str) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        raise SaveNotDurable(
            error.errno,
            f'the file is complete and in place, but its folder could not be synced ({error.strerror}): '
            'a power cut may bring back the old one',
            path,
        ) from error

"""Disks in files whose power can be cut: what no sync has brought to the disk by then is gone.

The cut is the kernel's own: the ioctl FS_IOC_SHUTDOWN of ext4 and XFS, without a flush of the log, as the file system
tests of Linux (xfstests, "godown") use it. From that moment on nothing reaches the disk any more, neither dirty pages
nor the running transaction; the next mount finds what a machine finds that has lost its supply, and recovers.
What it cannot show is a disk that lies about its cache: the loop device forgets nothing that it was given.
"""

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH_OF_THE_LOG = 2
_SIZE = 512 << 20  # sparse; XFS takes no less than 300 MB
_NEW_MOUNT_NAMESPACE = 0x00020000
_PRIVATE, _RECURSIVE = 1 << 18, 1 << 14
_MAKE = {'ext4': ['mkfs.ext4', '-q', '-F'], 'xfs': ['mkfs.xfs', '-q', '-f']}
_CHECK = {'ext4': ['e2fsck', '-fn'], 'xfs': ['xfs_repair', '-n']}
MOUNTS = {
    'ext4': ['', 'data=writeback', 'data=journal', 'nodelalloc', 'noauto_da_alloc', 'commit=1'],
    'xfs': ['', 'logbsize=256k', 'wsync', 'allocsize=1m'],
}
"""Ways to mount a file system that change what a cut leaves of it; '' is what everybody has."""


class Disk:
    """A file system in a file, mounted through a loop device of its own.

    Args:
        kind: 'ext4' or 'xfs'.
        image: the file; it is made, and its folder has a place to mount it.
        options: of mount.
    """

    def __init__(self, kind: str, image: Path, options: str = '') -> None:
        self.root = image.with_suffix('.mounted')
        self._kind = kind
        self._image = image
        self._options = options
        with open(image, 'wb') as file:
            file.truncate(_SIZE)
        self.root.mkdir(exist_ok=True)
        _run(*_MAKE[kind], image)
        self._mount()

    def cut(self) -> float:
        """Cuts the power.

        Returns:
            the moment before it, of `time.monotonic`. What processes are told later counts for nothing: a machine
            without power tells nobody anything, while on XFS a sync that meets the cut may return as if all were well.
        """
        root = os.open(self.root, os.O_RDONLY)
        try:
            moment = time.monotonic()
            fcntl.ioctl(root, _SHUTDOWN, struct.pack('I', _WITHOUT_FLUSH_OF_THE_LOG))
        finally:
            os.close(root)
        return moment

    def restart(self) -> None:
        """Mounts the disk again after a cut; the recovery must leave a file system that its own checker calls clean."""
        self._unmount()
        self._mount()
        self._unmount()
        _run(*_CHECK[self._kind], self._image)
        self._mount()

    def sync(self) -> None:
        """Brings all that was written so far to the disk."""
        _run('sync', '-f', self.root)

    def sync_another_file(self) -> None:
        """Another program syncs a file of its own: the log with everybody's names goes to the disk, their bytes don't."""
        with open(self.root / 'of another program', 'a', encoding='utf-8') as file:
            file.write('a line\n')
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Unmounts the disk, even if somebody still uses it, and removes its file."""
        subprocess.run(['umount', '--lazy', self.root], capture_output=True)
        self._image.unlink()

    def _mount(self) -> None:
        options = f'loop,{self._options}' if self._options else 'loop'
        _run('mount', '-t', self._kind, '-o', options, self._image, self.root)

    def _unmount(self) -> None:
        for _ in range(100):
            unmounted = subprocess.run(['umount', self.root], capture_output=True, text=True)
            if not unmounted.returncode:
                return
            time.sleep(0.05)  # the kernel may take a moment to forget a process that was killed
        raise OSError(unmounted.stderr)


@contextlib.contextmanager
def disks(
    kind: str, folder: Path, needs: Callable[[object, str], None], options: str = '', count: int = 1
) -> Iterator[list[Disk]]:
    """Gives new disks, and removes them however the block ends.

    Args:
        kind: 'ext4' or 'xfs'.
        folder: for the images.
        needs: the fixture: it fails or skips where this machine offers no such disk.
        options: of mount.
        count: how many.
    """
    needs(os.name == 'posix' and os.geteuid() == 0 and os.path.exists('/dev/loop-control'), 'root and loop devices')
    needs(own_mounts(), 'the right to mount')
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(count):
            try:
                disk = Disk(kind, folder / f'{kind}-{number}', options)
            except OSError as error:
                needs(False, f'{kind} images: {error}')
                raise
            stack.callback(disk.remove)
            made.append(disk)
        yield made


@cache
def own_mounts() -> bool:
    """Gives this process, and those it starts from now on, mounts of their own: they end with it, however it ends.

    Returns:
        whether it may.
    """
    libc = ctypes.CDLL(None)
    return not libc.unshare(_NEW_MOUNT_NAMESPACE) and not libc.mount(
        b'none', b'/', None, ctypes.c_ulong(_PRIVATE | _RECURSIVE), None
    )


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f'{" ".join(map(str, command))}: {done.stdout} {done.stderr}')

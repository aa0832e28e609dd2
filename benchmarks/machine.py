"""What a result has to say about where it was measured, and nothing that names the place."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from benchmarks.contenders import libraries


def machine(folder: Path) -> dict[str, str]:
    """Processor, memory, kernel and the filesystem of a folder."""
    return {
        'processor': _processor(),
        'cores': str(os.cpu_count()),
        'memory': _memory(),
        'filesystem': filesystem(folder),
        'system': f'{platform.system()} {_version(platform.release())}',
        'python': platform.python_version(),
    }


def versions() -> dict[str, str]:
    """The versions of JAX and of every library that takes part."""
    names = {'jax', 'jaxlib', 'numpy', 'ml_dtypes'}
    names |= {package for library in libraries().values() for package in library.packages}
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = 'not installed'
    return found


def filesystem(folder: Path) -> str:
    """The type of the filesystem that a folder is on, such as 'ext4'."""
    try:
        mounts = [line.split() for line in Path('/proc/self/mounts').read_text(encoding='utf-8').splitlines()]
    except OSError:
        return 'unknown'
    path = folder.resolve()
    fitting = [mount for mount in mounts if path.is_relative_to(mount[1])]
    return max(fitting, key=lambda mount: len(mount[1]), default=['', '', 'unknown'])[2]


def commit() -> str:
    """The commit that is measured, with a + where the working tree differs from it; '' outside a repository."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(['git', *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git('status', '--porcelain', '--untracked-files=no', '../objio', '.')
        return git('rev-parse', '--short', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return ''


def _processor() -> str:
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return platform.machine()
    name = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
    return name[1].strip() if name else platform.machine()


def _memory() -> str:
    try:
        return f'{os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30:.0f} GiB'
    except (ValueError, OSError, AttributeError):
        return 'unknown'


def _version(release: str) -> str:
    """The numbers of a kernel's release, without the name of who built it."""
    numbers = re.match(r'[\d.]+', release)
    return numbers[0].rstrip('.') if numbers else release

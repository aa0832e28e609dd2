"""Where a run came from: the code, the command, the machine and the packages that it had."""

import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

_PATIENCE_S = 10.0


def now() -> str:
    """The time, as ISO 8601 has it, in UTC.

    Example:
        >>> now()[-6:]
        '+00:00'
    """
    return datetime.now(UTC).isoformat(timespec='milliseconds')


def provenance(devices: list[str]) -> dict[str, Any]:
    """What is kept of a program that begins a run, as JSON has it.

    Args:
        devices: those that JAX computes on.

    Returns:
        start, command (a list of arguments), folder, host, pid, python, platform, devices, git and packages (name ->
        version of everything installed). `git` is None outside a repository, otherwise commit, branch, and dirty:
        whether a file that git knows was changed since.
    """
    return {
        'start': now(),
        'command': _printable(sys.orig_argv),
        'folder': _printable([os.getcwd()])[0],
        'host': socket.gethostname(),
        'pid': os.getpid(),
        'python': platform.python_version(),
        'platform': platform.platform(),
        'devices': devices,
        'git': git(_program_folder()),
        'packages': packages(),
    }


@cache
def packages() -> dict[str, str]:
    """The version of each package that is installed, by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # What was half removed has no metadata; of two with one name Python imports the first.
        name = distribution.metadata['Name'] if distribution.metadata else None
        if name:
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items()))


def git(folder: str) -> dict[str, Any] | None:
    """The commit that a folder's files are of; None where git has none for it, or is not installed."""
    command = ['git', '-C', folder, 'status', '--porcelain=v2', '--branch', '--untracked-files=no']
    try:
        result = subprocess.run(  # noqa: S603  # no word of it comes from elsewhere
            command,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=_PATIENCE_S,
            check=True,
            env=os.environ | {'GIT_OPTIONAL_LOCKS': '0', 'LC_ALL': 'C'},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    facts: dict[str, str] = {}
    dirty = False
    for line in result.stdout.splitlines():
        if line.startswith('# branch.'):
            key, _, value = line.removeprefix('# branch.').partition(' ')
            facts[key] = value
        elif not line.startswith('#'):
            dirty = True
    commit = facts.get('oid', '(initial)')
    return None if commit == '(initial)' else {'commit': commit, 'branch': facts.get('head', ''), 'dirty': dirty}


def _program_folder() -> str:
    """The folder of the program that runs; that of a notebook or a console is the working folder."""
    main = getattr(sys.modules.get('__main__'), '__file__', None)
    return os.path.dirname(os.path.abspath(main)) if main else os.getcwd()


def _printable(arguments: list[str]) -> list[str]:
    """The arguments with what is no text spelt out, so that JSON takes them."""
    return [argument.encode(errors='backslashreplace').decode() for argument in arguments]

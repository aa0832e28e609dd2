import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# What made the golden files needs libraries of its own.
collect_ignore = ['data']

# The clock of a shared machine says nothing about an example; what CI sees, everybody can see again.
settings.register_profile('objio', deadline=None, derandomize='CI' in os.environ, print_blob=True)
settings.load_profile('objio')

# Debian's package for each program that a test asks for.
_PACKAGES = {
    '7z': 'p7zip-full',
    'busybox': 'busybox',
    'java': 'default-jre-headless',
    'mkfs.ext4': 'e2fsprogs',
    'mkfs.xfs': 'xfsprogs',
    'strace': 'strace',
    'unzip': 'unzip',
}


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Finds a program of the system; a test that lacks it fails with the cure, or is skipped with ALLOW_SKIP=1."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            message = f'{name} is missing: apt-get install {_PACKAGES[name]}, or pass over this test with ALLOW_SKIP=1'
            (pytest.skip if os.environ.get('ALLOW_SKIP') == '1' else pytest.fail)(message)
        return path

    return find

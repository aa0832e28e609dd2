"""What the tests of storage share: a save, a look into a folder, and programs that know nothing but the storage room."""

import os
import subprocess
import sys
from pathlib import Path

from objio import storage

OLD = b'old ' * 3000
NEW = b'new and longer ' * 1000
_ROOT = Path(__file__).parents[1]
_HEAD = f'import os, sys, time\nsys.path.insert(0, {str(_ROOT)!r})\nfrom objio import storage\n'


def save(path: Path | str, data: bytes = NEW, *, durable: bool = True) -> None:
    """Writes a file in three pieces, the first one filled in last, as formats do."""
    with storage.create(str(path), durable=durable, size=len(data)) as sink:
        sink.write(bytes(4))
        sink.write(memoryview(data)[4:])
        sink.write_at(0, data[:4])


def names(folder: Path) -> list[str]:
    """Everything in a folder."""
    return sorted(os.listdir(folder))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {name: (folder / name).read_bytes() for name in names(folder)}


def read(source: storage.LocalSource | storage.FileSource) -> bytes:
    """All bytes of a source."""
    buffer = bytearray(source.size)
    source.read_into(0, memoryview(buffer))
    return bytes(buffer)


def program(code: str, *arguments: Path | str) -> list[str]:
    """The command that runs `code` in a Python without any package, after `from objio import storage`."""
    return [sys.executable, '-I', '-S', '-c', _HEAD + code, *map(str, arguments)]


def run(code: str, *arguments: Path | str) -> str:
    """Runs such a program, which must end well; what it printed."""
    result = subprocess.run(program(code, *arguments), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def start(code: str, *arguments: Path | str) -> subprocess.Popen[str]:
    """Starts such a program and waits for the empty line that says it is ready; it ends when its input does."""
    process = subprocess.Popen(program(code, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == '\n'
    return process

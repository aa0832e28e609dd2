"""A save is killed, or gets EIO, at each of its system calls in turn, by strace in another process."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support_storage import NEW, OLD, contents, names, program

from objio import storage

KILLED = 137
SAVE = """
data = sys.argv[2].encode() * (3 << 10)
os.access('/begin', 0)
try:
    with storage.create(sys.argv[1], durable=True, size=len(data)) as sink:
        for start in range(0, len(data), 1 << 20):
            sink.write(memoryview(data)[start : start + (1 << 20)])
        sink.write_at(0, data[:4])
finally:
    os.access('/end', 0)
"""
IN_PLACE = """
os.access('/begin', 0)
with open(sys.argv[1], 'wb') as file:
    file.write(sys.argv[2].encode() * (3 << 10))
os.access('/end', 0)
"""
WORD = 'new ' * 256  # three thousand of them are 3 MiB: enough to be reserved, and written in three pieces
WHOLE = WORD.encode() * (3 << 10)


class Tracer:
    """Runs a program under strace."""

    def __init__(self, strace: str, folder: Path, code: str = SAVE) -> None:
        self.path = folder / 'a.npz'
        self._log = folder.parent / 'calls'
        self._command = [strace, '-f', '-o', str(self._log), '-e', 'trace=%file,%desc']
        self._program = program(code, self.path, WORD)

    def calls(self) -> list[tuple[str, int]]:
        """Each call between the two marks: its name, and the how-manieth of that name it is in the whole program."""
        self.run()  # Python may have to compile, and writes down what it did: calls that later runs do not make
        assert self.run() == 0
        seen: Counter[str] = Counter()
        found = []
        for line in self._log.read_text().splitlines():
            if called := re.match(r'\d+ +(\w+)\(', line):
                seen[called[1]] += 1
                found.append((line, (called[1], seen[called[1]])))
        begin, end = (next(i for i, (line, _) in enumerate(found) if mark in line) for mark in ('"/begin"', '"/end"'))
        return [call for _, call in found[begin + 1 : end]]

    def run(self, call: tuple[str, int] | None = None, fault: str = '') -> int:
        """Runs the program on top of the old file, with a fault at one call; returns its exit code."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.parent.mkdir()
        self.path.write_bytes(OLD)
        inject = ['-e', f'inject={call[0]}:{fault}:when={call[1]}'] if call else []
        code = subprocess.run([*self._command, *inject, *self._program], capture_output=True, timeout=60).returncode
        return code if code >= 0 else 128 - code  # strace ends as its program did


@pytest.fixture
def tracer(tool: Callable[[str], str], tmp_path: Path) -> Callable[[str], Tracer]:
    return lambda code: Tracer(tool('strace'), tmp_path / 'saves', code)


def test_the_system_sees_sync_rename_sync(tracer: Callable[[str], Tracer]) -> None:
    """Below Python too: every write before the fsync, then the rename, then the fsync of the folder."""
    order = [name for name, _ in tracer(SAVE).calls() if re.match(r'pwrite|fsync|rename|fallocate', name)]
    assert order == ['fallocate', *['pwrite64'] * 4, 'fsync', 'rename', 'fsync']


def test_a_kill_at_any_call_leaves_the_old_or_the_new_file(tracer: Callable[[str], Tracer]) -> None:
    """Up to the rename the old file, after it the new one, each whole; the next sweep removes what was left."""
    saver = tracer(SAVE)
    calls = saver.calls()
    rename = calls.index(('rename', 1))
    for index, call in enumerate(calls):
        assert saver.run(call, 'signal=KILL') == KILLED, call
        assert saver.path.read_bytes() == (OLD if index <= rename else WHOLE), call
        left = [name for name in names(saver.path.parent) if name != 'a.npz']
        assert len(left) <= 1, call
        assert storage.sweep(str(saver.path.parent)) == left, call
        assert names(saver.path.parent) == ['a.npz'], call


def test_an_error_at_any_call_is_told_or_harmless(tracer: Callable[[str], Tracer]) -> None:
    """EIO at any call: the old file and an exception, or the new file, whole; and nothing else is left."""
    saver = tracer(SAVE)
    silent = set()
    for call in saver.calls():
        code = saver.run(call, 'error=EIO')
        found = contents(saver.path.parent)
        assert found == ({'a.npz': OLD} if code and found['a.npz'] == OLD else {'a.npz': WHOLE}), call
        silent |= {call[0]} if code == 0 else set()
    assert silent.isdisjoint({'pwrite64', 'fsync', 'rename', 'statfs', 'fallocate', 'ftruncate'})


def test_a_file_written_in_place_does_not_survive(tracer: Callable[[str], Tracer]) -> None:
    """The tests above can fail: they see what is left of a file that is opened and written under its own name."""
    writer = tracer(IN_PLACE)
    left = []
    for call in writer.calls():
        if call[0] == 'write':
            writer.run(call, 'signal=KILL')
            left.append(writer.path.read_bytes())
    assert left
    assert all(data not in (OLD, NEW, WHOLE) for data in left)

"""The same faults by strace: what it does to a process owes nothing to this project."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults.tracing import Say, run

_CALL = re.compile(r'\d+ +(\w+)\(')


@dataclass
class Traced:
    """How a process ended under strace.

    Attributes:
        status: as `os.waitstatus_to_exitcode` gives it.
        said: the lines that it wrote to its pipe.
        calls: between the marks: the name of each, and the how-manieth of that name it was.
        log: what strace wrote.
    """

    status: int
    said: list[str]
    calls: list[tuple[str, int]]
    log: list[str]


def strace(program: str, folder: Path, job: Callable[[Say], None], inject: str = '') -> Traced:
    """Runs a job in a forked process under strace, from its first mark to its end.

    Args:
        program: the path of strace.
        folder: for what strace writes.
        job: as for `faults.tracing.trace`.
        inject: such as 'rename:signal=KILL:when=1'.
    """
    log = folder / 'calls'
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        run(job, writing, traced=False)
    os.close(writing)
    os.waitpid(pid, os.WUNTRACED)
    options = ['-e', f'inject={inject}'] if inject else []
    with subprocess.Popen([program, '-f', '-qq', '-o', log, *options, '-p', str(pid)]):
        status = Path(f'/proc/{pid}/status')
        while 'TracerPid:\t0\n' in status.read_text():
            time.sleep(0.0005)
        os.kill(pid, signal.SIGCONT)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reading) as pipe:
        said = pipe.read().splitlines()
    lines = log.read_text().splitlines()
    seen: Counter[str] = Counter()
    calls, marks = [], 0
    for line in lines:
        if called := _CALL.match(line):
            seen[called[1]] += 1
            if called[1] == 'getpgid':
                marks += 1
            elif marks == 1:
                calls.append((called[1], seen[called[1]]))
    return Traced(ended, said, calls, lines)

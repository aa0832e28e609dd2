"""Runs and processes: who may write, what a kill leaves, how a program without a `with` block ends, forks, hosts."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from support_runs import Net, assert_equal, content

import objio
from objio.models import sessions
from objio.storage import locks

ENVIRONMENT = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
# What a Saver does with the folder; without JAX, so that many processes start at one moment.
BEGIN = """
import os, sys
from objio.models import sessions

settings = {'class': 'm:Net', 'package': '', 'version': '', 'values': {}, 'given': []}
facts = {'start': '2021-05-25', 'pid': os.getpid(), 'host': 'here', 'settings': settings}

def begin(resume=False):
    return sessions.begin('storage/a', facts, resume=resume)
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OBJIO_RUN', raising=False)
    (tmp_path / 'storage').mkdir()


def start(program: str) -> subprocess.Popen[str]:
    """A process that runs a program and can be told to go on by a line."""
    return subprocess.Popen(
        [sys.executable, '-c', program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


@pytest.mark.parametrize('resume', [False, True])
def test_several_processes_start_one_run(resume: bool) -> None:
    """Of eight processes at once one has the run; each of the others gets one clear error, and disturbs nothing."""
    program = f"""{BEGIN}
print('ready', flush=True)
input()
try:
    session = begin({resume})
except (BlockingIOError, FileExistsError) as error:
    print(error, flush=True)
else:
    print('mine', flush=True)
    input()
    session.end('finished')
"""
    processes = [start(program) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == 'ready\n'
    for process in processes:
        process.stdin.write('\n')
        process.stdin.flush()
    said = [process.stdout.readline() for process in processes]
    mine = said.index('mine\n')
    assert [line for line in said if line != 'mine\n' and 'is being written by a process that lives' not in line] == []
    found = sessions.read_sessions('storage/a')
    assert [session['pid'] for session in found] == [processes[mine].pid]
    assert set(os.listdir('storage/a')) == {'.lock', 'provenance.json'}
    ends = [process.communicate('\n', timeout=60) for process in processes]
    assert [error for _, error in ends if error] == []
    assert sessions.state_of('storage/a', sessions.read_sessions('storage/a')) == 'finished'


def test_a_killed_run_is_told_and_goes_on() -> None:
    """A run whose process was killed is 'killed', whatever file says 'running'; its lock is free at once."""
    process = start(f"{BEGIN}\nsession = begin()\nprint('mine', flush=True)\ninput()")
    assert process.stdout.readline() == 'mine\n'
    assert objio.runs()['a'].state == 'running'
    with pytest.raises(BlockingIOError, match=f'process {process.pid} on here'):
        sessions.begin('storage/a', {}, resume=True)
    process.kill()
    process.communicate()
    assert objio.runs()['a'].state == 'killed'
    with pytest.raises(FileExistsError, match='resume=True'):
        objio.Saver(Net(), run='a')
    with objio.Saver(Net(), run='a', resume=True):
        assert objio.runs()['a'].state == 'running'
    assert [session['state'] for session in objio.runs()['a'].sessions] == ['running', 'finished']


@pytest.mark.parametrize(
    ('end', 'state', 'error'),
    [
        ('', 'finished', None),
        ('1 / 0', 'failed', 'ZeroDivisionError: division by zero'),
        ('sys.exit(0)', 'finished', None),
        ('os._exit(0)', 'killed', None),
        ("del sys.modules['objio.models.saver'], session", 'finished', None),
    ],
)
def test_a_program_that_says_nothing_of_the_end(end: str, state: str, error: str | None) -> None:
    """Without `with` and `close` a run ends with its program: well, by the exception, or as if it were killed."""
    program = f'{BEGIN}\nimport objio.models.saver\nsession = begin()\n{end}'
    process = start(program)
    process.communicate(timeout=60)
    (run,) = objio.runs()
    assert (run.state, run.provenance['error']) == (state, error)


def test_a_child_does_not_take_the_run_with_it() -> None:
    """A fork may neither write to the run nor end it, and the lock dies with the parent, not with the child."""
    program = f"""{BEGIN}
import time
session = begin()
child = os.fork()
if child == 0:
    try:
        session.check()
    except ValueError as error:
        os.write(1, f'{{error}}\\n'.encode())  # in one piece, since two processes write
    session.end('failed')
    os.close(1)
    time.sleep(100)
    os._exit(0)
os.write(1, f'{{child}}\\n'.encode())
time.sleep(100)
"""
    process = start(program)
    lines = {process.stdout.readline().strip() for _ in range(2)}
    child = int(next(line for line in lines if line.isdigit()))
    try:
        assert f'{Path.cwd()}/storage/a belongs to the process {process.pid}; only that one writes to it' in lines
        assert objio.runs()['a'].state == 'running'
        process.kill()
        process.wait()
        assert objio.runs()['a'].state == 'killed'
        os.kill(child, 0)  # the child lives
    finally:
        os.kill(child, 9)
        process.kill()
        process.communicate()


def test_names_that_many_processes_make_up() -> None:
    """Friendly names of processes that start together are different folders."""
    program = """
import sys
import objio
net = objio.nn.Linear(1, 1)
input()
for _ in range(5):
    print(objio.Saver(net).run)
"""
    processes = [start(program) for _ in range(3)]
    names = [name for process in processes for name in process.communicate('\n', timeout=120)[0].split()]
    assert len(names) == 15
    assert sorted(names) == sorted(os.listdir('storage'))


def test_who_looks_does_not_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at whether a run lives holds its lock for an instant, and a run that begins then waits for it."""
    lock = str(Path('storage/x'))
    assert locks.is_held(lock) is False
    looking = os.open(lock, os.O_RDONLY | os.O_CREAT)
    locks.fcntl.flock(looking, locks.fcntl.LOCK_SH)
    monkeypatch.setattr(locks.time, 'sleep', lambda _: os.close(looking))
    held = locks.hold(lock)
    assert held is not None
    assert locks.is_held(lock) is True
    held.release()
    assert locks.is_held(lock) is False


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks a run works all the same; whether it lives cannot be known."""

    def refuse(fd: int, how: int) -> None:
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(locks.fcntl, 'flock', refuse)
    with objio.Saver(Net(), run='a') as saver:
        saver.save()
        assert objio.runs()['a'].state == 'running'
    assert objio.runs()['a'].state == 'finished'
    with pytest.raises(FileExistsError):
        objio.Saver(Net(), run='a')


def test_a_disk_that_is_full_at_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot write its first file leaves nothing behind; one that goes on stays as it was."""
    objio.Saver(Net(), run='old').close()
    before = content()
    disk = os.statvfs('.')
    full = type('Full', (), {'f_bavail': 0, 'f_frsize': disk.f_frsize, 'f_blocks': disk.f_blocks})
    monkeypatch.setattr(os, 'statvfs', lambda folder: full)
    for name in ('new', 'old'):
        with pytest.raises(OSError, match='nothing was written'):
            objio.Saver(Net(), run=name, resume=True)
    assert content() == before


def test_restore_brings_back_what_was_saved_last() -> None:
    """A run that goes on loads its weights and gets the step of the save; without a save it begins at 0."""
    net = Net()
    with objio.Saver(net, run='a', resume=True) as saver:
        assert saver.restore() == 0
        saver.log(step=3, loss=1.0)
        saver.save()
        saver.log(step=4, loss=0.5)  # and then it was killed
    again = Net()
    with objio.Saver(again, run='a', resume=True) as saver:
        assert saver.restore() == 3
    assert_equal(again, net)
    with pytest.raises(objio.MismatchError), objio.Saver(Net(5), run='a', resume=True) as saver:
        saver.restore()


def test_of_several_processes_of_one_program_the_first_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others need the name, load what there is, and write nothing."""
    net = Net()
    with objio.Saver(net, run='a') as saver:
        saver.log(step=2, loss=1.0)
        saver.save()
    before = content()
    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    with pytest.raises(ValueError, match='OBJIO_RUN'):
        objio.Saver(Net())
    other = Net()
    with objio.Saver(other, run='a', resume=True) as saver:
        assert saver.restore() == 2
        saver.log(step=3, loss=1.0)
        saver.save(pickle=True)
    assert_equal(other, net)
    saver.close()
    assert content() == before

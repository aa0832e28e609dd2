"""A run that is killed, resumed and killed again, and a reader beside a writer; each in processes of their own."""

import subprocess
import sys
from pathlib import Path

from support_checkpoint import names, value_of

import objio

ROOT = Path(__file__).parents[2]

TRAIN = """
import sys
import numpy as np
import objio

folder, last, background = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'background'
vc = objio.VarCollection.from_tree({'big': np.zeros(1 << 18, 'float32'), 'step': 0})
ckpt = objio.Checkpoint(folder, keep_ckpts=2, background=background, verbose=False)
idx, _ = ckpt.restore(vc)
print('resumed', idx, flush=True)
assert vc['step'].value == idx and (vc['big'].value == idx).all()
while idx < last:
    idx += 1
    vc.assign({'big': np.full(1 << 18, idx, 'float32'), 'step': idx})
    ckpt.save(vc, idx=idx)
    ckpt.wait()
    print('saved', idx, flush=True)
"""


def train(folder: Path, mode: str, last: int = 10**9) -> 'subprocess.Popen[str]':
    """Starts the training."""
    command = [sys.executable, '-c', TRAIN, str(folder), str(last), mode]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_killed_run_resumes_from_its_last_save(tmp_path: Path) -> None:
    """Killed again and again with SIGKILL inside a save, a run has every save it was told of, and goes on from there."""
    acknowledged = 0
    for mode, rounds in (('background', 5), ('foreground', 9)):
        with train(tmp_path, mode) as process:
            assert process.stdout is not None
            resumed = int(process.stdout.readline().split()[1])
            assert resumed >= acknowledged
            for _ in range(rounds):
                acknowledged = int(process.stdout.readline().split()[1])
            process.kill()  # the next save has begun
    ckpt = objio.Checkpoint(tmp_path, verbose=False)
    vc = objio.VarCollection.from_tree({'step': 0})
    assert ckpt.restore(vc)[0] >= acknowledged
    assert vc['step'].value == ckpt.latest()
    assert all(objio.verify(tmp_path / 'ckpt' / name) for name in names(tmp_path / 'ckpt'))


def test_a_reader_beside_a_writer_always_gets_a_whole_save(tmp_path: Path) -> None:
    """While another process saves and removes as fast as it can, each restore succeeds and never goes back."""
    reader = objio.Checkpoint(tmp_path, verbose=False)
    with train(tmp_path, 'foreground', last=60) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        vc, newest, count = objio.VarCollection.from_tree({'step': 0}), 0, 0
        while process.poll() is None:
            idx, _ = reader.restore(vc)
            assert idx >= newest
            assert value_of(vc) == idx
            newest, count = idx, count + 1
        assert process.returncode == 0
    assert count > 0
    assert reader.restore(vc)[0] == 60

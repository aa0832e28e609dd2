"""Processes side by side on one file or in one folder; run as a program that imports JAX once and forks its crew.

Every array of a save holds one number, so that a file mixed of two saves shows. A process in which anything goes wrong
prints its traceback and ends badly, and so does the program.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

import objio

CREW = multiprocessing.get_context('fork')
SIZES = (1_000, 7_000, 40_000, 150_000)  # of each writer's body, in numbers; the last takes several system calls
MANY = 100_000  # more than any writer saves
LIMIT_S = 600
READ_AGAIN = 20  # mapped reads that a reader keeps, to see that later saves do not reach them


def numbers(number: int, body: int) -> dict[str, Any]:
    """Arrays that all hold one number."""
    return {
        'first': np.full(300, number, 'float64'),
        'body': np.full(body, number, 'float64'),
        'last': np.full((20, 30), number, 'float64'),
        'number': np.int64(number),
    }


def one_number(arrays: Mapping[str, Any]) -> int:
    """The number that all arrays hold."""
    found = {float(each) for name in arrays for each in np.unique(arrays[name])}
    assert len(found) == 1, f'a mixed read: {sorted(found)}'
    return int(found.pop())


def together(members: list[Callable[[Event], Any]], followers: list[Callable[[Event], Any]]) -> list[Any]:
    """Runs each member and follower in a process of its own; followers go on until all members have ended.

    Returns:
        what each returned, members first.
    """
    begin, done = CREW.Barrier(len(members) + len(followers)), CREW.Event()

    def work(member: Callable[[Event], Any], sender: Any) -> None:
        signal.alarm(LIMIT_S)  # whatever becomes of the others, nobody runs on for ever
        begin.wait()
        sender.send(member(done))

    pipes = [CREW.Pipe(duplex=False) for _ in (*members, *followers)]
    processes = [
        CREW.Process(target=work, args=(member, sender))
        for member, (_, sender) in zip([*members, *followers], pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes[: len(members)]:
        process.join()
    done.set()
    for process in processes[len(members) :]:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return [receiver.recv() for receiver, _ in pipes]


def one_path(folder: Path, saves: int) -> dict[str, Any]:
    """Four writers of one file, and four readers, each reading in its own way."""
    path = folder / 'shared.npz'
    objio.save_var_collection(path, numbers(0, SIZES[0]))

    def write(writer: int, _done: Event) -> int:
        for count in range(1, saves + 1):
            number = writer * MANY + count
            tree = numbers(number, SIZES[writer])
            objio.save_var_collection(path, tree, metadata={'number': number}, durable=writer % 2 == 0)
        return saves

    def read(*, load: bool, mmap: bool, done: Event) -> list[int]:
        seen: Counter[int] = Counter()
        kept: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=READ_AGAIN)
        reads, last_look = 0, False
        while not last_look:
            last_look = done.is_set()
            if load:
                vc = objio.VarCollection.from_tree({k: v for k, v in numbers(-1, 0).items() if k != 'body'})
                report = objio.load_var_collection(path, vc, mmap=mmap)
                assert list(report.unused) == ['body']
                arrays = vc.named_tensors()
            else:
                with objio.open(path, mmap=mmap) as saved:
                    arrays = dict(saved)
                    number = saved.metadata.get('number', 0)
                assert one_number(arrays) == number
                assert arrays['body'].shape == (SIZES[number // MANY],)
            number = one_number(arrays)
            writer, count = divmod(number, MANY)
            assert count >= seen[writer], f'the save {count} of writer {writer} came back after {seen[writer]}'
            seen[writer] = count
            kept.append((number, arrays))
            reads += 1
        for number, arrays in kept:
            assert one_number(arrays) == number
        assert seen[number // MANY] == saves, 'what stays is a last save'
        return [reads, len(seen)]

    found = together(
        [lambda done, writer=writer: write(writer, done) for writer in range(4)],
        [
            lambda done, load=load, mmap=mmap: read(load=load, mmap=mmap, done=done)
            for load in (True, False)
            for mmap in (True, False)
        ],
    )
    assert os.listdir(folder) == [path.name]
    return {
        'saves': sum(found[:4]),
        'reads': [reads for reads, _ in found[4:]],
        'seen': [seen for _, seen in found[4:]],
    }


def one_folder(folder: Path, seconds: float) -> dict[str, Any]:
    """Two savers, two restorers and a pruner in the folder of one Checkpoint.

    A saver takes at random the next index, for which the other may reach too, or the next of its own: even or odd.
    Where the other was faster, it goes the way that the error names: it restores, and goes on from there.
    """
    acknowledged = CREW.Value('q', 0)
    end = time.monotonic() + seconds

    def checkpoint(keep: int, *, background: bool = False) -> objio.Checkpoint:
        return objio.Checkpoint(folder, keep_ckpts=keep, verbose=False, background=background)

    def restore(ckpt: objio.Checkpoint) -> int:
        vc = objio.VarCollection.from_tree(numbers(-1, SIZES[2]))
        with acknowledged.get_lock():
            least = acknowledged.value
        idx, _ = ckpt.restore(vc)
        assert idx >= least, f'restored {idx}, but {least} was saved before'
        assert one_number(vc.named_tensors()) // 2 == idx
        return idx

    def average(ckpt: objio.Checkpoint) -> None:
        vc = objio.VarCollection.from_tree(numbers(-1, SIZES[2]))
        idxs = ckpt.average(vc, last=2)
        arrays = vc.named_tensors()
        assert int(arrays.pop('number')) // 2 == idxs[-1]  # of the newest
        (mean,) = {float(each) for array in arrays.values() for each in np.unique(array)}
        assert idxs[0] <= mean / 2 < idxs[-1] + 1, (idxs, mean)

    def save(saver: int, _done: Event) -> list[int]:
        ckpt = checkpoint(3, background=saver == 1)
        choose = np.random.default_rng()
        saves = refused = 0
        latest = ckpt.latest() or 0
        while time.monotonic() < end:
            idx = latest + 1 + (choose.random() < 0.5 and (latest + 1 + saver) % 2)
            try:
                ckpt.save(numbers(2 * idx + saver, SIZES[2]), idx=int(idx), metrics={'saver': saver})
                ckpt.wait()
            except objio.SaveOrderError:
                refused += 1
                latest = restore(ckpt)
            else:
                saves += 1
                with acknowledged.get_lock():
                    acknowledged.value = max(acknowledged.value, int(idx))
                latest = ckpt.latest()
                assert latest is not None
                assert latest >= idx
        return [saves, refused]

    def keep_restoring(done: Event, *, anew: bool) -> int:
        ckpt, restores, newest = checkpoint(3), 0, 0
        while not done.is_set():
            if anew:
                ckpt = checkpoint(3)
            idx = restore(ckpt)
            assert idx >= newest, f'restored {idx} after {newest}'
            assert ckpt.idxs()[-1] >= idx
            average(ckpt)
            newest, restores = idx, restores + 1
        return restores

    def keep_pruning(done: Event) -> int:
        ckpt, removed = checkpoint(1), 0
        while not done.is_set():
            for fate in ckpt.explain():
                if not fate.stays:
                    try:
                        os.unlink(folder / 'ckpt' / fate.file)
                        removed += 1
                    except FileNotFoundError:
                        pass  # a saver was faster
        return removed

    (folder / 'ckpt').mkdir()
    objio.save_var_collection(folder / 'ckpt' / '0000000001.npz', numbers(2, SIZES[2]))
    savers = [lambda done, saver=saver: save(saver, done) for saver in (0, 1)]
    restorers = [lambda done, anew=anew: keep_restoring(done, anew=anew) for anew in (False, True)]
    first, second, *others = together(savers, [*restorers, keep_pruning])
    left = sorted(os.listdir(folder / 'ckpt'))
    assert all(name.endswith('.npz') for name in left), left
    assert all(objio.verify(folder / 'ckpt' / name) for name in left)
    return {
        'saves': [first[0], second[0]],
        'refused': [first[1], second[1]],
        'restores': others[:2],
        'removed': others[2],
    }


if __name__ == '__main__':
    scene = {'one_path': one_path, 'one_folder': one_folder}[sys.argv[1]]
    print(json.dumps(scene(Path(sys.argv[2]), int(sys.argv[3]))))

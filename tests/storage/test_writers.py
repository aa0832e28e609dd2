"""Many processes and threads on one path, and on one folder; nobody waits for anybody."""

import subprocess
import threading
from pathlib import Path

from support_storage import names, program, read, run, save

from objio import storage

SIZE = 100_000
WRITER = """
for _ in range(50):
    with storage.create(sys.argv[1], durable=False, size=100_000) as sink:
        for _ in range(10):
            sink.write(sys.argv[2].encode() * 10_000)
"""
HAMMER = """
end, count = time.monotonic() + 2, 0
while time.monotonic() < end:
    if sys.argv[2] == 'sweep':
        count += len(storage.sweep(os.path.dirname(sys.argv[1])))
    else:
        with storage.create(sys.argv[1], durable=False, size=1) as sink:
            sink.write(b'x')
        count += 1
print(count)
"""
ONE_DIES = """
import signal
if os.fork() == 0:
    with storage.create(sys.argv[1], durable=False, size=1) as sink:
        os.kill(os.getpid(), signal.SIGKILL)
os.wait()
"""


def test_readers_see_whole_files_while_four_write(tmp_path: Path) -> None:
    """Four processes save 50 times each to one name; whatever two threads read meanwhile is one of the files, whole."""
    path = tmp_path / 'a.npz'
    save(path, b'.' * SIZE)
    writers = [subprocess.Popen(program(WRITER, path, letter), stderr=subprocess.PIPE) for letter in 'abcd']
    seen: list[set[bytes]] = []
    mixed: list[set[int]] = []
    stop = threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            with storage.open_file(str(path)) as source:
                data = read(source)
            seen.append({data[:1]})
            if len(data) != SIZE or len(set(data)) != 1:
                mixed.append(set(data))

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    errors = [writer.communicate(timeout=60)[1] for writer in writers]
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == [b''] * 4
    assert mixed == []
    assert set().union(*seen) & {b'a', b'b', b'c', b'd'}
    assert names(tmp_path) == ['a.npz']


def test_savers_and_sweepers_do_not_meet(tmp_path: Path) -> None:
    """Two processes save and two sweep as fast as they can: no save fails, no living file is removed, none is left."""
    kinds = ['save', 'save', 'sweep', 'sweep']
    processes = [
        subprocess.Popen(program(HAMMER, tmp_path / f'{i}.npz', kind), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for i, kind in enumerate(kinds)
    ]
    results = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in results] == [b''] * 4
    assert all(int(count) > 10 for count, _ in results[:2])
    assert names(tmp_path) == ['0.npz', '1.npz']


def test_two_saves_at_once_in_one_process(tmp_path: Path) -> None:
    """The later of two overlapping saves to one name stays; neither disturbs the other."""
    path = str(tmp_path / 'a.npz')
    with storage.create(path, durable=True, size=1) as first:
        first.write(b'1')
        with storage.create(path, durable=True, size=1) as second:
            second.write(b'2')
        assert Path(path).read_bytes() == b'2'
    assert Path(path).read_bytes() == b'1'
    assert names(tmp_path) == ['a.npz']


def test_a_child_that_dies_in_a_save_leaves_its_file_to_the_sweep(tmp_path: Path) -> None:
    """The file of a killed child goes at once although its parent lives on."""
    run(ONE_DIES + f'assert len(storage.sweep({str(tmp_path)!r})) == 1', tmp_path / 'a.npz')
    assert names(tmp_path) == []

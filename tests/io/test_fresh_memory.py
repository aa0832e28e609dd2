"""Fresh memory for large arrays: its pages are chosen by what their first touches cost, all through a load."""

import mmap
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import objio
from objio.io import memory

NEEDS_PAGES = pytest.mark.skipif(not hasattr(mmap, 'MADV_HUGEPAGE'), reason='the system offers no choice of pages')


class Told(memory._Choice):
    """A choice that is told what a huge page costs, in place of the clock."""

    def __init__(self, cost: Callable[[int], int]) -> None:
        super().__init__()
        self._limit = 100
        self._cost = cost
        self.huge = self.small = 0

    def next_is_small(self) -> bool:
        """Counts small pages."""
        small = super().next_is_small()
        self.small += small
        return small

    def learn(self, cost: int) -> None:
        """Counts huge pages, which cost what the test says."""
        super().learn(self._cost(self.huge))
        self.huge += 1


def filled(nbytes: int) -> np.ndarray:
    """Memory that was prepared and written to a MiB at a time, as a load does."""
    pages, prepare = memory.fresh(nbytes)
    array = np.frombuffer(pages, np.uint8)
    for start in range(0, nbytes, 1 << 20):
        if prepare is not None:
            prepare(start, min(start + (1 << 20), nbytes))
        array[start : start + (1 << 20)] = start >> 20 & 0xFF
    return array


@NEEDS_PAGES
def test_cheap_huge_pages_are_all_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as each costs less than its small ones would."""
    told = Told(lambda _: 50)
    monkeypatch.setattr(memory, '_PAGES', told)
    filled(64 << 20)
    assert told.small == 0
    assert told.huge in (31, 32)  # the first page may begin before the memory does


@NEEDS_PAGES
def test_dear_huge_pages_are_tried_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each that was slow there are twice as many small ones, up to 256 MiB."""
    told = Told(lambda _: 500)
    monkeypatch.setattr(memory, '_PAGES', told)
    for _ in range(16):
        filled(64 << 20)
    assert told.huge <= 9
    assert told.huge + told.small >= 16 * 31
    assert told.are_small


@NEEDS_PAGES
def test_the_choice_changes_in_the_middle_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that the machine has may end, and come again: both are seen within the array."""
    told = Told(lambda turn: 500 if 10 <= turn < 13 else 50)
    monkeypatch.setattr(memory, '_PAGES', told)
    filled(256 << 20)
    assert told.small == 4 + 8 + 16
    assert told.huge > 90
    assert not told.are_small


@NEEDS_PAGES
@pytest.mark.parametrize('cost', [50, 500])
@pytest.mark.parametrize('nbytes', [4 << 20, (4 << 20) + 1, (6 << 20) - 4096, 33 << 20])
def test_what_is_written_stays(cost: int, nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever pages are chosen, also where the size is no multiple of them; the memory starts as zeros."""
    monkeypatch.setattr(memory, '_PAGES', Told(lambda _: cost))
    array = filled(nbytes)
    assert array.ctypes.data % memory.ALIGNMENT == 0
    assert (array == (np.arange(nbytes) >> 20).astype(np.uint8)).all()
    pages, prepare = memory.fresh(nbytes)
    assert prepare is not None
    prepare(0, nbytes)
    assert not np.frombuffer(pages, np.uint8).any()


@pytest.mark.parametrize('cost', [50, 500])
@pytest.mark.parametrize('suffix', ['npz', 'safetensors', 'numpy'])
def test_loads_are_right_with_either_pages(
    cost: int, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays below and above the size at which threads share one, and the mean of two files."""
    monkeypatch.setattr(memory, '_PAGES', Told(lambda _: cost))
    tree = {'a': np.arange(2 << 20, dtype=np.float32), 'b': np.arange(10 << 20, dtype=np.int32)[::-1].copy()}
    path = tmp_path / f'x.{"npz" if suffix == "numpy" else suffix}'
    if suffix == 'numpy':
        np.savez(path, **tree)
    else:
        objio.save_var_collection(path, tree, durable=False)
    vc = objio.VarCollection.from_tree({name: array * 0 for name, array in tree.items()})
    objio.load_var_collection(path, vc)
    with objio.open(path) as saved:
        for name, array in tree.items():
            np.testing.assert_array_equal(vc[name].value, array)
            np.testing.assert_array_equal(saved[name], array)
    if suffix == 'npz':
        np.testing.assert_array_equal(objio.average([path, path])['a'], tree['a'])


def test_threads_may_prepare_one_array_together() -> None:
    """Each its own ranges, at the same time."""
    nbytes = 64 << 20
    pages, prepare = memory.fresh(nbytes)
    array = np.frombuffer(pages, np.uint8)

    def fill(first: int) -> None:
        for start in range(first, nbytes, 2 << 20):
            if prepare is not None:
                prepare(start, start + (1 << 20))
            array[start : start + (1 << 20)] = 7

    threads = [threading.Thread(target=fill, args=(first,)) for first in (0, 1 << 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (array == 7).all()


def test_small_arrays_have_nothing_to_prepare() -> None:
    """Below two huge pages the memory is the allocator's."""
    pages, prepare = memory.fresh((4 << 20) - 1)
    assert prepare is None
    assert len(pages) == (4 << 20) - 1


@pytest.mark.skipif(sys.platform != 'linux', reason='measured on Linux alone')
def test_the_limit_is_measured() -> None:
    """What 2 MiB of small pages cost is some time, and far less than a second."""
    assert 1_000 < memory._cost_of_small_pages() < 10**9

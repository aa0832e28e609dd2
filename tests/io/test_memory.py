"""What the verbs take beyond the arrays, and how many and how large these may be."""

import difflib
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_memory import MEASURES, measured
from support_verbs import tree_vars

import objio

GIB = 1 << 30


@pytest.fixture(scope='module')
def mib() -> dict[str, float]:
    """What each verb took in a process of its own."""
    if sys.platform != 'linux':
        pytest.skip('only Linux tells the peak of a process in /proc')
    return measured()


@pytest.mark.parametrize('name', sorted(MEASURES.keys() - {'a_copy_of_64_mib'}))
def test_no_verb_takes_more_than_16_mib_beyond_the_arrays(name: str, mib: dict[str, float]) -> None:
    """Saving, loading, converting, averaging and verifying copy no array; what they need does not grow with it."""
    assert mib[name] <= 16


def test_the_measure_sees_a_copy(mib: dict[str, float]) -> None:
    """A verb that copied would be caught: far above the bound, even where JAX gives something back meanwhile."""
    assert mib['a_copy_of_64_mib'] > 40


def test_70_000_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More variables than a plain zip has room for are saved and loaded in seconds."""
    count = 70_000
    vc = tree_vars({f'(Net).layers(ModuleList)[{index}].w': np.full(3, index, 'f4') for index in range(count)})
    start = time.process_time()
    objio.save_var_collection(tmp_path / 'x.npz', vc, durable=False)
    into = tree_vars({name: np.zeros(3, 'f4') for name in vc.keys()})  # noqa: SIM118
    report = objio.load_var_collection(tmp_path / 'x.npz', into)
    assert time.process_time() - start < 60
    assert len(report.matched) == count
    assert all((variable.value == index).all() for index, variable in enumerate(into))
    with objio.open(tmp_path / 'x.npz') as saved:
        assert len(saved) == count
        monkeypatch.delattr(difflib, 'get_close_matches')  # to compare a name with so many takes seconds
        assert saved.get('nowhere') is None
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['(Net).layers(ModuleList)[69999].w'].tolist() == [69_999] * 3


class Sparse(io.FileIO):
    """A file that takes no room on the disk where it is zero."""

    def write(self, data: Any) -> int:
        if len(data) >= 1 << 16 and not np.frombuffer(data, np.uint64, len(data) // 8).any():
            return self.seek(len(data), os.SEEK_CUR) and len(data)
        return super().write(data) or 0


def test_more_than_4_gib(tmp_path: Path) -> None:
    """An array beyond 4 GiB is saved, and comes back whole, with the one behind it."""
    large = np.zeros(4 * GIB + 24, np.uint8)  # pages that nobody touched take no memory
    large[[0, -1]] = 1, 2
    with Sparse(tmp_path / 'x.npz', 'w') as file:
        objio.save_var_collection(file, {'a': large, 'b': np.arange(3)})
    vc = tree_vars({'a': np.broadcast_to(np.uint8(0), large.shape), 'b': np.zeros(3, int)})
    assert objio.verify(tmp_path / 'x.npz')
    objio.load_var_collection(tmp_path / 'x.npz', vc, mmap=True, verify=False)  # touching all pages takes seconds
    assert (int(vc['a'].value[0]), int(vc['a'].value[-1]), int(vc['a'].value[GIB])) == (1, 2, 0)
    assert vc['b'].value.tolist() == [0, 1, 2]
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['b'].tolist() == [0, 1, 2]
    (tmp_path / 'x.npz').unlink()

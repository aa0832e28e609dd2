"""How the writers of files cut what they write."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_formats import SeekableMemorySink

from objio.formats import ArraySpec, npz, safetensors, writing


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 20))
def test_pieces_end_where_large_folios_do(size: int, at: int, step: int) -> None:
    """They are all bytes in order, and all but the last end at multiples of the step in the file."""
    block = memoryview(bytes(range(size)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, '_PIECE', step)
        pieces = list(writing.cut(block, at))
    assert b''.join(pieces) == block
    ends = np.cumsum(list(map(len, pieces)), dtype=int) + at
    assert all(0 < len(piece) <= step for piece in pieces)
    assert not any(ends[:-1] % step)


@pytest.mark.parametrize('form', [npz, safetensors])
def test_large_arrays_are_written_in_such_pieces(form: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever an array starts in the file, however many blocks it comes in."""
    ends = []

    class Sink(SeekableMemorySink):
        def write(self, buffer: memoryview | bytes) -> None:
            super().write(buffer)
            ends.append(len(self.value()))

    monkeypatch.setattr(writing, '_PIECE', 1 << 16)
    content = bytes(700_000)
    specs = {name: ArraySpec('uint8', (700_000,)) for name in ('a', 'b')}
    form.encode(specs, lambda name: (content[:300_001], content[300_001:]), {}, {}).write(Sink())
    assert sum(not end % (1 << 16) for end in ends) >= 2 * (700_000 >> 16) - 2

"""How a msgpack file is gone through: in windows, with short ways for arrays that look alike, and never too deep."""

import msgpack
import numpy as np
import pytest
from flax import serialization
from support_interop import opened, read_all
from support_verbs import bits

from objio.errors import FormatError
from objio.formats import msgpack as ours


@pytest.mark.parametrize('first', [4000, 4040])
def test_heads_may_stand_in_two_windows(first: int) -> None:
    """Wherever a window ends, inside a key, a size, a shape or a dtype, the arrays around it are the same."""
    arrays = {'a': np.arange(3, dtype='i2'), 'b': np.ones((2, 5)), 'c': np.ones((2, 5)), 'd': np.arange(3, dtype='i2')}
    for size in range(first, first + 100):
        archive = opened(ours, serialization.msgpack_serialize({'text': 'x' * size, 'tree': arrays}))
        found = {name: bits(array) for name, array in read_all(archive).items()}
        assert found == {f'tree.{name}': bits(array) for name, array in arrays.items()}


def test_the_array_that_was_cut_is_named() -> None:
    """The error of a file that was cut short names the array in which it ends, also where it looks like the last one."""
    data = serialization.msgpack_serialize({'a': np.ones(50), 'b': np.ones(50)})
    with pytest.raises(
        FormatError, match=r"'b' at byte \d+: expected an array up to byte \d+, found a file of \d+ bytes"
    ):
        opened(ours, data[:-1])


def test_trees_have_a_hundred_levels_at_most() -> None:
    """What lies deeper is refused before names grow with each level."""

    def tree(levels: int) -> dict[str, object]:
        node: dict[str, object] = {'w': 1}
        for _ in range(levels - 1):
            node = {'a': node}
        return node

    assert list(opened(ours, msgpack.packb(tree(100))).specs) == ['a.' * 99 + 'w']
    with pytest.raises(FormatError, match='expected at most 100 levels, found more'):
        opened(ours, msgpack.packb(tree(101)))

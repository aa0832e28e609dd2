"""Nested settings by dotted name, and what differs between some of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MISSING = object()


def flat(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts by dotted name.

    Example:
        >>> dict(flat({'opt': {'lr': 0.1}, 'width': 64}))
        {'opt.lr': 0.1, 'width': 64}
    """
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def differing(many: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names under which not all of the mappings have the same.

    Example:
        >>> differing([{'lr': 0.1, 'width': 64}, {'lr': 0.2, 'width': 64}])
        ['lr']
    """
    names = dict.fromkeys(name for values in many for name in values)
    return [name for name in names if any(not same(of.get(name, _MISSING), many[0].get(name, _MISSING)) for of in many)]


def same(a: Any, b: Any) -> bool:
    """Whether two values of JSON are the same: 1 and True are not, NaN and NaN are."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)

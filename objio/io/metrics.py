"""Metrics of a save: a few numbers by name that stand in the save's own metadata, so that a new process knows them."""

import math
from collections.abc import Mapping
from typing import Any

KEY = 'objio.metrics'
"""Where they stand. JSON knows no NaN and no infinity, so these are spelled 'nan', 'inf' and '-inf'."""


def encode(metrics: Mapping[str, Any]) -> dict[str, float | str]:
    """Metrics as JSON keeps them.

    Args:
        metrics: name -> a real number: of Python, of NumPy, or a 0-d array.

    Raises:
        TypeError: `metrics` is no mapping, a name is no str, or a value is no real number.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f'metrics: expected a dict from names to numbers, got {type(metrics).__name__}')
    encoded: dict[str, float | str] = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f'metrics: expected names of type str, got {name!r}')
        if isinstance(value, str | bytes) or getattr(value, 'shape', ()) != ():
            raise TypeError(f'metrics[{name!r}]: expected one number, got {value!r}')
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f'metrics[{name!r}]: expected a real number, got {value!r}') from error
        encoded[name] = number if math.isfinite(number) else str(number)
    return encoded


def decode(metadata: Mapping[str, Any]) -> dict[str, float]:
    """The metrics in a file's metadata; what is none, in a file that somebody else made, is left out."""
    found = metadata.get(KEY)
    numbers: dict[str, float] = {}
    for name, value in found.items() if isinstance(found, Mapping) else ():
        if value in ('nan', 'inf', '-inf') or type(value) in (int, float):
            numbers[name] = float(value)
    return numbers

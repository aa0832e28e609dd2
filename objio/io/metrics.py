"""Metadata of a save, and its metrics: a few numbers by name that stand there, so that a new process knows them."""

import math
from collections.abc import Mapping
from typing import Any

KEY = 'objio.metrics'
"""Where they stand. JSON knows no NaN and no infinity, so these are spelled 'nan', 'inf' and '-inf'."""

CONFIG_KEY = 'objio.config'
"""Where the settings of a model stand; see `objio.models.record`."""


def checked(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The metadata, once its keys are known not to be objio's own; the format checks the values.

    Metrics and settings are let through: `Checkpoint` passes them as metadata, as it does to any SAVE_FN.
    """
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, Mapping):
        raise TypeError(f'metadata: expected a dict, got {type(metadata).__name__}')
    for key in metadata:
        if isinstance(key, str) and key.startswith('objio.') and key not in (KEY, CONFIG_KEY):
            raise ValueError(f'metadata[{key!r}]: keys that start with "objio." are reserved; choose another')
    return metadata


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
        number = as_number(value)
        if number is not None:
            numbers[name] = number
    return numbers


def as_number(value: Any) -> float | None:
    """A metric as it stands in a file; None where it is none, or an integer that no float holds."""
    if value not in ('nan', 'inf', '-inf') and type(value) not in (int, float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None

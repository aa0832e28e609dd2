"""Metadata of a save, and its metrics: a few numbers by name that stand there, so that a new process knows them."""

import copy
import math
from collections.abc import Mapping
from typing import Any

from objio.formats.json_text import DEEPEST
from objio.messages import given

KEY = 'objio.metrics'
"""Where they stand. JSON knows no NaN and no infinity, so these are spelled 'nan', 'inf' and '-inf'."""

CONFIG_KEY = 'objio.config'
"""Where the settings of a model stand; see `objio.models.record`."""


class _Made(dict[str, Any]):
    """A value of metadata that objio made for one of its own keys; a copy is one too, a pickle of it is a plain dict."""

    def __init__(self, key: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.key = key

    def __copy__(self) -> '_Made':
        return _Made(self.key, self)

    def __deepcopy__(self, memo: dict[int, Any]) -> '_Made':
        return _Made(self.key, copy.deepcopy(dict(self), memo))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def reserved(key: str, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metadata of objio's own: a key that is not for users, with a value that `checked` lets through.

    A SAVE_FN of the user's gets it among its metadata, and may pass it on to any verb of objio.

    Args:
        key: `KEY` or `CONFIG_KEY`.
        content: what JSON keeps.

    Example:
        >>> list(checked({**reserved('objio.metrics', {'loss': 0.5}), 'epoch': 7}))
        ['objio.metrics', 'epoch']
        >>> checked({'objio.metrics': {'loss': 0.5}})
        Traceback (most recent call last):
        ...
        ValueError: metadata['objio.metrics']: keys that start with "objio." are reserved; choose another. From the metadata of a file drop them: {k: v for k, v in metadata.items() if not k.startswith('objio.')}
    """
    return {key: _Made(key, content)}


def checked(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata, once its keys are known not to be objio's own; the format checks the values.

    What objio put there itself is let through; see `reserved`.

    Raises:
        TypeError: it is no mapping.
        ValueError: a key is reserved.
    """
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, Mapping):
        raise TypeError(f'metadata: expected a dict, got {type(metadata).__name__}')
    for key, value in metadata.items():
        if isinstance(key, str) and key.startswith('objio.') and not (isinstance(value, _Made) and value.key == key):
            raise ValueError(
                f'metadata[{key!r}]: keys that start with "objio." are reserved; choose another. From the metadata of '
                "a file drop them: {k: v for k, v in metadata.items() if not k.startswith('objio.')}"
            )
    return dict(metadata)


def to_write(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata as a format takes it: `checked`, and what objio made is a plain dict, at any depth."""
    return {key: _plain(value) for key, value in checked(metadata).items()}


def _plain(value: Any, depth: int = 1) -> Any:
    if isinstance(value, _Made):
        return dict(value)
    if type(value) is dict and depth <= DEEPEST:  # what is deeper, a circle too, the format refuses
        return {key: _plain(part, depth + 1) for key, part in value.items()}
    return value


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
            raise TypeError(f'metrics[{name!r}]: expected one number, got {given(value)}')
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f'metrics[{name!r}]: expected a real number, got {given(value)}') from error
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

"""Which arrays of a file were weakly typed in JAX: a record in the metadata, where there are any."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from objio.formats import Archive

KEY = 'objio.weak'
"""Where their names stand, a list in the order of the arrays. A format that keeps text alone has it as JSON."""


def weak_names(archive: Archive) -> frozenset[str]:
    """The arrays of a file that were weakly typed; what is no name of an array, in a forged file, is left out."""
    found = archive.metadata.get(KEY)
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return frozenset()
    if not isinstance(found, list):
        return frozenset()
    return frozenset(name for name in found if isinstance(name, str) and name in archive.specs)


def recorded(metadata: Mapping[str, Any], names: Iterable[str], *, as_text: bool) -> Mapping[str, Any]:
    """Metadata with the record of these arrays, in place of one that it may have.

    Args:
        metadata: what stands beside the arrays.
        names: the arrays that are weakly typed, in the order of the file.
        as_text: whether the format keeps text alone.
    """
    names = list(names)
    if KEY in metadata:
        metadata = {key: value for key, value in metadata.items() if key != KEY}
    if not names:
        return metadata
    return {**metadata, KEY: json.dumps(names, ensure_ascii=False, separators=(',', ':')) if as_text else names}

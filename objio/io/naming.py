"""Names made of indices, and indices read back from names."""

import functools
import re

_CONVERSION = re.compile(r'%(?:%|(0?)([0-9]*)(?:\.[0-9]+)?[diu])')


@functools.lru_cache
def index_pattern(file_format: str) -> re.Pattern[str]:
    """A `FILE_FORMAT` read backwards: a pattern for whole names, whose group 1 is the index, of any width.

    Args:
        file_format: a %-format for one integer, such as '%010d.npz'.

    Raises:
        ValueError: it has no integer, several, or something else.
    """
    pattern, at, integers = '', 0, 0
    for found in _CONVERSION.finditer(file_format):
        between = file_format[at : found.start()]
        at = found.end()
        pattern += re.escape(between)
        if found[0] == '%%':
            pattern += '%'
        else:
            integers += 1
            padded_with_spaces = found[2] and not found[1]
            pattern += r' *([0-9]+)' if padded_with_spaces else r'([0-9]+)'
        if '%' in between:
            integers = -1
            break
    if integers != 1 or '%' in file_format[at:]:
        raise ValueError(
            f"FILE_FORMAT: expected one %-format for an integer, as in '%010d.npz', got {file_format!r}; "
            'any other needs a checkpoint_idx of its own'
        )
    return re.compile(pattern + re.escape(file_format[at:]), re.DOTALL)

"""The names of arrays, and the names of the zip members that hold them.

Almost every name is its own member name, but for `.npy` at the end. Escaped is only what zip tools or `np.load` would
take for something else: a path that leads out of the folder, a drive, a second `.npy`. `urllib.parse.unquote` undoes
all of it, so that two names never share a member.
"""

import contextlib
import re
from collections.abc import Collection

from objio.errors import UnsaveableError

MANIFEST = 'objio.json'
_LONGEST = 4095  # bytes of a member name: what common tools and file systems take for a path

# What may have to be escaped in names, one a line: nearly all are words with single dots or slashes between them, none
# of which looks like a suffix that matters.
_UNUSUAL = re.compile(
    r'[%\\\x00-\x1f\x7f:./](?:(?<![\n./])|(?=[\n./])|(?<=[./])(?=npy|json))', re.IGNORECASE | re.ASCII
)
_CONTROL = re.compile(r'[%\\\x01-\x1f\x7f]')
_EMPTY_SEGMENT = re.compile(r'^/|(?<=/)/|/\Z')
_DOT_SEGMENT = re.compile(r'(?<![^/])\.\.?(?![^/])')
_NPY_SEGMENT = re.compile(r'\.(?=npy(?![^/]))', re.IGNORECASE | re.ASCII)
_DRIVE = re.compile(r'^([A-Za-z]):')


def member_name(name: str) -> bytes:
    r"""The name of the zip member that holds the array called `name`, in UTF-8.

    Raises:
        UnsaveableError: the name is empty, not text, too long, or has a NUL or a lone surrogate.

    Example:
        >>> member_name('(Sequential)[0](Linear).w')
        b'(Sequential)[0](Linear).w.npy'
        >>> member_name('../50%')
        b'%2E%2E/50%25.npy'
    """
    if not isinstance(name, str):
        raise UnsaveableError(f'a name must be a str, got {name!r}')
    if not name:
        raise UnsaveableError("a variable's name is empty; give it a name, or save under a scope")
    if '\0' in name:
        raise UnsaveableError(f'{name!r}: a name cannot hold a NUL character; rename the variable')
    text = name if _is_ordinary(f'\n{name}\n', 1) else _escape(name)
    try:
        member = text.encode() + b'.npy'
    except UnicodeEncodeError as error:
        raise UnsaveableError(f'{name!r}: a name cannot hold a lone surrogate; rename the variable') from error
    if len(member) > _LONGEST:
        raise UnsaveableError(
            f'{name[:60]!r}...: the name takes {len(member)} bytes in the file, at most {_LONGEST} are possible; '
            'shorten it'
        )
    return member


def member_names(names: Collection[str]) -> list[bytes]:
    """What `member_name` gives for each of many names, at once where all are ordinary.

    Raises:
        UnsaveableError: as `member_name`, for the first name that raises it.
    """
    if set(map(type, names)) == {str} and max(map(len, names)) <= _LONGEST // 8:
        lines = '\n'.join(('', *names, ''))
        if _is_ordinary(lines, len(names)):
            with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate, which is looked for below
                return lines.replace('\n', '.npy\n').encode().split(b'\n')[1:-1]
    return [member_name(name) for name in names]


def _is_ordinary(lines: str, count: int) -> bool:
    """Whether so many names, each with a line of its own, stay as they are."""
    return lines.count('\n') == count + 1 and not _UNUSUAL.search(lines)


def _escape(name: str) -> str:
    text = _CONTROL.sub(lambda found: f'%{ord(found[0]):02X}', name)
    text = _EMPTY_SEGMENT.sub('%2F', text)
    text = _DOT_SEGMENT.sub(lambda found: '%2E' * len(found[0]), text)
    text = _NPY_SEGMENT.sub('%2E', text)
    text = _DRIVE.sub(r'\1%3A', text)
    return text.replace('.', '%2E') if text.isascii() and text.lower() == MANIFEST else text

"""Reads the texts that stand beside arrays in a folder."""

from objio import storage
from objio.errors import FormatError


def read_text(path: str, most: int) -> str:
    """A text in UTF-8, whole; see `read_bytes`.

    Raises:
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path, most).decode()


def read_bytes(path: str, most: int) -> bytearray:
    """A file, whole: no pipe, which would be waited for, and no device, which has no end.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        FormatError: it has more.
        OSError: it cannot be read.
    """
    with storage.open_file(path) as source:
        if source.size > most:
            raise FormatError(f'{path}: expected at most {most} bytes, found {source.size}')
        raw = bytearray(source.size)
        source.read_into(0, memoryview(raw))
    return raw

"""Reads the texts that stand beside arrays in a folder."""

from objio import storage
from objio.errors import FormatError


def read_text(path: str, most: int) -> str:
    """A text in UTF-8, whole.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        FormatError: it has more.
        UnicodeDecodeError: it is no UTF-8.
        OSError: it cannot be read.
    """
    with storage.open_file(path) as source:
        if source.size > most:
            raise FormatError(f'{path}: expected at most {most} bytes, found {source.size}')
        raw = bytearray(source.size)
        source.read_into(0, memoryview(raw))
    return raw.decode()

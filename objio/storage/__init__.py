"""WHERE the bytes are: files that appear whole or not at all, and file objects of the caller; never an array."""

from objio.storage.fileobj import FileSource, StreamSink, open_file_object, write_file_object
from objio.storage.local import LocalSink, LocalSource, create, file_names, folder_of, open_file, remove, rename, sync
from objio.storage.temporary import sweep

__all__ = [
    'FileSource',
    'LocalSink',
    'LocalSource',
    'StreamSink',
    'create',
    'file_names',
    'folder_of',
    'open_file',
    'open_file_object',
    'remove',
    'rename',
    'sweep',
    'sync',
    'write_file_object',
]

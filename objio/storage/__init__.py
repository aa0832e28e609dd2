"""WHERE the bytes are: files that appear whole or not at all, and file objects of the caller; never an array."""

from objio.storage.fileobj import FileSource, StreamSink, is_same_file, open_file_object, write_file_object
from objio.storage.handles import LocalSink, LocalSource
from objio.storage.local import (
    create,
    file_names,
    folder_of,
    identity,
    link,
    make_folder,
    open_file,
    refuse_url,
    remove,
    sync,
    sync_folder,
    unlink,
)
from objio.storage.new_folder import create_folder
from objio.storage.temporary import is_temporary, sweep

__all__ = [
    'FileSource',
    'LocalSink',
    'LocalSource',
    'StreamSink',
    'create',
    'create_folder',
    'file_names',
    'folder_of',
    'identity',
    'is_same_file',
    'is_temporary',
    'link',
    'make_folder',
    'open_file',
    'open_file_object',
    'refuse_url',
    'remove',
    'sweep',
    'sync',
    'sync_folder',
    'unlink',
    'write_file_object',
]

"""The guards of `objio/io` around shards with an index: they are replaced whole, and can be read again."""

from faults.guards import of

GUARDS = [
    *of(
        'io/shards.py',
        'io/test_shards.py',
        (
            'the shards of an index that stands stay',
            'if not set(names) & _named(path):',
            'if True:',
            'test_a_folder_that_cannot_be_synced_at_the_end',
        ),
        (
            'shards get names that no index names yet',
            "self.names(f'{secrets.token_hex(4)}-')",
            'self.names()',
            'test_shards_are_replaced_whole',
        ),
        (
            'only shards that objio named are removed',
            'for name in _named(index) if self._is_ours(name)}',
            'for name in os.listdir(folder) if name.endswith(_SUFFIX)}',
            'test_shards_are_replaced_whole',
        ),
        (
            'a shard without an index may be one that is being written',
            'if time.time() - os.stat(path).st_mtime >= _FORGOTTEN_AFTER_S:',
            'if True:',
            'test_what_a_killed_writer_left_goes_after_an_hour',
        ),
        (
            'shards have names that every system takes',
            "if '\\\\' in name or not name.isprintable():",
            'if False:',
            'test_what_cannot_be_saved_is_told_first',
        ),
        (
            'an index has metadata that are read',
            'if length > LARGEST_VALUE // 2:',
            'if False:',
            'test_what_cannot_be_saved_is_told_first',
        ),
        (
            'an index is no larger than is read',
            'if length > LARGEST_INDEX:',
            'if False:',
            'test_an_index_too_large_to_be_read_is_not_written',
        ),
    ),
    *of(
        'io/folders.py',
        'io/test_shards.py',
        (
            'an index that was replaced is read again',
            'if storage.identity(path) == seen:',
            'if True:',
            'test_a_reader_beside_a_writer',
        ),
    ),
    *of(
        'io/saves.py',
        'io/test_shards.py',
        ('a save is one file', 'if name.endswith(INDEX):', 'if False:', 'test_checkpoint_keeps_no_shards'),
    ),
    *of(
        'io/shards.py',
        'io/test_shards.py',
        (
            'an index that is a link is not written through',
            'if os.path.islink(path):',
            'if False:',
            'test_an_index_that_is_a_link_is_not_written_through',
        ),
    ),
]

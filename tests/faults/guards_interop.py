"""The guards of `objio/formats` around safetensors and the msgpack of Flax, which have no checksums."""

from faults.guards import of

GUARDS = [
    *of(
        'formats/safetensors.py',
        'formats/test_interop_damage.py',
        (
            'a table of safetensors has a largest size',
            'if size > min(_LARGEST_TABLE, source.size - 8):',
            'if size > source.size - 8:',
            'test_a_large_file_with_a_large_table_is_refused',
        ),
        (
            'offsets of safetensors fit dtype and shape',
            'if end - start != nbytes:',
            'if False:',
            'test_a_table_that_lies_is_refused',
        ),
        (
            'arrays of safetensors leave no gap and share no byte',
            'if start != at:',
            'if False:',
            'test_a_table_that_lies_is_refused',
        ),
        (
            'and fill the file',
            'if begun + at != source.size:',
            'if False:',
            'test_every_cut_is_found',
        ),
        ('a dtype of safetensors is known', 'if tag not in DTYPES:', 'if False:', 'test_a_table_that_lies_is_refused'),
    ),
    *of(
        'formats/safetensors.py',
        'formats/test_safetensors.py',
        (
            'no array of safetensors takes the place of the metadata',
            'if _METADATA in specs:',
            'if False:',
            'test_names_that_the_format_lacks_are_refused',
        ),
        (
            'metadata of safetensors is text',
            'if type(key) is not str or (type(value) is not str and key != _METRICS)',
            'if False',
            'test_what_the_format_lacks_is_refused',
        ),
    ),
    *of(
        'formats/safetensors_table.py',
        'formats/test_interop_damage.py',
        (
            'no name stands twice in a table',
            'if name in entries or name == METADATA:',
            'if False:',
            'test_a_table_that_lies_is_refused',
        ),
        (
            'nothing stands behind a table',
            'if _skip(text, end) != len(text):',
            'if False:',
            'test_a_table_that_lies_is_refused',
        ),
        ('metadata stands once', 'if len(metadata) > 1:', 'if False:', 'test_a_table_that_lies_is_refused'),
        ('and each of its keys', 'if key in values:', 'if False:', 'test_a_table_that_lies_is_refused'),
        (
            'sizes in a table are whole numbers',
            'type(size) is int and size >= 0 for size in (start, end, *shape)',
            'True for size in (start, end, *shape)',
            'test_a_table_that_lies_is_refused',
        ),
        (
            'names in a table have no lone surrogates',
            'value.encode()  # no lone surrogates',
            'pass',
            'test_a_table_that_lies_is_refused',
        ),
    ),
    *of(
        'formats/raw_file.py',
        'formats/test_safetensors.py',
        ('aliases are not lost', 'if aliases:', 'if False:', 'test_what_the_format_lacks_is_refused'),
        (
            'no dtype is lost',
            'if strange:',
            'if False:',
            'test_dtypes_that_the_format_lacks_are_refused_together',
        ),
        (
            'a name that could not be read back is refused',
            'if not isinstance(name, str) or not name:',
            'if False:',
            'test_names_that_the_format_lacks_are_refused',
        ),
    ),
    *of(
        'formats/raw_archive.py',
        'formats/test_interop_damage.py',
        (
            'values are checked where there is no checksum',
            '            if form.limits is not None:\n                check(',
            '            if False:\n                check(',
            'test_a_bool_is_0_or_1',
        ),
    ),
    *of(
        'formats/msgpack_tree.py',
        'formats/test_interop_damage.py',
        (
            'nothing stands behind a tree',
            'if self._at != self._source.size:',
            'if False:',
            'test_every_cut_is_found',
        ),
        (
            'names take no more memory than their file',
            'if self._letters < 0:',
            'if False:',
            'test_hostile_files_take_bounded_memory[13]',
        ),
    ),
    *of(
        'formats/msgpack_tree.py',
        'formats/test_msgpack.py',
        (
            'an array of a tree has the bytes of its shape',
            'if expected != nbytes:',
            'if False:',
            'test_what_flax_does_not_write_is_refused',
        ),
        (
            'no two arrays of a tree have one name',
            'if name in self.specs or name in self.metadata:\n            raise self._twice(name)\n        self',
            'self',
            'test_two_paths_of_one_name_are_refused',
        ),
        (
            'a dtype of a tree is known',
            'if text[1] not in self._dtypes:',
            'if False:',
            'test_what_flax_does_not_write_is_refused',
        ),
        (
            'pieces of an array have one dtype',
            'if len(dtypes) != 1:',
            'if False:',
            'test_what_flax_does_not_write_is_refused',
        ),
        (
            'pieces are flat',
            'if len(piece.shape) != 1:',
            'if False:',
            'test_what_flax_does_not_write_is_refused',
        ),
        (
            'the mark of an array in pieces comes first',
            'if value == CHUNKED:',
            'if False:',
            'test_a_mark_that_comes_late_is_refused',
        ),
        (
            'a scalar of a tree has no axes',
            'if spec.shape:',
            'if False:',
            'test_what_flax_does_not_write_is_refused',
        ),
        (
            'an extension is one of Flax',
            "            raise self._wrong(name, 'an extension of Flax, 1 to 3', code)",
            '            pass',
            'test_what_flax_does_not_write_is_refused',
        ),
    ),
]

"""The guards of `objio/formats` where files of NumPy, Objax and other writers are read: nobody else checks them."""

from faults.guards import of

GUARDS = [
    *of(
        'formats/zip_directory.py',
        'formats/test_foreign_damage.py',
        (
            'a zip file has one disk, one count and no comment',
            'if disk or start_disk or here != count or comment:',
            'if False:',
            'test_bad_containers',
        ),
        ('a zip64 field is there', 'if wide is None:', 'if False:', 'test_bad_containers'),
    ),
    *of(
        'formats/zip_directory.py',
        'formats/test_gaps.py',
        (
            'the directory ends where its end record starts',
            'if offset + size != place or count * ENTRY.size > size:',
            'if count * ENTRY.size > size:',
            'test_a_gap_is_refused',
        ),
    ),
    *of(
        'formats/zip_directory.py',
        'formats/test_foreign_records.py',
        (
            'the zip64 end records are compared',
            'if not agree or found != (',
            'if False and found != (',
            'test_a_zip64_end_is_compared',
        ),
        (
            'an entry starts as one',
            'if mark != ENTRY_MARK or disk or end > len(directory):',
            'if False:',
            'test_an_entry_without_its_mark',
        ),
    ),
    *of(
        'formats/npy.py',
        'formats/test_foreign_damage.py',
        (
            'a header starts as one',
            'if not start.startswith(MAGIC) or len(start) < 10:',
            'if False:',
            'test_bad_containers',
        ),
        (
            'a header has at most 64 KiB',
            'if size > _LONGEST:',
            'if False:',
            'test_bad_containers',
        ),
        (
            'a dtype is a plain one',
            'np.dtype(descr) if _DESCR.fullmatch(descr) else None',
            'np.dtype(descr)',
            'test_bad_headers',
        ),
        (
            'no unit of time is counted by 0',
            r'(?:[1-9]\d{0,9})?[A-Za-z]',
            r'\d{0,10}[A-Za-z]',
            'test_bad_headers',
        ),
        (
            'a label is one that can be read',
            'if label is None:\n        raise',
            'if False:\n        raise',
            'test_bad_headers',
        ),
    ),
    *of(
        'formats/foreign.py',
        'formats/test_foreign_damage.py',
        (
            'a shape has as many bytes as its member',
            'if head.dtype is not None and prod(head.shape) * head.dtype.itemsize != nbytes:',
            'if False:',
            'test_bad_containers',
        ),
        ('a bomb is not inflated', 'if inflated > allowed:', 'if False:', 'test_a_bomb_of_zeros_is_refused'),
        (
            'checksums of other writers are compared',
            'if crc != expected:',
            'if False:',
            'test_a_changed_bit_never_changes_a_value',
        ),
    ),
    *of(
        'formats/foreign.py',
        'formats/test_foreign_records.py',
        (
            'a header is whole',
            'if head.size != size:',
            'if False:',
            'test_a_header_longer_than_its_member',
        ),
    ),
    *of(
        'formats/foreign.py',
        'formats/test_foreign.py',
        (
            'the arrays of Objax have names',
            "if members.keys() != {'names', *numbered}:",
            'if False:',
            'test_objax_members_that_do_not_fit',
        ),
        (
            'the names of Objax are text, one for each array',
            "if head.shape != (count,) or head.dtype is None or head.dtype.kind != 'U':",
            'if False:',
            'test_objax_names_that_do_not_fit',
        ),
        ('the names of Objax differ', 'if len(set(names)) != count:', 'if False:', 'test_objax_names_that_do_not_fit'),
        (
            'Objax names are not a bomb',
            "_check_inflated(self._source, [self._members['names']], None)",
            'pass',
            'test_objax_names_are_no_bomb',
        ),
        (
            'nothing is unpickled',
            'if head.dtype is None:\n            raise',
            'if False:\n            raise',
            'test_unreadable_arrays_are_listed',
        ),
    ),
    *of(
        'formats/foreign_members.py',
        'formats/test_foreign_records.py',
        (
            'a directory has a largest size',
            'if end.size > _LARGEST_DIRECTORY:',
            'if False:',
            'test_a_directory_beyond_all_use',
        ),
        (
            'a deflated array has its size',
            'if size != member.size or not inflater.eof or inflater.unused_data or raw or at < stop:',
            'if False:',
            'test_a_deflate_stream_must_end_where_the_member_ends',
        ),
    ),
    *of(
        'formats/foreign_members.py',
        'formats/test_foreign_damage.py',
        (
            'a directory has no more entries than it says',
            'if at != len(directory):',
            'if False:',
            'test_bad_containers',
        ),
        ('no two members have one name', 'if name in members:', 'if False:', 'test_bad_containers'),
        (
            'members are stored or deflated, and not encrypted',
            'if entry.flag & ~_FLAGS or entry.method not in (STORED, DEFLATED):',
            'if False:',
            'test_bad_containers',
        ),
        (
            'a stored member has one size',
            'if entry.method == STORED and entry.stored_size != entry.size:',
            'if False:',
            'test_bad_containers',
        ),
        ('a member is no symbolic link', 'if entry.mode & 0o170000 == 0o120000:', 'if False:', 'test_bad_containers'),
        (
            'names of header and directory agree',
            'same = (mark, flag, method, more[:name_len]) == (LOCAL_MARK, entry.flag, entry.method, entry.name)',
            'same = True',
            'test_bad_containers',
        ),
        (
            'sizes of header and directory agree',
            'same = crc == entry.crc and sizes == (entry.size, entry.stored_size)',
            'same = True',
            'test_bad_containers',
        ),
        ('a member is an array', "if not text.endswith('.npy'):", 'if False:', 'test_bad_containers'),
        (
            'no member leads out of the folder',
            "if '\\0' in text or parts[0] == '' or '..' in parts:",
            'if False:',
            'test_bad_containers',
        ),
        (
            'bytes that cannot be inflated are damage',
            'except zlib.error as error:',
            'except ZeroDivisionError as error:',
            'test_a_changed_bit_never_changes_a_value',
        ),
    ),
    *of(
        'formats/foreign_members.py',
        'formats/test_gaps.py',
        ('the first member starts the file', 'if offsets[0] != 0:', 'if False:', 'test_a_gap_is_refused'),
        (
            'members do not overlap',
            "if found is None or found not in (_descriptors(entry) if flag & _STREAMED else (b'',)):",
            'if False:',
            'test_a_member_inside_another_is_refused',
        ),
    ),
    *of(
        'formats/foreign_members.py',
        'formats/test_foreign_damage.py',
        (
            'no member lies in the directory',
            'if len(offsets) > 1 and offsets[-2] >= end.offset:',
            'if False:',
            'test_a_member_inside_the_directory_is_refused',
        ),
    ),
]

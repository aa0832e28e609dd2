"""The guards of `objio/storage`: a name always holds a whole file, and nothing else is left or lost."""

from faults.guards import of

GUARDS = [
    *of(
        'storage/handles.py',
        'storage/test_atomic.py',
        ('the file is synced', 'sync_file(self._fd)', 'pass', 'test_the_order_is_sync_rename_sync'),
        (
            'what was reserved and not written is cut off',
            'os.ftruncate(self._fd, self.size)',
            'pass',
            'test_the_file_ends_after_its_last_byte',
        ),
    ),
    *of(
        'storage/handles.py',
        'storage/test_faults.py',
        (
            'a failed fsync is not tried again',
            '                sync_file(self._fd)\n',
            ('                try:\n                    sync_file(self._fd)\n'
            '                except OSError:\n                    sync_file(self._fd)\n'),
            'test_a_sync_that_fails_is_not_tried_again',
        ),
        ('close is asked for errors', 'os.close(os.dup(self._fd))', 'pass', 'test_a_close_that_fails'),
        ('a short write is gone on with', 'rest[count:]', 'rest[len(rest) :]', 'test_writes_that_take_a_part'),
        (
            'a write that takes nothing is an error',
            'if not count:\n                raise OSError(',
            'if False:\n                raise OSError(',
            'test_writes_that_take_nothing',
        ),
        (
            'a failed reservation is an error',
            'the system knows none\n                raise\n',
            'the system knows none\n',
            'test_a_reservation_that_fails',
        ),
        (
            'a failed sync or close is an error',
            ('os.close(os.dup(self._fd))\n        except OSError as error:\n'
            '            error.filename = self._name\n            raise'),
            'os.close(os.dup(self._fd))\n        except OSError as error:\n            error.filename = self._name',
            'test_a_close_that_fails',
        ),
    ),
    *of(
        'storage/handles.py',
        'storage/test_local_source.py',
        (
            'a file that ends while it is read is damage',
            'if not count:\n                raise FormatError(',
            'if not count:\n                return\n                raise FormatError(',
            'test_a_file_that_is_cut_while_it_is_read',
        ),
        (
            'a file that was cut is not mapped beyond its end',
            'if os.fstat(self._fd).st_size < self.size:',
            'if False:',
            'test_a_file_that_is_cut_while_it_is_read',
        ),
        (
            'a closed descriptor is not read',
            'if not self.close.alive:',
            'if False:',
            'test_a_closed_source_reads_nothing',
        ),
    ),
    *of(
        'storage/local.py',
        'storage/test_atomic.py',
        (
            'the sync comes before the rename',
            ('        sink.settle()\n        if kernel.WINDOWS:\n            file.close()\n'
            '            _replace_patiently(temporary, target)\n        else:\n'
            '            _replace_open_file(fd, temporary, target)\n'),
            ('        if kernel.WINDOWS:\n            file.close()\n'
            '            _replace_patiently(temporary, target)\n        else:\n'
            '            _replace_open_file(fd, temporary, target)\n        sink.settle()\n'),
            'test_the_order_is_sync_rename_sync',
        ),
        ('the folder is synced', '_sync_folder(folder, path)', 'pass', 'test_the_order_is_sync_rename_sync'),
        (
            'the temporary file stands beside its target',
            '_create_beside(path, folder, ',
            '_create_beside(path, folder_of(folder), ',
            'test_the_temporary_file_stands_beside_its_target',
        ),
        (
            'the temporary file is removed after an error',
            'os.unlink(temporary)',
            'pass',
            'test_a_failure_midway_leaves_the_folder_as_it_was',
        ),
        (
            'and after Ctrl-C',
            'except BaseException:',
            'except Exception:',
            'test_a_failure_midway_leaves_the_folder_as_it_was',
        ),
        (
            'a path means what it meant when the save began',
            'target = os.path.realpath(path)',
            'target = os.path.relpath(os.path.realpath(path))',
            'test_a_save_does_not_depend_on_the_working_folder',
        ),
        (
            "a user's file is synced",
            'kernel.sync_file(fd)\n    except OSError as error:\n        error.filename',
            'pass\n    except OSError as error:\n        error.filename',
            'test_a_file_of_somebody_else_is_made_durable',
        ),
    ),
    *of(
        'storage/local.py',
        'storage/test_faults.py',
        (
            'an error of the clean-up hides nothing',
            '        with contextlib.suppress(OSError):\n            os.unlink(temporary)',
            '        os.unlink(temporary)',
            'test_a_failure_of_the_clean_up_hides_nothing',
        ),
        (
            'a failed sync of the folder is told as what it is',
            'raise SaveNotDurable(',
            'raise OSError(',
            'test_a_folder_that_cannot_be_synced',
        ),
        (
            'a failed sync of the folder is told',
            'if error.errno not in kernel.NOT_OFFERED:',
            'if False:',
            'test_a_folder_that_cannot_be_synced',
        ),
        (
            'a file system that syncs no folders is no error',
            'if error.errno not in kernel.NOT_OFFERED:',
            'if True:',
            'test_a_file_system_that_syncs_no_folders',
        ),
        (
            'a damaged save is set aside durably',
            'os.rename(path, new)\n    sync_folder(folder_of(new))',
            'os.rename(path, new)',
            'test_a_second_name_that_is_not_durable_is_no_save',
        ),
        (
            'free space is asked for before the first byte',
            'if disk.f_blocks and free < size:',
            'if False:',
            'test_too_little_space_is_told_before_anything_is_written',
        ),
        (
            'a file system that counts no blocks is not full',
            'if disk.f_blocks and free < size:',
            'if free < size:',
            'test_a_file_system_that_counts_no_blocks_is_not_full',
        ),
        (
            'a rename that was done is not reported as failed',
            'if os.path.samestat(os.fstat(fd), os.stat(target)):',
            'if False:',
            'test_a_rename_whose_reply_is_lost',
        ),
        (
            'a rename that was not done is',
            'if os.path.samestat(os.fstat(fd), os.stat(target)):',
            'if True:',
            'test_a_temporary_file_that_vanished',
        ),
    ),
    *of(
        'storage/local.py',
        'storage/test_paths.py',
        (
            'the file behind a symbolic link is replaced',
            'target = os.path.realpath(path)',
            'target = os.path.abspath(path)',
            'test_a_link_keeps_pointing_where_it_points',
        ),
        ("the old file's mode is kept", '_keep_mode(fd, old, path)', 'pass', 'test_the_old_files_mode_is_kept'),
        (
            'until then only its owner reads the new file',
            '0o666 if old is None else 0o600',
            '0o666',
            'test_the_old_files_mode_is_kept',
        ),
        (
            'a new file follows the umask',
            '0o666 if old is None else 0o600',
            '0o600',
            'test_a_new_file_has_the_mode_of_any_new_file',
        ),
        (
            'no mode is asked for where it is right',
            'if stat.S_IMODE(os.fstat(fd).st_mode) != mode and not kernel.WINDOWS:',
            'if True:',
            'test_a_file_system_without_modes',
        ),
        # With a pipe only: without the guard a device would be replaced.
        (
            'no pipe, socket or device is replaced',
            'if not stat.S_ISREG(info.st_mode):',
            'if False:',
            'test_pipes_are_refused',
        ),
        ('no folder is replaced', 'if stat.S_ISDIR(info.st_mode):', 'if False:', 'test_a_folder_is_no_file'),
        ('a URL is no path', "if '://' in path:", 'if False:', 'test_a_url_is_refused_for_now'),
    ),
    *of(
        'storage/local.py',
        'storage/test_folders.py',
        (
            'a second name is none that is given',
            'if os.path.lexists(new):',
            'if False:',
            'test_a_file_gets_a_second_name',
        ),
        (
            'a symbolic link gets no second name',
            'single = os.path.islink(path)',
            'single = False',
            'test_a_symbolic_link_moves',
        ),
        ('a new folder is synced', 'sync_folder(folder_of(made))', 'pass', 'test_a_folder_is_made_durably'),
    ),
    *of(
        'storage/temporary.py',
        'storage/test_temporary.py',
        (
            'a name that is taken is not opened',
            'os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS',
            'os.O_RDWR | os.O_CREAT | _FLAGS',
            'test_a_name_that_is_taken_is_never_opened',
        ),
        (
            'temporary names are random',
            'secrets.token_hex(6)',
            '"0123456789ab"',
            'test_names_are_random_and_say_who_writes',
        ),
        (
            'a writer holds a lock',
            '_lock(fd, wait=True)',
            'pass',
            'test_a_process_does_not_sweep_its_own_save',
        ),
        (
            'a file swept before its lock is made anew',
            'if _is_at(fd, path):',
            'if True:',
            'test_a_sweep_in_the_instant_before_the_lock',
        ),
        (
            'an interrupted creation leaves nothing',
            'except BaseException as error:',
            'except Exception as error:',
            'test_an_interrupted_creation_leaves_nothing',
        ),
        (
            'only names of its own are swept',
            'match = _PATTERN.fullmatch(name)',
            'match = _PATTERN.search(name)',
            'test_nothing_else_is_touched',
        ),
        (
            'only regular files are swept',
            'if not stat.S_ISREG(info.st_mode) or locked is False:',
            'if locked is False:',
            'test_nothing_else_is_touched',
        ),
        (
            'no link is followed',
            "_FLAGS | getattr(os, 'O_NOFOLLOW', 0)",
            '_FLAGS',
            'test_nothing_else_is_touched',
        ),
        (
            'a locked file is not swept',
            'if not stat.S_ISREG(info.st_mode) or locked is False:',
            'if not stat.S_ISREG(info.st_mode):',
            'test_what_cannot_be_known_waits_an_hour',
        ),
        (
            'what may be alive elsewhere waits an hour',
            'time.time() - info.st_mtime < _FORGOTTEN_AFTER_S',
            'False',
            'test_what_cannot_be_known_waits_an_hour',
        ),
        (
            'a free lock proves nothing over a network',
            'locked and (here or on_local_disk(file.fileno()))',
            'locked',
            'test_what_cannot_be_known_waits_an_hour',
        ),
        (
            'a living process is not dead',
            "here and _is_dead(match['space'], match['pid'])",
            'here',
            'test_without_locks_the_process_number_decides',
        ),
        (
            'process numbers of another container prove nothing',
            'if WINDOWS or space != _space():',
            'if WINDOWS:',
            'test_without_locks_the_process_number_decides',
        ),
        (
            'nor do those of another machine',
            "here = match['kernel'] == _kernel()",
            'here = True',
            'test_without_locks_the_process_number_decides',
        ),
    ),
    *of(
        'storage/kernel.py',
        'storage/test_systems.py',
        (
            'a full disk shows when space is reserved',
            'if result and code not in _NO_PREALLOCATION:',
            'if False:',
            'test_preallocation_is_a_hint',
        ),
        (
            'a file system that reserves no space is no error',
            'if result and code not in _NO_PREALLOCATION:',
            'if result:',
            'test_preallocation_is_a_hint',
        ),
        (
            'after a failed full sync there is no second one',
            'if error.errno not in NOT_OFFERED:',
            'if False:',
            'test_macos_with_a_bad_disk',
        ),
    ),
    *of(
        'storage/fileobj.py',
        'storage/test_writing_file_objects.py',
        (
            'what stands before the position of a file object is not overwritten',
            '        if position:\n',
            '        if False:\n',
            'test_a_real_file_that_stands_elsewhere_is_refused',
        ),
        (
            'a file object that is refused keeps its position',
            '            file.seek(position)\n    except',
            '            pass\n    except',
            'test_a_file_without_a_name_that_stands_elsewhere_is_refused',
        ),
        (
            'a file object that takes a part gets the rest',
            'rest[len(rest) if count is None else count :]',
            'rest[len(rest) :]',
            'test_a_file_that_takes_a_part_gets_the_rest',
        ),
        (
            'old content of a file object is cut off',
            'self._file.truncate(self._end)',
            'pass',
            'test_a_real_file_is_written_whole',
        ),
        ('nothing is appended', 'if _appends(file):', 'if False:', 'test_append_mode_is_refused'),
    ),
]  # fmt: skip

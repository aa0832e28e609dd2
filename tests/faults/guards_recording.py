"""The guards of a save into a folder of saves: in its place, on the disk and told before anything is removed."""

from faults.guards import of

GUARDS = [
    *of(
        'io/recording.py',
        'io/test_checkpoint.py',
        (
            'no save stands below the newest',
            'if newest is not None and newest.idx > idx:\n            raise',
            'if False:\n            raise',
            'test_a_lower_index_is_refused_before_anything_happens',
        ),
        (
            'a damaged file is set aside, not replaced',
            'if state.damaged and (',
            'if False and (',
            'test_a_damaged_save_does_not_count_and_makes_way',
        ),
        (
            'truncate leaves damaged saves',
            'if save.idx > after and self._folder.state(save).counts:',
            'if save.idx > after:',
            'test_truncate_removes_what_comes_after',
        ),
        (
            'truncate removes the newest first',
            'for save in reversed(self._folder.saves()):',
            'for save in self._folder.saves():',
            'test_truncate_is_durable_and_leaves_a_history_without_gaps',
        ),
        (
            'truncate is durable',
            'if removed and self._durable:\n            storage',
            'if False:\n            storage',
            'test_truncate_is_durable_and_leaves_a_history_without_gaps',
        ),
    ),
    *of(
        'io/recording.py',
        'io/test_checkpoint_restore.py',
        (
            'a removal is durable before its blocks get new bytes',
            'if removed and self._durable:\n                # Where',
            'if False:\n                # Where',
            'test_syncs_come_before_removals',
        ),
        (
            'nothing is removed before the new save is durable',
            'except SaveNotDurable:\n            raise',
            'except SaveNotDurable:\n            pass',
            'test_nothing_is_removed_before_the_new_save_is_durable',
        ),
        (
            'nothing is removed where the new save cannot be read back',
            'if state.damaged:\n            raise FormatError(',
            'if False:\n            raise FormatError(',
            'test_a_save_that_cannot_be_read_back_removes_nothing',
        ),
        (
            'temporary files of the dead are removed',
            'storage.sweep(self._folder.path)',
            'pass',
            'test_temporary_files_of_the_dead_are_removed',
        ),
        (
            'a failing save changes nothing',
            "                self._folder.mark_damaged(new, f'SAVE_FN did not finish it: {error!r}')\n            raise\n",
            "                self._folder.mark_damaged(new, f'SAVE_FN did not finish it: {error!r}')\n",
            'test_a_save_that_fails_changes_nothing',
        ),
    ),
    *of(
        'io/recording.py',
        'io/test_checkpoint_disks.py',
        (
            'what cannot be read is not replaced',
            '            if state.unread:\n                raise state.unread  # whole',
            '            if False:\n                raise state.unread  # whole',
            'test_what_cannot_be_read_is_not_replaced',
        ),
    ),
    *of(
        'io/recording.py',
        'io/test_checkpoint_custom.py',
        (
            'a save is found again by its name',
            'self._folder.check_name(idx)',
            'pass',
            'test_an_index_that_would_not_be_found_again_is_refused',
        ),
        (
            "a user's save is synced before anything is removed",
            'storage.sync(path)',
            'pass',
            'test_a_file_is_synced_for_a_function_that_does_not',
        ),
        (
            'also after one that takes any option',
            'if self._durable and not self._own and',
            "if self._durable and 'durable' not in options and",
            'test_a_file_is_synced_for_a_function_that_does_not',
        ),
        (
            'nothing is removed where the best is not known',
            'if lost and self._policy.keep_best and not state.unread:',
            'if False:',
            'test_nothing_is_removed_where_metrics_are_not_found_again',
        ),
        (
            'what a failed function leaves is no save',
            "self._folder.mark_damaged(new, f'SAVE_FN did not finish it: {error!r}')",
            'pass',
            'test_what_a_failed_function_leaves_is_no_save',
        ),
        (
            'a save that is not at its path is an error',
            'if made is None:',
            'if False:',
            'test_a_function_that_writes_elsewhere_is_told',
        ),
        (
            'metadata is not silently dropped',
            "if not takes(self._save, 'metadata'):\n                raise",
            'if False:\n                raise',
            'test_metadata_needs_a_parameter',
        ),
    ),
    *of(
        'io/recording.py',
        'io/test_checkpoint_background.py',
        (
            'metadata that is changed after the call is not written',
            'copy.deepcopy(content)',
            'content',
            'test_what_changes_after_the_call_is_not_written',
        ),
        (
            'a user function gets a snapshot',
            'snapshot(vc) if later else vc',
            'vc',
            'test_what_changes_after_the_call_is_not_written',
        ),
        (
            'what is written later is frozen',
            'contents = contents.frozen()',
            'pass',
            'test_fifty_donating_steps_write_what_they_held',
        ),
    ),
    *of(
        'io/background.py',
        'io/test_background.py',
        (
            'no save is left to a thread that nobody waits for',
            'if not threading.main_thread().is_alive():',
            'if False:',
            'test_at_the_end_of_the_program_a_job_is_done_at_once',
        ),
        (
            'one save runs at a time',
            '        self.wait()\n        if',
            '        if',
            'test_the_next_job_is_not_begun_after_a_failure',
        ),
        (
            'a failure in the background is raised',
            'self._failures.append(failure)',
            'pass',
            'test_a_failure_is_raised_once',
        ),
        (
            'whatever it is',
            'except BaseException as error:',
            'except Exception as error:',
            'test_a_failure_is_raised_once',
        ),
        ('once', 'raise self._failures.pop()', 'raise self._failures[0]', 'test_a_failure_is_raised_once'),
        (
            'a failure that nobody asks for is logged',
            'weakref.finalize(self, _log, self._failures)',
            'pass',
            'test_a_failure_nobody_asks_for_is_logged',
        ),
        ('the program waits for its save', 'daemon=False', 'daemon=True', 'test_a_job_runs_beside_its_caller'),
    ),
    *of(
        'io/checkpoint.py',
        'io/test_checkpoint_background.py',
        (
            'a background save stays where it began',
            'folder.stay()',
            'pass',
            'test_a_save_does_not_depend_on_where_the_program_goes',
        ),
    ),
]

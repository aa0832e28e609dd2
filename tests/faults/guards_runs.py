"""The guards of runs: one writer, whole histories, names that lead nowhere else, settings that stay."""

from faults.guards import of

GUARDS = [
    *of(
        'models/names.py',
        'models/test_run_sessions.py',
        ('a name does not lead elsewhere', "letter in '/\\\\<", "letter in '<", 'test_a_name_that_is_no_folder_is_refused'),
        ('a name is not hidden', "if name.startswith('.'):", 'if False:', 'test_a_name_that_is_no_folder_is_refused'),
        ('a name fits every disk', '> _LONGEST:', '> 9999:', 'test_a_name_that_is_no_folder_is_refused'),
    ),
    *of(
        'models/sessions.py',
        'models/test_run_sessions.py',
        ('a run is not taken twice', '    if PROVENANCE in others:\n        if not resume:', '    if PROVENANCE in others:\n        if False:', 'test_a_second_run_of_one_name_is_refused'),
        ('a folder of others is not taken', '    elif others:\n', '    elif False:\n', 'test_a_folder_that_is_no_run_is_not_taken'),
        (
            'an open run of this program is not begun again',
            '        if resume:\n            return own.hand_over',
            '        if True:\n            return own.hand_over',
            'test_a_second_run_of_one_name_is_refused',
        ),
        (
            'a folder that was removed is not written to',
            '        if not self._held.is_in_place():\n            raise',
            '        if False:\n            raise',
            'test_a_run_whose_folder_is_gone',
        ),
    ),
    *of(
        'models/sessions.py',
        'models/test_run_processes.py',
        ('what fails to begin leaves nothing', '                _unmake(folder)', '                pass', 'test_a_disk_that_is_full_at_the_beginning'),
        ('the end of the program ends the run', '@atexit.register\n', '', 'test_a_program_that_says_nothing_of_the_end'),
        ('a dead process is seen', "'killed' if state == 'running'", "'killed' if False", 'test_a_killed_run_is_told_and_goes_on'),
    ),
    *of(
        'storage/locks.py',
        'models/test_run_processes.py',
        ('the lock is not closed before the end is written', 'self.release.atexit = False', 'pass', 'test_a_program_that_says_nothing_of_the_end'),
        ('a child closes its share', 'if held.release.detach():', 'if False:', 'test_a_child_does_not_take_the_run_with_it'),
        ('one process has the lock', 'if taken is not False and', 'if', 'test_several_processes_start_one_run'),
        ('a look is waited for', '_PATIENCE_S = 0.5', '_PATIENCE_S = -1', 'test_who_looks_does_not_lock'),
    ),
    *of(
        'models/history.py',
        'models/test_metrics_of_runs.py',
        ('a torn line is cut off', '            _cut_torn_line(path)\n', '            pass\n', 'test_a_torn_last_line'),
        ('a torn line is not read', "split(b'\\n')[:-1]", "split(b'\\n')", 'test_a_torn_last_line'),
        ('half a line does not stay', '            os.ftruncate(fd, before)\n', '', 'test_a_disk_that_takes_half_a_line'),
        ('what a run went back from counts no more', "if row['step'] < ends[row['session']]:", 'if True:', 'test_a_run_that_went_back'),
        ('a damaged line is told', "type(row.get('step')) is not int or", '', 'test_a_damaged_line_is_told'),
    ),
    *of(
        'models/saver.py',
        'models/test_saver.py',
        ('what cannot be pickled is known first', '            check_picklable(self.model)\n', '            pass\n', 'test_what_cannot_be_pickled_changes_nothing'),
        ('no pickle of other weights stays', '            storage.remove(pickled)\n', '            pass\n', 'test_what_is_in_the_folder_of_a_run'),
        ('metadata are checked first', '        check_metadata(metrics_io.to_write(metadata))\n', '', 'test_the_metadata_of_the_user_and_the_metrics_stand_in_the_save'),
        ('an edited copy of settings is told where a run is resumed', '                check_copy(str(folder), archive, record)\n', '', 'test_a_copy_of_the_settings_that_was_edited'),
    ),
    *of(
        'models/saver.py',
        'models/test_run_sessions.py',
        ('a run goes on with its settings', '        if names:\n', '        if False:\n', 'test_going_on_with_other_settings_is_a_conflict'),
        ('mutable settings may change', 'if name in before and name in now and not any(', 'if name in before and name in now and any(', 'test_a_model_goes_on_with_other_mutable_settings'),
        ('damaged metrics are known first', '        self._earlier = read(os.path.join(folder, sessions.METRICS))\n', '', 'test_going_on_with_damaged_metrics_changes_nothing'),
        ('a start that fails ends the run', "                self._session.end('failed', sessions.described(error))\n", '', 'test_a_session_that_fails_at_once_is_ended'),
        ('a program may go elsewhere', 'self._folder = self._path.absolute', 'self._folder = str(self.path)', 'test_a_program_that_goes_elsewhere'),
    ),
    *of(
        'models/keeping.py',
        'models/test_saver.py',
        ('settings are those that JSON gives back', "    check_metadata(dict(config), 'config')\n", '', 'test_what_is_no_model_or_no_settings'),
        ('settings are those of the start', 'return copy.deepcopy(dict(config))', 'return config', 'test_the_settings_of_a_module_are_those_of_the_start'),
    ),
    *of(
        'models/runs.py',
        'models/test_runs.py',
        ('the best has a model', ' and run.saved is not None', '', 'test_the_best'),
        ('the best is a number', 'if not math.isnan(value) and', 'if', 'test_no_best'),
    ),
    *of(
        'models/run.py',
        'models/test_runs.py',
        ('damage hides no other run', "            self.state, self.damaged = 'damaged', str(error)", '            raise', 'test_damage_hides_no_other_run'),
        ('a closed file hides no other run', "            self.state, self.damaged = 'unreadable', str(error)", '            raise', 'test_what_cannot_be_read_hides_no_other_run'),
    ),
]  # fmt: skip

"""The guards of `objio/io` around a folder of saves: nothing needed is deleted, and a damaged save is passed over."""

from faults.guards import of

GUARDS = [
    *of(
        'io/pruning.py',
        'io/test_checkpoint_restore.py',
        (
            'what cannot be read now is not removed',
            'if not stays and state.unread:',
            'if False:',
            'test_what_cannot_be_read_now_is_not_removed',
        ),
        (
            'a save that cannot be removed fails no other',
            'except OSError as error:',
            'except ZeroDivisionError as error:',
            'test_a_save_that_cannot_be_removed_is_told',
        ),
    ),
    *of(
        'io/pruning.py',
        'io/test_checkpoint.py',
        (
            'a damaged save is never deleted',
            "stays, why = True, f'is damaged",
            "stays, why = False, f'is damaged",
            'test_a_damaged_save_does_not_count_and_makes_way',
        ),
        (
            'the save just made is never deleted',
            'elif just_made is not None and save.idx == just_made.idx:',
            'elif False:',
            'test_two_files_of_one_index_are_one_save',
        ),
    ),
    *of(
        'io/saves.py',
        'io/test_checkpoint_crowds.py',
        (
            'what another saver has put in its place is not set aside',
            '            if not _is(aside, save):\n                storage.unlink(aside, save.path)\n                return None\n',
            '',
            'test_a_save_that_another_saver_made_meanwhile_is_put_back',
        ),
        (
            'a name that was given is given once',
            'if not _is(aside, save):  #',
            'if True:  #',
            'test_two_savers_that_meet_one_damaged_file',
        ),
        (
            'nothing is written through the name of what was set aside',
            'if free and _is(save.path, save):',
            'if False:',
            'test_a_function_that_writes_in_place_leaves_what_was_set_aside',
        ),
    ),
    *of(
        'io/saves.py',
        'io/test_checkpoint_custom.py',
        (
            'a damaged file that was set aside is no save',
            '_SET_ASIDE.fullmatch(name) or ',
            '',
            'test_an_index_function_of_ones_own',
        ),
        (
            'a file whose name has no index is no save',
            "        except ValueError:\n            return None\n        try:\n            return whole_number(idx, 'checkpoint_idx', 0)",
            "        except ValueError:\n            return 0\n        try:\n            return whole_number(idx, 'checkpoint_idx', 0)",
            'test_an_index_function_of_ones_own',
        ),
        (
            'nor is one with an index that is none',
            '        except (TypeError, ValueError):\n            return None',
            '        except (TypeError, ValueError):\n            return 0',
            'test_an_index_function_of_ones_own',
        ),
        (
            'names that FILE_MATCH leaves out are no saves',
            'not fnmatch.fnmatchcase(name, self._pattern)',
            'False',
            'test_constants_that_do_not_fit_each_other_are_refused',
        ),
    ),
    *of(
        'io/saves.py',
        'io/test_checkpoint_watch.py',
        (
            'what is being watched is not removed',
            'if key in _held:',
            'if False:',
            'test_a_hold_begins_before_any_removal',
        ),
    ),
    *of(
        'io/saves.py',
        'io/test_checkpoint_restore.py',
        (
            'a bad disk is no damaged save',
            'except OSError as error:\n',
            'except ZeroDivisionError as error:\n',
            'test_what_cannot_be_read_now_is_not_removed',
        ),
        (
            'a save that vanishes is looked for again',
            'while found is None:',
            'while False:',
            'test_a_save_that_vanishes_is_looked_for_again',
        ),
    ),
    *of(
        'io/retention.py',
        'io/test_retention.py',
        (
            'the newest save is kept',
            "('keep_ckpts', 1, True)",
            "('keep_ckpts', 0, True)",
            'test_rules_that_mean_nothing_are_refused',
        ),
        (
            'an index is a whole number',
            'if isinstance(value, bool | np.bool):',
            'if False:',
            'test_what_is_no_whole_number_is_refused',
        ),
        (
            'NaN is not the best',
            'if score is None or math.isnan(score) else (False',
            'if score is None else (False',
            'test_nan_never_wins_and_ties_go_to_the_later',
        ),
    ),
    *of(
        'io/restoring.py',
        'io/test_checkpoint_restore.py',
        (
            'a damaged save is passed over',
            '                except self._damage as error:\n                    complaint',
            '                except ZeroDivisionError as error:\n                    complaint',
            'test_damaged_saves_are_passed_over_and_told',
        ),
        (
            'and told',
            'if save.path not in damaged:',
            'if False:',
            'test_damaged_saves_are_passed_over_and_told',
        ),
        (
            'nothing but damage is no fresh start',
            '        if damaged:\n            listed',
            '        if False:\n            listed',
            'test_when_all_are_damaged_each_is_listed',
        ),
        (
            'a save that vanishes before it is loaded is looked for again',
            'if self._folder.is_there(save):',
            'if True:',
            'test_a_save_that_vanishes_before_it_is_loaded_is_looked_for_again',
        ),
    ),
    *of(
        'io/restoring.py',
        'io/test_checkpoint.py',
        (
            'damage that a restore finds is remembered',
            'self._folder.mark_damaged(save, str(error) or type(error).__name__)',
            'pass',
            'test_damage_that_only_a_restore_finds_is_remembered',
        ),
    ),
    *of(
        'io/restoring.py',
        'io/test_checkpoint_custom.py',
        (
            'old values come back where a loading function fails',
            '            if self._own:\n',
            '            if True:\n',
            'test_any_other_error_goes_through_and_the_variables_come_back',
        ),
    ),
    *of(
        'io/custom.py',
        'io/test_checkpoint_custom.py',
        (
            'and what was changed in place',
            'array[...] = content',
            'pass',
            'test_any_other_error_goes_through_and_the_variables_come_back',
        ),
    ),
    *of(
        'io/custom.py',
        'io/test_checkpoint_average.py',
        (
            'a mean through a function is all or nothing',
            'with putting_back(vc), np.errstate(',
            'with np.errstate(',
            'test_a_mean_through_a_function_is_all_or_nothing',
        ),
    ),
    *of(
        'io/checkpoint.py',
        'io/test_checkpoint.py',
        (
            'only the first process writes',
            '        if jax.process_index() != 0:\n            return\n',
            '',
            'test_only_the_first_process_writes',
        ),
        (
            'an index is not negative',
            "idx = whole_number(idx, 'idx', 0)",
            'pass',
            'test_an_index_is_not_negative_and_may_be_of_any_width',
        ),
    ),
    *of(
        'io/checkpoint.py',
        'io/test_checkpoint_background.py',
        (
            'the save in flight counts for the order',
            'self._writer.wait()\n        self._writer.settle()',
            'pass',
            'test_the_save_in_flight_counts_for_the_order',
        ),
    ),
]

"""The guards of `objio/io` around one file: a model changes whole or not at all, and no value changes in silence."""

from faults.guards import of

GUARDS = [
    *of(
        'io/ops.py',
        'io/test_load.py',
        (
            'everything is read before anything is assigned',
            'put(targets, place(arrays, ',
            (
                'for one, target in zip(arrays, targets, strict=True):\n'
                '            put([target], place([one], values_of([target])))\n        str(('
            ),
            'test_damage_that_is_found_late_changes_nothing',
        ),
        (
            'arrays of one variable are equal',
            'if array.dtype != twin.dtype or not np.array_equal(_bits(array), _bits(twin)):',
            'if False:',
            'test_several_arrays_for_a_tied_variable_must_be_equal_in_every_bit',
        ),
        (
            'in every bit',
            'not np.array_equal(_bits(array), _bits(twin))',
            'not np.array_equal(array, twin, equal_nan=True)',
            'test_several_arrays_for_a_tied_variable_must_be_equal_in_every_bit',
        ),
        (
            'no number of 64 bits is narrowed',
            'cure if narrowed(value.dtype) else',
            "''  if narrowed(value.dtype) else",
            'test_a_number_of_64_bits_is_not_narrowed',
        ),
        (
            'values that do not fit are told',
            '    if problems:\n        raise value_mismatch(name, problems)\n',
            '',
            'test_a_mismatch_leaves_every_variable_as_it_was',
        ),
    ),
    *of(
        'io/entries.py',
        'io/test_select.py',
        (
            'a choice of nothing is an error',
            'if not literals and not none:',
            'if not literals:',
            'test_a_choice_of_nothing_is_an_error',
        ),
    ),
    *of(
        'io/entries.py',
        'io/test_unmatched.py',
        (
            'a literal name that matches nothing is an error',
            'if not literals and not none:',
            'if not none:',
            'test_a_literal_entry_that_matches_nothing_is_an_error',
        ),
    ),
    *of(
        'io/metrics.py',
        'io/test_save.py',
        (
            "objio's own keys are reserved",
            "isinstance(key, str) and key.startswith('objio.')",
            'False',
            'test_reserved_keys_of_the_metadata_are_refused',
        ),
    ),
    *of(
        'io/metrics.py',
        'io/test_metadata.py',
        (
            'a value that objio made is let through under its own key alone',
            ' and value.key == key)',
            ')',
            'test_what_was_made_for_one_key_stands_under_no_other',
        ),
    ),
    *of(
        'io/best_mode.py',
        'io/test_best_mode.py',
        (
            'a name with words of both directions tells nothing',
            'return directions.pop() if len(directions) == 1 else None',
            'return directions.pop() if directions else None',
            'test_names_of_the_field_tell_what_is_best',
        ),
        (
            'words that turn the meaning around tell nothing',
            "if 'doubtful' in kinds or",
            'if',
            'test_names_of_the_field_tell_what_is_best',
        ),
        (
            'signs that turn the meaning around tell nothing',
            ' or any(_turns(match[1]) for match in _TURNED.finditer(metric))',
            '',
            'test_what_turns_a_known_word_around_is_not_passed_over',
        ),
    ),
    *of(
        'variables/variable.py',
        'io/test_load.py',
        (
            'old values come back where a variable refuses its new one',
            'if variable.value is not old:',
            'if False:',
            'test_a_variable_that_refuses_its_value_changes_nothing',
        ),
    ),
    *of(
        'variables/renamer.py',
        'io/test_load.py',
        ('no two names become one', 'if new in olds:', 'if False:', 'test_two_names_that_become_one_are_an_error'),
    ),
    *of(
        'io/plan.py',
        'io/test_load.py',
        (
            'a file that does not fit is not loaded',
            'self.check()',
            'pass',
            'test_a_mismatch_leaves_every_variable_as_it_was',
        ),
    ),
    *of(
        'io/conversion.py',
        'io/test_convert.py',
        (
            'no dtype changes unless it is asked for',
            'if castable(spec.dtype, dtype) and cast:',
            'if castable(spec.dtype, dtype):',
            'test_every_pair_of_dtypes',
        ),
        (
            'keys and words change only on request',
            'return Exchange.KEY_DATA if keyless or cast else None',
            'return Exchange.KEY_DATA',
            'test_words_of_an_objio_file_are_words',
        ),
        (
            'an integer is cast where every value survives',
            'lost = (numbers < low) | (numbers > high)',
            'lost = numbers != numbers',
            'test_an_integer_is_cast_where_every_value_survives',
        ),
        (
            'a float is cast where every value survives',
            'if gone.any():',
            'if False:',
            'test_a_float_is_rounded_as_numpy_rounds_it',
        ),
        (
            'a Python number is not rounded',
            'if how is Exchange.SCALAR and not np.array_equal(',
            'if False and not np.array_equal(',
            'test_a_number_that_does_not_fit_is_refused',
        ),
    ),
    *of(
        'io/conversion.py',
        'io/test_load.py',
        (
            'no shape changes',
            'if spec.shape != shape:',
            'if False:',
            'test_a_mismatch_leaves_every_variable_as_it_was',
        ),
    ),
    *of(
        'io/contents.py',
        'io/test_save.py',
        (
            'a deleted array is refused',
            'if array.is_deleted():',
            'if False:',
            'test_a_value_that_no_file_can_hold_is_refused_by_name',
        ),
        (
            'a masked array is refused',
            'if isinstance(value, np.ma.MaskedArray):',
            'if False:',
            'test_a_value_that_no_file_can_hold_is_refused_by_name',
        ),
        (
            'a shape without a value is refused',
            'if isinstance(value, jax.ShapeDtypeStruct):',
            'if False:',
            'test_a_value_that_no_file_can_hold_is_refused_by_name',
        ),
        (
            'an int beyond 64 bits is refused',
            'if array.dtype == object:',
            'if False:',
            'test_a_value_that_no_file_can_hold_is_refused_by_name',
        ),
        (
            'keys that nobody could make again are refused',
            'if label not in WRITABLE:',
            'if False:',
            'test_keys_of_a_custom_implementation_are_refused',
        ),
        (
            'NumPy arrays are no aliases',
            'if from_jax else name',
            'if True else name',
            'test_one_numpy_array_in_two_variables_is_stored_twice',
        ),
    ),
    *of(
        'io/contents.py',
        'io/test_staging.py',
        (
            'values made anew are not taken for one',
            'alive.append(value)',
            'pass',
            'test_values_made_anew_are_not_taken_for_one',
        ),
    ),
    *of(
        'io/contents.py',
        'io/test_snapshot.py',
        (
            'a snapshot copies what NumPy holds',
            'return value.copy() if isinstance(value, np.ndarray) else value',
            'return value',
            'test_later_changes_do_not_reach_it',
        ),
        (
            'and keys',
            'return jnp.copy(value)',
            'return value',
            'test_donated_arrays_keep_their_values',
        ),
    ),
    *of(
        'io/contents.py',
        'io/test_checkpoint_background.py',
        (
            'a background save writes what was there at the call',
            'visible = {name: np.asarray(value) for name, value in self.visible.items()}',
            'visible = self.visible',
            'test_fifty_donating_steps_write_what_they_held',
        ),
    ),
    *of(
        'io/files.py',
        'io/test_path_of.py',
        (
            'home is no folder called ~',
            "if path != '~' and path[:2] not in {'~/', f'~{os.sep}'}:",
            'if True:',
            'test_a_leading_tilde_is_the_home_folder',
        ),
        (
            'a home folder that is not known is an error',
            'if not os.path.isabs(home):',
            'if False:',
            'test_a_home_that_is_not_known_is_an_error',
        ),
        (
            'a Path of a URL is no folder of the working folder',
            "storage.refuse_url(_SHORTENED_URL.sub(r'\\1://', path))",
            'pass',
            'test_a_url_is_refused',
        ),
        (
            'a path means what it meant when it was given',
            '            if os.path.abspath(self._given) == self.absolute:\n',
            '            if True:\n',
            'test_a_fixed_path_means_what_it_meant',
        ),
    ),
    *of(
        'io/converting.py',
        'io/test_file_objects.py',
        (
            'a file is not converted into itself in place',
            'src is dst or storage.is_same_file(path_of(src) or src, dst)',
            'src is dst',
            'test_a_file_is_not_converted_into_itself_in_place',
        ),
    ),
    *of(
        'io/files.py',
        'io/test_open.py',
        (
            'a file that cannot be read is not left open',
            'with open_source(file) as source:',
            "source = globals()['kept'] = open_source(file)\n    if True:",
            'test_a_file_that_cannot_be_read_is_not_left_open',
        ),
        (
            'a closed file gives no arrays',
            'if self._closed:',
            'if False:',
            'test_a_closed_file_is_closed',
        ),
        (
            'verify finds every damaged array',
            'damaged.append(str(error))',
            'pass',
            'test_verify_finds_every_damaged_array',
        ),
    ),
    *of(
        'io/averaging.py',
        'io/test_average.py',
        (
            'files of a mean have the same names, shapes and dtypes',
            '    if differences:\n',
            '    if False:\n',
            'test_every_difference_is_listed',
        ),
        (
            'bits are no numbers',
            "if spec.dtype.startswith(('V', '<f', '<c')):",
            'if False:',
            'test_numbers_that_are_none_to_numpy_are_refused',
        ),
        ('each file has a weight', 'if len(numbers) != count:', 'if False:', 'test_what_cannot_be_averaged'),
        (
            'weights have a sum',
            'if not math.isfinite(total) or not total:',
            'if False:',
            'test_what_cannot_be_averaged',
        ),
        (
            'what has no weight has no say',
            'zip(pieces, weights, strict=True) if weight]',
            'zip(pieces, weights, strict=True)]',
            'test_weights_are_ratios',
        ),
        ('a mean has a file', 'if not archives:', 'if False:', 'test_what_cannot_be_averaged'),
    ),
    *of(
        'io/pickling.py',
        'io/test_save_module.py',
        (
            'nothing is unpickled that is not trusted',
            'if trusted is not True:',
            'if False:',
            'test_nothing_is_touched_before_it_is_trusted',
        ),
        (
            'the checksum of a pickle is compared',
            "if note[len(_NOTE) :] != f'{crc:08x}'.encode():",
            'if False:',
            'test_every_changed_byte_is_damage',
        ),
    ),
    *of(
        'io/families.py',
        'io/test_plan.py',
        (
            'a name of thousands of numbers is not taken apart',
            'return len(name) <= _LONGEST and',
            'return True or',
            'test_names_of_thousands_of_numbers_take_no_memory',
        ),
    ),
]

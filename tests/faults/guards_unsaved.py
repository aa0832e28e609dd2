"""The guards of what is saved: nothing that holds data is left out without a word."""

from faults.guards import of

_KINDS = 'test_what_cannot_be_saved_is_refused_by_name'
_BACK = 'test_it_is_saved_and_comes_back_with_its_own_type'

GUARDS = [
    *of(
        'variables/tree.py',
        'variables/test_containers.py',
        ('a leaf that holds data is looked at', '        found = find_data(leaf)\n', '        found = None\n', _KINDS),
        ('what stands beside the items counts', 'if container is not None and find_data(container.others(leaf)) is None:', 'if container is not None:', _KINDS),
        ('what can be called is not taken apart', 'container = None if callable(leaf) else take_apart(leaf)', 'container = None', _BACK),
        ('a container in itself ends', 'elif any(leaf is container for container in self._open):', 'elif False:', _KINDS),
        ('a name to ignore is that of a leaf', '            check_ignored(self._ignored, self._names)', '            pass', 'test_a_name_to_ignore_that_nothing_has_is_refused'),
    ),
    *of(
        'variables/containers.py',
        'variables/test_containers.py',
        ('a copy holds none of the old items', 'copy.copy(self._empty) if self._kind.in_place', 'self._empty if self._kind.in_place', 'test_the_tree_that_was_given_stays_as_it_is'),
        ('a generator is called by its algorithm', "[state.pop('bit_generator')], [_encoded(state)]", "['rng'], [_encoded({k: v for k, v in state.items() if k != 'bit_generator'})]", 'test_the_state_of_another_algorithm_is_never_taken'),
    ),
    *of(
        'variables/hidden.py',
        'variables/test_containers.py',
        ('what only a pickle shows counts', '        if not arrays and _is_opaque(here, seen_into=bool(inner)):', '        if False:', _KINDS),
        ('the value of a member counts', "            waiting.append((f'{path}.value', here.value, arrays))", '            pass', _KINDS),
        ('bytes are data', 'isinstance(here, (numbers.Number, np.generic, *_BYTES))', 'isinstance(here, (numbers.Number, np.generic))', _KINDS),
    ),
    *of(
        'variables/values.py',
        'variables/test_containers.py',
        ('a number that is more than a number is none', 'return type(made) is kind and alike and bool(made.__getstate__() == value.__getstate__())', 'return True', _KINDS),
        ('a member stays a member', '    if is_scalar(current) and type(current) not in SCALARS and not is_tracer(new):', '    if False:', 'test_a_member_stays_a_member_when_it_is_assigned'),
    ),
    *of(
        'variables/module.py',
        'variables/test_module.py',
        ('containers give no second name', 'if id(target(variable)) not in known}', '}', 'test_a_container_gives_no_second_name'),
        ('containers come last', "behind = getattr(found, '_late', ())", 'behind = ()', 'test_what_containers_hold_comes_behind_the_attributes_of_all_modules'),
        ('circles of modules end', '    if id(module) in _walks.modules:', '    if False:', 'test_circles_through_containers_end'),
        ('circles of containers end', '    if id(container) in above:', '    if False:', 'test_circles_through_containers_end'),
    ),
    *of(
        'variables/unsaved.py',
        'io/test_unsaved.py',
        ('hidden variables are refused', '    if certain:\n', '    if False:\n', 'test_variables_where_vars_does_not_look_are_refused'),
        ('a save of nothing is refused where there are arrays', '    if found and not len(vc):', '    if False:', 'test_a_save_of_nothing_by_what_holds_arrays_is_refused'),
        ('an array is told once', '            told.add(one.name)\n', '', 'test_an_array_beside_the_variables_is_told_once'),
        ('what is saved elsewhere is not told', 'known = {id(thing) for thing in (*variables, *values_of(variables))}', 'known = set(map(id, variables))', 'test_what_is_saved_elsewhere_in_the_module_is_not_told'),
    ),
    *of(
        'variables/unsaved.py',
        'io/test_unsaved_hidden.py',
        ('variables behind a function are told', '        elif held := behind(thing):\n', '        elif held := []:\n', 'test_variables_behind_a_function_are_told'),
    ),
    *of(
        'io/contents.py',
        'io/test_unsaved_hidden.py',
        ('a unit is not lost', '            _check_plain(value)\n', '            pass\n', 'test_an_array_that_is_more_than_an_array_is_refused'),
    ),
    *of(
        'variables/variable.py',
        'io/test_any_name.py',
        ('a dict is not asked for what it may add', 'or (isinstance(thing, Mapping) and not has_own)', '', 'test_a_dict_with_attributes_is_saved_as_a_dict'),
        ('what answers to every name has no method', 'and (has_own or isinstance(found, types.MethodType))', '', 'test_asking_the_keys_of_flax_makes_no_key'),
    ),
    *of(
        'io/restoring.py',
        'io/test_checkpoint_custom_loads.py',
        ('what a function leaves is told', 'if report is None and (kept := unassigned()):', 'if False:', 'test_a_function_that_assigns_less_is_told'),
    ),
    *of(
        'io/plan.py',
        'io/test_unmatched.py',
        ('a misspelt new name is told', 'if self._given and self._allowed[0] and self.missing:', 'if False:', 'test_a_rename_to_a_name_near_that_of_a_missing_variable_is_told'),
    ),
    *of(
        'io/subjects.py',
        'io/test_unsaved.py',
        ('a name to ignore is that of something', '    check_ignored(ignored, [*vc.keys(), *others])\n', '', 'test_names_that_are_ignored_are_left_out'),
        ('an empty save is logged', "        _LOG.warning('%s holds no variables", "        _LOG.debug('%s holds no variables", 'test_a_save_of_truly_nothing_is_made_and_logged'),
    ),
    *of(
        'io/placement.py',
        'variables/test_containers.py',
        ('a member that is not there is one error', 'raise MismatchError(f', 'raise ValueError(f', 'test_a_number_that_its_class_does_not_know_is_refused'),
    ),
    *of(
        'variables/unsaved.py',
        'reports/test_public_reports_state.py',
        ('variables of a class count', "                inner += [(f'.{key}', item) for key, item in shared[cls].items() if key not in thing.__dict__]\n", '', 'test_layers_of_a_class'),
        ('what goes on by itself counts', ' or advances(thing):', ':', 'test_the_place_in_the_data'),
    ),
    *of(
        'variables/behind.py',
        'io/test_unsaved_hidden.py',
        ('instances of a class are no parts of it', ' for name, item in own if not any(isinstance(part, base) for part in _parts(item))}', ' for name, item in own}', 'test_what_only_looks_like_variables_or_arrays_is_no_data'),
    ),
    *of(
        'io/checkpoint.py',
        'reports/test_public_reports_loads.py',
        ('the folder of the saves is no folder of a run', '            refuse_saves_in(folder(self.logdir), self._folder.path)', '            pass', 'test_a_restore_from_a_folder_without_saves'),
    ),
    *of(
        'io/background.py',
        'reports/test_public_reports_program.py',
        ('a save on its way is a save', '                job.done.result()\n', '                pass\n', 'test_a_load_right_after_a_save_that_is_still_written'),
    ),
    *of(
        'models/run.py',
        'reports/test_public_reports_best.py',
        ('the best run tells of another model', 'if self._chosen is not None:', 'if False:', 'test_the_model_of_the_best_run'),
    ),
]  # fmt: skip

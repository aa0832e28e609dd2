"""The guards of `objio/models`: settings belong to their weights, and nobody's value is lost or changed unseen."""

from faults.guards import of

_CONFIG, _PRECEDENCE, _MODEL, _COPY, _TRAINING = (
    f'models/test_{name}.py' for name in ('config', 'precedence', 'model', 'model_copy', 'model_training')
)

GUARDS = [
    *of(
        'models/config.py',
        _CONFIG,
        (
            'an immutable setting is not assigned',
            'if self._sealed or not (by_leaf or is_mutable(field)):',
            'if self._sealed:',
            'test_an_immutable_setting_stays',
        ),
        (
            'a setting in a list is not assigned',
            'if self._sealed or not (by_leaf or is_mutable(field)):',
            'if not (by_leaf or is_mutable(field)):',
            'test_values_are_frozen_all_the_way_down',
        ),
        (
            'nested settings are assigned leaf by leaf',
            'if not is_mutable(field):\n                raise',
            'if False:\n                raise',
            'test_nested_settings_are_assigned_leaf_by_leaf',
        ),
        (
            'what is assigned is given',
            'self.__pydantic_fields_set__.add(name)',
            'pass',
            'test_defaults_and_given_are_told_apart',
        ),
        (
            'a deleted setting is refused',
            "raise ConfigPropertyImmutable(f'{title(type(self))}.{name}', self.__dict__[name])",
            'pass',
            'test_an_immutable_setting_stays',
        ),
        (
            'the directory is not pickled',
            "'_directory': None}}",
            '}}',
            'test_copies_and_pickles_are_equal',
        ),
        (
            'a name that every Config has is refused',
            "if hasattr(Config, name) and not name.startswith('_')",
            "if False and not name.startswith('_')",
            'test_names_that_every_config_has_are_refused',
        ),
        (
            'undeclared settings stay forbidden',
            "if cls.model_config.get('extra') != 'forbid':",
            'if False:',
            'test_undeclared_settings_are_not_to_be_allowed',
        ),
        (
            'a setting keeps its own name',
            'if field.exclude or field.alias',
            'if field.alias',
            'test_what_could_not_be_saved_is_refused_when_the_class_is_made',
        ),
    ),
    *of(
        'models/settings.py',
        _CONFIG,
        (
            'types are strict in Python',
            'strict=True, extra',
            'strict=False, extra',
            'test_what_is_wrong_is_told',
        ),
        (
            'what is frozen is taken again',
            'if thawed is value:\n                raise',
            'raise',
            'test_frozen_values_can_be_passed_on',
        ),
        (
            'a default of the outer settings is no given one',
            'mark(own, frozenset())',
            'pass',
            'test_defaults_and_given_are_told_apart',
        ),
        (
            'nested settings are of nobody else',
            'own = value.model_copy(deep=True)\n                    for',
            'own = value\n                    for',
            'test_the_default_of_a_class_is_not_shared',
        ),
        (
            'values are frozen',
            'self.__dict__[name] = freeze(value, _seal)',
            'pass',
            'test_values_are_frozen_all_the_way_down',
        ),
        (
            'sets are written in one order',
            'sorted(inner, key=json.dumps) if isinstance(value, frozenset) else inner',
            'inner',
            'test_equal_settings_give_equal_text',
        ),
        (
            'infinities are written as words',
            "written if abs(written) < float('inf') else str(written)",
            'written',
            'test_text_goes_out_and_comes_back',
        ),
        (
            'what can be changed in place is refused',
            'if type(value).__hash__ is None:',
            'if False:',
            'test_a_value_that_can_be_changed_in_place_is_refused',
        ),
        (
            'an unknown setting is told with the nearest',
            'raise ValueError(unknown_names(cls, unknown))',
            'pass',
            'test_what_is_wrong_is_told',
        ),
    ),
    *of(
        'messages.py',
        _PRECEDENCE,
        (
            'a warning points outside objio',
            'stacklevel=level',
            'stacklevel=1',
            'test_a_newer_package_is_told_with_both_versions',
        ),
    ),
    *of(
        'models/merging.py',
        _PRECEDENCE,
        (
            'nothing is loaded where settings conflict',
            'if merging.conflicts:',
            'if False:',
            'test_each_cell_through_a_model',
        ),
        (
            'what was given stays given',
            'mark(merged, config.given | record.given)',
            'mark(merged, config.given)',
            'test_each_cell_through_a_model',
        ),
        (
            'a lost setting is told',
            'if name not in type(config).model_fields:',
            'if False:',
            'test_a_setting_that_was_lost_is_told',
        ),
        (
            'a saved value is checked',
            'return type(self._config).model_validate(values, strict=False)',
            'return type(self._config).model_construct(**values)',
            'test_a_saved_value_that_is_no_longer_valid_is_a_conflict',
        ),
        (
            'what is given stays strict where others are missing',
            'if len(missing) < error.error_count() or',
            'if',
            'test_settings_without_a_default_are_taken_from_the_save',
        ),
        (
            'what was filled in is not given',
            'mark(config, frozenset(path for path in config.given if not _below(path, missing)))',
            'pass',
            'test_a_saved_default_of_a_setting_that_has_none_today',
        ),
    ),
    *of(
        'models/merging.py',
        _MODEL,
        (
            'a model that exists keeps its immutable settings',
            'in_force = self._built and not mutable and differs',
            'in_force = False',
            'test_load_is_all_or_nothing',
        ),
    ),
    *of(
        'models/record.py',
        _COPY,
        (
            'an edited copy is told',
            'elif found != record.as_json():',
            'elif False:',
            'test_a_copy_edited_by_hand_is_a_conflict',
        ),
        (
            'a copy of another save is passed over',
            'if crc != checksum(archive):',
            'if False:',
            'test_a_copy_of_another_save_is_passed_over',
        ),
        (
            'a copy that cannot be read is told',
            'except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:',
            'except KeyError as error:',
            'test_a_damaged_copy_is_told_to_be_only_a_copy',
        ),
    ),
    *of(
        'models/record.py',
        _MODEL,
        (
            'weights without settings are told',
            'not isinstance(found, Mapping)\n            or any(',
            'any(',
            'test_weights_without_settings_are_told',
        ),
    ),
    *of(
        'models/place.py',
        _MODEL,
        (
            'the folder appears whole',
            'storage.create_folder(self.folder, durable=durable) as new:',
            'contextlib.nullcontext(storage.make_folder(self.folder) or self.folder) as new:',
            'test_a_save_that_fails_leaves_no_directory',
        ),
        (
            'a file in the place of the folder is told',
            'elif not stat.S_ISDIR(found.st_mode):',
            'elif False:',
            'test_a_directory_that_cannot_be_written_is_one_error',
        ),
    ),
    *of(
        'models/model.py',
        'models/test_saver.py',
        (
            'a model that a run gave does not replace the run',
            '            sessions.refuse_stranger(storage.folder_of(place.file))\n',
            '            pass\n',
            'test_only_the_run_itself_writes_into_its_folder',
        ),
    ),
    *of(
        'models/place.py',
        _COPY,
        (
            'the copy belongs to the weights in a folder',
            'write_copy(folder, durable=durable)',
            'pass',
            'test_the_copy_tells_what_the_weights_carry',
        ),
    ),
    *of(
        'models/model.py',
        _MODEL,
        (
            'a Config derives from those of the bases',
            'and issubclass(cls.Config, own)):',
            'and True):',
            'test_a_config_must_derive_from_those_of_the_bases',
        ),
    ),
    *of(
        'models/model.py',
        _TRAINING,
        (
            'a background save holds the values of the call',
            'frozen, place, content = contents.frozen(),',
            'frozen, place, content = contents,',
            'test_a_background_save_is_a_snapshot',
        ),
        (
            'the metadata of a background save is a copy',
            'copy.deepcopy(content)',
            'content',
            'test_a_background_save_is_a_snapshot',
        ),
        (
            'a background save goes where it was told',
            'place.absolute()',
            'place',
            'test_a_program_that_ends_finishes_its_save',
        ),
        (
            'the collections among the attributes are saved',
            'if isinstance(collection, VarCollection) and not',
            'if False and not',
            'test_a_training_goes_on_bit_for_bit',
        ),
    ),
    *of(
        'io/saves.py',
        _TRAINING,
        (
            'a first checkpoint that fails leaves no folder',
            'os.rmdir(folder)',
            'pass',
            'test_a_first_checkpoint_that_fails_leaves_no_folder',
        ),
    ),
    *of(
        'storage/new_folder.py',
        'storage/test_new_folder.py',
        (
            'a new folder that failed is removed',
            '_remove(temporary)',
            'pass',
            'test_an_error_leaves_nothing',
        ),
        (
            'a folder that came meanwhile is told',
            'if error.errno in _TAKEN:',
            'if False:',
            'test_a_folder_that_came_meanwhile_is_kept',
        ),
        (
            'folders of dead writers are removed',
            '_sweep(above)',
            'pass',
            'test_a_killed_writer_loses_its_folder_and_a_living_one_keeps_it',
        ),
        (
            'links are not swept',
            'and not os.path.islink(path)',
            '',
            'test_nothing_else_is_swept',
        ),
    ),
    *of(
        'storage/temporary.py',
        'storage/test_new_folder.py',
        (
            'the folder of a living writer stays',
            "return _is_dead(match['space'], match['pid'])",
            'return True',
            'test_a_killed_writer_loses_its_folder_and_a_living_one_keeps_it',
        ),
        (
            'a folder of another machine stays for an hour',
            'return time.time() - os.stat(path).st_mtime >= _FORGOTTEN_AFTER_S',
            'return True',
            'test_what_cannot_be_known_goes_after_an_hour',
        ),
    ),
]

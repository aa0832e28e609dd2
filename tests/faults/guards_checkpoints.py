"""The guards of a model's checkpoints: each load takes the settings of its own save, all or nothing."""

from faults.guards import of

_MODEL, _TRAINING, _CHECKPOINTS = (
    f'models/test_{name}.py' for name in ('model', 'model_training', 'model_checkpoints')
)

GUARDS = [
    *of(
        'models/checkpoints.py',
        'models/test_saver.py',
        (
            'checkpoints of a model that a run gave do not go into the run',
            '            sessions.refuse_stranger(self._model.directory)\n',
            '            pass\n',
            'test_only_the_run_itself_writes_into_its_folder',
        ),
    ),
    *of(
        'models/checkpoints.py',
        _CHECKPOINTS,
        (
            'a mean of a model is all or nothing',
            'self._LOAD_MEAN = ',
            '_ = ',
            'test_a_mean_that_fails_changes_nothing',
        ),
        (
            'a checkpoint saves no other model with its settings',
            '        self._refuse_other(vc)\n        self._refuse_stranger()\n',
            '        self._refuse_stranger()\n',
            'test_a_checkpoint_refuses_another_model',
        ),
        (
            'a checkpoint loads no other model with its settings',
            '        self._refuse_other(vc)\n        return vc.state()',
            '        return vc.state()',
            'test_a_checkpoint_refuses_another_model',
        ),
    ),
    *of(
        'models/settings.py',
        _CHECKPOINTS,
        (
            'settings that go into others are given there',
            'owner._before_load.clear()',
            'pass',
            'test_settings_that_go_into_another_model_are_given_there',
        ),
    ),
    *of(
        'models/checkpoints.py',
        _MODEL,
        (
            'a load that fails changes no settings',
            '    report = load_archive(',
            '    adopt(model.config, merged.config)\n    report = load_archive(',
            'test_load_is_all_or_nothing',
        ),
    ),
    *of(
        'models/merging.py',
        _CHECKPOINTS,
        (
            'what a load took was given by nobody',
            'cast(Config, before_loads(config))',
            'config',
            'test_each_load_takes_the_settings_of_its_save',
        ),
    ),
    *of(
        'models/config.py',
        _CHECKPOINTS,
        (
            'what is assigned is given from then on',
            'self._before_load.pop(name, None)',
            'pass',
            'test_what_is_assigned_outlives_a_load',
        ),
        (
            'nested settings that are replaced keep where they come from',
            'keep_origin(old, new, given_now)',
            'pass',
            'test_nested_settings_that_are_replaced_are_given_where_they_differ',
        ),
    ),
    *of(
        'models/checkpoints.py',
        _TRAINING,
        (
            'a checkpoint makes no folder before its first save',
            '_LATE = True',
            '_LATE = False',
            'test_checkpoints_carry_the_settings',
        ),
        (
            'a checkpoint brings the settings back',
            'adopt(model.config, merged.config)',
            'pass',
            'test_checkpoints_carry_the_settings',
        ),
        (
            'a restore checks the settings',
            'merge(model.config, record, cls, name, built=True)',
            'merge(cls.Config(), record, cls, name)',
            'test_checkpoints_carry_the_settings',
        ),
    ),
    *of(
        'models/saver.py',
        'models/test_run_sessions.py',
        (
            'a step is known before weights are loaded',
            'if not step.is_integer():',
            'if False:',
            'test_a_step_that_is_none_changes_no_weights',
        ),
    ),
]

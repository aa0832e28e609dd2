"""Keys of metadata that start with `objio.`: refused where a user gives them, kept where objio made them."""

import copy
import io
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_checkpoint import model, names, with_functions
from support_wide import Wide, listed

import objio
from objio.io.metrics import checked, reserved, to_write

FORGED: list[Any] = [
    {'objio.config': {'class': 'x', 'values': {}}},
    {'objio.metrics': {'loss': 0.0}},
    {'note': 'x', 'objio.weak': ['w']},
    {'objio.': None},
    {'objio.a.b': 'text'},
    {type('Name', (str,), {})('objio.metrics'): {}},
]
FREE: list[Any] = [{'OBJIO.x': '1'}, {'objio': '1'}, {'objiox.y': '1'}, {'my.objio.metrics': '1'}, {' objio.x': '1'}]


@pytest.mark.parametrize('metadata', FORGED, ids=lambda forged: list(forged)[-1])
def test_every_verb_refuses_reserved_keys(metadata: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is written, and the message names the key and the way to drop it."""
    objio.save_var_collection(tmp_path / 'source.npz', model())
    source = Wide(tmp_path / 'm')
    with objio.Saver(objio.nn.Linear(2, 1), run='a', root=tmp_path / 'storage') as saver:
        before = listed(tmp_path / 'storage/a')
        verbs: list[Callable[[], Any]] = [
            lambda: objio.save_var_collection(tmp_path / 'x.npz', model(), metadata=metadata),
            lambda: objio.save_var_collection(tmp_path / 'x.safetensors', {'w': np.ones(3)}, metadata=metadata),
            lambda: objio.save_var_collection(io.BytesIO(), model(), metadata=metadata),
            lambda: objio.convert(tmp_path / 'source.npz', tmp_path / 'x.npz', metadata=metadata),
            lambda: objio.Checkpoint(tmp_path).save(model(), 1, metadata=metadata),
            lambda: objio.Checkpoint(tmp_path, background=True).save(model(), 1, metadata=metadata),
            lambda: source.save(metadata=metadata),
            lambda: source.checkpoint().save(source, 1, metadata=metadata),
            lambda: saver.save(metadata=metadata),
        ]
        for verb in verbs:
            with pytest.raises(ValueError, match=r'"objio\." are reserved.*drop them: \{k: v for k, v in'):
                verb()
        assert listed(tmp_path / 'storage/a') == before
    assert names(tmp_path) == ['ckpt', 'source.npz', 'storage']
    assert names(tmp_path / 'ckpt') == []


@pytest.mark.parametrize('metadata', [*FREE, {'mine': {'objio.metrics': {'loss': 1.0}}}, {'mine': [{'objio.x': 1}]}])
def test_other_keys_are_free(metadata: dict[str, Any], tmp_path: Path) -> None:
    """Only the beginning of a key at the top, in small letters, is objio's own."""
    objio.save_var_collection(tmp_path / 'x.npz', model(), metadata=metadata)
    with objio.open(tmp_path / 'x.npz') as saved:
        assert saved.metadata == metadata


def test_keys_that_are_no_text_stay_a_fault_of_type(tmp_path: Path) -> None:
    """A key of another type is the format's to refuse, as before."""
    with pytest.raises(TypeError, match='keys of type str'):
        objio.save_var_collection(tmp_path / 'x.npz', model(), metadata={b'objio.metrics': 1})  # type: ignore[dict-item]
    assert names(tmp_path) == []


def test_metadata_of_a_file_is_not_carried_over_unseen(tmp_path: Path) -> None:
    """What a file has under reserved keys is refused in another save; dropped as the message says, the rest goes."""
    objio.Checkpoint(tmp_path).save(model(), 1, metrics={'loss': 0.5}, metadata={'note': 'x'})
    with objio.open(tmp_path / 'ckpt/0000000001.npz') as saved:
        metadata = saved.metadata
    for save in (
        objio.save_var_collection,
        lambda file, vc, metadata: objio.Checkpoint(file).save(vc, 1, metadata=metadata),
    ):
        with pytest.raises(ValueError, match=r'objio\.metrics.*drop them') as raised:
            save(tmp_path / 'new', model(), metadata=metadata)
    rest = eval(str(raised.value).partition('drop them: ')[2])
    assert rest == {'note': 'x'}
    objio.save_var_collection(tmp_path / 'new.npz', model(), metadata=rest)


PASSED_ON: list[Callable[[Any], Any]] = [
    lambda metadata: metadata,
    dict,
    copy.copy,
    copy.deepcopy,
    lambda metadata: {**metadata, 'mine': '1'},
    lambda metadata: {'mine': '1'} | metadata,
    lambda metadata: {key: copy.copy(value) for key, value in reversed(metadata.items())},
    type('Own', (dict,), {}),
]


@pytest.mark.parametrize('pass_on', PASSED_ON)
@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
@pytest.mark.parametrize('background', [False, True])
def test_a_saving_function_passes_on_what_it_got(
    pass_on: Callable[[Any], Any], suffix: str, background: bool, tmp_path: Path
) -> None:
    """Metrics of a Checkpoint go through a function of the user's into the file, and come back as plain dicts."""

    def save(file: str, vc: objio.VarCollection, metadata: Mapping[str, Any] | None = None) -> None:
        objio.save_var_collection(file, vc, metadata=pass_on(metadata))

    kind = with_functions(save, objio.load_var_collection, FILE_FORMAT=f'%010d.{suffix}', FILE_MATCH=f'*.{suffix}')
    with kind(tmp_path, keep_ckpts=1, keep_best=1, best_metric='acc', background=background) as ckpt:
        for idx, value in enumerate([0.5, 0.9, float('nan')], 1):
            ckpt.save(model(idx), idx, metrics={'acc': value}, metadata={'note': 'x'})
    assert (ckpt.idxs(), ckpt.best()) == ([2, 3], 2)
    with objio.open(tmp_path / f'ckpt/0000000002.{suffix}') as saved:
        assert saved.metadata == {'note': 'x', 'objio.metrics': {'acc': 0.9}} | (
            {'mine': '1'} if len(saved.metadata) == 3 else {}
        )
        assert type(saved.metadata['objio.metrics']) is dict


@pytest.mark.parametrize('pass_on', PASSED_ON)
def test_settings_of_a_model_are_passed_on_too(pass_on: Callable[[Any], Any], tmp_path: Path) -> None:
    """A saving function of a model's checkpoint writes the settings that it got, and they are restored."""

    class Own(objio.models.checkpoints.ModelCheckpoint):  # type: ignore[name-defined,misc]
        SAVE_FN = staticmethod(
            lambda file, vc, metadata=None: objio.save_var_collection(file, vc, metadata=pass_on(metadata))
        )

    source = Wide(tmp_path / 'm', note='mine')
    Own(source).save(source, 1, metrics={'loss': 0.5})
    again = Wide(tmp_path / 'm')
    assert Own(again).restore(again)[0] == 1
    assert again.config.note == 'mine'


def test_what_was_made_for_one_key_stands_under_no_other() -> None:
    """A value of objio's is let through under its own key alone, and what changed its type is the user's."""
    made = reserved('objio.metrics', {'loss': 0.5})
    assert checked(made) == made == {'objio.metrics': {'loss': 0.5}}
    assert type(to_write(made)['objio.metrics']) is dict
    for key, value in (
        ('objio.config', made['objio.metrics']),
        ('objio.metrics', dict(made['objio.metrics'])),
        ('objio.metrics', json.loads(json.dumps(made))['objio.metrics']),
        ('objio.metrics', pickle.loads(pickle.dumps(made))['objio.metrics']),
    ):
        with pytest.raises(ValueError, match='reserved'):
            checked({key: value})


@pytest.mark.parametrize('wrap', [lambda given: {'all': given}, lambda given: {'a': {'b': {'c': given}}, 'n': [1, {}]}])
def test_a_saving_function_may_keep_what_it_got_under_a_key_of_its_own(
    wrap: Callable[[Any], Any], tmp_path: Path
) -> None:
    """What objio made is plain data there, at any depth; nothing in the file or in an error is a type of objio's own."""

    def save(file: str, vc: objio.VarCollection, metadata: Mapping[str, Any] | None = None) -> None:
        objio.save_var_collection(file, vc, metadata=wrap(metadata))

    ckpt = with_functions(save, objio.load_var_collection)(tmp_path)
    ckpt.save(model(), 1, metrics={'acc': 0.5}, metadata={'note': 'x'})
    with objio.open(tmp_path / 'ckpt/0000000001.npz') as saved:
        assert saved.metadata == wrap({'objio.metrics': {'acc': 0.5}, 'note': 'x'})


def test_metadata_in_a_circle_are_a_fault_of_type(tmp_path: Path) -> None:
    """A dict that holds itself is refused as what JSON does not keep, before anything is written."""
    circle: dict[str, Any] = {}
    circle['a'] = circle
    with pytest.raises(TypeError, match='nested more than'):
        objio.save_var_collection(tmp_path / 'x.npz', model(), metadata=circle)
    assert names(tmp_path) == []


def test_a_pickle_of_metadata_needs_no_objio() -> None:
    """A saving function that pickles what it got writes plain dicts."""
    assert b'objio.io' not in pickle.dumps(reserved('objio.metrics', {'loss': 0.5}))
    assert b'_Made' not in pickle.dumps(reserved('objio.metrics', {'loss': 0.5}), 0)

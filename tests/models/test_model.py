"""A model: settings and a directory, saved whole, loaded all or nothing, beside jit, optax and background saves."""

import copy
import os
import pickle
import re
import stat
import sys
import unittest
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_checkpoint import save_with_any_metadata
from support_wide import Wide, listed

import objio
from objio import ConfigConflict, ConfigPropertyImmutable
from objio.models import registry


class ModelClass(objio.Model):
    """The model of the document, with settings of its own."""

    class Config(objio.Config):
        Z: int = 0x5A
        C: float = objio.mutable(1.0, gt=0)

    def build(self) -> None:
        self.layer = objio.nn.Linear(3, 1)

    def predict(self, x: Any) -> Any:
        return self.layer(x)


def test_the_examples_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's four examples run as they are written, with the class replaced by one of objio."""
    monkeypatch.chdir(tmp_path)
    model = ModelClass(
        directory='model_dir',
    )
    assert model.config.directory.is_dir() == False  # noqa: E712  # as the document has it
    model.config.C = 42
    model.save()
    model = ModelClass(
        directory='model_dir',
    )
    assert model.config.directory.is_dir() == True  # noqa: E712
    assert model.config.C == 42

    model = ModelClass(directory='elsewhere', Z=0x5A)
    with unittest.TestCase().assertRaises(ConfigPropertyImmutable):  # noqa: PT027
        model.config.Z = 0x00

    model = ModelClass(
        directory='model_dir',
        C=1000000,
    )
    assert model.config.directory.is_dir() == True  # noqa: E712
    assert on_disk('model_dir')['C'] == 42
    model.save()
    assert on_disk('model_dir')['C'] == 1000000
    assert ModelClass(directory='model_dir').config.C == 1000000


def on_disk(folder: Any) -> Any:
    """The settings in a saved model."""
    with objio.open(Path(folder) / 'model.npz') as saved:
        return saved.metadata['objio.config']['values']


def test_a_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """A saved model predicts the same when it is made again from its directory alone."""
    model = ModelClass(tmp_path / 'm', C=2.0)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    model.save()
    again = ModelClass(tmp_path / 'm')
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.config == model.config
    assert again.directory == again.config.directory == tmp_path / 'm'


def test_the_shapes_follow_the_saved_settings(tmp_path: Path) -> None:
    """`build` sees the settings in force, the saved ones among them."""
    Wide(tmp_path / 'm', width=7).save()
    assert Wide(tmp_path / 'm').layer.w.value.shape == (7, 2)
    with pytest.raises(ConfigConflict, match='width is immutable: 4 is given, 7 was saved'):
        Wide(tmp_path / 'm', width=4)


def test_the_directory_appears_with_the_first_save_whole(tmp_path: Path) -> None:
    """Neither making nor loading a model touches the disk; the first save makes the folder and those above it."""
    directory = tmp_path / 'a' / 'b'
    model = Wide(directory)
    model.checkpoint().restore(model)
    assert listed(tmp_path) == []
    model.save(metrics={'loss': 0.5}, metadata={'epoch': 3})
    assert listed(directory) == ['config.json', 'model.npz']
    assert listed(tmp_path / 'a') == ['b']
    mode = os.umask(0)
    os.umask(mode)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o777 & ~mode
    with objio.open(directory / 'model.npz') as saved:
        assert (saved.metadata['objio.metrics'], saved.metadata['epoch']) == ({'loss': 0.5}, 3)
    with np.load(directory / 'model.npz') as arrays:
        assert '(Wide).layer(Linear).w' in arrays


def test_a_save_that_fails_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first save fails, in whatever file, there is no folder and no litter."""
    model = Wide(tmp_path / 'm')
    real = os.fsync
    for at in range(1, 6):
        left = at

        def fail(fd: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(28, 'No space left on device')
            real(fd)

        monkeypatch.setattr(os, 'fsync', fail)
        with pytest.raises(OSError, match='No space left'):
            model.save()
        monkeypatch.setattr(os, 'fsync', real)
        assert listed(tmp_path) == [], at
    model.layer.w = objio.StateVar(jnp.zeros(2))
    model.layer.w.value.delete()
    with pytest.raises(objio.UnsaveableError):
        model.save()
    assert listed(tmp_path) == []


def test_damaged_weights_are_a_format_error(tmp_path: Path) -> None:
    """A changed byte in the weights, and one in the settings they carry, is seen at the load."""
    Wide(tmp_path).save()
    whole = (tmp_path / 'model.npz').read_bytes()
    for part in (b'"width"', b'NUMPY'):
        changed = bytearray(whole)
        changed[whole.index(part) + 2] ^= 1
        (tmp_path / 'model.npz').write_bytes(changed)
        with pytest.raises(objio.FormatError):
            Wide(tmp_path)


def test_weights_without_settings_are_told(tmp_path: Path) -> None:
    """A file that no model saved is told, with the way to load it all the same."""
    objio.save_var_collection(tmp_path / 'model.npz', Wide(tmp_path / 'x').vars())
    with pytest.raises(ConfigConflict, match=r'carries no settings.*load_var_collection\(file, model.state\(\)\)'):
        Wide(tmp_path)
    for hostile in ('a', {}, {'class': 'x', 'package': '', 'version': '', 'values': {}, 'given': [[1]]}):
        save_with_any_metadata(tmp_path / 'model.npz', {'w': 1.0}, {'objio.config': hostile})
        with pytest.raises(ConfigConflict, match='carries no settings'):
            Wide(tmp_path)


def test_bad_settings_change_nothing(tmp_path: Path) -> None:
    """Wrong types and unknown names are told before anything is looked at, let alone written."""
    with pytest.raises(ValueError, match="Wide.Config has no setting 'widht' .did you mean 'width'"):
        Wide(tmp_path / 'm', widht=3)
    with pytest.raises(ValueError, match='valid integer'):
        Wide(tmp_path / 'm', width='3')
    assert listed(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    """A file in the place of the folder, or above it, is told; nothing changes."""
    (tmp_path / 'file').write_bytes(b'x')
    with pytest.raises(NotADirectoryError):
        Wide(tmp_path / 'file')
    model = Wide(tmp_path / 'm')
    with pytest.raises(NotADirectoryError, match='expected a folder for the model'):
        model.save(tmp_path / 'file')
    assert listed(tmp_path) == ['file']


def test_load_is_all_or_nothing(tmp_path: Path) -> None:
    """A load that fails, for settings or for weights, leaves both as they were."""
    Wide(tmp_path / 'a', width=4, note='a').save()
    Wide(tmp_path / 'b', width=9).save()
    model = Wide(tmp_path / 'c')
    before = np.asarray(model.layer.w.value)
    with pytest.raises(ConfigConflict, match='width is immutable: 4 is in force, 9 was saved.*\n.*make another one'):
        model.load(tmp_path / 'b')
    with zipfile.ZipFile(tmp_path / 'a' / 'model.npz') as whole:
        damaged = bytearray((tmp_path / 'a' / 'model.npz').read_bytes())
        damaged[whole.getinfo('(Wide).layer(Linear).w.npy').header_offset + 200] ^= 1
    (tmp_path / 'damaged.npz').write_bytes(damaged)
    with pytest.raises(objio.FormatError):
        model.load(tmp_path / 'damaged.npz')
    assert model.config == Wide(tmp_path / 'd').config
    assert model.config.given == frozenset()
    np.testing.assert_array_equal(model.layer.w.value, before)
    config, weights = model.config, model.layer.w
    report = model.load(tmp_path / 'a')
    assert len(report.matched) == 2
    assert (model.config.note, model.config.given) == ('a', {'width', 'note'})
    assert model.config is config, 'what others hold of the model stays in use'
    assert model.layer.w is weights
    assert model.directory == tmp_path / 'c'


def test_a_warning_that_is_an_error_changes_nothing(tmp_path: Path) -> None:
    """Where `ConfigDefaultChanged` is raised, weights and settings are as they were."""
    saved = ModelClass(tmp_path / 'a')
    saved.save()
    later = type('ModelClass', (ModelClass,), {})
    later.Config = type(
        'Config',
        (ModelClass.Config,),
        {'__module__': __name__, '__annotations__': {'C': float}, 'C': objio.mutable(7.0)},
    )
    model = later(tmp_path / 'b')
    before = np.asarray(model.layer.w.value)
    with pytest.raises(objio.ConfigDefaultChanged, match='default of C was 1.0'):  # as the tests' filter has it
        model.load(tmp_path / 'a')
    assert model.config.C == 7.0
    np.testing.assert_array_equal(model.layer.w.value, before)


def test_a_file_alone_holds_a_model(tmp_path: Path) -> None:
    """A path that ends in .npz is one file, without the copy, that any model of the class loads."""
    model = Wide(tmp_path / 'm', note='x')
    model.save(tmp_path / 'one.npz')
    assert listed(tmp_path) == ['one.npz']
    other = Wide(tmp_path / 'n')
    other.load(tmp_path / 'one.npz')
    assert other.config.note == 'x'
    with pytest.raises(FileNotFoundError):
        other.load()
    with pytest.raises(TypeError, match='expected the path of a folder'):
        other.save(sys.stdout)


def test_what_a_subclass_must_define_is_told() -> None:
    """`build`, `train` and `predict` without a definition say so."""

    class Bare(objio.Model):
        pass

    with pytest.raises(NotImplementedError, match=r'Bare defines no build\(self\)'):
        Bare()
    with pytest.raises(NotImplementedError, match='Wide defines no train'):
        Wide('x').train()
    with pytest.raises(NotImplementedError, match='Wide defines no predict'):
        Wide('x').predict()


def test_a_config_must_derive_from_those_of_the_bases() -> None:
    """A nested Config that would lose settings of a base is a TypeError when the class is made."""
    with pytest.raises(
        TypeError, match=r'Bad\.Config does not derive from Wide\.Config: write class Config\(Wide\.Config'
    ):

        class Bad(Wide):
            class Config(objio.Config):
                depth: int = 1

    with pytest.raises(TypeError, match=r'write class Config\(objio\.Config\)'):

        class Worse(objio.Model):
            class Config:
                depth = 1

    with pytest.raises(TypeError, match=r'does not derive from ModelClass\.Config'):

        class Both(Wide, ModelClass):
            pass

    class Good(Wide, ModelClass):
        class Config(Wide.Config, ModelClass.Config):
            depth: int = 1

    assert set(Good.Config.model_fields) == {'width', 'note', 'Z', 'C', 'depth'}

    class Same(Wide):
        pass

    assert Same.Config is Wide.Config


def test_classes_are_found_by_name_and_never_imported() -> None:
    """A class is known from its definition on; an unknown name is told, and no module is loaded for it."""
    from objio.models.registry import find, name_of

    assert find('support_wide:Wide') is Wide
    assert name_of(Wide) == 'support_wide:Wide'
    assert 'antigravity' not in sys.modules
    with pytest.raises(LookupError, match='import antigravity first, or pass cls='):
        find('antigravity:Wide')
    assert 'antigravity' not in sys.modules


def test_pickles_and_copies(tmp_path: Path) -> None:
    """A pickled model has weights and settings, and no directory; a copy saves on its own."""
    model = Wide(tmp_path / 'm', note='x')
    model.save(background=True)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.layer.w.value, model.layer.w.value)
    assert again.config == model.config
    with pytest.raises(AttributeError, match='was unpickled'):
        again.save()
    again.save(tmp_path / 'again')
    twin = copy.deepcopy(model)
    twin.config.note = 'y'
    assert model.config.note == 'x'
    assert twin.directory == model.directory
    twin.save(tmp_path / 'twin')
    model.wait()
    assert listed(tmp_path) == ['again', 'm', 'twin']


def test_the_reserved_key_is_not_for_users(tmp_path: Path) -> None:
    """Metadata of one's own stands beside the settings, never in their place."""
    model = Wide(tmp_path / 'm', note='mine')
    for key in ('objio.config', 'objio.metrics', 'objio.other'):
        with pytest.raises(ValueError, match=f'{key}.*reserved'):
            model.save(metadata={key: 'hers', 'a': 1})
        with pytest.raises(ValueError, match=f'{key}.*reserved'):
            model.checkpoint().save(model, 1, metadata={key: {'values': {}}})
    assert listed(tmp_path) == []
    model.save(metadata={'a': 1})
    assert Wide(tmp_path / 'm').config.note == 'mine'


@pytest.mark.parametrize(
    ('name', 'cure'), [('__main__:Net', 'imported: pass cls='), ('lost.net:Net', 'import lost.net first, or pass cls=')]
)
def test_a_class_that_is_not_here_is_told_with_its_cure(name: str, cure: str) -> None:
    """What a script defined cannot be imported by its name; what a module did can."""
    with pytest.raises(LookupError, match=re.escape(cure)):
        registry.find(name)

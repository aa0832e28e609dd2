"""The examples of the document that objio implements run word for word; only `objax` reads `objio`."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
import support_pages

import objio

DOCUMENT = Path(__file__).parent / 'data' / 'document.md'
WEIGHTS, DESCRIPTOR, CHECKPOINT, CONSTANTS, PICKLE = (
    block.code.replace('objax', 'objio') for block in support_pages.blocks(DOCUMENT.read_text(encoding='utf-8'))
)


def run(code: str, namespace: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs a block in a folder and gives the lines that it prints."""
    monkeypatch.chdir(folder)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(DOCUMENT), 'exec'), namespace)
    return output.getvalue().splitlines()


def test_weights_are_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias that was changed after the save comes back, by name and by file descriptor."""
    namespace: dict[str, Any] = {}
    assert run(WEIGHTS, namespace, tmp_path, monkeypatch) == ['1.0', '0.0']
    namespace['net'][0].b.assign(namespace['net'][0].b.value + 2)
    assert run(DESCRIPTOR, namespace, tmp_path, monkeypatch) == []
    namespace['net'][0].b.assign(namespace['net'][0].b.value * 0)
    objio.io.load_var_collection('net.npz', namespace['net'].vars())
    assert namespace['net'][0].b.value == 2
    assert os.listdir() == ['net.npz']


def test_checkpoints_are_saved_and_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each index restores its own weights, and without one the newest is taken and named."""
    namespace: dict[str, Any] = {}
    # The two values that the document tells in comments are checked where they hold.
    restores = {'idx=1)   # net[0].b.value = (0,)': 0, 'idx=2)   # net[0].b.value = (1,)': 1}
    code = CHECKPOINT
    for line, value in restores.items():
        assert line in code
        code = code.replace(line, f'{line}\nassert net[0].b.value == {value} and net[0].b.value.shape == (1,)')
    assert run(code, namespace, tmp_path, monkeypatch) == ['2 save_folder/ckpt/0000000002.npz']
    assert sorted(os.listdir('save_folder/ckpt')) == ['0000000001.npz', '0000000002.npz']


def test_the_constants_are_those_of_the_document() -> None:
    """Checkpoint has the fields that the document lists, with their values."""
    namespace: dict[str, Any] = {
        'Callable': dict,
        'FileOrStr': str,
        'VarCollection': objio.VarCollection,
        'load_var_collection': objio.io.load_var_collection,
        'save_var_collection': objio.io.save_var_collection,
    }
    exec(CONSTANTS.replace('Callable[[FileOrStr, VarCollection], None]', 'Callable'), namespace)
    told = {name: value for name, value in vars(namespace['Checkpoint']).items() if name.isupper()}
    assert set(told) == {'DIR_NAME', 'FILE_MATCH', 'FILE_FORMAT', 'LOAD_FN', 'SAVE_FN'}
    for name in told:
        assert getattr(objio.io.Checkpoint, name) == getattr(namespace['Checkpoint'], name)


# The document leaves its files to the garbage collector.
@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')
def test_a_module_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unpickled network computes the same and shares no weights with the one that was pickled."""
    same, different = run(PICKLE, {}, tmp_path, monkeypatch)
    assert float(same) == 0
    assert float(different) > 0

"""Every row about models of the page "Errors and cures" is provoked: its error comes, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support_errors import error_of, rows_of

import objio
from objio.models.registry import find

ROWS = rows_of('Models')


class Net(objio.Model):
    """A model as its code was when it was saved."""

    class Config(objio.Config):
        width: int = 3
        lr: float = objio.mutable(0.1, le=1.0)
        gone: int = 1

    def build(self) -> None:
        self.layer = objio.nn.Linear(self.config.width, 2)


def later(folder: str, **given: object) -> objio.Model:
    """The model as its code is now."""
    now = type('Net', (objio.Model,), {'Config': Later, 'build': Net.build})
    return now(folder, **given)


class Later(objio.Config):
    width: int = 3
    lr: float = objio.mutable(0.2, le=0.5)
    gained: int = 1


def edit(name: str) -> None:
    path = Path('edited/config.json')
    path.write_text(name)
    Net('edited')


def declare() -> None:
    class Worse(Net):
        class Config(objio.Config):
            pass


class Bytes(Net):
    class Config(Net.Config):
        raw: bytes = b'\xff'


class Stranger(objio.Model):
    class Config(objio.Config):
        width: int = 3
        lr: float = objio.mutable(0.1)
        gone: int = 1

    build = Net.build


CASES: dict[str, Callable[[], object]] = {
    'a setting of a wrong type or out of its bounds, or one that there is not': lambda: Net('model', widht=3),
    'an immutable setting is assigned or deleted': lambda: setattr(Net('model').config, 'width', 4),
    'an immutable setting given that differs from the saved one': lambda: Net('model', width=4),
    'a saved setting that is no longer valid': lambda: later('wild', width=3),
    'another default than the saved one, a setting gained or lost': lambda: later('model'),
    'a config.json that was edited by hand': lambda: edit(Path('edited/config.json').read_text().replace('3', '4', 1)),
    'a config.json that cannot be read': lambda: edit('{'),
    'a model.npz that no model saved': lambda: Net('plain'),
    'a setting that JSON cannot hold, or that would come back from a save as another value or type': lambda: Bytes(
        'new'
    ),
    'save(), load(), checkpoint() or directory of a model that has none': lambda: Net(None).save(),
    "a model's checkpoint that is given another model": lambda: Net('new').checkpoint().save(Net(None), 1),
    'a directory with a save of another class that does not fit': lambda: Stranger('model'),
    'a nested Config that does not derive from that of a base': declare,
    'a class that this program has not defined, asked for by its name': lambda: find('elsewhere:Net'),
}


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Net('model').save()
    Net('wild', lr=0.9).save()
    Net('edited').save()
    Path('plain').mkdir()
    objio.save_var_collection('plain/model.npz', objio.nn.Linear(3, 2))


def test_every_row_is_provoked() -> None:
    """The section and the cases agree row by row."""
    assert set(ROWS) == set(CASES)


@pytest.mark.parametrize('row', CASES)
def test_a_bad_input_gives_the_error_of_the_page(row: str) -> None:
    """The error is the one that the page names, with a message; the saved models are as they were."""
    expected = error_of(ROWS[row])
    files = {str(path): path.read_bytes() for path in Path().rglob('*') if path.is_file()}
    if 'none' in ROWS[row]:
        with pytest.warns(objio.ConfigDefaultChanged) as told:
            CASES[row]()
        assert len(told) == 3
    else:
        with pytest.raises(expected) as info:
            CASES[row]()
        assert len(str(info.value)) > 10
    after = {str(path): path.read_bytes() for path in Path().rglob('*') if path.is_file()}
    assert after.keys() == files.keys()
    assert {name for name in files if after[name] != files[name]} <= {'edited/config.json'}  # what the case wrote

"""Which settings are in force after a load: every cell of the table, at the function and through a model."""

import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import pytest

import objio
from objio import ConfigConflict, ConfigDefaultChanged
from objio.models.precedence import RULES, Outcome, Rule, decide

PAGE = Path(__file__).parents[2] / 'docs' / 'guides' / 'models.md'
SAVED, OLD_DEFAULT, NEW_DEFAULT, GIVEN = 1, 2, 3, 4


@dataclass(frozen=True)
class Cell:
    """One cell of the table, with all that can be told apart.

    Attributes:
        given: a value is given in memory.
        saved: the save has the setting, and as what.
        differs: the saved value is another than that in memory, which is today's default where none is given.
        changed: today's default is another than that of the code which saved.
        mutable: the setting is mutable.
    """

    given: bool
    saved: str
    differs: bool
    changed: bool
    mutable: bool

    def __str__(self) -> str:
        words = 'given' if self.given else 'not given', f'saved {self.saved}'
        return ' '.join([*words, *(name for name in ('differs', 'changed', 'mutable') if getattr(self, name))])


def cells() -> Iterator[Cell]:
    """Every cell that there is."""
    yes_no = (False, True)
    for cell in itertools.starmap(Cell, itertools.product(yes_no, ('no', 'given', 'default'), yes_no, yes_no, yes_no)):
        if cell.saved == 'no' and (cell.differs or cell.changed):
            continue  # nothing to differ from
        if not cell.given and cell.saved == 'default' and cell.differs != cell.changed:
            continue  # the same question twice
        yield cell


CELLS = list(cells())


def fits(rule: Rule, cell: Cell) -> bool:
    """Whether a rule speaks of a cell."""
    return (
        (rule.given, rule.saved) == (cell.given, cell.saved)
        and rule.differs in (None, cell.differs)
        and rule.mutable in (None, cell.mutable)
    )


@pytest.mark.parametrize('cell', CELLS, ids=str)
def test_each_cell_meets_one_rule(cell: Cell) -> None:
    """The table leaves nothing open and says nothing twice."""
    (rule,) = [rule for rule in RULES if fits(rule, cell)]
    assert decide(given=cell.given, saved=cell.saved, differs=cell.differs, mutable=cell.mutable) == rule.outcome


def test_no_rule_is_idle() -> None:
    """Each rule speaks of some cell."""
    assert all(any(fits(rule, cell) for cell in CELLS) for rule in RULES)


def values(cell: Cell) -> tuple[int, int, int, int | None]:
    """For a cell: the default of the code that saves and what it is given, today's default, and what is given now."""
    today = NEW_DEFAULT if cell.changed else OLD_DEFAULT
    if cell.saved == 'given':
        # Without a value in memory, today's default is what the saved one is compared with.
        saved = SAVED if cell.given or cell.differs else today
    else:
        saved = OLD_DEFAULT
    now = (GIVEN if cell.differs or cell.saved == 'no' else saved) if cell.given else None
    return OLD_DEFAULT, saved, today, now


def model(default: int | None, *, mutable: bool = False) -> type[objio.Model]:
    """A model with one setting `x`, or with none: the code of one version."""

    class Net(objio.Model):
        class Config(objio.Config):
            if default is not None:
                x: int = objio.mutable(default) if mutable else default

        def build(self) -> None:
            self.layer = objio.nn.Linear(2, 1)

    return Net


def record_of(folder: Path) -> dict[str, Any]:
    """What the weights in a folder keep of the settings."""
    with objio.open(folder / 'model.npz') as saved:
        return dict(saved.metadata['objio.config'])


@pytest.mark.parametrize('cell', CELLS, ids=str)
def test_each_cell_through_a_model(cell: Cell, tmp_path: Path) -> None:
    """A model saved by yesterday's code and loaded by today's does what the table says; the next save keeps it."""
    folder = tmp_path / 'model'
    old, saved, today, now = values(cell)
    before = model(None if cell.saved == 'no' else old, mutable=cell.mutable)
    before(folder, **({'x': saved} if cell.saved == 'given' else {})).save()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome: Outcome = next(rule.outcome for rule in RULES if fits(rule, cell))
    code = model(today, mutable=cell.mutable)
    given = {} if now is None else {'x': now}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        if outcome.value == 'conflict':
            with pytest.raises(ConfigConflict, match=f'x is immutable: {now} is given, {saved} was saved'):
                code(folder, **given)
        else:
            net = code(folder, **given)
            in_force = {'saved': saved, 'memory': today if now is None else now}[outcome.value]
            assert net.config.x == in_force
            assert net.config.given == ({'x'} if outcome.given else set())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files, 'a load changes nothing on disk'
    assert [str(warning.category.__name__) for warning in told] == ['ConfigDefaultChanged'] * outcome.warns
    if outcome.warns and cell.saved == 'default':
        assert f'the default of x was {saved} when this was saved and is {today} now' in str(told[0].message)
    elif outcome.warns:
        assert f'x is a new setting, which the save does not have: it gets its default, {today}' in str(told[0].message)
    if outcome.value != 'conflict':
        net.save()
        record = record_of(folder)
        assert (record['values'], record['given']) == ({'x': in_force}, ['x'] if outcome.given else [])


def test_a_setting_that_was_lost_is_told(tmp_path: Path) -> None:
    """A saved setting that the code does not have any more is dropped with a warning that gives its value."""
    model(5)(tmp_path / 'model', x=6).save()
    with pytest.warns(ConfigDefaultChanged, match='x = 6 was saved and is no setting any more'):
        net = model(None)(tmp_path / 'model')
    assert record_of(tmp_path / 'model')['values'] == {'x': 6}
    net.save()
    assert record_of(tmp_path / 'model')['values'] == {}


def test_a_saved_default_stays_one_from_save_to_save(tmp_path: Path) -> None:
    """A default that the code has changed stays in force through any number of saves, and is told at each load."""
    model(1)(tmp_path).save()
    for _ in range(3):
        with pytest.warns(ConfigDefaultChanged, match='default of x was 1'):
            net = model(2)(tmp_path)
        assert net.config.x == 1
        net.save()
    net = model(1)(tmp_path)  # no warning where the default is what it was
    assert (net.config.x, net.config.given) == (1, set())


def test_the_table_of_the_docs_is_that_of_the_code() -> None:
    """The page shows each rule of the table, in its order, and no other."""
    page = PAGE.read_text(encoding='utf-8')
    assert table() in page


def table() -> str:
    """The rules as a table of Markdown."""
    memory = {True: 'given', False: 'not given'}
    saved = {'no': 'no', 'given': 'yes, given', 'default': 'yes, a default'}
    kinds = {True: 'mutable', False: 'immutable', None: 'either'}
    told = {True: '`ConfigDefaultChanged`', False: ''}
    lines = [
        '| In memory | Saved | Compared | The setting is | In force after the load | The next save keeps it as | Told |',
        '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    for rule in RULES:
        if rule.saved == 'no':
            compared = ''
        elif rule.differs is None:
            compared = 'either'
        elif rule.given:
            compared = 'another value' if rule.differs else 'the same value'
        else:
            compared = 'the default has changed' if rule.differs else 'the default is the same'
        value, given, warns = rule.outcome
        if value == 'conflict':
            end = ['`ConfigConflict`: nothing is loaded', '', '']
        else:
            force = 'the saved value' if value == 'saved' else 'the given value' if rule.given else 'the default'
            end = [force, 'given' if given else 'a default', told[warns]]
        cells = [memory[rule.given], saved[rule.saved], compared, kinds[rule.mutable], *end]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(line.replace('|  |', '| |').replace('|  |', '| |') for line in lines)


# ---- nested settings, several at once, and settings that are no longer valid


def nested(lr: float = 0.1, le: float = 1.0) -> type[objio.Model]:
    """A model with settings in settings."""

    class Opt(objio.Config):
        lr: float = objio.mutable(0.1, le=le)
        name: str = 'sgd'

    class Net(objio.Model):
        class Config(objio.Config):
            opt: Opt = Opt(lr=lr)
            widths: list[int] = [1, 1]

        def build(self) -> None:
            self.layer = objio.nn.Linear(2, 1)

    return Net


def test_nested_settings_are_decided_one_by_one(tmp_path: Path) -> None:
    """Each leaf goes by its own mark, and is called by its dotted name."""
    nested()(tmp_path, opt={'name': 'adam', 'lr': 0.2}).save()
    net = nested()(tmp_path, opt={'lr': 0.3})
    assert (net.config.opt.lr, net.config.opt.name) == (0.3, 'adam')
    assert net.config.given == {'opt.lr', 'opt.name'}
    with pytest.raises(ConfigConflict, match=r"opt\.name is immutable: 'sgd' is given, 'adam' was saved"):
        nested()(tmp_path, opt={'name': 'sgd'})
    nested()(tmp_path / 'b').save()
    with pytest.warns(ConfigDefaultChanged, match=r'default of opt\.lr was 0\.1 .* and is 0\.5 now.*opt\.lr=0\.5'):
        assert nested(lr=0.5)(tmp_path / 'b').config.opt.lr == 0.1


def test_all_conflicts_are_listed(tmp_path: Path) -> None:
    """One error names each setting that does not agree, and the ways out; the files stay."""
    nested()(tmp_path, opt={'name': 'adam'}).save()
    before = (tmp_path / 'model.npz').read_bytes()
    with pytest.raises(ConfigConflict) as failure:
        nested()(tmp_path, opt={'name': 'sgd'}, widths=[3])
    message = str(failure.value)
    assert f'{tmp_path}/model.npz and the settings of this model do not agree; nothing was loaded.' in message
    assert "opt.name is immutable: 'sgd' is given, 'adam' was saved\n" in message
    assert 'widths is immutable: [3] is given, [1, 1] was saved as a default\n' in message
    assert 'Leave a setting out to go on with the saved one, or use another directory' in message
    assert (tmp_path / 'model.npz').read_bytes() == before


def test_a_saved_value_that_is_no_longer_valid_is_a_conflict(tmp_path: Path) -> None:
    """Bounds or types that have changed since are told by the setting's name and the saved value."""
    nested()(tmp_path, opt={'lr': 0.9}).save()
    with pytest.raises(ConfigConflict, match=r'opt\.lr: 0\.9 was saved, but today: .*less than or equal to 0\.5'):
        nested(lr=0.5, le=0.5)(tmp_path)
    assert nested(lr=0.5, le=0.5)(tmp_path, opt={'lr': 0.4}).config.opt.lr == 0.4  # who gives another goes on


def test_structured_values_are_compared_as_they_are(tmp_path: Path) -> None:
    """Lists, sets, None and nested options that are given again as they were saved agree."""

    class Part(objio.Config):
        n: int = 1

    class Net(objio.Model):
        class Config(objio.Config):
            layers: list[tuple[int, str]] = []
            tags: set[str] = set()
            bound: float = 1.0
            part: Part | None = None

        def build(self) -> None:
            self.layer = objio.nn.Linear(2, 1)

    given = {'layers': [(1, 'a')], 'tags': {'x', 'y', 'z'}, 'bound': float('inf'), 'part': {'n': 5}}
    Net(tmp_path, **given).save()
    for again in ({}, given):
        net = Net(tmp_path, **again)
        assert net.config.to_dict() == {**given, 'part': {'n': 5}}
        assert net.config.given == {'layers', 'tags', 'bound', 'part.n'}
    with pytest.raises(ConfigConflict, match=r"part is immutable: None is given, \{'n': 5\} was saved"):
        Net(tmp_path, part=None)
    Net(tmp_path / 'none', part=None).save()
    assert Net(tmp_path / 'none').config.part is None
    with pytest.raises(ConfigConflict, match=r"part is immutable: \{'n': 5\} is given, None was saved"):
        Net(tmp_path / 'none', part={'n': 5})


def test_settings_without_a_default_are_taken_from_the_save(tmp_path: Path) -> None:
    """What must be given must be given once: afterwards the directory alone is enough, also for nested settings."""

    class Part(objio.Config):
        path: Path
        n: int = objio.mutable()

    class Net(objio.Model):
        class Config(objio.Config):
            width: int
            part: Part
            lr: float = objio.mutable(0.1)

        def build(self) -> None:
            self.layer = objio.nn.Linear(self.config.width, 1)

    with pytest.raises(ValueError, match='width\n  Field required'):
        Net(tmp_path)
    Net(tmp_path, width=3, part={'path': Path('x'), 'n': 1}).save()
    net = Net(tmp_path)
    assert net.config.to_dict() == {'width': 3, 'part': {'path': Path('x'), 'n': 1}, 'lr': 0.1}
    assert net.config.given == {'width', 'part.path', 'part.n'}
    assert Net(tmp_path, part={'n': 5}).config.part == Part(path=Path('x'), n=5)
    with pytest.raises(ConfigConflict, match='width is immutable: 4 is given, 3 was saved'):
        Net(tmp_path, width=4)
    with pytest.raises(ValueError, match='valid integer'):
        Net(tmp_path, width='3')  # what is given stays strict

    class Narrow(Net):
        class Config(Net.Config):
            width: int = pydantic.Field(le=2)

    with pytest.raises(ConfigConflict, match='width: 3 was saved, but today: .* less than or equal to 2'):
        Narrow(tmp_path)
    with pytest.raises(ValueError, match='more\n  Field required'):

        class More(Net):
            class Config(Net.Config):
                more: int

        More(tmp_path)


def test_a_saved_default_of_a_setting_that_has_none_today(tmp_path: Path) -> None:
    """It stays in force, and nobody has given it."""
    model(1)(tmp_path).save()

    class Net(objio.Model):
        class Config(objio.Config):
            x: int

        build = model(1).build

    net = Net(tmp_path)
    assert (net.config.x, net.config.given) == (1, set())


# ---- what packages of two versions say

PROGRAM = """
import sys, warnings
warnings.simplefilter('always')
import netpkg
net = netpkg.Net('model')
if sys.argv[1] == 'save':
    net.save()
print(net.config)
"""


def package(folder: Path, version: str, fields: str) -> Path:
    """A package `netpkg` of a version, as pip lays one out."""
    info = folder / f'net_distribution-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: net-distribution\nVersion: {version}\n')
    (info / 'top_level.txt').write_text('netpkg\n')
    (folder / 'netpkg.py').write_text(
        'import objio\nclass Net(objio.Model):\n    class Config(objio.Config):\n'
        + ''.join(f'        {line.strip()}\n' for line in fields.split(';'))
        + '    def build(self):\n        self.w = objio.StateVar(objio.random.normal((2,)))\n'
    )
    return folder


def run(folder: Path, where: Path, verb: str) -> tuple[str, str]:
    """Runs the program with a version of the package; gives what it prints and what it warns of."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, '-c', PROGRAM, verb]
    ended = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.strip(), ended.stderr


def test_a_newer_package_is_told_with_both_versions(tmp_path: Path) -> None:
    """A default that changed, a field gained and one lost: each a warning that names field, values and versions."""
    old = package(tmp_path / 'old', '1.0', 'width: int = 64; lr: float = objio.mutable(0.1); gone: str = "a"')
    new = package(tmp_path / 'new', '2.0', 'width: int = 128; lr: float = objio.mutable(0.5); extra: bool = True')
    assert run(old, tmp_path, 'save') == ("width=64 lr=0.1 gone='a'", '')
    assert json.loads((tmp_path / 'model' / 'config.json').read_text())['version'] == '1.0'
    printed, told = run(new, tmp_path, 'load')
    assert printed == 'width=64 lr=0.1 extra=True'
    by, now = 'by net-distribution 1.0', 'in net-distribution 2.0'
    force = 'the saved one stays in force'
    for line in (
        f'the default of width was 64 when this was saved {by} and is 128 now {now}: {force}\n',
        f'the default of lr was 0.1 when this was saved {by} and is 0.5 now {now}: {force}; give it to use another: lr',
        f'extra is a new setting {now}, which the save {by} does not have: it gets its default, True\n',
        f"gone = 'a' was saved {by} and is no setting any more {now}; the next save drops it\n",
    ):
        assert f'<string>:5: ConfigDefaultChanged: {line}' in told

"""Settings are checked, frozen all the way down, told given from default, and written as text."""

import copy
import datetime as dt
import enum
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import objio
from objio import ConfigPropertyImmutable


class Colour(enum.Enum):
    RED = 'red'


class Opt(objio.Config):
    lr: float = objio.mutable(0.1, gt=0, le=1)
    name: Literal['sgd', 'adam'] = 'sgd'


class Settings(objio.Config):
    width: int = 64
    C: float = objio.mutable(1.0, gt=0)
    layers: list[int] = [32, 32]
    tags: set[str] = {'a', 'b'}
    table: dict[str, list[int]] = {'x': [1]}
    pair: tuple[int, list[str]] = (1, ['s'])
    opt: Opt = Opt(lr=0.5)
    other: Opt | None = None
    groups: list[Opt] = []
    path: Path = Path('data')
    day: dt.date = dt.date(2021, 5, 25)
    colour: Colour = Colour.RED
    bound: float = math.inf
    steps: list[int] = objio.mutable([1, 2], max_length=3)


def test_defaults_and_given_are_told_apart() -> None:
    """What was given, by argument or by assignment, is known by dotted name; the rest are defaults."""
    config = Settings(width=3, other=Opt(lr=0.2))
    assert config.given == {'width', 'other.lr'}
    config.C = 2.0
    config.opt.lr = 0.7
    assert config.given == {'width', 'other.lr', 'C', 'opt.lr'}
    assert Settings().given == frozenset()
    assert Settings().opt.lr == 0.5  # the default of the outer one counts


def test_a_default_given_on_purpose_is_given() -> None:
    """A value that is given counts as given, also where it is the default."""
    assert Settings(width=64).given == {'width'}


@pytest.mark.parametrize('name', ['width', 'layers', 'other', 'path'])
def test_an_immutable_setting_stays(name: str) -> None:
    """Assigning or deleting an immutable setting is an error that says what is in force, and how to go on."""
    config = Settings()
    before = getattr(config, name)
    with pytest.raises(
        ConfigPropertyImmutable, match=rf'Settings\.{name} is .* immutable.*make a new model'
    ) as failure:
        setattr(config, name, 7)
    assert (failure.value.field, failure.value.value, failure.value.attempted) == (f'Settings.{name}', before, 7)
    with pytest.raises(ConfigPropertyImmutable, match='cannot be deleted'):
        delattr(config, name)
    assert getattr(config, name) == before
    assert config.given == frozenset()


def test_the_error_is_one_of_two_families() -> None:
    """`ConfigPropertyImmutable` is an AttributeError of objio's own, and can be pickled."""
    error = ConfigPropertyImmutable('Settings.Z', 90, 0)
    assert isinstance(error, AttributeError)
    assert isinstance(error, objio.ObjioError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.field, again.value, again.attempted) == (str(error), 'Settings.Z', 90, 0)


def test_a_mutable_setting_is_checked_when_it_is_assigned() -> None:
    """A wrong type or a value out of bounds is refused, and the old value stays."""
    config = Settings()
    config.C = 1000000  # an int is a float, strictly, too
    with pytest.raises(ValueError, match='greater than 0'):
        config.C = 0.0
    with pytest.raises(ValueError, match='valid number'):
        config.C = '2'
    config.steps = [3]
    with pytest.raises(ValueError, match='at most 3 items'):
        config.steps = [1, 2, 3, 4]
    assert (config.C, config.steps) == (1000000, (3,))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'width': '64'}, 'valid integer'),
        ({'width': 64.0}, 'valid integer'),
        ({'width': True}, 'valid integer'),
        ({'C': -1.0}, 'greater than 0'),
        ({'opt': {'lr': '0.1'}}, r'opt\.lr'),
        ({'opt': {'name': 'adma'}}, "'sgd' or 'adam'"),
        ({'widht': 3}, "no setting 'widht' .did you mean 'width'"),
        ({'opt': {'lrr': 3}}, "Opt has no setting 'lrr' .did you mean 'lr'"),
        ({'zzzzzz': 3}, "no setting 'zzzzzz'; it has: width, C"),
        ({'layers': 'abc'}, 'valid list'),
        ({'path': 'data'}, 'instance of Path'),
    ],
)
def test_what_is_wrong_is_told(settings: dict[str, Any], message: str) -> None:
    """In Python types are strict; an unknown name is told with the nearest one."""
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_a_name_that_is_no_setting_cannot_be_assigned() -> None:
    """A misspelt name is not taken for a new attribute."""
    with pytest.raises(AttributeError, match="no setting 'widht' .did you mean 'width'"):
        Settings().widht = 3


def test_values_are_frozen_all_the_way_down() -> None:
    """Lists are tuples, sets frozensets, dicts read-only, also inside each other; equal to what they were made of."""
    config = Settings(layers=[1], table={'x': [1, 2]}, groups=[Opt()])
    assert config.layers == (1,)
    assert config.tags == {'a', 'b'}
    assert isinstance(config.tags, frozenset)
    assert config.pair == (1, ('s',))
    assert config.table == {'x': (1, 2)}
    for change in (
        lambda: config.table.update(y=[2]),
        lambda: config.table.__setitem__('x', 1),
        lambda: config.table.pop('x'),
        lambda: config.table.__ior__({}),
        config.table.clear,
        lambda: config.table.setdefault('z'),
        lambda: config.table.__delitem__('x'),
        config.table.popitem,
    ):
        with pytest.raises(TypeError, match='cannot be changed in place'):
            change()
    with pytest.raises(ConfigPropertyImmutable):
        config.groups[0].lr = 0.9  # mutable in itself, but not in an immutable list
    assert json.dumps(config.table) == '{"x": [1, 2]}'
    assert pickle.loads(pickle.dumps(config.table)) == config.table
    assert copy.deepcopy(config.table) == config.table


def test_frozen_values_can_be_passed_on() -> None:
    """What one config holds another one takes, although a tuple is no list."""
    config = Settings(layers=[5], table={'y': [3]}, tags={'t'}, pair=(2, ['u']), groups=[Opt(lr=0.3)])
    names = ('layers', 'table', 'tags', 'pair', 'groups', 'opt')
    assert Settings(**{name: getattr(config, name) for name in names}) == config
    with pytest.raises(ValueError, match='valid integer'):
        Settings(layers=('a',))


def test_the_default_of_a_class_is_not_shared() -> None:
    """A change in one config does not reach another one, nor the default, nor what was passed."""
    given = Opt(lr=0.2)
    a, b = Settings(opt=given), Settings(opt=given)
    a.opt.lr = 0.9
    Settings().opt.lr = 0.8
    assert (b.opt.lr, given.lr, Settings().opt.lr) == (0.2, 0.2, 0.5)


def test_nested_settings_are_assigned_leaf_by_leaf() -> None:
    """A whole nested config may be assigned where it differs in mutable settings alone."""
    config = Settings()
    config.opt = Opt(lr=0.25)
    assert (config.opt.lr, config.given) == (0.25, {'opt.lr'})
    with pytest.raises(ConfigPropertyImmutable, match=r"Settings\.opt\.name is 'sgd'"):
        config.opt = Opt(lr=0.75, name='adam')
    assert config.opt.lr == 0.25


def test_mutable_fields_can_be_read_by_a_search() -> None:
    """Bounds, choices and defaults are pydantic's own, by dotted name."""
    fields = Settings.mutable_fields()
    assert list(fields) == ['C', 'opt.lr', 'other.lr', 'steps']
    assert [type(bound).__name__ for bound in fields['opt.lr'].metadata] == ['Gt', 'Le']
    assert (fields['C'].default, fields['C'].annotation) == (1.0, float)


def test_copies_and_pickles_are_equal() -> None:
    """A copy has the values and what was given, and changes alone; the directory is in memory only."""
    config = Settings(width=3)
    config._directory = Path('somewhere')
    for again in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
        assert again.given == {'width'}
        again.C = 5.0
        assert config.C == 1.0
    assert b'somewhere' not in pickle.dumps(config)
    assert 'somewhere' not in config.to_json() + repr(config)
    assert Settings(width=3) == config  # which has no directory
    with pytest.raises(AttributeError, match='belongs to no model'):
        _ = Settings().directory
    assert Settings(width=4) != config
    assert config != 3


def test_text_goes_out_and_comes_back() -> None:
    """JSON and YAML give an equal config back, in which everything was given."""
    config = Settings(width=3, table={'ä': [1]}, bound=-math.inf)
    assert Settings.from_json(config.to_json()) == config
    assert Settings.from_yaml(config.to_yaml()) == config
    assert Settings(**config.to_dict()) == config
    assert Settings.from_yaml(config.to_yaml()).given >= {'width', 'opt.lr', 'groups'}
    assert json.loads(config.to_json())['bound'] == '-inf'
    assert config.to_dict()['layers'] == [32, 32]


def test_text_is_read_loosely() -> None:
    """In text a number may be a word, as YAML takes 1e-3; a wrong word is told as anywhere."""
    assert Settings.from_yaml('C: 1e-3\nlayers: [1]\nday: 2020-01-02').C == 0.001
    assert Settings.from_yaml('C: 1e-3').given == {'C'}
    assert Settings.from_yaml('') == Settings()
    with pytest.raises(ValueError, match="did you mean 'width'"):
        Settings.from_yaml('widht: 3')
    with pytest.raises(ValueError, match='expected a YAML mapping'):
        Settings.from_yaml('- 1')
    with pytest.raises(ValueError, match='expected a JSON object'):
        Settings.from_json('3')


def test_equal_settings_give_equal_text() -> None:
    """The order of a set, which differs from process to process, is not seen in the text."""
    program = (
        'import objio\n'
        'class S(objio.Config):\n    tags: set[str] = set("abcdefgh")\n    nested: list[set[str]] = [set("xyzuvw")]\n'
        'print(S().to_json())'
    )
    texts = {
        subprocess.run(
            [sys.executable, '-c', program], capture_output=True, text=True, check=True, env={'PYTHONHASHSEED': seed}
        ).stdout
        for seed in ('1', '2')
    }
    assert len(texts) == 1


def test_pydantic_writes_the_same() -> None:
    """`model_dump` gives lists where lists are annotated, without a warning."""
    dumped = Settings().model_dump(mode='json')
    assert (dumped['layers'], dumped['pair']) == ([32, 32], [1, ['s']])
    assert Settings().model_dump()['tags'] == {'a', 'b'}


def test_subclasses_add_and_change() -> None:
    """A subclass has the settings of its base, and may declare one anew."""

    class More(Settings):
        depth: int = 2
        width: int = 128

    assert (More().width, More().depth, More().C) == (128, 2, 1.0)
    with pytest.raises(ConfigPropertyImmutable, match=r'More\.width is 128'):
        More().width = 1


def test_validators_of_the_user_run() -> None:
    """Checks across settings, as pydantic has them, hold at the start and at each assignment."""

    class Even(objio.Config):
        width: int = 8
        heads: int = objio.mutable(2)

        @pydantic.model_validator(mode='after')
        def divides(self) -> 'Even':
            if self.width % self.heads:
                raise ValueError(f'{self.heads} heads do not divide {self.width}')
            return self

    config = Even()
    with pytest.raises(ValueError, match='3 heads do not divide 8'):
        config.heads = 3
    assert config.heads == 2
    with pytest.raises(ValueError, match='5 heads do not divide 8'):
        Even(heads=5)


def declare(annotation: Any, default: Any) -> type[objio.Config]:
    """A class with one setting `x`."""
    return pydantic.create_model('Made', __base__=objio.Config, x=(annotation, default))


@pytest.mark.parametrize(
    ('annotation', 'default', 'message'),
    [
        (int, pydantic.Field(1, alias='y'), 'leave out exclude and alias'),
        (int, pydantic.Field(1, exclude=True), 'leave out exclude and alias'),
        (Opt, objio.mutable(Opt()), 'mutable one by one'),
        (Opt | Settings | None, None, 'one class of settings'),
    ],
)
def test_what_could_not_be_saved_is_refused_when_the_class_is_made(annotation: Any, default: Any, message: str) -> None:
    """A setting without its own name, or of several classes, is a TypeError at once."""
    with pytest.raises(TypeError, match=message):
        declare(annotation, default)


def test_names_that_every_config_has_are_refused() -> None:
    """A setting called `directory`, or like a method, is a TypeError when the class is made."""
    for name in ('directory', 'given', 'to_json'):
        with pytest.raises(TypeError, match=f'every Config has {name!r} already'):
            type('Bad', (objio.Config,), {'__module__': __name__, '__annotations__': {name: int}, name: 3})


def test_undeclared_settings_are_not_to_be_allowed() -> None:
    """pydantic's extra='allow' would lose them at the next save."""
    with pytest.raises(TypeError, match='would not be saved'):

        class Loose(objio.Config):
            model_config = pydantic.ConfigDict(extra='allow')


def test_a_value_that_can_be_changed_in_place_is_refused() -> None:
    """What no freezing reaches, such as another library's model, is a TypeError that names the way out."""

    class Plain(pydantic.BaseModel):
        a: int = 1

    with pytest.raises(TypeError, match='can be changed in place'):
        declare(Plain, Plain())()


def test_a_value_that_json_cannot_hold_is_told_by_name() -> None:
    """A setting that cannot be written is an `UnsaveableError` with its name."""
    with pytest.raises(objio.UnsaveableError, match=r'Made\.x = .*cannot be saved'):
        declare(bytes, b'\xff')().to_json()


def test_bounds_may_stand_in_the_annotation() -> None:
    """`Annotated` works beside `mutable`, and a factory makes a default for each config."""
    made = declare(Annotated[list[int], pydantic.Field(max_length=2)], objio.mutable(default_factory=lambda: [1]))
    config = made()
    config.x = [2, 3]
    assert config.x == (2, 3)
    with pytest.raises(ValueError, match='at most 2'):
        config.x = [1, 2, 3]
    with pytest.raises(ValueError, match='required'):
        declare(int, objio.mutable())()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Anything(objio.Config):
    x: Any = None
    numbers: list[float] = []
    names: frozenset[str] = frozenset()


@settings(max_examples=60, deadline=None)
@given(values, st.lists(st.floats()), st.frozensets(st.text()))
def test_every_config_survives_text_and_pickle(x: Any, numbers: list[float], names: frozenset[str]) -> None:
    """Whatever JSON can hold comes back as it was, through JSON and through pickle, and can be hashed nowhere."""
    config = Anything(x=x, numbers=numbers, names=names)
    again = Anything.from_json(config.to_json())
    assert again.to_json() == config.to_json()
    assert again.names == names
    assert [math.isnan(a) or a == b for a, b in zip(again.numbers, numbers, strict=True)] == [True] * len(numbers)
    assert pickle.loads(pickle.dumps(config)).to_json() == config.to_json()
    with pytest.raises(TypeError, match='unhashable'):
        hash(config)


def test_pydantic_is_asked_for_where_it_is_missing() -> None:
    """Without pydantic, `import objio` works, and the first Config says what to install."""
    program = "import sys; sys.modules['pydantic'] = None\nimport objio\nobjio.Config"
    ended = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert (
        'ModuleNotFoundError: objio.Config and objio.Model need pydantic: pip install "objio[models]"' in ended.stderr
    )
    program = "import sys; sys.modules['yaml'] = None\nimport objio\nobjio.Config().to_yaml()"
    ended = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert 'ModuleNotFoundError: YAML needs PyYAML: pip install "objio[models]"' in ended.stderr

"""A setting that no save gives back as it is, is refused when the model is made, and where it is assigned."""

import copy
import datetime as dt
import decimal
import enum
import pathlib
import pickle
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest

import objio


class Colour(enum.Enum):
    RED = 'red'


class Level(enum.IntEnum):
    LOW = 1


class Pair(typing.NamedTuple):
    left: int = 1
    right: int = 2


class Inner(objio.Config):
    act: Any = objio.mutable('relu')


class Free(objio.Model):
    """A model with settings of any type."""

    class Config(objio.Config):
        fixed: Any = 1
        free: Any = objio.mutable(None)
        inner: Inner = Inner()

    def build(self) -> None:
        self.layer = objio.nn.Linear(1, 1)


REFUSED = {
    'dtype of JAX': (jnp.float32, "str = 'float32', and use jnp.dtype(self.config."),
    'dtype of NumPy': (np.dtype('int8'), "str = 'int8', and use jnp.dtype(self.config."),
    'class of NumPy': (np.float16, "str = 'float16'"),
    'bfloat16': (jnp.bfloat16, "str = 'bfloat16'"),
    'function': (jax.nn.relu, "str = 'relu', and look it up in build"),
    'lambda': (lambda x: x, 'Keep its name, and look it up in build'),
    'class': (objio.nn.Linear, "str = 'Linear'"),
    'object': (object(), 'Use numbers, str'),
    'scalar of NumPy': (np.int32(3), 'value.item()'),
    'bytes': (b'\xff', 'value.hex()'),
    'range': (range(3), 'Use numbers'),
    'bytes of text': (b'abc', "as 'abc' of type str; declare the type bytes"),
    'path': (pathlib.Path('data'), "as 'data' of type str; declare the type Path"),
    'date': (dt.date(2020, 1, 1), 'declare the type date'),
    'enum': (Colour.RED, "as 'red' of type str; declare the type Colour"),
    'int of an enum': (Level.LOW, 'as 1 of type int; declare the type Level'),
    'complex': (1j, 'declare the type complex'),
    'decimal': (decimal.Decimal('1.10'), 'declare the type Decimal'),
    'set': ({1, 2}, 'declare the type set'),
    'named tuple': (Pair(), 'declare the type Pair'),
    'nan': (float('nan'), "as 'nan' of type str; declare the type float"),
    'infinity': (float('-inf'), 'declare the type float'),
    'keys that are int': ({1: 'a'}, 'declare the type dict[int, ...]'),
    'keys that are tuples': ({(1, 2): 'a'}, 'declare the type dict[tuple, ...]'),
    'surrogate': ('\ud800', 'lone surrogate'),
    'endless int': (10**5000, '4,300 digits'),
}


@pytest.mark.parametrize('kind', REFUSED)
@pytest.mark.parametrize(
    ('place', 'path'),
    [
        (lambda value: {'fixed': value}, 'Free.Config.fixed'),
        (lambda value: {'free': [0, value]}, 'Free.Config.free[1]'),
        (lambda value: {'free': {'a': {'b': value}}}, "Free.Config.free['a']['b']"),
        (lambda value: {'inner': Inner(act=value)}, 'Free.Config.inner.act'),
    ],
)
def test_a_setting_that_no_save_gives_back_is_refused_at_once(
    kind: str, place: Callable[[Any], dict[str, Any]], path: str, tmp_path: Path
) -> None:
    """The error comes when the model is made; it names the path of the value and what to do, and nothing is written."""
    value, cure = REFUSED[kind]
    with pytest.raises(objio.UnsaveableError, match=re.escape(cure)) as info:
        Free(tmp_path / 'm', **place(value))
    assert path in str(info.value)
    assert not (tmp_path / 'm').exists()


def test_a_default_is_refused_too(tmp_path: Path) -> None:
    """What the class itself has as a default is a setting like any other."""

    class Net(Free):
        class Config(Free.Config):
            dtype: Any = jnp.float32

    with pytest.raises(objio.UnsaveableError, match=r"Config\.dtype = .*dtype: str = 'float32'"):
        Net(tmp_path / 'm')


@pytest.mark.parametrize('kind', REFUSED)
def test_an_assignment_is_refused_and_the_old_value_stays(kind: str, tmp_path: Path) -> None:
    """A mutable setting of a model, nested or not, keeps its value where the new one could not be saved."""
    model = Free(tmp_path / 'm', free='old')
    for assigned in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(objio.UnsaveableError):
            assigned.config.free = REFUSED[kind][0]
        with pytest.raises(objio.UnsaveableError):
            assigned.config.inner.act = REFUSED[kind][0]
        with pytest.raises(objio.UnsaveableError):
            assigned.config.inner = Inner(act=REFUSED[kind][0])
        assert (assigned.config.free, assigned.config.inner.act) == ('old', 'relu')
    model.save()


def test_nested_settings_that_were_assigned_are_guarded_too(tmp_path: Path) -> None:
    """What takes the place of nested settings refuses the same as what stood there, also where there was None."""

    class Net(Free):
        class Config(Free.Config):
            more: Inner | None = objio.mutable(None)

    model = Net(tmp_path / 'm')
    model.config.inner = Inner(act='tanh')
    model.config.more = Inner(act='gelu')
    for inner in (model.config.inner, model.config.more):
        with pytest.raises(objio.UnsaveableError, match='look it up'):
            inner.act = jnp.tanh
    model.save()
    again = Net(tmp_path / 'm')
    with pytest.raises(objio.UnsaveableError, match='look it up'):
        again.config.more.act = jnp.tanh
    assert again.config == model.config


def test_arrays_are_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    """An array, which can be changed in place, is no setting of anything."""
    for array in (np.ones(2), jnp.ones(2), jax.random.key(0)):
        with pytest.raises(TypeError, match=r'Free\.Config\.free: a setting cannot hold'):
            Free(tmp_path / 'm', free=array)


def test_a_validator_that_changes_a_value_again_is_refused(tmp_path: Path) -> None:
    """A value that each load would change once more is told, with both values."""

    class Net(Free):
        class Config(Free.Config):
            percent: float = 0.5

            @pydantic.field_validator('percent')
            @classmethod
            def _scale(cls, value: float) -> float:
                return value * 100

    with pytest.raises(
        objio.UnsaveableError, match=r'percent = 25.0 would come back from a save as 2500.0 .* validator'
    ):
        Net(tmp_path / 'm', percent=0.25)


def test_a_type_that_no_load_takes_again_is_refused(tmp_path: Path) -> None:
    """What can be written and never be read is told when the model is made."""

    class Net(Free):
        class Config(Free.Config):
            table: dict[tuple[int, int], int] = {}
            colour: typing.Literal[Colour.RED, 'none'] = 'none'

    for given in ({'table': {(1, 2): 3}}, {'colour': Colour.RED}):
        with pytest.raises(objio.UnsaveableError, match='which a load refuses'):
            Net(tmp_path / 'm', **given)


class Typed(objio.Model):
    """A model whose settings have the types of what they hold."""

    class Config(objio.Config):
        path: Path = Path('a')
        day: dt.date = dt.date(2020, 1, 2)
        wait: dt.timedelta = dt.timedelta(hours=36)
        colour: Colour = Colour.RED
        level: Level = Level.LOW
        raw: bytes = b'abc'
        number: complex = 1 - 2j
        price: decimal.Decimal = decimal.Decimal('1.10')
        nan: float = float('nan')
        bounds: list[float] = [float('-inf'), 1.0]
        pair: Pair = Pair(3, 4)
        names: set[str] = {'a'}
        table: dict[int, set[int]] = {1: {2, 3}}
        either: int | str = '1'
        any: Any = ({'a': [1, None, 'x', 2.5, True]}, 2**70, -0.0)
        layers: list[Inner] = [Inner(), Inner(act='tanh')]
        scalar: Any = np.float64(0.1)

    def build(self) -> None:
        self.layer = objio.nn.Linear(1, 1)


def test_what_its_type_brings_back_is_taken(tmp_path: Path) -> None:
    """Paths, dates, enums, bytes, sets and NaN come back as they are where their type is declared."""
    given = Typed.Config().to_dict()
    saved = Typed(tmp_path / 'm', **given)
    saved.save()
    loaded = Typed(tmp_path / 'm')
    assert repr(loaded.config) == repr(saved.config)
    assert {name: type(value) for name, value in loaded.config.to_dict().items()} == {
        name: type(value) for name, value in given.items()
    }
    assert type(loaded.config.scalar) is float


def test_settings_of_no_model_are_free() -> None:
    """A Config by itself is never saved, so that it may hold what it likes."""
    config = Free.Config(fixed=jnp.tanh)
    config.free = jnp.float32
    assert (config.fixed, config.free) == (jnp.tanh, jnp.float32)
    with pytest.raises(objio.UnsaveableError):
        config.to_json()

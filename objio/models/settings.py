"""What settings are underneath: fields that are checked by pydantic, frozen, told given from default, and nested."""

import difflib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from objio.errors import UnsaveableError
from objio.io.files import FixedPath
from objio.models.freezing import freeze, thaw

try:
    import pydantic as pydantic  # noqa: PLC0414  # passed on: one place says that it is missing
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'objio.Config and objio.Model need pydantic: pip install "objio[models]"', name=error.name
    ) from error
from pydantic import ConfigDict, PrivateAttr, field_serializer, field_validator, model_validator
from pydantic.fields import FieldInfo

_MUTABLE = 'mutable'  # the key of `json_schema_extra` that marks a field


def mutable(default: Any = ..., **options: Any) -> Any:
    """Marks a setting that may change while the model stays the same: a learning rate, a number of epochs.

    Args:
        default: its default; none: it must be given.
        **options: those of `pydantic.Field`, such as the bounds `gt`, `ge`, `lt`, `le`.

    Example:
        >>> import objio
        >>> class Settings(objio.Config):
        ...     width: int = 64
        ...     lr: float = objio.mutable(0.1, gt=0)
        >>> settings = Settings()
        >>> settings.lr = 0.01
        >>> settings
        Settings(width=64, lr=0.01)
    """
    extra = dict(options.pop('json_schema_extra', None) or {}) | {_MUTABLE: True}
    if 'default_factory' in options and default is ...:
        return pydantic.Field(json_schema_extra=extra, **options)
    return pydantic.Field(default, json_schema_extra=extra, **options)


class Settings(pydantic.BaseModel):
    """The base of `Config`: how values come in, and in what form they stay."""

    model_config = ConfigDict(strict=True, extra='forbid', validate_default=True, ser_json_inf_nan='constants')

    _directory: FixedPath | None = PrivateAttr(default=None)
    _settled: bool = PrivateAttr(default=False)
    _sealed: bool = PrivateAttr(default=False)
    # Those of a model refuse what no save can hold.
    _guarded: bool = PrivateAttr(default=False)
    # What stood here before a load took the value of a save: nobody in this process gave that one.
    _before_load: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.model_config['title'] = cls.__qualname__.rpartition('<locals>.')[2]  # what errors call it

    def __repr_name__(self) -> str:
        return title(type(self))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(value == other.__dict__[name] for name, _, value in fields_of(self))

    __hash__ = None  # type: ignore[assignment]  # some settings change

    @model_validator(mode='before')
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        unknown = [name for name in values if name not in cls.model_fields] if isinstance(values, Mapping) else []
        if unknown:
            raise ValueError(unknown_names(cls, unknown))
        return values

    @field_validator('*', mode='wrap')
    @classmethod
    def _accept_frozen(cls, value: Any, check: Callable[[Any], Any], info: pydantic.ValidationInfo) -> Any:
        try:
            return check(value)
        except pydantic.ValidationError:
            thawed = thaw(value, cls.model_fields[str(info.field_name)].annotation)
            if thawed is value:
                raise
        return check(thawed)

    @field_serializer('*', mode='wrap')
    def _thaw_for_output(self, value: Any, write: Callable[[Any], Any], info: pydantic.FieldSerializationInfo) -> Any:
        return write(thaw(value, type(self).model_fields[info.field_name].annotation))

    @model_validator(mode='after')
    def _settle(self) -> Self:
        """Freezes what was just checked; called again, to no effect, whenever the config goes into another one."""
        if not self._settled:
            for name, _, value in fields_of(self):
                if isinstance(value, Settings):
                    own = value.model_copy(deep=True)
                    for _, owner, _ in leaves(own):
                        owner._before_load.clear()  # noqa: SLF001  # a friend: whoever gives them here gives them
                    if name not in self.__pydantic_fields_set__:  # all of it is the default of this one
                        mark(own, frozenset())
                    self.__dict__[name] = own
                else:
                    try:
                        self.__dict__[name] = freeze(value, _seal)
                    except TypeError as error:
                        raise TypeError(f'{title(type(self))}.{name}: {error}') from None
            self._settled = True
        return self


def fields_of(settings: Settings) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Each setting: its name, its field, its value."""
    for name, field in type(settings).model_fields.items():
        yield name, field, settings.__dict__[name]


def leaves(settings: Settings, prefix: str = '') -> Iterator[tuple[str, Settings, str]]:
    """Each single setting, also of nested ones: its dotted name, what it stands in, and its name there."""
    for name, _, value in fields_of(settings):
        if isinstance(value, Settings):
            yield from leaves(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', settings, name


def given(settings: Settings) -> frozenset[str]:
    """The dotted names of the settings that were given; the others hold their defaults."""
    return frozenset(path for path, owner, name in leaves(settings) if name in owner.__pydantic_fields_set__)


def mark(settings: Settings, given: frozenset[str]) -> None:
    """Lets exactly these settings, by dotted name, be those that were given."""
    for path, owner, name in leaves(settings):
        (owner.__pydantic_fields_set__.add if path in given else owner.__pydantic_fields_set__.discard)(name)


def take(settings: Settings, path: str, source: Settings) -> None:
    """Takes one value, by dotted name, of settings that come from a save."""
    *above, last = path.split('.')
    for step in above:
        settings, source = getattr(settings, step), getattr(source, step)
    settings._before_load[last] = settings.__dict__[last]  # noqa: SLF001  # a friend
    settings.__dict__[last] = source.__dict__[last]


def keep_origin(old: Settings, new: Settings, given: frozenset[str]) -> None:
    """Lets what a load took into nested settings count as taken in those that replace them, but for what is given."""
    owners = {path: owner for path, owner, _ in leaves(new)}
    for path, owner, name in leaves(old):
        if name in owner._before_load and path not in given:  # noqa: SLF001  # a friend
            owners[path]._before_load[name] = owner._before_load[name]  # noqa: SLF001


def before_loads(settings: Settings) -> Settings:
    """A copy with the values that were given in this process, or are defaults, where a load took those of a save."""
    copied = settings.model_copy(deep=True)
    for _, owner, name in leaves(copied):
        if is_mutable(type(owner).model_fields[name]) and name in owner._before_load:  # noqa: SLF001  # a friend
            owner.__dict__[name] = owner._before_load.pop(name)  # noqa: SLF001
            owner.__pydantic_fields_set__.discard(name)
    return copied


def adopt(settings: Settings, other: Settings) -> None:
    """Takes the values of other settings of the same class, in place, and where each of them comes from."""
    for name, _, value in fields_of(other):
        mine = settings.__dict__[name]
        if isinstance(mine, Settings) and isinstance(value, Settings):
            adopt(mine, value)
        else:
            settings.__dict__[name] = value
    settings.__pydantic_fields_set__.clear()
    settings.__pydantic_fields_set__.update(other.__pydantic_fields_set__)
    settings._before_load = other._before_load  # noqa: SLF001  # a friend


def is_mutable(field: FieldInfo) -> bool:
    """Whether a field was made by `mutable`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get(_MUTABLE) is True


def nested_in(annotation: Any) -> type[Settings] | None:
    """The class of nested settings that an annotation names, alone or as an option; none in a list or a dict."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType, Annotated) else ()
    found = [inner for kind in kinds if (inner := nested_in(kind)) is not None]
    if len(found) > 1:
        raise TypeError(f'{annotation}: a setting holds one class of settings, or that and None')
    return found[0] if found else None


def annotated_names(cls: type) -> list[str]:
    """The names that the body of a class annotates."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return list(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return list(inspect.get_annotations(cls))


def title(cls: type[Settings]) -> str:
    """What messages call a class of settings."""
    return str(cls.model_config['title'])


def unknown_names(cls: type[Settings], names: list[str]) -> str:
    """The complaint about settings that a class does not have, with the nearest that it has."""
    complaints = []
    for name in names:
        near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
        complaints.append(f'{name!r}' + (f' (did you mean {near[0]!r}?)' if near else ''))
    return f'{title(cls)} has no setting {", ".join(complaints)}; it has: {", ".join(cls.model_fields) or "none"}'


def json_values(settings: Settings, only: str | None = None) -> dict[str, Any]:
    """The settings as JSON has them, the same for equal settings: sets in order, no number that JSON does not know.

    Args:
        settings: the settings.
        only: the name of the one setting that is wanted; None: all.

    Raises:
        UnsaveableError: a setting has a value of a type that pydantic cannot write.
    """
    values = {}
    for name, _, value in fields_of(settings):
        if only not in (None, name):
            continue
        if isinstance(value, Settings):
            values[name] = json_values(value)
            continue
        try:
            written = settings.model_dump(mode='json', include={name})[name]
        except ValueError as error:
            raise UnsaveableError(
                f'{title(type(settings))}.{name} = {value!r} cannot be saved as JSON: {error}'
            ) from error
        values[name] = _in_order(written, value)
    return values


def _in_order(written: Any, value: Any) -> Any:
    """What JSON keeps of a value, whatever the order of a set, and with words for what is no number."""
    if isinstance(written, float):
        return written if abs(written) < float('inf') else str(written)
    if isinstance(written, list):
        items = list(value) if isinstance(value, tuple | frozenset) and len(value) == len(written) else written
        inner = [_in_order(item, of) for item, of in zip(written, items, strict=True)]
        return sorted(inner, key=json.dumps) if isinstance(value, frozenset) else inner
    if isinstance(written, dict):
        of = list(value.values()) if isinstance(value, dict) and len(value) == len(written) else [None] * len(written)
        return {key: _in_order(item, inner) for (key, item), inner in zip(written.items(), of, strict=True)}
    return written


def _seal(value: Any) -> Any:
    """What stands in a tuple or a dict of settings: a config there never changes, since the whole does not."""
    if isinstance(value, Settings):
        own = value.model_copy(deep=True)
        own._sealed = True  # noqa: SLF001  # a friend
        for _, owner, _ in leaves(own):
            owner._sealed = True  # noqa: SLF001
        return own
    if type(value).__hash__ is None:
        raise TypeError(
            f'a setting cannot hold {type(value).__qualname__}, which can be changed in place: {value!r}; '
            'use numbers, str, tuples, or an objio.Config'
        )
    return value

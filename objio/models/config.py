"""The settings of a model: checked when they are given, and unchangeable unless they say otherwise."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args

from objio.errors import ConfigPropertyImmutable, UnsaveableError
from objio.models.freezing import freeze, thaw

try:
    import pydantic
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


class Config(pydantic.BaseModel):
    """The settings of a model, each with its type: an immutable one for ever, a `mutable` one until it is changed.

    Types are checked strictly when values are given in Python, and loosely when they come from text. What is in a
    setting cannot be changed in place either: lists become tuples, sets frozensets, dicts read-only.

    Example:
        >>> import objio
        >>> class Settings(objio.Config):
        ...     width: int = 64
        ...     layers: list[int] = [32, 32]
        ...     lr: float = objio.mutable(0.1, gt=0)
        >>> settings = Settings(width=128)
        >>> settings.layers, sorted(settings.given)
        ((32, 32), ['width'])
        >>> settings.width = 256
        Traceback (most recent call last):
            ...
        objio.errors.ConfigPropertyImmutable: Settings.width is 128 and immutable, ...
    """

    model_config = ConfigDict(
        strict=True,
        extra='forbid',
        validate_default=True,
        ser_json_inf_nan='constants',
        use_attribute_docstrings=True,
    )

    def __repr_name__(self) -> str:
        return type(self).__qualname__.rpartition('<locals>.')[2]

    _directory: Path | None = PrivateAttr(default=None)
    _settled: bool = PrivateAttr(default=False)
    _sealed: bool = PrivateAttr(default=False)

    @property
    def directory(self) -> Path:
        """The directory of the model; in memory only, never stored and never compared."""
        if self._directory is None:
            raise AttributeError(f'this {type(self).__qualname__} belongs to no model, so it has no directory')
        return self._directory

    @property
    def given(self) -> frozenset[str]:
        """The settings that were given, by argument, from text or by assignment; the others hold their defaults."""
        return frozenset(path for path, owner, name in leaves(self) if name in owner.__pydantic_fields_set__)

    @classmethod
    def mutable_fields(cls) -> dict[str, FieldInfo]:
        """The settings that may change, by dotted name, with what pydantic knows of them: type, bounds, default.

        Example:
            >>> import objio
            >>> class Settings(objio.Config):
            ...     width: int = 64
            ...     lr: float = objio.mutable(0.1, gt=0, le=1)
            >>> Settings.mutable_fields()['lr'].metadata
            [Gt(gt=0), Le(le=1)]
        """
        found = {}
        for name, field in cls.model_fields.items():
            inner = config_in(field.annotation)
            if is_mutable(field):
                found[name] = field
            elif inner is not None:
                found |= {f'{name}.{path}': below for path, below in inner.mutable_fields().items()}
        return found

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain Python: nested dicts and lists that may be changed."""
        return {name: _plain(value, field.annotation) for name, field, value in self._items()}

    def to_json(self) -> str:
        """The settings as the text of a JSON object."""
        return json.dumps(json_values(self), indent=2, ensure_ascii=False) + '\n'

    def to_yaml(self) -> str:
        """The settings as YAML."""
        return str(_yaml().safe_dump(json_values(self), sort_keys=False, allow_unicode=True))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Settings from the text of a JSON object; those it has are given, the others hold their defaults."""
        return cls._from_text(json.loads(text), 'JSON')

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Self:
        """Settings from YAML; those it has are given, the others hold their defaults."""
        content = _yaml().safe_load(text)
        return cls._from_text({} if content is None else content, 'YAML')

    @classmethod
    def _from_text(cls, content: Any, kind: str) -> Self:
        if not isinstance(content, dict):
            raise ValueError(f'{cls.__qualname__}: expected {kind} of names and values, got {content!r}')
        return cls.model_validate(content, strict=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith('_'):
            super().__setattr__(name, value)
            return
        field = type(self).model_fields.get(name)
        if field is None:
            raise AttributeError(_unknown(type(self), [name]))
        if self._sealed or not is_mutable(field):
            raise ConfigPropertyImmutable(f'{type(self).__qualname__}.{name}', self.__dict__[name], value)
        changed = type(self).model_validate({name: old for name, _, old in self._items()} | {name: value})
        self.__dict__[name] = changed.__dict__[name]
        self.__pydantic_fields_set__.add(name)

    def __delattr__(self, name: str) -> None:
        if name in type(self).model_fields:
            raise ConfigPropertyImmutable(f'{type(self).__qualname__}.{name}', self.__dict__[name])
        super().__delattr__(name)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(value == other.__dict__[name] for name, _, value in self._items())

    __hash__ = None  # type: ignore[assignment]  # some settings change

    def _items(self) -> Iterator[tuple[str, FieldInfo, Any]]:
        for name, field in type(self).model_fields.items():
            yield name, field, self.__dict__[name]

    @model_validator(mode='before')
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        unknown = [name for name in values if name not in cls.model_fields] if isinstance(values, Mapping) else []
        if unknown:
            raise ValueError(_unknown(cls, unknown))
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
            for name, _, value in self._items():
                if isinstance(value, Config):
                    own = value.model_copy(deep=True)
                    if name not in self.__pydantic_fields_set__:  # all of it is the default of this one
                        mark(own, frozenset())
                    self.__dict__[name] = own
                else:
                    self.__dict__[name] = freeze(value, _seal)
            self._settled = True
        return self


def leaves(config: Config, prefix: str = '') -> Iterator[tuple[str, Config, str]]:
    """Each single setting: its dotted name, the config it stands in, and its name there."""
    for name, _, value in config._items():  # noqa: SLF001  # a friend
        if isinstance(value, Config):
            yield from leaves(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', config, name


def mark(config: Config, given: frozenset[str]) -> None:
    """Lets exactly these settings, by dotted name, be those that were given."""
    for path, owner, name in leaves(config):
        (owner.__pydantic_fields_set__.add if path in given else owner.__pydantic_fields_set__.discard)(name)


def is_mutable(field: FieldInfo) -> bool:
    """Whether a field was made by `mutable`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get(_MUTABLE) is True


def config_in(annotation: Any) -> type[Config] | None:
    """The class of nested settings that an annotation names, alone or as an option."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return annotation
    return next((inner for kind in get_args(annotation) if (inner := config_in(kind)) is not None), None)


def json_values(config: Config) -> dict[str, Any]:
    """The settings as JSON has them, the same for equal settings: sets in order, no number that JSON does not know.

    Raises:
        UnsaveableError: a setting has a value of a type that pydantic cannot write.
    """
    values = {}
    for name, _, value in config._items():  # noqa: SLF001  # a friend
        if isinstance(value, Config):
            values[name] = json_values(value)
            continue
        try:
            written = config.model_dump(mode='json', include={name})[name]
        except (pydantic.ValidationError, ValueError) as error:
            raise UnsaveableError(f'{type(config).__qualname__}.{name} = {value!r} cannot be saved: {error}') from error
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


def _plain(value: Any, annotation: Any) -> Any:
    return value.to_dict() if isinstance(value, Config) else thaw(value, annotation)


def _seal(value: Any) -> Any:
    if isinstance(value, Config):
        own = value.model_copy(deep=True)
        for _, owner, _ in leaves(own):
            owner._sealed = True  # noqa: SLF001  # a friend
        return own
    if type(value).__hash__ is None:
        raise TypeError(
            f'a setting cannot hold {type(value).__qualname__}, which can be changed in place: {value!r}; '
            'use numbers, str, tuples, or an objio.Config'
        )
    return value


def _unknown(cls: type[Config], names: list[str]) -> str:
    complaints = []
    for name in names:
        near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
        complaints.append(f'{name!r}' + (f' (did you mean {near[0]!r}?)' if near else ''))
    known = ', '.join(cls.model_fields) or 'none'
    return f'{cls.__qualname__} has no setting {", ".join(complaints)}; it has: {known}'


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('YAML needs PyYAML: pip install "objio[models]"', name=error.name) from error
    return yaml

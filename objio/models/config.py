"""The settings of a model: checked when they are given, and unchangeable unless they say otherwise."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from objio.errors import ConfigPropertyImmutable
from objio.models.freezing import thaw
from objio.models.saveable import guard
from objio.models.settings import (
    Settings,
    annotated_names,
    fields_of,
    given,
    is_mutable,
    json_values,
    keep_origin,
    mark,
    nested_in,
    title,
    unknown_names,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class Config(Settings):
    """The settings of a model, each with its type: immutable for ever, unless `mutable` says that it may change.

    Types are checked strictly when values are given in Python, and loosely when they come from text. What is in a
    setting cannot be changed in place either: lists become tuples, sets frozensets, dicts read-only. A setting may be
    a `Config` itself; a dotted name, as in `opt.lr`, tells of one in it.

    Raises:
        ValueError: a value is of a wrong type or out of bounds, or there is no such setting; it is pydantic's
            `ValidationError`, which lists all that is wrong.

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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in annotated_names(cls):
            if hasattr(Config, name) and not name.startswith('_') and name != 'model_config':
                raise TypeError(f'{title(cls)}.{name}: every Config has {name!r} already; find another name')

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if cls.model_config.get('extra') != 'forbid':
            raise TypeError(f'{title(cls)}: settings that are not declared would not be saved, so they stay forbidden')
        for name, field in cls.model_fields.items():
            if field.exclude or field.alias or field.validation_alias or field.serialization_alias:
                raise TypeError(
                    f'{title(cls)}.{name}: a setting is saved, under its own name; leave out exclude and alias'
                )
            if nested_in(field.annotation) is field.annotation and is_mutable(field):
                raise TypeError(
                    f'{title(cls)}.{name}: nested settings are mutable one by one; use mutable(...) in their own class'
                )

    @property
    def directory(self) -> Path:
        """The directory of the model; in memory only, never stored and never compared.

        As it was given, or absolute where the working folder is another by now.
        """
        if self._directory is None:
            raise AttributeError(
                f'this {title(type(self))} has no directory: it belongs to no model, or to one that was made with '
                'directory=None or was unpickled'
            )
        return Path(self._directory.path)

    @property
    def given(self) -> frozenset[str]:
        """The settings that were given, by argument, from text or by assignment; the others hold their defaults."""
        return given(self)

    @classmethod
    def mutable_fields(cls) -> 'dict[str, FieldInfo]':
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
            inner = nested_in(field.annotation)
            if is_mutable(field):
                found[name] = field
            elif inner is not None and issubclass(inner, Config):
                found |= {f'{name}.{path}': below for path, below in inner.mutable_fields().items()}
        return found

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain Python: nested dicts, lists and sets of one's own."""
        return {
            name: value.to_dict() if isinstance(value, Config) else thaw(value, field.annotation)
            for name, field, value in fields_of(self)
        }

    def to_json(self) -> str:
        """The settings as the text of a JSON object; infinities and NaN are words."""
        return json.dumps(json_values(self), indent=2, ensure_ascii=False) + '\n'

    def to_yaml(self) -> str:
        """The settings as YAML."""
        return str(_yaml().safe_dump(json_values(self), sort_keys=False, allow_unicode=True))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Settings from the text of a JSON object; those it has are given, the others hold their defaults."""
        return cls._from_text(json.loads(text), 'JSON object')

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Self:
        """Settings from YAML; those it has are given, the others hold their defaults.

        Example:
            >>> import objio
            >>> class Settings(objio.Config):
            ...     width: int = 64
            ...     lr: float = objio.mutable(0.1, gt=0)
            >>> Settings.from_yaml('lr: 1e-3')
            Settings(width=64, lr=0.001)
        """
        content = _yaml().safe_load(text)
        return cls._from_text({} if content is None else content, 'YAML mapping')

    @classmethod
    def _from_text(cls, content: Any, kind: str) -> Self:
        if not isinstance(content, dict):
            raise ValueError(f'{title(cls)}: expected a {kind} of names and values, got {content!r}')
        return cls.model_validate(content, strict=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith('_'):
            super().__setattr__(name, value)
            return
        field = type(self).model_fields.get(name)
        if field is None:
            raise AttributeError(unknown_names(type(self), [name]))
        path, old = f'{title(type(self))}.{name}', self.__dict__[name]
        by_leaf = isinstance(old, Config) and not is_mutable(field)
        if self._sealed or not (by_leaf or is_mutable(field)):
            raise ConfigPropertyImmutable(path, old, value)
        kept = {other: now for other, _, now in fields_of(self)}
        checked = type(self).model_validate(kept | {name: value})
        if self._guarded:
            guard(checked)
        new = checked.__dict__[name]
        if by_leaf:
            changed = _changes(path, old, new)
            given_now = frozenset(leaf.removeprefix(f'{path}.') for leaf in changed) | new.given
            mark(new, given_now | old.given)
            keep_origin(old, new, given_now)
        self._before_load.pop(name, None)
        self.__dict__[name] = new
        self.__pydantic_fields_set__.add(name)

    def __delattr__(self, name: str) -> None:
        if name in type(self).model_fields:
            raise ConfigPropertyImmutable(f'{title(type(self))}.{name}', self.__dict__[name])
        super().__delattr__(name)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return state | {'__pydantic_private__': {**(state['__pydantic_private__'] or {}), '_directory': None}}


def _changes(path: str, old: Config, new: Any) -> list[str]:
    """The dotted names of nested settings that differ; all of them must be mutable."""
    if type(new) is not type(old):
        raise ConfigPropertyImmutable(path, old, new)
    changed = []
    for name, field, value in fields_of(old):
        other = new.__dict__[name]
        if isinstance(value, Config) and not is_mutable(field):
            changed += _changes(f'{path}.{name}', value, other)
        elif value != other:
            if not is_mutable(field):
                raise ConfigPropertyImmutable(f'{path}.{name}', value, other)
            changed.append(f'{path}.{name}')
    return changed


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('YAML needs PyYAML: pip install "objio[models]"', name=error.name) from error
    return yaml

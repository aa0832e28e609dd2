"""The exceptions objio raises, and the built-in ones that people already catch.

    ObjioError
    ├── FormatError      (ValueError)    the bytes of a file are not what the format says
    ├── MismatchError    (ValueError)    a file and a model differ in names, shapes or dtypes
    ├── UnsaveableError  (ValueError)    a value or a name cannot be written to a file
    ├── SaveOrderError   (ValueError)    a save would stand below the newest one of its folder
    ├── SaveNotDurable   (OSError)       the file is in place, but its folder could not be synced
    ├── SaveFailed       (RuntimeError)  a save in the background failed; `.idx` says which
    ├── ConfigConflict   (ValueError)    the settings given, those saved and the files do not agree
    └── ConfigPropertyImmutable (AttributeError)  a setting that makes the model what it is was assigned

    ConfigDefaultChanged (UserWarning)   a save and the code of today have other defaults or other settings

`OSError` stays `OSError`: a bad disk is never called a bad file.
"""

from typing import Any


class ObjioError(Exception):
    """The base of every exception that objio defines."""


class FormatError(ObjioError, ValueError):
    """The bytes of a file are not what the format says: damaged, cut short, or of another kind."""


class MismatchError(ObjioError, ValueError):
    """A file and a model differ in names, shapes or dtypes; the message lists every difference."""


class UnsaveableError(ObjioError, ValueError):
    """A value or a name cannot be written to a file; nothing was written."""


class SaveOrderError(ObjioError, ValueError):
    """A save would stand below the newest whole save of its folder; nothing was written."""


class SaveNotDurable(ObjioError, OSError):
    """The new file is complete and in place, but its folder could not be synced.

    A power cut may still bring back the old file. Nothing older was deleted.
    """


class SaveFailed(ObjioError, RuntimeError):
    """A save in the background failed; its cause is chained to this exception.

    Attributes:
        idx: the index of the save that failed.
    """

    def __init__(self, message: str, idx: int) -> None:
        super().__init__(message)
        self.idx = idx

    def __reduce__(self) -> tuple[type['SaveFailed'], tuple[str, int]]:
        return type(self), (self.args[0], self.idx)


class ConfigConflict(ObjioError, ValueError):
    """The settings that were given, those that were saved and those in a file do not agree; nothing was loaded."""


class ConfigPropertyImmutable(ObjioError, AttributeError):
    """A setting that makes the model what it is was assigned or deleted; it is as it was.

    Attributes:
        field: the class of the settings and the name of the one.
        value: what is in force.
        attempted: what was assigned; Ellipsis where it was deleted.
    """

    def __init__(self, field: str, value: Any, attempted: Any = ...) -> None:
        what = 'cannot be deleted' if attempted is ... else f'cannot become {attempted!r}'
        super().__init__(
            f'{field} is {value!r} and immutable, so it {what}: make a new model with another value, '
            'or declare the setting with objio.mutable(...)'
        )
        self.field = field
        self.value = value
        self.attempted = attempted

    def __reduce__(self) -> tuple[type['ConfigPropertyImmutable'], tuple[str, Any, Any]]:
        return type(self), (self.field, self.value, self.attempted)


class ConfigDefaultChanged(UserWarning):
    """The code of today has another default, one setting more or one less than the code that saved."""

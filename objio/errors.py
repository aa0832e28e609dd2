"""The exceptions objio raises, and the built-in ones that people already catch.

    ObjioError
    ├── FormatError      (ValueError)    the bytes of a file are not what the format says
    ├── MismatchError    (ValueError)    a file and a model differ in names, shapes or dtypes
    ├── UnsaveableError  (ValueError)    a value or a name cannot be written to a file
    ├── SaveOrderError   (ValueError)    a save would stand below the newest one of its folder
    ├── SaveNotDurable   (OSError)       the file is in place, but its folder could not be synced
    └── SaveFailed       (RuntimeError)  a save in the background failed; `.idx` says which

`OSError` stays `OSError`: a bad disk is never called a bad file.
"""


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

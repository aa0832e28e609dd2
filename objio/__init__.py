"""Save, resume and average the variables of a JAX model: one plain `.npz` per save, nothing lost at a crash.

Every name is imported when it is first used, so that `import objio` costs next to nothing and a program that only
reads files never waits for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objio import errors, functional, io, nn, random, variables
    from objio.errors import (
        ConfigConflict,
        ConfigDefaultChanged,
        ConfigPropertyImmutable,
        FormatError,
        MismatchError,
        ObjioError,
        SaveFailed,
        SaveNotDurable,
        SaveOrderError,
        UnsaveableError,
    )
    from objio.io.averaging import average
    from objio.io.checkpoint import Checkpoint
    from objio.io.converting import convert
    from objio.io.files import SavedArrays, VerifyReport, open, verify
    from objio.io.ops import load_var_collection, plan_load, save_var_collection
    from objio.io.pickling import load_module, save_module
    from objio.io.plan import LoadPlan, LoadReport
    from objio.models.config import Config
    from objio.models.model import Model
    from objio.models.run_comparison import compare
    from objio.models.runs import runs
    from objio.models.saver import Saver
    from objio.models.settings import mutable
    from objio.variables import (
        BaseState,
        BaseVar,
        Module,
        ModuleList,
        RandomState,
        Renamer,
        StateVar,
        TrainRef,
        TrainVar,
        VarCollection,
        pure,
    )

    __version__: str

__all__ = [
    'BaseState',
    'BaseVar',
    'Checkpoint',
    'Config',
    'ConfigConflict',
    'ConfigDefaultChanged',
    'ConfigPropertyImmutable',
    'FormatError',
    'LoadPlan',
    'LoadReport',
    'MismatchError',
    'Model',
    'Module',
    'ModuleList',
    'ObjioError',
    'RandomState',
    'Renamer',
    'SaveFailed',
    'SaveNotDurable',
    'SaveOrderError',
    'SavedArrays',
    'Saver',
    'StateVar',
    'TrainRef',
    'TrainVar',
    'UnsaveableError',
    'VarCollection',
    'VerifyReport',
    '__version__',
    'average',
    'compare',
    'convert',
    'errors',
    'functional',
    'io',
    'load_module',
    'load_var_collection',
    'mutable',
    'nn',
    'open',
    'plan_load',
    'pure',
    'random',
    'runs',
    'save_module',
    'save_var_collection',
    'variables',
    'verify',
]

_HOMES = {
    'objio.errors': (
        'ConfigConflict',
        'ConfigDefaultChanged',
        'ConfigPropertyImmutable',
        'FormatError',
        'MismatchError',
        'ObjioError',
        'SaveFailed',
        'SaveNotDurable',
        'SaveOrderError',
        'UnsaveableError',
    ),
    'objio.io.averaging': ('average',),
    'objio.io.checkpoint': ('Checkpoint',),
    'objio.io.converting': ('convert',),
    'objio.io.files': ('SavedArrays', 'VerifyReport', 'open', 'verify'),
    'objio.io.ops': ('load_var_collection', 'plan_load', 'save_var_collection'),
    'objio.io.pickling': ('load_module', 'save_module'),
    'objio.io.plan': ('LoadPlan', 'LoadReport'),
    'objio.models.config': ('Config',),
    'objio.models.model': ('Model',),
    'objio.models.run_comparison': ('compare',),
    'objio.models.runs': ('runs',),
    'objio.models.saver': ('Saver',),
    'objio.models.settings': ('mutable',),
    'objio.variables': (
        'BaseState',
        'BaseVar',
        'Module',
        'ModuleList',
        'RandomState',
        'Renamer',
        'StateVar',
        'TrainRef',
        'TrainVar',
        'VarCollection',
        'pure',
    ),
}
_SUBMODULES = ('errors', 'functional', 'io', 'nn', 'random', 'variables')

# Type checkers must not see it: a module with `__getattr__` has every attribute, also a misspelt one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return import_module(f'{__name__}.{name}')
        if name == '__version__':
            value = import_module('importlib.metadata').version(__name__)
        else:
            home = next((module for module, names in _HOMES.items() if name in names), None)
            if home is None:
                raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
            value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

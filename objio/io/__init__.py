"""The VERBS: save, load, open, average and checkpoint, each imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objio.io.averaging import average
    from objio.io.checkpoint import Checkpoint
    from objio.io.converting import convert
    from objio.io.files import SavedArrays, VerifyReport, open, verify
    from objio.io.ops import load_var_collection, plan_load, save_var_collection
    from objio.io.pickling import load_module, save_module
    from objio.io.plan import LoadPlan, LoadReport

__all__ = [
    'Checkpoint',
    'LoadPlan',
    'LoadReport',
    'SavedArrays',
    'VerifyReport',
    'average',
    'convert',
    'load_module',
    'load_var_collection',
    'open',
    'plan_load',
    'save_module',
    'save_var_collection',
    'verify',
]

_HOMES = {
    'objio.io.averaging': ('average',),
    'objio.io.checkpoint': ('Checkpoint',),
    'objio.io.converting': ('convert',),
    'objio.io.files': ('SavedArrays', 'VerifyReport', 'open', 'verify'),
    'objio.io.ops': ('load_var_collection', 'plan_load', 'save_var_collection'),
    'objio.io.pickling': ('load_module', 'save_module'),
    'objio.io.plan': ('LoadPlan', 'LoadReport'),
}

# Type checkers must not see it: a module with `__getattr__` has every attribute, also a misspelt one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

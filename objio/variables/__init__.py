"""WHAT is saved: variables, the modules that hold them, and collections that name them."""

from objio.variables.collection import Group, VarCollection
from objio.variables.module import Module, ModuleList
from objio.variables.pure import pure
from objio.variables.renamer import Renamer, renamed
from objio.variables.variable import (
    BaseState,
    BaseVar,
    RandomState,
    StateVar,
    TrainRef,
    TrainVar,
    TreeVar,
    is_variable,
    target,
)

__all__ = [
    'BaseState',
    'BaseVar',
    'Group',
    'Module',
    'ModuleList',
    'RandomState',
    'Renamer',
    'StateVar',
    'TrainRef',
    'TrainVar',
    'TreeVar',
    'VarCollection',
    'is_variable',
    'pure',
    'renamed',
    'target',
]

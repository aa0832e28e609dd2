"""A collection as it is at one moment, for a function of the user to write while the training goes on."""

import copy
from typing import Any

import jax

from objio.errors import UnsaveableError
from objio.io.contents import Held, OnHost, check_array, refuse_promise, unchanging
from objio.variables import TrainRef, TreeVar, VarCollection, target
from objio.variables.values import is_key, is_weak
from objio.variables.variable import assign_raw, is_holder


def snapshot(vc: VarCollection) -> VarCollection:
    """A collection of the same names, ties and classes, whose values never change.

    Arrays of JAX become read-only NumPy arrays: on the CPU views, which keep the memory from being reused when the
    array is donated; elsewhere copies, since nothing else outlives a donation. Arrays of NumPy and typed keys are
    copied.

    Args:
        vc: the variables.

    Raises:
        UnsaveableError: an array was deleted, or is not all here; the message names its variable.
    """
    frozen: dict[int, tuple[Any, Any]] = {}  # by identity; the value is kept, so that its number is not given again
    twins: dict[int, Any] = {}
    on_host = OnHost()
    for name, _, variable, value in vc.held():
        try:
            if isinstance(value, jax.Array):
                check_array(value, on_host)
            refuse_promise(value)
        except UnsaveableError as error:
            raise UnsaveableError(f'{name}: {error}') from None
        if id(value) not in frozen:
            kept = unchanging(value, on_host)
            if isinstance(value, jax.Array) and not is_key(value):
                kept = kept.view(Held)
                kept.weak_type = is_weak(value)
            frozen[id(value)] = value, kept
        twins[id(variable)] = _twin(variable, frozen[id(value)][1])
    return VarCollection(
        (name, twins[id(thing)] if target(thing) is thing else TrainRef(twins[id(target(thing))]))
        for name, thing in vc.items()
    )


def _twin(variable: Any, value: Any) -> Any:
    """A variable of the same class, where its value can be exchanged without reaching the variable itself."""
    if not is_holder(variable):
        return TreeVar(value)
    twin = copy.copy(variable)
    assign_raw(twin, value)
    return twin

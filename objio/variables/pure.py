"""Functions that use variables, as the pure functions that JAX transforms."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from objio.variables.binding import bound
from objio.variables.collection import Group, VarCollection, in_order
from objio.variables.variable import assign_raw, is_holder, vars_of

Result = TypeVar('Result')
Pure = Callable[..., tuple[Result, dict[str, Any]]]


def pure(f: Callable[..., Result], vc: VarCollection | Mapping[str, Any] | None = None) -> Pure[Result]:
    """Turns a function that reads and assigns variables into one that takes and gives their values.

    Transform what `pure` gives, with `jax.jit`, `jax.grad`, `jax.vmap`, `jax.lax.scan`: a function that reads a
    variable without it is compiled with the value of that day as a constant.

    The variables themselves are not touched, neither while the function runs nor when it raises: to keep what it
    computed, assign it. Inside, `assign` checks against the value that was passed in. Build the pure function once,
    outside the loop: JAX compiles anew for every new function. Where a transformation inside the function assigns
    variables, a loss under `jax.grad` say, let it work on a pure function of its own.

    Args:
        f: a function or a module.
        vc: the variables it uses; None: `f.vars()`. They are looked up now: variables added later are not seen.

    Returns:
        `g(tensors, *args, **kwargs) -> (result, new_tensors)`: both dicts have exactly the names of
        `vc.named_tensors()`, and `result` is what `f(*args, **kwargs)` returns.

    Raises:
        TypeError: `vc` is None and `f` has no `vars`. From `g`: `tensors` is no mapping.
        ValueError: From `g`: a name is missing or unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from objio.variables import Module, StateVar, TrainVar
        >>> class Net(Module):
        ...     def __init__(self):
        ...         self.w = TrainVar(jnp.ones(3))
        ...         self.calls = StateVar(0)
        ...     def __call__(self, x):
        ...         self.calls.value += 1
        ...         return jnp.dot(self.w.value, x)
        >>> net = Net()
        >>> vc = net.vars()
        >>> step = jax.jit(pure(net), donate_argnums=0)
        >>> y, new = step(vc.named_tensors(), jnp.ones(3))
        >>> vc.assign(new)
        >>> print(y, net.calls.value)
        3.0 1
    """
    if vc is None:
        own = vars_of(f)
        if own is None:
            raise TypeError(f'pure: {_name(f)} has no vars(); pass the collection of the variables it uses')
        vc = own()
    groups = (vc if isinstance(vc, VarCollection) else VarCollection(vc)).groups()

    def g(tensors: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> tuple[Result, dict[str, Any]]:
        if not isinstance(tensors, Mapping):
            raise TypeError(f'{_name(g)}: expected a dict of arrays by name first, found {type(tensors).__name__}')
        values = in_order(groups, tensors, _name(g))
        with _standing_in(groups, values):
            result = f(*args, **kwargs)
            return result, {group.name: group.var.value for group in groups}

    g.__name__ = g.__qualname__ = f'pure({_name(f)})'
    g.__doc__ = f.__doc__
    signature = _signature(f)
    if signature is not None:
        g.__signature__ = signature  # type: ignore[attr-defined]
    return g


@contextmanager
def _standing_in(groups: Sequence[Group], values: Sequence[Any]) -> Iterator[None]:
    """Puts values in the place of the variables' own for the length of a `with` block."""
    frame = {id(group.var): value for group, value in zip(groups, values, strict=True) if is_holder(group.var)}
    foreign = [(g.var, value, g.var.value) for g, value in zip(groups, values, strict=True) if id(g.var) not in frame]
    with bound(frame):
        try:
            for variable, value, _ in foreign:
                assign_raw(variable, value)
            yield
        finally:
            # Only objio's own variables look a value up; any other has to be given its old one back.
            for variable, _, old in foreign:
                assign_raw(variable, old)


def _name(f: object) -> str:
    return getattr(f, '__name__', type(f).__name__)


def _signature(f: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of the pure function, from which `jax.jit` finds the arguments it was told by name."""
    try:
        own = inspect.signature(f)
    except (TypeError, ValueError):
        return None
    name = 'tensors'
    while name in own.parameters:
        name = f'_{name}'
    first = inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY)
    return own.replace(parameters=[first, *own.parameters.values()], return_annotation=inspect.Signature.empty)

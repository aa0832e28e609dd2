"""The variables: named places for the arrays of a model, which functions read and `assign` changes."""

import abc
import contextlib
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from objio.variables.binding import frame_of, is_running
from objio.variables.operators import Operators, raw
from objio.variables.portable import Portable
from objio.variables.values import as_jax, describe, dtype_of, fitted, is_key, is_tracer, shape_of


class BaseVar(Operators, Portable, abc.ABC):
    """A place for one value. Python's operators and the value's public attributes work on the value.

    JAX's functions want the array: `jnp.exp(var.value)`. Variables are compared with `is`: `==` compares values.
    """

    @property
    @abc.abstractmethod
    def value(self) -> Any:
        """The value held now."""

    @value.setter
    @abc.abstractmethod
    def value(self, tensor: Any) -> None: ...

    def assign(self, tensor: Any, check: bool = True) -> None:
        """Changes the value.

        Args:
            tensor: the new value: an array, or a number where the variable is 0-d.
            check: whether shape and dtype must stay what they are.

        Raises:
            TypeError: `tensor` is no array; or it is a tracer, and no running `pure` has bound the variable.
            ValueError: shape or dtype differ from the value held now. The variable keeps its value.

        Example:
            >>> state = StateVar(jax.numpy.zeros(2))
            >>> state.assign(state.value + 1)
            >>> state.assign(jax.numpy.zeros(3))
            Traceback (most recent call last):
            ValueError: StateVar: cannot assign float32[3]: the variable holds float32[2]; assign(..., \
check=False) gives the variable a new shape
        """
        self.value = fitted(self.value, raw(tensor), type(self).__name__) if check else raw(tensor)

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return dtype_of(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return shape_of(self.value)

    @property
    def ndim(self) -> int:
        """The number of dimensions of the value."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f'{_class_name(self)}({_brief(self.value)})'


class _Holder(BaseVar):
    """A variable that keeps its value itself; `pure` can lay another over it."""

    _value: Any
    _cure = 'objio.pure(f, vc)'

    def __init__(self, tensor: Any) -> None:
        self._value = as_jax(raw(tensor))

    def assign(self, tensor: Any, check: bool = True) -> None:
        """Changes the value; see `BaseVar.assign`."""
        self._write(fitted(self.value, raw(tensor), type(self).__name__) if check else raw(tensor))

    def _read(self) -> Any:
        frame = frame_of(self)
        return self._value if frame is None else frame[id(self)]

    def _write(self, tensor: Any) -> None:
        frame = frame_of(self)
        if frame is not None:
            frame[id(self)] = tensor
        elif is_tracer(tensor) and not is_tracer(self._value):
            # A variable made inside a transformation may hold its tracers: it ends with them.
            raise TypeError(
                f'{type(self).__name__}: cannot assign {describe(tensor)} from inside a transformation of JAX (jit, '
                f'grad, vmap, ...), where it would be lost: add its collection to pure, as in {self._cure}'
            )
        else:
            self._value = tensor


class TrainVar(_Holder):
    """A variable that is trained: gradients are taken with respect to it.

    Args:
        tensor: the first value; what is no JAX array becomes one.

    Example:
        >>> w = TrainVar(jax.numpy.ones((3, 2)))
        >>> w.assign(w.value * 2)
        >>> w.shape, float(w.sum())
        ((3, 2), 12.0)
    """

    @property
    def value(self) -> Any:
        """The value held now; read only: a plain assignment by mistake would cut it off from its gradient."""
        return self._read()

    @value.setter
    def value(self, tensor: Any) -> None:
        raise ValueError('a TrainVar is not changed by setting .value: use var.assign(tensor)')


class BaseState(BaseVar):
    """The base of the variables that are not trained."""


class TrainRef(BaseState):
    """A reference to a variable, under a name of its own: an optimizer's to the weights it changes.

    In a collection it stands for the variable: the array is saved, loaded and assigned once.

    Args:
        ref: the variable.

    Example:
        >>> w = TrainVar(jax.numpy.ones(2))
        >>> ref = TrainRef(w)
        >>> ref.value = w.value - 0.25
        >>> print(w.value)
        [0.75 0.75]
    """

    def __init__(self, ref: BaseVar) -> None:
        if not is_variable(ref):
            raise TypeError(f'TrainRef: expected a variable to refer to, found {ref!r}')
        self.ref = ref

    @property
    def value(self) -> Any:
        """The value of the variable, to read and to set."""
        return self.ref.value

    @value.setter
    def value(self, tensor: Any) -> None:
        self.ref.assign(tensor)

    def assign(self, tensor: Any, check: bool = True) -> None:
        """Changes the value of the variable; see `BaseVar.assign`."""
        self.ref.assign(tensor, check)

    def __repr__(self) -> str:
        return f'{_class_name(self)}(ref={self.ref!r})'


class StateVar(_Holder, BaseState):
    """A variable that the program changes itself, not a gradient: the running mean of a BatchNorm.

    Args:
        tensor: the first value; what is no JAX array becomes one.

    Example:
        >>> steps = StateVar(0)
        >>> steps.value += 1
        >>> int(steps)
        1
    """

    @property
    def value(self) -> Any:
        """The value held now. Setting it checks shape and dtype, as `assign` does."""
        return self._read()

    @value.setter
    def value(self, tensor: Any) -> None:
        self.assign(tensor)


class TreeVar(StateVar):
    """A leaf of a tree. It holds the leaf as it is: NumPy stays NumPy, and a Python number a Python number.

    Args:
        leaf: a value as in `objio.variables.values`.
    """

    def __init__(self, leaf: Any) -> None:
        self._value = leaf


class RandomState(StateVar):
    """A random key that moves on each time keys are split from it.

    Args:
        seed: an int, or a typed key as from `jax.random.key`, of any implementation.

    Example:
        >>> state = RandomState(0)
        >>> keys = state.split(2)
        >>> keys.shape, state.shape
        ((2,), ())
    """

    _cure = 'objio.pure(f, vc + objio.random.DEFAULT_GENERATOR.vars()), or the vars() of your own generator'

    def __init__(self, seed: Any) -> None:
        if isinstance(seed, jax.Array) and seed.ndim == 0 and is_key(seed):
            self._value = seed
        elif hasattr(seed, 'dtype') and seed.ndim:
            raise TypeError(
                f'RandomState: expected an int or one typed key, found {describe(seed)}; '
                'for the words of a key use jax.random.wrap_key_data(words)'
            )
        else:
            self._value = jax.random.key(seed)

    def seed(self, seed: Any) -> None:
        """Starts anew, with the same implementation.

        Args:
            seed: an int.
        """
        self.assign(jax.random.key(seed, impl=jax.random.key_impl(self.value)))

    def split(self, n: int) -> jax.Array:
        """Gives fresh keys and moves on, so that no key is given twice.

        Args:
            n: how many.

        Returns:
            An array of typed keys of shape (n,).
        """
        keys = jax.random.split(self.value, n + 1)
        self.assign(keys[0])
        return keys[1:]


# Nothing but what stands here is done when one of these is read or assigned; a subclass may do more.
_PLAIN = frozenset({TrainVar, StateVar, TreeVar, RandomState})


def is_variable(thing: Any) -> bool:
    """Whether a thing serves as a variable: it has a `value` and a callable `assign`, whoever made it."""
    if type(thing) in _PLAIN:
        return True
    # The value itself is not asked for: a property may raise for reasons of its own.
    has_value = hasattr(type(thing), 'value') or 'value' in getattr(thing, '__dict__', ())
    return has_value and not isinstance(thing, type) and callable(getattr(thing, 'assign', None))


def vars_of(thing: Any) -> Callable[[], Any] | None:
    """The method `vars` of an object that knows its variables, such as a module; None for anything else.

    An object may answer to every name: a dict whose keys are attributes too, or the `Rngs` of Flax, which makes a new
    key of `rngs.vars()`. What such a thing gives for a name that it does not have is no method.
    """
    has_own = hasattr(type(thing), 'vars') or 'vars' in getattr(thing, '__dict__', ())
    if isinstance(thing, type) or (isinstance(thing, Mapping) and not has_own):  # a dict may add what it is asked for
        return None
    try:
        found = getattr(thing, 'vars', None)
    except Exception:
        if has_own:
            raise
        return None
    # A wrapper may pass on what it is asked for.
    return found if callable(found) and (has_own or isinstance(found, types.MethodType)) else None


def is_holder(variable: Any) -> bool:
    """Whether a value can be laid over the variable's own; else `pure` has to assign and to put back."""
    return isinstance(variable, _Holder)


def target(variable: Any) -> Any:
    """The variable that a thing stands for: what its `ref` refers to, else itself."""
    while (ref := _ref(variable)) is not None and is_variable(ref):
        variable = ref
    return variable


def targets_of(things: Iterable[Any]) -> list[Any]:
    """The variable that each thing stands for: `target` of each, at once for those that are nothing but variables."""
    return [thing if type(thing) in _PLAIN else target(thing) for thing in things]


def _ref(variable: Any) -> Any:
    if not isinstance(variable, BaseVar):
        return getattr(variable, 'ref', None)
    try:
        return object.__getattribute__(variable, 'ref')  # not an attribute of the value
    except AttributeError:
        return None


def values_of(variables: Iterable[Any]) -> list[Any]:
    """The value of each variable: `variable.value`, made quick for thousands of them."""
    if is_running():
        return [variable.value for variable in variables]
    return [
        variable._value if type(variable) in _PLAIN else variable.value  # noqa: SLF001  # its own module
        for variable in variables
    ]


def put(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Gives variables values that were checked already, all or none.

    Args:
        variables: each once.
        values: the new value of each.

    Raises:
        Exception: whatever an `assign` raised; the variables have their old values again.
    """
    olds = values_of(variables)
    quick = not is_running()
    begun = 0
    try:
        for variable, value in zip(variables, values, strict=True):
            begun += 1
            if quick and type(variable) in _PLAIN and not is_tracer(value):
                variable._value = value  # noqa: SLF001  # its own module
            else:
                assign_raw(variable, value)
    except BaseException:
        for variable, old in reversed(list(zip(variables[:begun], olds, strict=False))):
            # The one that raised may refuse its old value too; the first error is the one to see.
            with contextlib.suppress(Exception):
                if variable.value is not old:
                    assign_raw(variable, old)
        raise


def assign_raw(variable: Any, value: Any) -> None:
    """Assigns without the variable's own checks, where it lets them be switched off as Objax's do."""
    if isinstance(variable, BaseVar):
        variable.assign(value, check=False)
        return
    if 'check' in inspect.signature(variable.assign).parameters:
        variable.assign(value, check=False)
    else:
        variable.assign(value)


def _class_name(thing: object) -> str:
    module, name = type(thing).__module__, type(thing).__name__
    return f'objio.{name}' if module == __name__ else f'{module}.{name}'


def _brief(value: Any) -> str:
    # An array that was donated to a compiled function still has a shape and a dtype.
    if isinstance(value, jax.Array) and not is_tracer(value) and value.is_deleted():
        return f'{describe(value)}, deleted'
    return re.sub('\n+', '\n', repr(value))

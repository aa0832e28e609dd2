"""Arithmetic on variables: every operator works on the values and gives plain arrays."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np


def raw(operand: Any) -> Any:
    """The value of a variable; anything else as it is."""
    return operand.value if isinstance(operand, Operators) else operand


def _unary(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def forward(self: Any) -> Any:
        return op(self.value)

    return forward


def _binary(op: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def forward(self: Any, other: Any) -> Any:
        return op(self.value, raw(other))

    return forward


def _reflected(op: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def forward(self: Any, other: Any) -> Any:
        return op(raw(other), self.value)

    return forward


def _in_place(self: Any, _: object) -> NoReturn:
    # Python would put the plain result where the variable stood, and the variable would be lost to its module.
    raise TypeError(
        f'an in-place operator would replace the {type(self).__name__} by a plain array; '
        'write var.assign(var.value + ...), or var.value += ... where it is no TrainVar'
    )


class Operators:
    """Forwards Python's operators to `.value`; comparisons too, so variables are compared with `is`."""

    value: Any

    # NumPy leaves an operator with an array on its left to the variable, as it does for a jax.Array.
    __array_priority__ = 100
    # Equality gives an array, so a variable cannot be a key of a dict.
    __hash__ = None  # type: ignore[assignment]

    __neg__, __pos__ = _unary(operator.neg), _unary(operator.pos)
    __abs__, __invert__ = _unary(operator.abs), _unary(operator.invert)
    __eq__, __ne__ = _binary(operator.eq), _binary(operator.ne)
    __lt__, __le__ = _binary(operator.lt), _binary(operator.le)
    __gt__, __ge__ = _binary(operator.gt), _binary(operator.ge)
    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv), _reflected(operator.floordiv)
    __divmod__, __rdivmod__ = _binary(divmod), _reflected(divmod)
    __mod__, __rmod__ = _binary(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _binary(operator.pow), _reflected(operator.pow)
    __matmul__, __rmatmul__ = _binary(operator.matmul), _reflected(operator.matmul)
    __and__, __rand__ = _binary(operator.and_), _reflected(operator.and_)
    __or__, __ror__ = _binary(operator.or_), _reflected(operator.or_)
    __xor__, __rxor__ = _binary(operator.xor), _reflected(operator.xor)
    __lshift__, __rlshift__ = _binary(operator.lshift), _reflected(operator.lshift)
    __rshift__, __rrshift__ = _binary(operator.rshift), _reflected(operator.rshift)
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = _in_place
    __imatmul__ = __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _in_place

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(self.value, ndigits) if ndigits is not None else round(self.value)

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        # Without it Python would ask for item after item, and a JAX array answers any index.
        return iter(self.value)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f'a {type(self).__name__} has no truth value; ask `var is None`, or `bool(var.value)` for its value'
        )

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __jax_array__(self) -> jax.Array:
        return jnp.asarray(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.value, dtype=dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        # Private names are the variable's own: pickle and copy ask for them before there is a value.
        if name == 'value' or name.startswith('_'):
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        try:
            return getattr(self.value, name)
        except AttributeError:
            raise AttributeError(f'neither the {type(self).__name__} nor its value has an attribute {name!r}') from None

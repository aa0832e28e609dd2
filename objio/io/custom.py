"""What `Checkpoint` does around saving and loading functions, its own and the user's."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from objio.io.averaging import accumulator, normalised
from objio.io.conversion import kind_of
from objio.io.entries import describe, to_host
from objio.io.placement import place
from objio.variables import VarCollection
from objio.variables.variable import put

Function = Callable[..., Any]


def check_function(function: Function, name: str) -> None:
    """Checks that a function can be called with a file and a collection.

    Raises:
        TypeError: it cannot.
    """
    try:
        inspect.signature(function).bind('file', 'vc')
    except TypeError as error:
        raise TypeError(
            f'{name} must take a file and a VarCollection: {error}; '
            f'a function in the body of a class is wrapped, as in {name} = staticmethod(function)'
        ) from None
    except ValueError:
        return  # some callables of C have no signature to read


def takes(function: Function, name: str) -> bool:
    """Whether a function has a parameter of this name, or takes any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == name and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY))
        for parameter in parameters
    )


@contextmanager
def putting_back(vc: VarCollection) -> Iterator[None]:
    """Gives the variables their old values back where the block raises, arrays changed in place among them."""
    old = [(variable, variable.value) for _, _, variable in vc.groups()]
    contents = [(value, value.copy()) for _, value in old if isinstance(value, np.ndarray) and value.flags.writeable]
    try:
        yield
    except BaseException:
        for array, content in contents:
            array[...] = content
        put(old)
        raise


def load_mean(load: Function, files: Sequence[str], vc: VarCollection, weights: Sequence[float] | None) -> None:
    """Loads the mean of several saves through a loading function; see `objio.average`.

    Args:
        load: called with each file and `vc`.
        files: the newest last.
        vc: the variables; they have their old values if anything is raised.
        weights: a number for each file, or None.
    """
    shares = normalised(weights, len(files))
    totals: dict[int, np.ndarray[Any, Any]] = {}
    with putting_back(vc), np.errstate(over='ignore', invalid='ignore'):
        variables = [variable for _, _, variable in vc.groups()]
        for number, file in enumerate(files):
            load(file, vc)
            for variable in variables:
                if kind_of(describe(variable.value)[0]) in ('f', 'c'):
                    value = to_host(variable.value)
                    value = value.astype(accumulator(value.dtype))
                    if shares is not None:
                        value *= value.dtype.type(shares[number])
                    total = totals.setdefault(id(variable), value)
                    if total is not value:
                        total += value
        averaged = [variable for variable in variables if id(variable) in totals]
        values = [variable.value for variable in averaged]
        means = []
        for variable, value in zip(averaged, values, strict=True):
            total = totals.pop(id(variable))
            if shares is None:
                total /= len(files)
            means.append(total.astype(to_host(value).dtype))
        put(list(zip(averaged, place(means, values), strict=True)))

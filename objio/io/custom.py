"""What `Checkpoint` does around saving and loading functions, its own and the user's."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from objio.io.averaging import normalised
from objio.io.contents import OnHost, describe, to_host
from objio.io.conversion import kind_of
from objio.io.placement import place as place_all
from objio.variables import VarCollection
from objio.variables.values import is_scalar
from objio.variables.variable import put, values_of

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


def check_options(function: Function, options: Iterable[str], name: str) -> None:
    """Checks that a function has a parameter for each option.

    Raises:
        TypeError: it has not.
    """
    for option in options:
        if not takes(function, option):
            raise TypeError(f'{name} has no parameter {option!r}')


@contextmanager
def putting_back(vc: VarCollection) -> Iterator[Callable[[], list[str]]]:
    """Gives the variables their old values back where the block raises, arrays changed in place among them.

    Yields:
        a function that gives the names of the variables that were not assigned so far. A writeable array of NumPy
        may have been changed in place, and a Python number is the same object again: both count as assigned.
    """
    groups = vc.groups()
    variables = [group.var for group in groups]
    old = values_of(variables)
    contents = [(value, value.copy()) for value in old if isinstance(value, np.ndarray) and value.flags.writeable]
    untold = {id(value) for value in (*(array for array, _ in contents), *filter(is_scalar, old))}

    def unassigned() -> list[str]:
        values = zip(groups, old, values_of(variables), strict=True)
        return [group.name for group, before, now in values if now is before and id(now) not in untold]

    try:
        yield unassigned
    except BaseException:
        for array, content in contents:
            array[...] = content
        put(variables, old)
        raise


def load_mean(load: Function, files: Sequence[str], vc: VarCollection, weights: Sequence[float] | None) -> None:
    """Loads the mean of several saves through a loading function, one after the other; see `objio.average`.

    Sums are kept in double precision, so that beside the model one save and one sum are in memory, however many files
    there are.

    Args:
        load: called with each file and `vc`.
        files: the newest last.
        vc: the variables; they have their old values if anything is raised.
        weights: a number for each file, or None.
    """
    shares = normalised(weights, len(files)) or [1.0] * len(files)
    variables = [variable for _, _, variable in vc.groups()]
    sums: dict[int, np.ndarray[Any, Any]] = {}
    on_host = OnHost()
    with putting_back(vc), np.errstate(over='ignore', invalid='ignore'):
        for file, share in zip(files, shares, strict=True):
            load(file, vc)
            for place, variable in enumerate(variables):
                # What has no weight has no say, not even an infinity.
                if share and kind_of(describe(variable.value)[0]) in ('f', 'c'):
                    product = _as_reals(to_host(variable.value, on_host)) * share
                    sums[place] = sums[place] + product if place in sums else product
        means = []
        for place, total in sums.items():
            newest = to_host(variables[place].value, on_host)
            mean = (total if weights is not None else total / len(files)).view(_wide(newest.dtype))
            means.append(mean.astype(newest.dtype).reshape(newest.shape))
        averaged = [variables[place] for place in sums]
        put(averaged, place_all(means, values_of(averaged)))


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.complex128 if dtype.kind == 'c' else np.float64)


def _as_reals(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Flat doubles, a complex number as two: a complex product makes NaN of an infinite part and a zero."""
    return array.astype(_wide(array.dtype)).reshape(-1).view(np.float64)

"""Who takes part. A library is a row of functions; each prepares one operation and gives back what is then timed.

Imports and targets belong to the preparation, work to what it returns:

    save(path, tree)            tree: name -> jax.Array
    load(path, like)            like: name -> ShapeDtypeStruct; gives name -> array
    resume(path, model)         model: name -> jax.Array, the arrays that are replaced
    pick(path, like, names)     loads these names only
    open(path, names)           from closed file to NumPy arrays to closed file
    mean(paths)                 gives name -> array
    background(path, tree)      what is timed gives a function that waits for the rest
    held(path, tree)            the same, not timed: a step of a training loop is, between the two functions
    import()                    gives a statement
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Prepare = Callable[..., Any]

LIMITS = {
    'save': 'preallocate, write',
    'load': 'read, huge pages, 2 threads',
    'resume': 'read, huge pages, 2 threads',
    'mean': 'read',
    'held': 'nothing is saved',
    'import': 'import jax',
}
"""The limit that an operation is held against where nothing else is said."""

DURABLE = 'preallocate, write back early, fsync'


@dataclass(frozen=True)
class Way:
    """One row of a table.

    Attributes:
        operation: a key of `OPERATIONS`.
        title: what the row is called.
        prepare: see above.
        limit: title of the limit that it is held against; '': the usual one.
        numpy: it ends with NumPy arrays where others end with arrays of JAX.
        most: the bytes above which it isn't run, for the memory it takes; 0: none.
    """

    operation: str
    title: str
    prepare: Prepare
    limit: str = ''
    numpy: bool = False
    most: int = 0


@dataclass(frozen=True)
class Library:
    """The ways that share a kind of file; the first `save` writes what the others read.

    Attributes:
        name: what workloads call it.
        role: 'objio', 'peer' or 'limit'.
        suffix: of its files.
        ways: its rows.
        packages: the distributions whose versions are noted.
    """

    name: str
    role: str
    suffix: str
    ways: tuple[Way, ...]
    packages: tuple[str, ...] = ()

    def way(self, operation: str, title: str = '') -> Way:
        """The way of that title, or the first one of the operation."""
        return next(way for way in self.ways if way.operation == operation and title in ('', way.title))


def libraries() -> dict[str, Library]:
    """Every library by name."""
    from benchmarks import limits, orbax_peer, ours, peers

    found = (*ours.LIBRARIES, *peers.LIBRARIES, *orbax_peer.LIBRARIES, *limits.LIBRARIES)
    return {library.name: library for library in found}


def whole(load: Prepare) -> Prepare:
    """A `pick` for a library that can only read whole files."""

    def prepare(path: str, like: dict[str, Any], names: tuple[str, ...]) -> Callable[[], Any]:
        read = load(path, like)

        def timed() -> dict[str, Any]:
            arrays = read()
            return {name: arrays[name] for name in names}

        return timed

    return prepare


def replacing(load: Prepare) -> Prepare:
    """A `resume` for a library that gives new arrays: the model takes them in place of its own."""

    def prepare(path: str, model: dict[str, Any]) -> Callable[[], Any]:
        import jax

        read = load(path, {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in model.items()})

        def timed() -> dict[str, Any]:
            model.update(jax.block_until_ready(read()))
            return model

        return timed

    return prepare

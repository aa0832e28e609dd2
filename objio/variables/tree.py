"""Trees of arrays, as other libraries keep models and optimizers: their leaves as variables with names, and back."""

import collections
import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax

from objio.errors import UnsaveableError
from objio.variables.containers import Container, take_apart
from objio.variables.hidden import find_data, is_array, items_of
from objio.variables.name_filter import NameFilter, Selector, check_ignored
from objio.variables.values import is_value
from objio.variables.variable import TreeVar, is_variable, vars_of


class _Branch:
    """A pytree, and what stands for its leaves: variables, opened containers, or the leaves themselves."""

    def __init__(self, structure: Any, leaves: list[Any]) -> None:
        self._structure = structure
        self._leaves = leaves

    def rebuild(self) -> Any:
        """The tree as it was, with the values that its variables hold now."""
        return self._filled([_current(leaf) for leaf in self._leaves])

    def _filled(self, leaves: list[Any]) -> Any:
        return jax.tree_util.tree_unflatten(self._structure, leaves)

    # A structure never changes, and a copy of what is static in it, a function or a marker, might not equal it.
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        state = {name: value for name, value in self.__dict__.items() if name != '_structure'}
        new.__dict__.update(copy.deepcopy(state, memo), _structure=self._structure)
        return new

    # A structure is an object of JAX, which pickles must not hold: it travels as the tree itself.
    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ('_structure', '_leaves')}
        return {**state, 'tree': self._filled(self._leaves)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._leaves, self._structure = jax.tree_util.tree_flatten(state.pop('tree'))
        self.__dict__.update(state)


class _Opened:
    """A container that JAX does not know, with a branch for each of its items."""

    def __init__(self, rebuild: Callable[[Sequence[Any]], Any], branches: list[_Branch]) -> None:
        self._rebuild = rebuild
        self._branches = branches

    def rebuild(self) -> Any:
        """The container as it was, with the values that its variables hold now."""
        return self._rebuild([branch.rebuild() for branch in self._branches])


class Tree(_Branch):
    """A pytree whose values became variables; everything else in it stays as it was.

    Containers that JAX does not know, such as a plain dataclass, are gone through as well.

    Args:
        tree: any pytree.
        scope: stands before every name.
        separator: stands between the parts of a leaf's path.
        ignore: the names of leaves that stay as they are and are not saved.

    Attributes:
        variables: name -> `TreeVar`, in the order of the leaves.
        unsaved: name -> leaf, for the leaves that are not saved: functions, str, and what is ignored.

    Raises:
        UnsaveableError: a leaf holds data that cannot be saved.
        ValueError: two values have the same name, one has the empty name, or a name in `ignore` is that of no leaf.

    Example:
        >>> import numpy as np
        >>> tree = Tree({'mu': [np.zeros(3), 1.5], 'name': 'adam'}, scope='opt.')
        >>> list(tree.variables), tree.unsaved
        (['opt.mu.0', 'opt.mu.1'], {'opt.name': 'adam'})
        >>> tree.variables['opt.mu.1'].value = 2.5
        >>> tree.rebuild()
        {'mu': [array([0., 0., 0.]), 2.5], 'name': 'adam'}
    """

    def __init__(self, tree: Any, scope: str = '', separator: str = '.', ignore: Selector | None = None) -> None:
        self.variables: dict[str, TreeVar] = {}
        self.unsaved: dict[str, Any] = {}
        self._naming = scope, separator
        walk = _Walk(self, NameFilter.of(ignore, 'ignore'))
        try:
            super().__init__(*walk.branch(tree, ()))
        except RecursionError as error:
            raise UnsaveableError(f'from_tree: {_no_end("that was given")}') from error
        walk.check_ignored()

    def name_of(self, path: tuple[Any, ...]) -> str:
        """The name of the leaf at a path."""
        scope, separator = self._naming
        return scope + jax.tree_util.keystr(path, simple=True, separator=separator)

    def rest(self) -> dict[str, Any]:
        """What a state of Flax has to have besides arrays: empty containers, None and text, by name."""
        if not (_has_empty(self._structure) or any(isinstance(leaf, str) for leaf in self._leaves)):
            return {}  # known before the paths, which cost more than all else

        def is_empty(node: Any) -> bool:
            structure: Any = jax.tree_util.tree_structure(node)
            return not structure.num_leaves  # also of None

        found: dict[str, Any] = {}
        for path, node in jax.tree_util.tree_flatten_with_path(self.rebuild(), is_leaf=is_empty)[0]:
            if path and (is_empty(node) or isinstance(node, str)):
                found[self.name_of(path)] = node if node is None or isinstance(node, str) else {}
        return found


class _Walk:
    """One walk over a tree, in which its leaves become variables."""

    def __init__(self, tree: Tree, ignored: NameFilter | None) -> None:
        self._tree = tree
        self._ignored = ignored
        self._names: list[str] = []  # of all leaves, where some are to be ignored
        self._paths: dict[str, Any] = {}
        self._open: list[Any] = []  # the containers on the way to where the walk is

    def branch(self, tree: Any, above: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        """The structure of a tree, and what stands for each of its leaves."""
        try:
            found, structure = jax.tree_util.tree_flatten_with_path(tree)
        except (SystemError, ValueError) as error:
            # JAX does not say where; a ValueError may also be one of a class that flattens itself.
            if isinstance(error, ValueError) and _unsortable(tree) is None:
                raise
            raise UnsaveableError(f'from_tree: {_no_tree(tree, jax.tree_util.keystr(above))}') from error
        return structure, [self._leaf((*above, *path), leaf) for path, leaf in found]

    def check_ignored(self) -> None:
        """Refuses names to ignore that no leaf has."""
        if self._ignored is not None:
            check_ignored(self._ignored, self._names)

    def _leaf(self, path: tuple[Any, ...], leaf: Any) -> Any:
        name = self._tree.name_of(path)
        if self._ignored is not None:
            self._names.append(name)
            if self._ignored(name):
                self._tree.unsaved[name] = leaf
                return leaf
        if is_value(leaf):
            if name in self._paths or not name:
                raise ValueError(_no_name(name, [self._paths[name], path] if name else [path]))
            self._paths[name] = path
            self._tree.variables[name] = TreeVar(leaf)
            return self._tree.variables[name]
        container = self._opened(path, leaf)
        if container is None:
            self._tree.unsaved[name] = leaf
            return leaf
        self._open.append(leaf)
        try:
            branches = [
                _Branch(*self.branch(item, (*path, key)))
                for key, item in zip(container.keys, container.items, strict=True)
            ]
        finally:
            self._open.pop()
        return _Opened(container.rebuild, branches)

    def _opened(self, path: tuple[Any, ...], leaf: Any) -> Container | None:
        """The container that a leaf is to JAX; None for a leaf that holds no data.

        Raises:
            UnsaveableError: it holds data and cannot be saved.
        """
        is_variables = is_variable(leaf) or vars_of(leaf) is not None
        found = find_data(leaf)
        if found is None and not is_variables:
            return None
        place, kind = jax.tree_util.keystr(path) or 'the root', type(leaf).__name__
        if is_variables:
            cure = 'take it out of the tree and add it: module.vars() + VarCollection.from_tree(rest)'
            said = f'is a {kind}, whose variables would not be saved; {cure}'
        elif is_array(leaf):
            cure = 'convert it first, as in numpy.asarray(leaf), or leaf[...] for a jax.Ref'
            said = f'is a {kind}, an array of neither JAX nor NumPy, which would not be saved; {cure}'
        elif any(leaf is container for container in self._open):
            said = f'is the {kind} that holds it, and a tree must have an end'
        else:
            container = None if callable(leaf) else take_apart(leaf)
            if container is not None and find_data(container.others(leaf)) is None:
                return container
            if found is not None and found.path:
                cure = 'keep it in a list, a dict or a dataclass, or register its class with jax.tree_util'
                said = f'is a {kind}, no tree that JAX knows, so its {found} would not be saved; {cure}'
            else:
                said = f'is a {kind}, no array and no number, so it would not be saved; keep it as one of these'
        raise UnsaveableError(
            f'from_tree: the leaf at {place} {said}. To leave it out: ignore={self._tree.name_of(path)!r}'
        )


def _current(leaf: Any) -> Any:
    """A leaf of the tree to come."""
    if isinstance(leaf, TreeVar):
        return leaf.value
    return leaf.rebuild() if isinstance(leaf, _Opened) else leaf


def _has_empty(structure: Any) -> bool:
    """Whether there is a node without a leaf below it."""
    waiting = [structure]
    while waiting:
        node = waiting.pop()
        if not node.num_leaves:
            return True
        if node.num_nodes > 1:
            waiting += node.children()
    return False


def _unsortable(tree: Any) -> tuple[str, Any] | None:
    """A dict whose keys JAX cannot sort, with its path; None where there is none."""
    waiting: list[tuple[str, Any]] = [('', tree)]
    seen: dict[int, Any] = {}  # kept, so that no number is given again
    while waiting:
        path, here = waiting.pop()
        if id(here) in seen:
            continue
        seen[id(here)] = here
        if isinstance(here, dict) and not isinstance(here, collections.OrderedDict):
            try:
                sorted(here)
            except TypeError:
                return path, here
        if isinstance(here, dict | list | tuple):
            waiting += [(f'{path}{key}', item) for key, item in items_of(here)]
    return None


def _no_tree(tree: Any, above: str) -> str:
    """What is wrong with a tree that JAX cannot take apart."""
    found = _unsortable(tree)
    if found is None:
        where = f'at {above}' if above else 'that was given'
        return _no_end(where)
    path, content = found
    kinds = ', '.join(sorted({type(key).__name__ for key in content}))
    return (
        f'the dict at {above + path or "the root"} has keys that JAX cannot sort, of the types {kinds}; '
        'give it keys of one type, such as str, or make it a collections.OrderedDict'
    )


def _no_end(where: str) -> str:
    return f'the tree {where} has no end, since a container in it holds itself, or is nested too deeply'


def _no_name(name: str, paths: list[Any]) -> str:
    places = [jax.tree_util.keystr(path) for path in paths]
    if not name:
        where = f'the leaf at {places[0]} has an empty name' if places[0] else 'the tree is one leaf and has no name'
        return f'from_tree: {where}; give it a scope, as in from_tree(tree, scope=...)'
    return (
        f'from_tree: the leaves at {places[0]} and {places[1]} would both be called {name!r}; '
        "give another separator, as in from_tree(tree, separator='/'), or each part of the tree a scope of its own"
    )

"""Trees of arrays, as other libraries keep models and optimizers: their leaves as variables with names, and back."""

import copy
from typing import Any, Self

import jax

from objio.variables.values import is_value
from objio.variables.variable import TreeVar, is_variable


class Tree:
    """A pytree whose values became variables; everything else in it stays as it was.

    Args:
        tree: any pytree.
        scope: stands before every name.
        separator: stands between the parts of a leaf's path.

    Attributes:
        variables: name -> `TreeVar`, in the order of the leaves.
        unsaved: name -> leaf, for the leaves that are no values: functions, str.

    Raises:
        TypeError: a leaf is a variable, a module, or an array of another library.
        ValueError: two values have the same name, or one has the empty name.

    Example:
        >>> import numpy as np
        >>> tree = Tree({'mu': [np.zeros(3), 1.5], 'name': 'adam'}, scope='opt.')
        >>> list(tree.variables), tree.unsaved
        (['opt.mu.0', 'opt.mu.1'], {'opt.name': 'adam'})
        >>> tree.variables['opt.mu.1'].value = 2.5
        >>> tree.rebuild()
        {'mu': [array([0., 0., 0.]), 2.5], 'name': 'adam'}
    """

    def __init__(self, tree: Any, scope: str = '', separator: str = '.') -> None:
        self.variables: dict[str, TreeVar] = {}
        self.unsaved: dict[str, Any] = {}
        self._naming = scope, separator
        self._leaves: list[Any] = []
        paths: dict[str, Any] = {}
        found, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        for path, leaf in found:
            name = scope + jax.tree_util.keystr(path, simple=True, separator=separator)
            if is_value(leaf):
                if name in paths or not name:
                    raise ValueError(_no_name(name, [paths[name], path] if name else [path]))
                paths[name] = path
                self.variables[name] = TreeVar(leaf)
                self._leaves.append(self.variables[name])
            elif hidden := _hidden_values(leaf):
                raise TypeError(f'from_tree: the leaf at {jax.tree_util.keystr(path) or "the root"} {hidden}')
            else:
                self.unsaved[name] = leaf
                self._leaves.append(leaf)

    def rebuild(self) -> Any:
        """The tree as it was, with the values that its variables hold now."""
        return self._filled([leaf.value if isinstance(leaf, TreeVar) else leaf for leaf in self._leaves])

    def rest(self) -> dict[str, Any]:
        """What a state of Flax has to have besides arrays: empty containers, None and text, by name."""
        if not (_has_empty(self._structure) or any(isinstance(leaf, str) for leaf in self._leaves)):
            return {}  # known before the paths, which cost more than all else
        scope, separator = self._naming

        def is_empty(node: Any) -> bool:
            structure: Any = jax.tree_util.tree_structure(node)
            return not structure.num_leaves  # also of None

        found: dict[str, Any] = {}
        for path, node in jax.tree_util.tree_flatten_with_path(self.rebuild(), is_leaf=is_empty)[0]:
            if path and (is_empty(node) or isinstance(node, str)):
                name = scope + jax.tree_util.keystr(path, simple=True, separator=separator)
                found[name] = node if node is None or isinstance(node, str) else {}
        return found

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


def _hidden_values(leaf: Any) -> str:
    """What to say of a leaf that is no value but holds some, which would silently not be saved; '' where it is none."""
    if isinstance(leaf, type):
        return ''
    if is_variable(leaf) or callable(getattr(leaf, 'vars', None)):
        cure = 'take it out of the tree and add it: module.vars() + VarCollection.from_tree(rest)'
        return f'is a {type(leaf).__name__}, whose variables would not be saved; {cure}'
    if hasattr(leaf, 'shape') and hasattr(leaf, 'dtype'):
        cure = 'convert it first, as in numpy.asarray(leaf), or leaf[...] for a jax.Ref'
        return f'is a {type(leaf).__name__}, an array of neither JAX nor NumPy, which would not be saved; {cure}'
    return ''


def _no_name(name: str, paths: list[Any]) -> str:
    places = [jax.tree_util.keystr(path) for path in paths]
    if not name:
        where = f'the leaf at {places[0]} has an empty name' if places[0] else 'the tree is one leaf and has no name'
        return f'from_tree: {where}; give it a scope, as in from_tree(tree, scope=...)'
    return (
        f'from_tree: the leaves at {places[0]} and {places[1]} would both be called {name!r}; '
        "give another separator, as in from_tree(tree, separator='/'), or each part of the tree a scope of its own"
    )

"""Trees of arrays, as optimizers keep them: their leaves as variables with names, and back."""

from typing import Any

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
        TypeError: a leaf is a variable or a module.
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
        self._leaves: list[Any] = []
        paths: dict[str, str] = {}
        found, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        for path, leaf in found:
            name = scope + jax.tree_util.keystr(path, simple=True, separator=separator)
            where = jax.tree_util.keystr(path)
            if is_value(leaf):
                if name in paths or not name:
                    raise ValueError(_no_name(name, [paths[name], where] if name else [where]))
                paths[name] = where
                self.variables[name] = TreeVar(leaf)
                self._leaves.append(self.variables[name])
            elif is_variable(leaf) or callable(getattr(leaf, 'vars', None)):
                raise TypeError(
                    f'from_tree: the leaf at {where or "the root"} is a {type(leaf).__name__}, whose variables would '
                    'not be saved; take it out of the tree and add it: module.vars() + VarCollection.from_tree(rest)'
                )
            else:
                self.unsaved[name] = leaf
                self._leaves.append(leaf)

    def rebuild(self) -> Any:
        """The tree as it was, with the values that its variables hold now."""
        return self._filled([leaf.value if isinstance(leaf, TreeVar) else leaf for leaf in self._leaves])

    def _filled(self, leaves: list[Any]) -> Any:
        return jax.tree_util.tree_unflatten(self._structure, leaves)

    # A structure is an object of JAX, which pickles must not hold: it travels as the tree itself.
    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ('_structure', '_leaves')}
        return {**state, 'tree': self._filled(self._leaves)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._leaves, self._structure = jax.tree_util.tree_flatten(state.pop('tree'))
        self.__dict__.update(state)


def _no_name(name: str, paths: list[str]) -> str:
    if not name:
        where = f'the leaf at {paths[0]} has an empty name' if paths[0] else 'the tree is one leaf and has no name'
        return f'from_tree: {where}; give it a scope, as in from_tree(tree, scope=...)'
    return (
        f'from_tree: the leaves at {paths[0]} and {paths[1]} would both be called {name!r}; '
        "give another separator, as in from_tree(tree, separator='/'), or each part of the tree a scope of its own"
    )

"""What the verbs accept, turned into a VarCollection."""

from collections.abc import Mapping
from typing import Any

import jax

from objio.variables import VarCollection, is_variable


def as_collection(subject: Any, *, allow_tree: bool = False) -> VarCollection:
    """The variables of whatever a verb was given.

    In this order: something with a callable `.vars` (a module, also Objax's own); a VarCollection; a mapping from
    str to objects with `.value` and a callable `.assign` (Objax's own collections); with `allow_tree` any other pytree.

    Raises:
        TypeError: it is none of them; the message says what to pass.
    """
    if isinstance(subject, type):
        raise TypeError(f'expected a module or its variables, got the class {subject.__name__}; make an instance first')
    if callable(getattr(subject, 'vars', None)):
        return as_collection(subject.vars(), allow_tree=False)
    if isinstance(subject, VarCollection):
        return subject
    if isinstance(subject, Mapping):
        pairs = list(subject.items())  # by items alone: iterating an Objax collection yields variables, not names
        if all(isinstance(name, str) and is_variable(value) for name, value in pairs):
            return VarCollection(dict(pairs))
    if allow_tree and subject is not None:
        vc = VarCollection.from_tree(subject)
        if len(vc) or not jax.tree.leaves(subject):
            return vc
        raise TypeError(
            f'expected a module, a collection of variables or a tree of arrays, got {type(subject).__name__}'
        )
    raise TypeError(
        f'expected a module, a VarCollection or a mapping from names to variables, got {type(subject).__name__}; '
        'for any other tree of arrays: vc = VarCollection.from_tree(tree), load into vc, then tree = vc.to_tree()'
    )

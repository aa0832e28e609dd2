"""What the verbs accept, turned into a VarCollection."""

import logging
from collections.abc import Mapping
from typing import Any

import jax

from objio.variables import Module, VarCollection, is_variable
from objio.variables.name_filter import NameFilter, Selector, check_ignored
from objio.variables.unsaved import check_unsaved
from objio.variables.variable import vars_of

_LOG = logging.getLogger('objio')


def as_collection(subject: Any) -> VarCollection:
    """The variables to load into, of whatever a verb was given.

    In this order: something with a callable `.vars` (a module, also Objax's own); a VarCollection; a mapping from
    str to objects with `.value` and a callable `.assign` (Objax's own collections).

    Raises:
        TypeError: it is none of them; the message says what to pass.
        UnsaveableError: it is a module with variables where its `vars` does not look.
    """
    vc = _variables_of(subject)
    if vc is None:
        raise TypeError(
            f'expected a module, a VarCollection or a mapping from names to variables, got {type(subject).__name__}; '
            'for any other tree of arrays: vc = VarCollection.from_tree(tree), load into vc, then tree = vc.to_tree()'
        )
    if isinstance(subject, Module):
        check_unsaved(subject, vc)
    return vc


def to_save(subject: Any, ignore: Selector | None = None) -> VarCollection:
    """The variables to save, of whatever a verb was given: as for `as_collection`, or any other pytree.

    Args:
        subject: what was given.
        ignore: names that are left out.

    Raises:
        TypeError: it holds no variables and no arrays, and is not empty either.
        UnsaveableError: something in it would not be saved; the message names it.
        ValueError: `ignore` names nothing.
    """
    vc = _variables_of(subject)
    if vc is not None:
        vc = state_to_save(subject, vc, ignore)
    elif subject is None:
        raise TypeError('expected a module, a collection of variables or a tree of arrays, got None')
    else:
        vc = VarCollection.from_tree(subject, ignore=ignore)
        if not len(vc) and ignore is None and jax.tree.leaves(subject):
            raise TypeError(
                f'expected a module, a collection of variables or a tree of arrays, got {type(subject).__name__}'
            )
    if not len(vc):
        _LOG.warning('%s holds no variables: the save has no arrays in it', type(subject).__name__)
    return vc


def state_to_save(subject: Any, vc: VarCollection, ignore: Selector | None = None) -> VarCollection:
    """The variables of a subject without those that are ignored, once it is known that no others would be lost.

    Args:
        subject: a module, or anything else that has variables.
        vc: its variables.
        ignore: names that are left out.
    """
    ignored = NameFilter.of(ignore, 'ignore')
    others = check_unsaved(subject, vc, ignored) if isinstance(subject, Module) else []
    if ignored is None:
        return vc
    check_ignored(ignored, [*vc.keys(), *others])
    return vc.without(ignored)


def _variables_of(subject: Any) -> VarCollection | None:
    if isinstance(subject, type):
        raise TypeError(f'expected a module or its variables, got the class {subject.__name__}; make an instance first')
    own = vars_of(subject)
    if own is not None:
        found = own()
        vc = _variables_of(found)
        if vc is None:
            raise TypeError(
                f'{type(subject).__name__}.vars() gave a {type(found).__name__}, no collection of variables'
            )
        return vc
    if isinstance(subject, VarCollection):
        return subject
    if isinstance(subject, Mapping):
        pairs = list(subject.items())  # by items alone: iterating an Objax collection yields variables, not names
        if all(isinstance(name, str) and is_variable(value) for name, value in pairs):
            return VarCollection(dict(pairs))
    return None

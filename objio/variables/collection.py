"""A model's variables by name: what is saved, loaded, and handed to compiled functions."""

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, NamedTuple

from objio.variables.name_filter import Selector
from objio.variables.operators import raw
from objio.variables.portable import Portable
from objio.variables.renamer import Rules, renamed
from objio.variables.table import table
from objio.variables.tree import Tree
from objio.variables.values import fitted
from objio.variables.variable import is_variable, put, target, targets_of, values_of

Types = type | tuple[type, ...]


class Group(NamedTuple):
    """One variable and everything it is called."""

    name: str  # the canonical name
    names: tuple[str, ...]  # all its names, in the collection's order
    var: Any  # the variable itself, never a reference to it


class VarCollection(Portable):
    """Names -> variables, in the order they were added.

    `len`, `in`, `keys`, `values`, `items` and `[]` go by name. Iterating gives each variable once, however many names
    and references it has; `tensors`, `named_tensors` and `assign` follow the same sequence.

    A variable's *canonical name* is the first at which it stands itself; only where there is none, it is the first
    name of a `TrainRef` to it.

    Args:
        variables: a mapping or pairs of names and variables: those of this package, or any object that has a `value`
            and a callable `assign`. An object with a `ref` stands for the variable it refers to.

    Example:
        >>> import jax.numpy as jnp
        >>> from objio.variables.variable import StateVar, TrainVar
        >>> w = TrainVar(jnp.ones((3, 2)))
        >>> vc = VarCollection({'w': w, 'tied': w, 'steps': StateVar(0)})
        >>> len(vc), len(list(vc)), list(vc.named_tensors(TrainVar))
        (3, 2, ['w'])
        >>> print(vc)
        name   shape   dtype    MiB
        w      (3, 2)  float32  0.00
        tied   = w
        steps  ()      int32    0.00
        2 variables under 3 names, 7 numbers, 0.00 MiB
    """

    _late: frozenset[str] = frozenset()  # what `Module.vars` found in plain containers; outer modules put it last

    def __init__(self, variables: 'VarCollection | Mapping[str, Any] | Iterable[tuple[str, Any]]' = ()) -> None:
        self._variables: dict[str, Any] = {}
        self._unsaved: dict[str, Any] = {}
        self._tree: Tree | None = None
        self.update(variables)

    def keys(self) -> KeysView[str]:
        """The names, in order."""
        return self._variables.keys()

    def values(self) -> ValuesView[Any]:
        """What stands at each name, references among them, in order."""
        return self._variables.values()

    def items(self) -> ItemsView[str, Any]:
        """Each name with what stands there, in order."""
        return self._variables.items()

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def __getitem__(self, name: str) -> Any:
        return self._variables[name]

    def __setitem__(self, name: str, variable: Any) -> None:
        self.update([(name, variable)])

    def __iter__(self) -> Iterator[Any]:
        return (group.var for group in self.groups())

    def update(self, variables: 'VarCollection | Mapping[str, Any] | Iterable[tuple[str, Any]]') -> None:
        """Adds variables under their names, all or none.

        Args:
            variables: as for the class.

        Raises:
            TypeError: a name is no str, or a value is no variable.
            ValueError: a name stands for another variable already.
        """
        pairs = list(variables.items() if hasattr(variables, 'items') else variables)
        new: dict[str, Any] = {}
        conflicts = []
        for name, variable in pairs:
            if not isinstance(name, str) or not is_variable(variable):
                raise TypeError(
                    f'VarCollection: expected names and variables, found {name!r}: {type(variable).__name__}; '
                    'VarCollection.from_tree takes arrays'
                )
            if self._variables.get(name, new.setdefault(name, variable)) is not variable:
                conflicts.append(name)
        if conflicts:
            raise ValueError(
                f'VarCollection: these names stand for other variables already: {", ".join(map(repr, conflicts))}; '
                'give one side another scope, as in vars(scope=...)'
            )
        self._variables |= new
        self._unsaved |= getattr(variables, '_unsaved', {})
        late = getattr(variables, '_late', self._late)
        if late:
            self._late |= late

    def __add__(self, other: 'VarCollection') -> 'VarCollection':
        both = VarCollection(self)
        both.update(other)
        return both

    def groups(self) -> list[Group]:
        """Each variable once, with its canonical name and all its names.

        Returns:
            A `Group` (name, names, var) for each variable, in the order in which the canonical names stand in the
            collection.
        """
        names: dict[int, list[str]] = {}
        own: dict[int, str] = {}
        variables: dict[int, Any] = {}
        for (name, thing), variable in zip(self._variables.items(), targets_of(self._variables.values()), strict=True):
            key = id(variable)
            variables[key] = variable
            names.setdefault(key, []).append(name)
            if thing is variable:
                own.setdefault(key, name)
        by_name = {own.get(key, called[0]): key for key, called in names.items()}
        return [
            Group(name, tuple(names[by_name[name]]), variables[by_name[name]])
            for name in self._variables
            if name in by_name
        ]

    def held(self) -> Iterable[tuple[str, tuple[str, ...], Any, Any]]:
        """What `groups` gives, and the value that each variable holds now, made quick for thousands of them.

        Returns:
            Tuples (canonical name, all names, variable, value), to be gone through once.
        """
        variables = targets_of(self._variables.values())
        if len(set(map(id, variables))) == len(variables):
            return zip(self._variables, zip(self._variables, strict=True), variables, values_of(variables), strict=True)
        return ((name, names, variable, variable.value) for name, names, variable in self.groups())

    def subset(self, is_a: Types | None = None, is_not: Types | None = None) -> 'VarCollection':
        """The names whose variable is of some type; a `TrainRef` counts as the variable it refers to.

        Args:
            is_a: a class or a tuple of classes to take; None: all.
            is_not: a class or a tuple of classes to leave out; None: none.

        Returns:
            A new collection of the same variables.
        """
        return VarCollection((name, v) for name, v in self.items() if _chosen(target(v), is_a, is_not))

    def without(self, left_out: Callable[[str], bool]) -> 'VarCollection':
        """The names that are not left out; a variable stays as long as one of its names does.

        Args:
            left_out: says of a name whether it goes.

        Returns:
            A new collection of the same variables.
        """
        vc = VarCollection((name, variable) for name, variable in self.items() if not left_out(name))
        vc._tree, vc._unsaved = self._tree, dict(self._unsaved)
        return vc

    def rename(self, renamer: Rules) -> 'VarCollection':
        """The same variables under other names.

        Args:
            renamer: a `Renamer`, or the dict, list of pairs or callable that makes one.

        Returns:
            A new collection.

        Raises:
            ValueError: two names became one.
        """
        new = renamed(self.keys(), renamer)
        vc = VarCollection((new[name], variable) for name, variable in self.items())
        vc._unsaved = dict(self._unsaved)
        return vc

    def tensors(self, is_a: Types | None = None) -> list[Any]:
        """The values, each variable's once.

        Args:
            is_a: only variables of this class or tuple of classes; None: all.

        Returns:
            A list, in the order of `assign`.
        """
        return values_of(variable for variable in self if _chosen(variable, is_a, None))

    def named_tensors(self, is_a: Types | None = None, is_not: Types | None = None) -> dict[str, Any]:
        """The values by canonical name, each variable's once: what gradients, optimizers and `pure` take.

        Args:
            is_a: only variables of this class or tuple of classes; None: all.
            is_not: none of this class or tuple of classes.

        Returns:
            A plain dict, canonical name -> value.
        """
        groups = [group for group in self.groups() if _chosen(group.var, is_a, is_not)]
        return dict(zip((group.name for group in groups), values_of(group.var for group in groups), strict=True))

    def assign(self, tensors: Mapping[str, Any] | Sequence[Any]) -> None:
        """Gives every variable a new value, or, where one does not fit, none.

        Args:
            tensors: a dict, canonical name -> value, with exactly the names of `named_tensors()`; or a list in the
                order of `tensors()`.

        Raises:
            TypeError: a value is no array; or it is a tracer, and no running `pure` has bound its variable.
            ValueError: a name is missing or unknown, the list has another length, or a shape or dtype differs.
        """
        groups = self.groups()
        new = in_order(groups, tensors, 'assign')
        variables = [group.var for group in groups]
        olds = values_of(variables)
        put(
            variables,
            [fitted(old, raw(value), name) for (name, *_), old, value in zip(groups, olds, new, strict=True)],
        )

    @classmethod
    def from_tree(
        cls, tree: Any, scope: str = '', separator: str = '.', *, ignore: Selector | None = None
    ) -> 'VarCollection':
        """The values in a tree as variables, each called by its path.

        Arrays, NumPy scalars, typed keys, `jax.ShapeDtypeStruct` and Python numbers become variables and keep their
        own kinds: NumPy stays NumPy, a member of an `IntEnum` one. Functions, classes, str and None stay in the tree;
        `str` lists them. A name is what `jax.tree_util.keystr(path, simple=True, separator=separator)` gives, behind
        the scope.

        Some containers that JAX does not know are gone through like those it knows, and come back with their own type:
        dataclasses, `deque`, `SimpleNamespace`, `UserDict`, `UserList`, `MappingProxyType`, subclasses of dict, list
        and tuple. NumPy's random generators are saved by their state.

        Args:
            tree: any pytree: dicts, lists, tuples, namedtuples, dataclasses, a Flax state, an Equinox module, the
                state of an optimizer.
            scope: stands before every name.
            separator: stands between the parts of a path; nothing in a part is escaped.
            ignore: names of leaves that stay in the tree and are not saved: as `skip` of `load_var_collection`.

        Returns:
            A new collection that remembers the tree for `to_tree`.

        Raises:
            UnsaveableError: a leaf holds data that cannot be saved, such as a set of numbers or an array of a library
                that is neither JAX nor NumPy; or it is a variable or a module, whose `vars()` are added instead.
            ValueError: two values have the same name, one has the empty name, or `ignore` names no leaf.

        Example:
            >>> vc = VarCollection.from_tree({'count': 3, 'mu': (0.5, 0.25)}, scope='opt.')
            >>> vc.named_tensors()
            {'opt.count': 3, 'opt.mu.0': 0.5, 'opt.mu.1': 0.25}
            >>> vc.assign([4, 1.0, 2.0])
            >>> vc.to_tree()
            {'count': 4, 'mu': (1.0, 2.0)}
        """
        found = Tree(tree, scope, separator, ignore)
        vc = cls(found.variables)
        vc._tree, vc._unsaved = found, dict(found.unsaved)
        return vc

    def to_tree(self) -> Any:
        """The tree that `from_tree` was given, in its own types, with the values the variables hold now.

        Raises:
            ValueError: the collection was not made by `from_tree`: a sum or a subset is no tree.
        """
        if self._tree is None:
            raise ValueError(
                'to_tree: this collection was not made by from_tree; keep the one that was (it has the same variables)'
            )
        return self._tree.rebuild()

    def rest(self) -> dict[str, Any]:
        """What the tree that `from_tree` was given has besides values and functions, for files that keep trees.

        Returns:
            A new dict, name -> {} for an empty container, None or a text; empty where there is no tree.
        """
        return {} if self._tree is None else self._tree.rest()

    def __str__(self) -> str:
        return table(self.groups(), self.keys(), self._unsaved)

    def __repr__(self) -> str:
        return f'objio.VarCollection({self._variables!r})'


def in_order(groups: Sequence[Group], tensors: Mapping[str, Any] | Sequence[Any], caller: str) -> list[Any]:
    """The values for the variables of a collection, one for each.

    Args:
        groups: the variables.
        tensors: values by canonical name, or a list in the variables' order.
        caller: what the error calls the function that was given `tensors`.

    Returns:
        The values, in the variables' order.

    Raises:
        TypeError: `tensors` is neither a mapping nor a list.
        ValueError: a name is missing or unknown, or the list has another length.
    """
    if isinstance(tensors, Mapping):
        names = {group.name for group in groups}
        missing = [repr(group.name) for group in groups if group.name not in tensors]
        if missing or any(name not in names for name in tensors):
            canonical = {other: group.name for group in groups for other in group.names}
            unknown = [
                f'{name!r} (another name of {canonical[name]!r})' if name in canonical else repr(name)
                for name in tensors
                if name not in names
            ]
            found = [f'{text}: {", ".join(of)}' for text, of in (('missing', missing), ('unknown', unknown)) if of]
            raise ValueError(f'{caller}: expected the {len(names)} names of named_tensors(); {"; ".join(found)}')
        return [tensors[group.name] for group in groups]
    if not isinstance(tensors, Sequence):
        raise TypeError(f'{caller}: expected a dict or a list of arrays, found {type(tensors).__name__}')
    if len(tensors) != len(groups):
        raise ValueError(f'{caller}: expected {len(groups)} values, one for each variable, found {len(tensors)}')
    return list(tensors)


def _chosen(variable: Any, is_a: Types | None, is_not: Types | None) -> bool:
    return (is_a is None or isinstance(variable, is_a)) and (is_not is None or not isinstance(variable, is_not))

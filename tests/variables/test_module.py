"""How a module names what is in it: as Objax does."""

import copy
from typing import Any

import jax.numpy as jnp
import pytest

from objio.variables import Module, ModuleList, StateVar, TrainRef, TrainVar, VarCollection


class Dense(Module):
    """Two variables and things that are none."""

    def __init__(self) -> None:
        self.name = 'dense'
        self.w = TrainVar(jnp.zeros((2, 3)))
        self.b = None
        self.sizes = [2, 3]

    def __call__(self, x: Any) -> Any:
        return x @ self.w.value


class Net(Module):
    """A module, a list of modules, a variable and a reference."""

    def __init__(self) -> None:
        self.first = Dense()
        self.rest = ModuleList([Dense(), abs, StateVar(0), ModuleList([TrainVar(jnp.zeros(1))])])
        self.ref = TrainRef(self.first.w)


def test_names_are_those_of_objax() -> None:
    """Attributes joined by dots, positions in brackets, classes in parentheses, in the order they were set."""
    net = Net()
    assert list(net.vars().keys()) == [
        '(Net).first(Dense).w',
        '(Net).rest(ModuleList)[0](Dense).w',
        '(Net).rest(ModuleList)[2]',
        '(Net).rest(ModuleList)[3](ModuleList)[0]',
        '(Net).ref',
    ]
    assert list(net.first.vars('scope/').keys()) == ['scope/(Dense).w']
    assert net.vars()['(Net).ref'] is net.ref
    assert net.vars().groups()[0].names == ('(Net).first(Dense).w', '(Net).ref')


def test_a_wrapped_module_takes_the_place_of_its_wrapper() -> None:
    """`__wrapped__` is left out of the name."""

    class Wrapper(Module):
        def __init__(self, module: Module) -> None:
            self.calls = StateVar(0)
            self.__wrapped__ = module

    class Outer(Module):
        def __init__(self) -> None:
            self.inner = Wrapper(Dense())

    assert list(Outer().vars().keys()) == ['(Outer).inner(Wrapper).calls', '(Outer).inner(Wrapper)(Dense).w']


def test_a_shared_module_has_all_its_names() -> None:
    """A module in two places gives its variables two names, and each is one variable."""
    dense = Dense()
    vc = ModuleList([dense, dense]).vars()
    assert len(vc) == 2
    assert [group.names for group in vc.groups()] == [('(ModuleList)[0](Dense).w', '(ModuleList)[1](Dense).w')]


class Stack(Module):
    """Modules and variables in every plain container, beside attributes."""

    def __init__(self) -> None:
        self.layers = [Dense(), 'note', None, (TrainVar(jnp.zeros(1)),)]
        self.heads = {'a': Dense(), 1: StateVar(0), '1': [Dense()]}
        self.last = Dense()


STACK = [
    '(Stack).last(Dense).w',
    '(Stack).layers[0](Dense).w',
    '(Stack).layers[3][0]',
    "(Stack).heads['a'](Dense).w",
    '(Stack).heads[1]',
    "(Stack).heads['1'][0](Dense).w",
]


def test_plain_containers_are_gone_through() -> None:
    """What lists, tuples and dicts hold is found, behind all attributes, by position or key."""
    assert list(Stack().vars().keys()) == STACK


def test_what_containers_hold_comes_behind_the_attributes_of_all_modules() -> None:
    """Also where the container belongs to a module within: the names of Objax's walk keep their places."""

    class Outer(Module):
        def __init__(self) -> None:
            self.stack = Stack()
            self.w = TrainVar(jnp.zeros(1))

    names = [f'(Outer).stack{name}' for name in STACK]
    assert list(Outer().vars().keys()) == [names[0], '(Outer).w', *names[1:]]
    assert list((Outer().vars('a') + VarCollection()).keys())[1] == 'a(Outer).w'


def test_a_container_gives_no_second_name() -> None:
    """A variable that an attribute leads to has no further name from a list: files stay what they were."""

    class Loop(Module):
        def __init__(self) -> None:
            self.layers: list[Module] = []
            self.first, self.second = Dense(), Dense()
            self.layers += [self.first, self.second, Dense()]
            self.refs = (TrainRef(self.first.w),)

    assert list(Loop().vars().keys()) == [
        '(Loop).first(Dense).w',
        '(Loop).second(Dense).w',
        '(Loop).layers[2](Dense).w',
    ]


def test_two_containers_with_one_variable_give_it_two_names() -> None:
    """As two attributes do."""

    class Twice(Module):
        def __init__(self) -> None:
            var = TrainVar(jnp.zeros(1))
            self.a, self.b = [var], {'x': var}

    assert [group.names for group in Twice().vars().groups()] == [('(Twice).a[0]', "(Twice).b['x']")]


def test_circles_through_containers_end() -> None:
    """A parent among the children's containers, a list in itself, a module in its own list."""

    class Node(Module):
        def __init__(self, parent: 'Node | None' = None) -> None:
            self.w = TrainVar(jnp.zeros(1))
            self.children: list[Any] = []
            self.above = [parent, self]
            self.children.append(self.children)

    root = Node()
    root.children.append(Node(root))
    assert list(root.vars().keys()) == ['(Node).w', '(Node).children[1](Node).w']


def test_keys_that_are_written_alike_lose_nothing() -> None:
    """Their positions tell them apart."""

    class Key:
        def __repr__(self) -> str:
            return 'key'

    class Held(Module):
        def __init__(self) -> None:
            self.table = {Key(): StateVar(0), Key(): StateVar(1)}

    assert list(Held().vars().keys()) == ['(Held).table[key#0]', '(Held).table[key#1]']


def test_attributes_of_a_module_list_are_found() -> None:
    """Behind the items, which are all that Objax looks at."""
    modules = ModuleList([Dense(), [Dense()]])
    modules.scale = TrainVar(jnp.zeros(1))
    modules.more = {'a': Dense()}
    assert list(modules.vars().keys()) == [
        '(ModuleList)[0](Dense).w',
        '(ModuleList)[1][0](Dense).w',
        '(ModuleList).scale',
        "(ModuleList).more['a'](Dense).w",
    ]


def test_vars_may_be_written_anew() -> None:
    """A module with a `vars` of its own is collected by it, also inside others."""

    class Own(Module):
        def __init__(self) -> None:
            self.table = {'x': TrainVar(jnp.zeros(1))}

        def vars(self, scope: str = '') -> VarCollection:
            return VarCollection((f'{scope}{name}', var) for name, var in self.table.items())

    assert list(ModuleList([Own()]).vars().keys()) == ['(ModuleList)[0]x']


def test_a_name_that_stands_twice_is_refused() -> None:
    """Two variables of one name, from a class without a scope of its own, are an error and no loss."""

    class Flat(Module):
        def __init__(self) -> None:
            self.parts = [TrainVar(jnp.zeros(1)), TrainVar(jnp.zeros(1))]

        def vars(self, scope: str = '') -> VarCollection:
            return VarCollection((f'{scope}w', part) for part in self.parts)

    with pytest.raises(ValueError, match="'w'"):
        Flat().vars()


def test_a_module_list_is_a_list() -> None:
    """It can be indexed, sliced, appended to and changed; a slice is a ModuleList, as in Objax."""
    a, b = Dense(), Dense()
    modules = ModuleList([a])
    modules.append(b)
    assert modules[-1] is b
    assert isinstance(modules[:1], ModuleList)
    assert list(modules[1:].vars().keys()) == ['(ModuleList)[0](Dense).w']
    modules[0] = b
    assert len(modules.vars().groups()) == 1
    assert len(modules) == 2


def test_modules_are_compared_by_identity() -> None:
    """Two lists of variables are never compared by value, and modules can be keys."""
    a, b = ModuleList([StateVar(jnp.zeros(2))]), ModuleList([StateVar(jnp.zeros(2))])
    assert a == next(iter([a]))
    assert a != b
    assert len({a, b, Dense()}) == 3


def test_a_module_without_a_call_says_so() -> None:
    """Calling it is an error with its name."""
    with pytest.raises(NotImplementedError, match='Net defines no __call__'):
        Net()(3)


def test_a_module_list_prints_its_items() -> None:
    """One line an item, nested lists indented."""
    assert repr(ModuleList([StateVar(0), ModuleList([3])])) == (
        'ModuleList(\n  [0] objio.StateVar(Array(0, dtype=int32))\n  [1] ModuleList(\n    [0] 3\n  )\n)'
    )


def test_copies_of_modules() -> None:
    """A shallow copy shares the variables, a deep one has its own, tied and referenced as they were."""
    net = Net()
    net.rest.append(net.first)
    shallow = copy.copy(net)
    assert shallow.first is net.first
    assert [a is b for a, b in zip(copy.copy(net.rest), net.rest, strict=True)] == [True] * 5
    deep = copy.deepcopy(net)
    assert deep.rest[4] is deep.first
    assert deep.ref.ref is deep.first.w
    deep.first.w.assign(jnp.ones((2, 3)))
    assert (float(net.first.w.sum()), float(deep.ref.value.sum())) == (0, 6)
    assert list(deep.vars().keys()) == list(net.vars().keys())

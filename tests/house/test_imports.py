"""The house has one direction: each room imports only from the rooms above it. Read from the code, not believed."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the top down. Rooms of one line may import each other, as long as no circle comes of it.
HOUSE = [
    {'errors', 'messages'},
    {'variables'},
    {'nn', 'functional', 'random'},
    {'formats'},
    {'storage'},
    {'io'},
    {'models'},
    {'apps'},
    {''},  # objio/__init__.py
]
STRANGERS = {'variables', 'formats', 'storage'}  # do not know each other
WITHOUT_JAX = (
    'objio.formats',
    'objio.storage',
    *(f'objio.io.{name}' for name in ('files', 'plan', 'averaging', 'converting')),
    *(f'objio.models.{name}' for name in ('config', 'merging', 'record', 'registry')),
)
JAX = {'jax', 'jaxlib', 'optax', 'flax', 'equinox', 'haiku', 'orbax'}


def read_sources() -> dict[str, str]:
    """Maps the name of each module of objio to its source."""
    sources = {}
    for path in sorted((ROOT / 'objio').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        sources['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path.read_text(encoding='utf-8')
    return sources


def imports(source: str, *, for_types: bool) -> Iterator[str]:
    """Every name that a source imports, wherever it stands; `from a import b` gives 'a.b'."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING' and not for_types:
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f'a relative import hides where it goes: {ast.unparse(node)}')
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        else:
            nodes += ast.iter_child_nodes(node)


def imported_modules(sources: Mapping[str, str], module: str, *, for_types: bool) -> set[str]:
    """The modules of objio that a module imports by name."""
    found = set()
    for name in imports(sources[module], for_types=for_types):
        if name.split('.')[0] == 'objio':
            found.add(name if name in sources else name.rpartition('.')[0])
    return found


def room(module: str) -> str:
    """'io' for 'objio.io.ops', '' for 'objio' itself."""
    return module.split('.')[1] if '.' in module else ''


def floor(module: str) -> int:
    """How far down the house a module stands."""
    return next(i for i, rooms in enumerate(HOUSE) if room(module) in rooms)


def wrong_directions(sources: Mapping[str, str]) -> list[str]:
    """The imports that go down the house, or between rooms that do not know each other."""
    wrong = []
    for module in sources:
        for other in sorted(imported_modules(sources, module, for_types=True)):
            strangers = room(module) != room(other) and {room(module), room(other)} <= STRANGERS
            if floor(other) > floor(module) or strangers:
                wrong.append(f'{module} imports {other}')
    return wrong


def ways_to_jax(sources: Mapping[str, str]) -> list[str]:
    """The chains of imports by which a room without JAX reaches it all the same."""
    ways = []
    for start in sources:
        if not any(start == name or start.startswith(f'{name}.') for name in WITHOUT_JAX):
            continue
        chains, seen = [(start,)], {start}
        while chains:
            chain = chains.pop()
            module = chain[-1]
            roots = {name.split('.')[0] for name in imports(sources[module], for_types=False)}
            ways += [' -> '.join([*chain, name]) for name in sorted(roots & JAX)]
            # To import a module is to run the `__init__.py` of each package around it.
            around = {module.rpartition('.')[0]} & set(sources)
            for other in sorted((imported_modules(sources, module, for_types=False) | around) - seen):
                seen.add(other)
                chains.append((*chain, other))
    return ways


def circle(sources: Mapping[str, str]) -> list[str]:
    """One circle of imports, or nothing; an import inside a function closes a circle too."""
    graph = {module: imported_modules(sources, module, for_types=False) - {module} for module in sources}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_module_has_a_floor() -> None:
    """A new room is entered into the list before it is built."""
    for module in read_sources():
        assert room(module) in set().union(*HOUSE), f'{module} stands in no room of HOUSE'


def test_imports_go_up_the_house() -> None:
    """Each room imports only from rooms above it; variables, formats and storage do not know each other."""
    assert wrong_directions(read_sources()) == []


def test_reading_needs_no_jax() -> None:
    """Formats, storage and the verbs of the command line reach JAX by no chain of imports."""
    assert ways_to_jax(read_sources()) == []


def test_imports_make_no_circle() -> None:
    """No module imports itself by way of others."""
    assert circle(read_sources()) == []


@pytest.mark.parametrize(
    ('module', 'source', 'complaint'),
    [
        ('objio.errors', 'import objio.io.ops', 'objio.errors imports objio.io.ops'),
        ('objio.formats.new', 'from objio import variables', 'objio.formats.new imports objio.variables'),
        ('objio.storage.new', 'from objio.formats import Sink', 'objio.storage.new imports objio.formats'),
        (
            'objio.nn',
            'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from objio.io import open',
            'objio.nn imports objio.io',
        ),
        ('objio.formats.new', 'def f():\n    import objio', 'objio.formats.new imports objio'),
    ],
)
def test_a_wrong_direction_is_seen(module: str, source: str, complaint: str) -> None:
    """The test of the directions can fail."""
    known = {'objio': '', 'objio.io': '', 'objio.io.ops': '', 'objio.variables': '', 'objio.formats': ''}
    assert wrong_directions(known | {module: source}) == [complaint]


def test_a_way_to_jax_is_seen() -> None:
    """The test of the rooms without JAX can fail: directly, by a late import, by way of another room or a package."""
    assert ways_to_jax({'objio.formats.new': 'def f():\n    import jax.numpy as jnp'}) == ['objio.formats.new -> jax']
    assert ways_to_jax({'objio.io.plan': 'from objio import nn', 'objio.nn': 'from jax import lax'}) == [
        'objio.io.plan -> objio.nn -> jax'
    ]
    assert ways_to_jax({'objio.io.files': '', 'objio.io': 'import optax'}) == ['objio.io.files -> objio.io -> optax']
    only_types = 'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import jax'
    assert ways_to_jax({'objio.formats.new': only_types}) == []


def test_a_circle_is_seen() -> None:
    """The test of the circles can fail."""
    sources = {'objio.io.a': 'from objio.io import b', 'objio.io.b': 'def f():\n    from objio.io.a import g'}
    assert sorted(set(circle(sources))) == ['objio.io.a', 'objio.io.b']

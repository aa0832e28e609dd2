"""The public names: sorted, whole, documented, and the same to a type checker as to Python."""

import ast
import inspect
import pydoc
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import objio

ROOT = Path(__file__).parents[2]
LAZY = ['objio', 'objio.io']
OPEN_ROOMS = ['objio', 'objio.errors', 'objio.functional', 'objio.io', 'objio.nn', 'objio.random', 'objio.variables']


def names_for_type_checkers(module: ModuleType) -> dict[str, str]:
    """Maps each name that a package imports for type checkers to the module it comes from."""
    names = {}
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding='utf-8'))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING')
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            names.update(dict.fromkeys((alias.name for alias in node.names), str(node.module)))
        elif isinstance(node, ast.AnnAssign):
            names[ast.unparse(node.target)] = ''
    return names


def lazy_names(module: ModuleType) -> dict[str, str]:
    """Maps each name that a package finds at its first use to the module it comes from."""
    names = {name: home for home, names in module._HOMES.items() for name in names}
    names.update(dict.fromkeys(getattr(module, '_SUBMODULES', ()), module.__name__))
    return names | ({'__version__': ''} if module is objio else {})


def public_things() -> Iterator[tuple[str, object]]:
    """Every public name of the open rooms, and every public method of their classes."""
    for room in OPEN_ROOMS:
        module = import_module(room)
        yield room, module
        for name in module.__all__ if hasattr(module, '__all__') else vars(module):
            thing = getattr(module, name)
            if name.startswith('_') or not (inspect.isroutine(thing) or inspect.isclass(thing)):
                continue
            if not thing.__module__.startswith('objio'):
                continue
            yield f'{room}.{name}', thing
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    if not method.startswith('_') and (inspect.isroutine(value) or isinstance(value, property)):
                        yield f'{room}.{name}.{method}', value


@pytest.mark.parametrize('name', LAZY)
def test_names_are_sorted_and_agree(name: str) -> None:
    """`__all__` is sorted; Python and type checkers find the same names in the same modules, and no others."""
    module = import_module(name)
    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) == set(lazy_names(module))
    assert names_for_type_checkers(module) == lazy_names(module)


@pytest.mark.parametrize('name', LAZY)
def test_every_name_is_there(name: str) -> None:
    """Each public name can be had, and `dir` lists it."""
    module = import_module(name)
    for public in module.__all__:
        assert getattr(module, public) is not None
    assert set(module.__all__) <= set(dir(module))


def test_verbs_are_the_same_in_both_places() -> None:
    """What `objio.io` offers, `objio` offers too, and it is the same object."""
    for name in objio.io.__all__:
        assert getattr(objio, name) is getattr(objio.io, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is told as Python tells it."""
    with pytest.raises(AttributeError, match=re.escape("module 'objio' has no attribute 'Chekpoint'")):
        _ = objio.Chekpoint
    with pytest.raises(AttributeError, match=re.escape("module 'objio.io' has no attribute 'Chekpoint'")):
        _ = objio.io.Chekpoint


def test_the_version_is_that_of_the_package() -> None:
    """`objio.__version__` is the version in pyproject.toml."""
    written = re.search(r'^version = "(.+)"$', (ROOT / 'pyproject.toml').read_text(encoding='utf-8'), re.MULTILINE)
    assert written is not None
    assert objio.__version__ == written[1]


def test_every_public_name_has_a_docstring() -> None:
    """Modules, classes, functions, methods and properties of the open rooms say what they are for."""
    bare = [name for name, thing in public_things() if not (pydoc.getdoc(thing) or '').strip()]
    assert bare == []


def test_every_public_name_has_its_place_in_the_docs() -> None:
    """Each name of `objio` stands on a page of the site."""
    pages = '\n'.join(path.read_text(encoding='utf-8') for path in (ROOT / 'docs').rglob('*.md'))
    shown = set(re.findall(r'^::: ([\w.]+)$', pages, re.MULTILINE))
    names = {path.rpartition('.')[2] for path in shown}
    if 'objio.errors' in shown:  # the one module of which the page shows every class
        names |= set(vars(objio.errors))
    assert set(objio.__all__) - {'__version__'} - names == set()

"""Habits that the linter does not know: JAX's public names only, patterns for every Python, code that is finished."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import objio

ROOT = Path(__file__).parents[2]
MODULES = [module.name for module in pkgutil.walk_packages(objio.__path__, 'objio.')]


def private_names(source: str) -> list[str]:
    """The names with an underscore that a source takes from JAX or another library."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
    return [name for name in found if re.match(r'(jax|jaxlib|jnp|np|numpy|optax|ml_dtypes)\b.*\._(?!_)', name)]


def unfinished(source: str) -> list[str]:
    """What a source leaves for later, and what it says to nobody."""
    return re.findall(r'\b(?:TODO|FIXME|XXX|HACK)\b', source)


def possessive_groups(pattern: str | bytes) -> list[str]:
    """The groups of a pattern that give nothing back, whose matches are wrong before Python 3.11.5, or crash."""
    text = pattern.decode('latin-1') if isinstance(pattern, bytes) else pattern
    return re.findall(r'\)(?:[*+?]|\{[0-9,]*\})\+|\(\?>', text)


def silent_tests(source: str) -> list[str]:
    """The tests of a source that do not say what they promise."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [node.name for node in functions if node.name.startswith('test_') and not ast.get_docstring(node)]


@pytest.mark.parametrize('path', sorted((ROOT / 'objio').rglob('*.py')), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_public_names_and_is_finished(path: Path) -> None:
    """A module takes only public names from other libraries and leaves nothing for later."""
    source = path.read_text(encoding='utf-8')
    assert private_names(source) == []
    assert unfinished(source) == []


@pytest.mark.parametrize('name', MODULES)
def test_patterns_mean_the_same_in_every_python(name: str) -> None:
    """No pattern has a possessive or atomic group (https://github.com/python/cpython/issues/106052)."""
    found = vars(importlib.import_module(name)).values()
    patterns = [value.pattern for value in found if isinstance(value, re.Pattern)]
    assert [pattern for pattern in patterns if possessive_groups(pattern)] == []


@pytest.mark.parametrize('path', sorted((ROOT / 'tests').rglob('*.py')), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_states_its_promise(path: Path) -> None:
    """Each test has a docstring, and nothing in the file is left for later."""
    source = path.read_text(encoding='utf-8')
    assert silent_tests(source) == []
    assert path == Path(__file__) or unfinished(source) == []


def test_what_breaks_a_habit_is_seen() -> None:
    """Each of the tests above can fail."""
    assert private_names('from jax._src import core') == ['jax._src.core']
    assert private_names('import jax\njax.Array._value') == ['jax.Array._value']
    assert private_names('import jax\njax.random.key') == []
    assert unfinished('a = 1  # TODO: two') == ['TODO']
    assert possessive_groups(rb'(?:ab,){0,9}+') == ['){0,9}+']
    assert possessive_groups(r'(?>a|ab)(a)?+') == ['(?>', ')?+']
    assert possessive_groups(r'a*+(?:[ab]{1,2}+)+') == []
    assert silent_tests('def test_a():\n    pass\ndef test_b():\n    "It holds."\ndef help(): pass') == ['test_a']

"""Habits that the linter does not know: JAX's public names only, and code that is finished."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize('path', sorted((ROOT / 'objio').rglob('*.py')), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_public_names_and_is_finished(path: Path) -> None:
    """A module takes only public names from other libraries and leaves nothing for later."""
    source = path.read_text(encoding='utf-8')
    assert private_names(source) == []
    assert unfinished(source) == []


def test_a_private_name_is_seen() -> None:
    """The test above can fail, for an import and for an attribute."""
    assert private_names('from jax._src import core') == ['jax._src.core']
    assert private_names('import jax\njax.Array._value') == ['jax.Array._value']
    assert private_names('import jax\njax.random.key') == []
    assert unfinished('a = 1  # TODO: two') == ['TODO']

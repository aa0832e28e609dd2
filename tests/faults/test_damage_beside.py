"""The same damage to the files of other libraries, for the table beside them."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest

from faults.others import LIBRARIES, damaged

_MODULES = {'Orbax': 'orbax', 'safetensors': 'safetensors', 'Equinox': 'equinox', 'Flax msgpack': 'flax'}
_SLOW = {'Orbax': 200}


@pytest.mark.full
@pytest.mark.parametrize('library', LIBRARIES)
def test_damage_to_other_libraries(
    library: str,
    seed: int,
    beside: Callable[[str, str, str], None],
    needs: Callable[[object, str], None],
) -> None:
    """Of the libraries, objio gives no wrong value for a flipped bit or a file that was cut."""
    needs(find_spec(_MODULES.get(library, 'objio')), f'{library}: pip install --group faults')
    count = _SLOW.get(library, 2000)
    found = damaged(library, count, seed)
    for kind, fault in (('flips', 'one bit flipped'), ('cuts', 'file cut short')):
        results = found[kind]
        errors = sorted(results.keys() - {'same', 'silent'})
        beside(f'{fault}: wrong values loaded silently', library, f'{results.get("silent", 0)} of {count}')
        beside(f'{fault}: kinds of exception', library, ', '.join(errors) if len(errors) < 3 else str(len(errors)))
        if library == 'objio':
            assert results == {'FormatError': count}

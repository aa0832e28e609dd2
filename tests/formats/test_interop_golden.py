"""Files of safetensors and msgpack that were written once are read, and written again to the same bytes, for ever."""

import hashlib
from pathlib import Path

import pytest
from support_formats import read_array
from support_interop import golden, opened, written
from support_verbs import bits

from objio.formats import msgpack, safetensors

DATA = Path(__file__).parents[1] / 'data'
OPTIONS = {safetensors: {'metadata': {'note': 'é', 'objio.metrics': {'loss': 0.5}}}, msgpack: {}}
DIGESTS = {
    'objio.safetensors': '56541037695fc4097daa5377d072aec37120fe38d1f23592ee881db0bfb617d1',
    'objio.msgpack': 'a103ed5236f1360c939d0fbaaad4803f963f6b2c8dcc6f19ee4451c6742f179f',
    'safetensors-0.8.0.safetensors': '8052f64d33a45d74d3b7addf6c927132b757179d9a557037c1d6593e5ae0d8bf',
    'flax-0.12.8.msgpack': 'b4bd97b1f4921e8fc1264888c0a4cf3555423636eacb1af2d89a2b316e089dc3',
}


@pytest.mark.parametrize('name', DIGESTS)
def test_the_golden_files_are_those_that_were_made(name: str) -> None:
    """Nobody wrote a golden file anew."""
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize(('form', 'name'), [(safetensors, 'objio.safetensors'), (msgpack, 'objio.msgpack')])
def test_what_objio_wrote_it_writes_again(form: object, name: str) -> None:
    """The same content gives the bytes of the golden file, and they come back as they were."""
    data = (DATA / name).read_bytes()
    assert written(form, golden(form), **OPTIONS[form]) == data
    archive = opened(form, data)
    assert archive.metadata == OPTIONS[form].get('metadata', {})
    for key, array in golden(form).items():
        assert bits(read_array(archive, key)) == bits(array)


def test_a_file_of_safetensors_is_read() -> None:
    """What safetensors 0.8.0 wrote: every dtype it takes from NumPy."""
    archive = opened(safetensors, (DATA / 'safetensors-0.8.0.safetensors').read_bytes())
    expected = {name: array for name, array in golden(safetensors).items() if not name.startswith('float4')}
    assert {name: bits(read_array(archive, name)) for name in archive.specs} == {
        n: bits(a) for n, a in expected.items()
    }
    assert archive.metadata == {'note': 'é'}


def test_a_file_of_flax_is_read() -> None:
    """What Flax 0.12.8 wrote: every dtype, arrays in pieces, and leaves that are no arrays."""
    archive = opened(msgpack, (DATA / 'flax-0.12.8.msgpack').read_bytes())
    found = {name: read_array(archive, name) for name in archive.specs}
    others = {'step': 3, 'list.0': 1.5, 'list.1': 2j}
    assert {name: found.pop(name).tolist() for name in others} == others
    assert {name: bits(array) for name, array in found.items()} == {n: bits(a) for n, a in golden(msgpack).items()}
    assert archive.metadata == {'name': 'adam', 'none': None}

"""Manifests that lie, with the right checksum: each is refused before it becomes large."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support_formats import forged

from faults.bounded import read_within_bounds
from objio.formats import ArraySpec

_MILLION = 1_000_000
_ONE = {'a': ArraySpec('uint8', (1,))}
_SECONDS = 10  # of a processor


def metadata(text: str | bytes) -> bytes:
    """A file whose metadata holds what it likes."""
    raw = text if isinstance(text, bytes) else text.encode('utf-8', 'surrogatepass')
    return forged(change=lambda whole: whole.replace(b'"metadata":{}', b'"metadata":{"a":' + raw + b'}'))


def arrays(entries: str, content: bytes = b'') -> bytes:
    """A file whose manifest lists what it likes."""
    return forged(change=lambda whole: whole.replace(b's":[', b's":[' + entries.encode()), content=content)


def many(item: str) -> str:
    """A list of a million items, the last of which is spelled wrong."""
    return '[' + (item + ',') * _MILLION + ' 1]'


def numbered(item: str, count: int = _MILLION) -> str:
    """A million items, each with a short text of its own."""
    return ','.join([item % f'{index:x}' for index in range(count)])


LIES: dict[str, Callable[[], bytes]] = {
    'a million arrays': lambda: arrays(numbered('["%s","uint8",[]]')),
    'a million empty arrays': lambda: arrays(numbered('["%s","uint8",[0]]')),
    'a million arrays with room for them': lambda: arrays(numbered('["%s","uint8",[0]]'), bytes(128 * _MILLION)),
    'a million shapes': lambda: arrays(
        ','.join(f'["{index:x}","uint8",[0,{index + 300}]]' for index in range(_MILLION)), bytes(128 * _MILLION)
    ),
    'a million axes': lambda: arrays('["a","uint8",[' + '1,' * _MILLION + '1]]'),
    'a million aliases of nothing': lambda: forged(aliases={f'{index:x}': 'a' for index in range(_MILLION)}),
    'a million aliases, the last of nothing': lambda: forged(
        [['a', 'uint8', [1]]],
        stored=_ONE,
        aliases={f'{index:x}x': 'a' for index in range(_MILLION)} | {'last': 'nothing'},
    ),
    'one array a million times': lambda: arrays('["a","uint8",[0]],' * _MILLION),
    'a million objects': lambda: metadata(many('{}')),
    'a million objects with a key': lambda: metadata(many('{"a":1}')),
    'a million lists': lambda: metadata(many('[]')),
    'a million nested lists': lambda: metadata('[' + ('[' * 90 + ']' * 90 + ',') * 11_000 + ' 1]'),
    'a million small numbers': lambda: metadata(many('1')),
    'a million numbers': lambda: metadata(many('257')),
    'a million floats': lambda: metadata(many('1.5')),
    'a million texts': lambda: metadata('[' + numbered('"%s"') + ', 1]'),
    'a million keys': lambda: metadata('{' + numbered('"%s":1') + ', "z":1}'),
    'a million keys, one of them twice': lambda: metadata('{' + numbered('"%s":1') + ',"0":1}'),
    'a million NaN': lambda: metadata(many('NaN')),
    'Infinity behind a million numbers': lambda: metadata(many('1').replace(' 1', 'Infinity')),
    'a lone surrogate behind 16 MB of text': lambda: metadata('"' + 'x' * (16 << 20) + '\ud800"'),
    'an escaped surrogate behind 16 MB of wide text': lambda: metadata('"😀' + 'x' * (16 << 20) + '\\ud800"'),
    'a million escapes': lambda: metadata('"' + '\\u0041' * _MILLION + '"'),
    'a million quotes, and no end': lambda: metadata('"' + '\\"' * _MILLION),
    'an integer of a million digits': lambda: metadata('9' * _MILLION),
    'an integer of 5,000 digits behind a million': lambda: metadata('[' + '9,' * _MILLION + '9' * 5000 + ']'),
    'a number of a million zeros': lambda: metadata('0.' + '0' * _MILLION + '1'),
    'nested 100,000 deep': lambda: metadata('[' * 100_000 + ']' * 100_000),
    'nested 100,000 deep in objects': lambda: metadata('{"a":' * 100_000 + '1' + '}' * 100_000),
    'a million brackets': lambda: arrays('[' * _MILLION),
    'a name of 2 MB': lambda: arrays('["' + 'x' * (2 << 20)),
}
_SOME = ['a million arrays', 'a million objects', 'a million keys, one of them twice', 'a million NaN',
         'a lone surrogate behind 16 MB of text', 'nested 100,000 deep']  # fmt: skip


@pytest.mark.proves('lies')
@pytest.mark.parametrize(
    'lie', [name if name in _SOME else pytest.param(name, marks=pytest.mark.full) for name in LIES]
)
def test_lies(lie: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A manifest that lies is a FormatError, in a process that takes at most 16 times its size and 10 MB."""
    path = tmp_path / 'lie.npz'
    data = LIES[lie]()
    path.write_bytes(data)
    size = data.index(b'PK\1\2') - data.index(b'{"format"')
    found = read_within_bounds(path)
    assert found.outcome.startswith('FormatError: '), found
    assert 'checksum' not in found.outcome, 'the lie is what was found'
    assert found.grown <= 16 * size + 10_000_000, found
    assert found.seconds < _SECONDS, found
    figure('lies', 1, f'{lie}: {size / 1e6:.1f} MB, {max(found.grown, 0) / 1e6:.1f} MB more memory')
    print(size, found)


@pytest.mark.proves('lies')
def test_dense_metadata_that_is_right_is_read(tmp_path: Path) -> None:
    """Metadata as dense as in the lies is given as it was saved, where it does not lie."""
    path = tmp_path / 'dense.npz'
    for text in ('{"b":{}},' * 100_000, '1.5,' * 100_000, '[],' * 100_000):
        path.write_bytes(metadata(f'[{text}1]'))
        assert read_within_bounds(path).outcome == 'read'

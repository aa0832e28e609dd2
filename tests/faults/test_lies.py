"""Manifests that lie, with the right checksum: each is refused before it becomes large."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support_formats import forged

from faults.bounded import read_within_bounds
from faults.fuzzing import truths_and_a_lie
from objio.formats import ArraySpec, manifest
from objio.formats.layout import content_of, lay_out
from objio.formats.names import member_names
from objio.formats.zip_records import ENTRY, ENTRY_MARK, end_records

_MILLION = 1_000_000
_ONE = {'a': ArraySpec('uint8', (1,))}
_SECONDS = 20  # of a processor that others use as well


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
TRUE: dict[str, tuple[int, list[int], str]] = {
    'the metadata': (_MILLION, [0], 'bad metadata'),
    'the last entry of the directory': (_MILLION, [0], 'of the directory'),
    'the last entry of the directory, where no two shapes are one': (300_000, [0, 1], 'of the directory'),
    'the header of the first array': (_MILLION, [0], 'of its header'),
    'the header of the first array, where no two shapes are one': (_MILLION, [0, 1], 'of its header'),
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


@pytest.mark.full
@pytest.mark.proves('lies')
@pytest.mark.parametrize('lie', TRUE)
def test_a_lie_at_the_end_of_a_million_truths(lie: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A file whose directory has every array of its manifest takes no more, where all but one place is right."""
    count, step, message = TRUE[lie]
    path = tmp_path / 'lie.npz'
    size = write_true(path, count, lambda index: tuple(index * each for each in step), lie)
    found = read_within_bounds(path)
    print(size, found)
    assert found.outcome.startswith('FormatError: '), found
    assert message in found.outcome
    assert found.grown <= 16 * size + 10_000_000, found
    assert found.seconds < _SECONDS, found
    figure('lies', 1, f'{count:,} arrays, a lie in {lie}: {size / 1e6:.1f} MB, {found.grown / 1e6:.1f} MB more memory')


def write_true(path: Path, count: int, shape: Callable[[int], tuple[int, ...]], lie: str) -> int:
    """Writes a file of many arrays, which are holes on the disk; returns the size of its manifest."""
    specs = {f'{index:x}': ArraySpec('int4', shape(index)) for index in range(count)}
    text = manifest.dump(specs, {}, {'a': 1.5})
    if lie == 'the metadata':
        text = text.replace(b'1.5', b'1.50')
    heads, sizes = map(list, zip(*map(content_of, specs.values()), strict=True))
    members = lay_out(member_names(specs), heads, sizes, len(text))
    crcs = [0] * count + [zlib.crc32(text)]
    directory = members.directory(crcs)
    if 'directory' in lie:
        at = directory.rindex(ENTRY_MARK, 0, -ENTRY.size) + ENTRY.size - 8
        directory = directory[:at] + b'\1' + directory[at + 1 :]
    with path.open('wb') as file:
        file.seek(members.offsets[-1])
        file.write(members.local_headers(count, count + 1, crcs[-1:])[0] + text + directory)
        file.write(end_records(count + 1, len(directory), members.end))
    return len(text)


@pytest.mark.full
@pytest.mark.proves('lies')
def test_a_lie_behind_truths_in_a_file_of_others(tmp_path: Path, figure: Callable[..., None]) -> None:
    """The table of contents of another library's file takes no more than one of ours, where no two shapes are one."""
    path = tmp_path / 'lie.npz'
    data = truths_and_a_lie(300_000, 1)
    path.write_bytes(data)
    size = len(data) - data.index(b'PK\1\2')
    found = read_within_bounds(path)
    assert found.outcome.startswith('FormatError: '), found
    assert "'last': the header" in found.outcome
    assert found.grown <= 16 * size + 10_000_000, found
    assert found.seconds < _SECONDS, found
    figure('lies', 1, f'300,000 arrays of others, a lie in the last header: {size / 1e6:.1f} MB, '
           f'{found.grown / 1e6:.1f} MB more memory')  # fmt: skip


@pytest.mark.proves('lies')
def test_dense_metadata_that_is_right_is_read(tmp_path: Path) -> None:
    """Metadata as dense as in the lies is given as it was saved, where it does not lie."""
    path = tmp_path / 'dense.npz'
    for text in ('{"b":{}},' * 100_000, '1.5,' * 100_000, '[],' * 100_000):
        path.write_bytes(metadata(f'[{text}1]'))
        assert read_within_bounds(path).outcome == 'read'

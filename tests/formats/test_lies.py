"""A file whose bytes are whole and whose manifest lies is refused, by what the lie is, within little memory."""

import struct
import tracemalloc

import numpy as np
import pytest
from support_formats import MemorySource, forged, read_bytes, save

from objio.errors import FormatError, UnsaveableError
from objio.formats import ArraySpec, npz, npz_reader, npz_writer
from objio.formats.zip_records import end_records

ONE = {'a': ArraySpec('uint8', (1,))}
LIES = {
    'a dtype of another kind': forged([['a', '<f4', [1]]]),
    'an unknown dtype': forged([['a', 'float31', [1]]]),
    'an unknown key implementation': forged([['a', 'key<mine>', []]]),
    'an array that is not there': forged([['a', 'uint8', [1]]]),
    'an array beyond the file': forged([['a', 'uint8', [10**18]]]),
    'a product beyond 64 bits': forged([['a', 'float64', [1 << 32, 1 << 32]]]),
    'an empty array NumPy cannot make': forged([['a', 'float64', [0, 1 << 62]]], content=bytes(256)),
    'too many axes': forged([['a', 'uint8', [1] * 65]]),
    'a negative axis': forged([['a', 'uint8', [-1]]]),
    'a bool as axis': forged([['a', 'uint8', [True]]]),
    'a float as axis': forged([['a', 'uint8', [1.0]]]),
    'a shape that is text': forged([['a', 'uint8', '1']]),
    'a name that is a number': forged([[1, 'uint8', [1]]]),
    'an empty name': forged([['', 'uint8', [1]]]),
    'a name with NUL': forged([['\0', 'uint8', [1]]]),
    'a name with a lone surrogate': forged([['\ud800', 'uint8', [1]]]),
    'an entry of four': forged([['a', 'uint8', [1], 0]]),
    'arrays as an object': forged({'a': 'uint8'}),
    'two arrays of one name': forged([['a', 'uint8', [1]]] * 2, stored=ONE | {'b': ONE['a']}),
    'more arrays than entries': forged([['a', 'uint8', [0]], ['b', 'uint8', [0]]], content=bytes(1000), stored=ONE),
    'an alias to nothing': forged(aliases={'b': 'c'}),
    'an alias to itself': forged(aliases={'b': 'b'}),
    'an alias that is a number': forged(aliases={'b': 1}),
    'an empty alias': forged(aliases={'': 'b'}),
    'aliases as a list': forged(aliases=[]),
    'metadata as a list': forged(metadata=[]),
    'metadata missing': forged(change=lambda text: text.replace(b',"metadata":{}', b'')),
    'a key more': forged(more=1),
    'a key twice': forged(change=lambda text: text.replace(b'"metadata":{}', b'"metadata":{"a":1,"a":1}')),
    'NaN': forged(metadata={'a': float('nan')}),
    'Infinity': forged(metadata={'a': float('inf')}),
    'a number beyond all floats': forged(change=lambda text: text.replace(b'a":{}', b'a":{"a":1e999}')),
    'a number spelled otherwise': forged(change=lambda text: text.replace(b'a":{}', b'a":{"a":1.50}')),
    'a lone surrogate in metadata': forged(change=lambda text: text.replace(b'a":{}', b'a":{"a":"\\ud800"}')),
    'an escape that is not needed': forged(change=lambda text: text.replace(b'a":{}', b'a":{"\\u0061":1}')),
    'a space': forged(change=lambda text: text.replace(b'"aliases":', b'"aliases": ')),
    'a byte order mark': forged(change=lambda text: b'\xef\xbb\xbf' + text),
    'UTF-16': forged(change=lambda text: text.decode().encode('utf-16')),
    'another last bracket': forged(change=lambda text: text[:-1] + b']'),
    'an axis with a leading zero': forged(
        [['a', 'uint8', [1]]], lambda text: text.replace(b'[1]', b'[01]'), stored=ONE
    ),
    'metadata of 150 levels': forged(
        change=lambda text: text.replace(b'a":{}', b'a":{"a":' + b'[' * 150 + b']' * 150 + b'}')
    ),
    'something behind': forged(change=lambda text: text + b' '),
    'no JSON': forged(change=lambda _: b'hello'),
    'nothing': forged(change=lambda _: b''),
    'deep nesting': forged(
        change=lambda text: text.replace(b'a":{}', b'a":{"a":' + b'[' * 10**5 + b']' * 10**5 + b'}')
    ),
    'an endless integer': forged(change=lambda text: text.replace(b'a":{}', b'a":{"a":' + b'9' * 5000 + b'}')),
    'a long axis': forged(change=lambda text: text.replace(b's":[]', b's":[["a","uint8",[' + b'9' * 5000 + b']]]')),
    'another format': forged(format='other'),
    'version 0': forged(version=0),
    'version 1.0': forged(version=1.0),
    'an escaped name': forged([['a', 'uint8', [1]]], lambda text: text.replace(b'["a"', b'["\\u0061"'), stored=ONE),
    'an escaped alias': forged(
        [['a', 'uint8', [1]]], lambda text: text.replace(b'{"b"', b'{"\\u0062"'), stored=ONE, aliases={'b': 'a'}
    ),
    'an alias twice': forged(
        [['a', 'uint8', [1]]], lambda text: text.replace(b'"b":"a"', b'"b":"a","b":"a"'), stored=ONE, aliases={'b': 'a'}
    ),
    'an alias of the name of an array': forged([['a', 'uint8', [1]]], stored=ONE, aliases={'a': 'a'}),
    'an alias with NUL': forged([['a', 'uint8', [1]]], stored=ONE, aliases={'\0': 'a'}),
    'an array left out': forged([], stored=ONE),
}


@pytest.mark.parametrize('lie', LIES)
def test_manifests_that_lie(lie: str) -> None:
    """A manifest with the right checksum that says anything wrong is a FormatError when the file is opened."""
    with pytest.raises(FormatError, match=r'net\.npz: '):
        npz.decode(MemorySource(LIES[lie]))


@pytest.mark.parametrize(
    ('lie', 'message'),
    [
        ('an unknown dtype', "'a': objio-npz 1 has no dtype 'float31'"),
        ('an array beyond the file', "'a': uint8 of shape .* takes more bytes than the file has"),
        ('two arrays of one name', "two arrays are called 'a'"),
        ('more arrays than entries', "'b': one array more than the 1 that the directory has"),
        ('an alias to nothing', "'b' is another name of 'c', but there is no such array"),
        ('an alias with NUL', 'a name cannot hold a NUL character'),
        ('an array left out', 'expected arrays up to byte 193, found arrays up to byte 0'),
        ('NaN', "bad metadata: at byte 5: expected a value, found b'NaN"),
        ('deep nesting', 'at byte 105: expected at most 100 levels'),
        ('metadata of 150 levels', 'at byte 105: expected at most 100 levels'),
        ('something behind', 'bad metadata: at byte 2: expected the end'),
        ('metadata as a list', 'bad metadata: at byte 0: expected an object'),
        ('a key twice', 'expected an object with each key once'),
        ('no JSON', 'expected it to start with .*"format":"objio-npz"'),
        ('a space', 'expected an item or'),
    ],
)
def test_lies_are_named(lie: str, message: str) -> None:
    """The error says which part of the manifest is wrong."""
    with pytest.raises(FormatError, match=rf'net\.npz: objio\.json: .*({message})'):
        npz.decode(MemorySource(LIES[lie]))


def test_forged_files_are_whole_but_for_their_lie() -> None:
    """The test above can fail: a forged file without a lie is read."""
    data = forged([['a', 'uint8', [1]]], stored=ONE, aliases={'b': 'a'}, metadata={'a': 1.5})
    assert read_bytes(npz.decode(MemorySource(data)), 'a') == b'\0'
    assert data == save({'a': np.zeros(1, np.uint8)}, aliases={'b': 'a'}, metadata={'a': 1.5})


def test_a_manifest_and_a_header_that_disagree() -> None:
    """Where manifest and NPY header give one array different dtypes of one size, reading it is a FormatError."""
    archive = npz.decode(MemorySource(forged([['a', 'int8', [1]]], stored=ONE)))
    for verify in (True, False):
        with pytest.raises(FormatError, match="'a': byte 86 of its header: expected 0x69, found 0x75"):
            read_bytes(archive, 'a', verify=verify)


def test_a_newer_version_is_named() -> None:
    """A file of a later version says so, wherever its other bytes stand."""
    with pytest.raises(FormatError, match='written by a newer objio .*version 2, this one reads 1.*update objio'):
        npz.decode(MemorySource(forged(version=2, content=bytes(17))))


METADATA = [
    b'[' + b'{},' * 300_000 + b' 1]',
    b'[' + b'1.5,' * 300_000 + b' 1]',
    b'[' + b'{"a":1},' * 100_000 + b' 1]',
    b'{' + b''.join(b'"%x":1,' % index for index in range(200_000)) + b'"0":1}',
    b','.join([b'[' * 90 + b']' * 90] * 3000).join([b'[', b', 1]']),
    b'"' + b'x' * 2_000_000 + '\U0001f600'.encode() + b'\\u0041"',
    b'"' + b'x' * 2_000_000,
]


@pytest.mark.parametrize('text', METADATA, ids=['empty', 'floats', 'objects', 'keys', 'nested', 'wide', 'endless'])
def test_lying_metadata_takes_little_memory(text: bytes) -> None:
    """Refusing metadata that would become fifty times as large takes at most 16 times its size and 10 MB."""
    data = forged(change=lambda whole: whole.replace(b'a":{}', b'a":{"a":' + text + b'}'))
    tracemalloc.start()
    with pytest.raises(FormatError, match='bad metadata'):
        npz.decode(MemorySource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(text) + 10_000_000


def test_metadata_is_parsed_last() -> None:
    """A file that lies elsewhere is refused before its metadata, right as it is, takes memory."""
    text = b'[' + b'{},' * 300_000 + b'1]'
    data = forged(change=lambda whole: whole.replace(b'a":{}', b'a":{"a":' + text + b'}'))
    assert len(npz.decode(MemorySource(data)).metadata['a']) == 300_001
    directory = data.index(b'PK\1\2')
    data = data[:directory] + data[directory:].replace(bytes(4), b'\0\0\0\1', 1)
    tracemalloc.start()
    with pytest.raises(FormatError, match='of the directory|the end records'):
        npz.decode(MemorySource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(data)


@pytest.mark.parametrize(
    'text',
    [
        b'["w","uint8",[1]],' * 100_000,
        b''.join(b'["%d","uint8",[]],' % index for index in range(300_000)),
        b'["w","uint8",[' + b'1,' * 1_000_000,
        b'[' * 1_000_000,
        b'["' + b'x' * 2_000_000,
    ],
    ids=['one name', 'many arrays', 'many axes', 'brackets', 'a name'],
)
def test_a_lying_manifest_takes_little_memory(text: bytes) -> None:
    """Refusing a large manifest takes at most 16 times its size and 10 MB."""
    data = forged(change=lambda whole: whole.replace(b's":[', b's":[' + text))
    tracemalloc.start()
    with pytest.raises(FormatError):
        npz.decode(MemorySource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(text) + 10_000_000


def test_lying_aliases_take_little_memory() -> None:
    """Refusing 100,000 aliases, of which the last is a lie, takes at most 16 times their size and 10 MB."""
    aliases = {f'{index}': 'a' for index in range(100_000)} | {'last': 'nothing'}
    data = forged([['a', 'uint8', [1]]], stored=ONE, aliases=aliases)
    tracemalloc.start()
    with pytest.raises(FormatError, match="'last' is another name of 'nothing'"):
        npz.decode(MemorySource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(data) + 10_000_000


def test_sizes_are_believed_only_where_the_file_is_as_large() -> None:
    """A small file that declares 10 GB, in the manifest or in the zip records, is refused without taking memory."""
    tracemalloc.start()
    with pytest.raises(FormatError, match='takes more bytes than the file has'):
        npz.decode(MemorySource(forged([['a', 'float32', [2_500_000_000]]])))
    for field in (12, 16):
        data = bytearray(save({'a': np.zeros(3)}))
        struct.pack_into('<L', data, len(data) - 22 + field, 4_000_000_000)
        with pytest.raises(FormatError):
            npz.decode(MemorySource(bytes(data)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def with_end(body: bytes, directory: bytes, count: int) -> bytes:
    """A file with whole end records, whatever stands before them."""
    return body + directory + end_records(count, len(directory), len(body))


def test_records_that_lie() -> None:
    """A gap before the directory, a wrong number of entries, or one entry too few is a FormatError."""
    data = save({'a': np.zeros(1, np.uint8), 'b': np.zeros(1, np.uint8)})
    start = data.index(b'PK\1\2')
    body, directory = data[:start], data[start:-22]
    assert with_end(body, directory, 3) == data
    second = directory.index(b'PK\1\2', 4)
    lies = {
        'its end at byte': with_end(body + bytes(64), directory, 3),
        'expected 3 entries in': with_end(body, directory[:second] + directory, 4),
        'one array more than the 1': with_end(body, directory[second:], 2),
        'of the directory': with_end(body, directory.replace(b'b.npy', b'c.npy'), 3),
    }
    for message, lie in lies.items():
        with pytest.raises(FormatError, match=message):
            npz.decode(MemorySource(lie))


def test_a_manifest_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest larger than the format allows is neither written nor read."""
    data = save({}, metadata={'a': 'x' * 1000})
    monkeypatch.setattr(npz_reader, 'LARGEST_MANIFEST', 1000)
    with pytest.raises(FormatError, match='at most 1000 bytes'):
        npz.decode(MemorySource(data))
    monkeypatch.setattr(npz_writer, 'LARGEST_MANIFEST', 1000)
    with pytest.raises(UnsaveableError, match=r'names and metadata take 10\d\d bytes, at most 1000 are possible'):
        save({}, metadata={'a': 'x' * 1000})

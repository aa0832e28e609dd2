"""Every changed bit, every cut and every lie in an objio-npz file is one FormatError."""

import io
import json
import random
import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
from support_formats import MemorySource, entry, forged, read_bytes, save, written

from objio.errors import FormatError
from objio.formats import ArraySpec, manifest, npz


def read_all(data: bytes) -> None:
    """Opens a file and reads every array, as `verify` does."""
    archive = npz.decode(MemorySource(data))
    for name in archive.specs:
        read_bytes(archive, name)


def is_refused(data: bytes) -> bool:
    """Whether reading is a FormatError; anything else it raises fails the test."""
    try:
        read_all(data)
    except FormatError as error:
        return 'net.npz' in str(error)
    return False


SMALL = save(
    {
        'é': np.arange(3, dtype=np.int16),
        'flag': np.array([True, False]),
        '50%': np.ones(2, ml_dtypes.bfloat16),
        'e': np.zeros((0, 2)),
    },
    aliases={'other': 'é'},
    metadata={'step': 3, 'note': 'x"y'},
)


def test_every_changed_bit_is_found() -> None:
    """Flipping any single bit of a file makes reading it a FormatError."""
    data = bytearray(SMALL)
    found_whole = []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        if not is_refused(bytes(data)):
            found_whole.append(bit)
        data[bit // 8] ^= 1 << bit % 8
    assert found_whole == []
    assert not is_refused(bytes(data))


def test_a_changed_bit_in_a_larger_file() -> None:
    """Each of 3,000 random bits in a file with larger arrays is found."""
    rng = random.Random(0)
    arrays = {f'w{index}': np.full(size, index, np.float32) for index, size in enumerate([5, 70_000, 3, 20_000])}
    data = bytearray(save(arrays))
    for _ in range(3000):
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        assert is_refused(bytes(data)), bit
        data[bit // 8] ^= 1 << bit % 8


def test_every_cut_is_found() -> None:
    """A file cut off anywhere is a FormatError when it is opened."""
    for size in range(len(SMALL)):
        with pytest.raises(FormatError):
            npz.decode(MemorySource(SMALL[:size]))


@pytest.mark.parametrize('junk', [b'\0', b'junk', bytes(1000), b'x' * 70_000, SMALL])
def test_bytes_before_and_behind_are_found(junk: bytes) -> None:
    """Nothing may stand before the first byte of a file or behind its last, not even another file."""
    for data in (junk + SMALL, SMALL + junk):
        if junk != SMALL:
            with pytest.raises(FormatError):
                npz.decode(MemorySource(data))
        else:
            assert is_refused(data)


def test_blocks_lost_swapped_or_zeroed_are_found() -> None:
    """Inserting, deleting, zeroing and swapping bytes anywhere is a FormatError."""
    rng = random.Random(1)
    for _ in range(3000):
        one, other = sorted(rng.sample(range(len(SMALL)), 2))
        size = rng.randrange(1, 65)
        changed = rng.choice(
            [
                SMALL[:one] + rng.randbytes(size) + SMALL[one:],
                SMALL[:one] + SMALL[one + size :],
                SMALL[:one] + bytes(len(SMALL[one : one + size])) + SMALL[one + size :],
                SMALL[:one] + SMALL[other : other + size] + SMALL[one + size :],
                SMALL[:one] + SMALL[other:] + SMALL[one:other],
            ]
        )
        assert changed == SMALL or is_refused(changed)


def test_damage_in_one_array_leaves_the_others_readable() -> None:
    """A file with one damaged array opens; only that array is refused, and the error names it."""
    data = bytearray(SMALL)
    data[data.index(np.ones(2, ml_dtypes.bfloat16).tobytes())] ^= 1
    archive = npz.decode(MemorySource(bytes(data)))
    assert read_bytes(archive, 'é') == np.arange(3, dtype='<i2').tobytes()
    with pytest.raises(FormatError, match=r"net\.npz: '50%': expected the checksum \w{8}, found \w{8}"):
        read_bytes(archive, '50%')


def test_headers_and_values_are_checked_without_verify() -> None:
    """Without checksums a damaged header, and bytes that are no value of the dtype, are found all the same."""
    data = bytearray(SMALL)
    flag = data.index(b'flag')
    data[flag + 5] ^= 1
    with pytest.raises(FormatError, match="'flag': byte 35 of its header"):
        read_bytes(npz.decode(MemorySource(bytes(data))), 'flag', verify=False)
    data = bytearray(SMALL)
    data[data.index(b'\n\1\0') + 1] = 2
    archive = npz.decode(MemorySource(bytes(data)))
    with pytest.raises(FormatError, match="'flag': bool is stored as 0 to 1, found 2"):
        read_bytes(archive, 'flag', verify=False)
    with pytest.raises(FormatError, match="'flag': bool is stored as 0 to 1, found 2"):
        archive.mapped('flag', verify=False)


ONE = (ArraySpec('a', 'uint8', (1,)),)
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
    'two arrays of one name': forged([['a', 'uint8', [0]]] * 2, content=bytes(1000)),
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
        ('an alias to nothing', "'b' is another name of 'c', but there is no such array"),
        ('an alias with NUL', 'a name cannot hold a NUL character'),
        ('an array left out', 'expected arrays up to byte 193, found arrays up to byte 0'),
        ('NaN', r"bad metadata: metadata\['a'\] is nan"),
        ('deep nesting', 'bad metadata: maximum recursion depth'),
        ('metadata of 150 levels', 'nested more than 100 levels deep'),
        ('something behind', 'bad metadata: Extra data'),
        ('metadata as a list', 'bad metadata: expected an object'),
        ('a key twice', 'bad metadata: it is not spelled as objio spells it'),
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
    assert not is_refused(data)
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
        data = bytearray(SMALL)
        struct.pack_into('<L', data, len(data) - 22 + field, 4_000_000_000)
        with pytest.raises(FormatError):
            npz.decode(MemorySource(bytes(data)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def repacked(data: bytes, method: int = zipfile.ZIP_STORED, last: str = 'objio.json') -> bytes:
    """The members of a file, as another program packs them."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, 'w', method) as new:
        for name in old.namelist():
            new.writestr('renamed.npy' if name == 'objio.json' != last else name, old.read(name))
    return result.getvalue()


def test_one_sign_without_the_other_is_damage() -> None:
    """A file that another program repacked, or whose manifest is gone, is damaged and no plain npz."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with pytest.raises(FormatError, match='damaged or was changed'):
            npz.decode(MemorySource(repacked(SMALL, method)))
    archive = io.BytesIO(SMALL)
    with zipfile.ZipFile(archive, 'a') as file:
        file.writestr('more.npy', b'')
    with pytest.raises(FormatError, match=r'expected objio\.json as its last entry'):
        npz.decode(MemorySource(archive.getvalue()))


def test_the_manifest_keeps_json_readers_spelling() -> None:
    """What `manifest.dump` writes is what `json.dumps` writes for the same content."""
    specs = [ArraySpec('a"\\\n\x1f\x7fé\u2028', 'float32', (2, 3)), ArraySpec('b', 'bool', ())]
    aliases, metadata = {'\t\b\f\r': 'b'}, {'a': [1, -0.0, 1e300, 'é\0', {}, None, True]}
    whole = {
        'format': 'objio-npz',
        'version': 1,
        'arrays': [[spec.name, spec.dtype, list(spec.shape)] for spec in specs],
        'aliases': aliases,
        'metadata': metadata,
    }
    expected = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode()
    assert manifest.dump(specs, aliases, metadata) == expected


def test_an_error_of_the_disk_is_no_damage() -> None:
    """An OSError of the source passes through as it is."""

    class Bad(MemorySource):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            raise OSError(5, 'Input/output error')

    with pytest.raises(OSError, match='Input/output error'):
        npz.decode(Bad(SMALL))


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', r'net\.npz: this is no npz file: it is empty \(0 bytes\)'),
        (b'x', 'no npz file: it starts with'),
        (bytes(500), 'starts with zeros'),
        (b'\x80\x04\x95' + b'a' * 100, 'looks like a pickle'),
        (b'\x89HDF\r\n\x1a\n' + bytes(100), 'looks like an HDF5 file'),
        (struct.pack('<Q', 20) + b'{"a":{"dtype":"F32"}}' + bytes(50), 'looks like a safetensors file'),
        (b'\x1f\x8b\x08' + bytes(100), 'looks like a gzip file'),
        (b'\x93NUMPY\1\0' + bytes(100), r'single array as np\.save writes it; load it with np\.load'),
        (SMALL[:-1], 'a zip file that was cut short'),
        (b'hello world, this is some text', "starts with b'hello wo'"),
    ],
)
def test_a_file_of_another_kind_says_what_it_looks_like(data: bytes, message: str) -> None:
    """A file that is no zip is named with its size and what its first bytes look like."""
    with pytest.raises(FormatError, match=message):
        npz.decode(MemorySource(data))


METADATA_LIES = [
    ({'a': float('nan')}, r"metadata\['a'\] is nan"),
    ({'a': [1, 2, float('inf')]}, r"metadata\['a'\]\[2\] is inf"),
    ({'a': (1, 2)}, r"metadata\['a'\] is of type builtins\.tuple"),
    ({'a': {1: 2}}, r"metadata\['a'\] has the key 1"),
    ({'a': {'b': {1, 2}}}, r"metadata\['a'\]\['b'\] is of type builtins\.set"),
    ({'a': np.float64(1)}, r"metadata\['a'\] is of type numpy\.float64"),
    ({'a': np.zeros(2)}, r"metadata\['a'\] is of type numpy\.ndarray"),
    ({'a': b'x'}, 'bytes'),
    ({'a': '\ud800'}, r"metadata\['a'\] has a lone surrogate"),
    ({'\ud800': 1}, 'a key of metadata has a lone surrogate'),
    ({'a': 10**5000}, 'an integer of more than 4,300 digits'),
    ({3: 1}, 'metadata has the key 3'),
]


@pytest.mark.parametrize(('metadata', 'message'), METADATA_LIES)
def test_metadata_that_json_would_change(metadata: dict, message: str) -> None:
    """Metadata that would not come back as it was is a TypeError that gives its path."""
    with pytest.raises(TypeError, match=message):
        written([entry('a', np.zeros(1))], metadata=metadata)


def test_metadata_nests_a_hundred_levels() -> None:
    """A hundred levels are kept, one more is refused, and a circle never ends in a crash."""

    def nested(levels: int) -> dict:
        value: dict = {}
        for _ in range(levels - 1):
            value = {'a': value}
        return value

    assert npz.decode(MemorySource(save({}, metadata=nested(101)))).metadata == nested(101)
    with pytest.raises(TypeError, match='nested more than 100 levels deep'):
        save({}, metadata=nested(102))
    circle: dict = {}
    circle['a'] = circle
    with pytest.raises(TypeError, match='nested more than'):
        save({}, metadata=circle)

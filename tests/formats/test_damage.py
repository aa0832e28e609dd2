"""Every changed bit, every cut and every lie in an objio-npz file is one FormatError."""

import io
import json
import random
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from support_formats import MemorySource, allocate, entry, read_bytes, save, written

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


@pytest.mark.parametrize('mmap', [False, True])
def test_every_changed_bit_is_found_where_neighbours_are_read_together(mmap: bool) -> None:
    """Reading many small arrays at once finds any single flipped bit, as reading one by one does."""
    data = bytearray(SMALL)
    names = list(npz.decode(MemorySource(SMALL)).specs)
    found_whole = []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        try:
            list(npz.decode(MemorySource(bytes(data))).read_small(names, allocate, mmap=mmap))
        except FormatError:
            pass
        else:
            found_whole.append(bit)
        data[bit // 8] ^= 1 << bit % 8
    assert found_whole == []


def test_damage_among_neighbours_is_named() -> None:
    """The error says which of the arrays that were read together is damaged, and whether it is its header."""
    data = save({f'w{index}': np.full(30, index, np.uint8) for index in range(50)})
    archive = npz.decode(MemorySource(data))
    for place, message in ((data.index(bytes([17] * 30)), 'expected the checksum'), (data.index(b'w17.npy'), 'header')):
        raw = bytearray(data)
        raw[place] ^= 1
        damaged = npz.decode(MemorySource(bytes(raw)))
        with pytest.raises(FormatError, match=rf"'w17': .*{message}"):
            list(damaged.read_small(list(archive.specs), allocate))
        assert len(list(damaged.read_small(['w3', 'w4', 'w18'], allocate))) == 3


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
    with pytest.raises(FormatError, match="'flag': bool is stored as 0 to 1, found 2"):
        list(archive.pieces('flag', memoryview(bytearray(1)), verify=False))
    for names in (['flag'], list(archive.specs)):
        with pytest.raises(FormatError, match="'flag': bool is stored as 0 to 1, found 2"):
            list(archive.read_small(names, allocate, verify=False))


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
    specs = {'a"\\\n\x1f\x7fé\u2028': ArraySpec('float32', (2, 3)), 'b': ArraySpec('bool', ())}
    aliases, metadata = {'\t\b\f\r': 'b'}, {'a': [1, -0.0, 1e300, 'é\0', {}, None, True]}
    whole = {
        'format': 'objio-npz',
        'version': 1,
        'arrays': [[name, spec.dtype, list(spec.shape)] for name, spec in specs.items()],
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
        (b'\x80', 'no npz file: it starts with'),
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

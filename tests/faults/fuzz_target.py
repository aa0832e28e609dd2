"""What atheris runs: bytes that it grows by the lines of objio's readers they reach; run as a program.

The first byte of an input says where the rest goes: it is a whole file, or a part of one whose lengths and checksums
are made right, so that the search need not guess them.
"""

import io
import json
import random
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=['objio.formats', 'objio.io.folders']):
    import objio
    import objio.formats.msgpack
    import objio.formats.npz
    import objio.formats.safetensors
    import objio.io.folders
    from objio.formats.json_text import check_spelling
    from objio.formats.manifest import check_metadata

from faults.bounded import status
from faults.files import foreign_files, objio_files, raw_files
from faults.fuzzing import Member, zip_file
from faults.raw_fuzzing import index_file, write_shards
from objio.errors import FormatError
from objio.formats.layout import manifest_alone
from objio.formats.zip_records import END, ENTRY, LOCAL, end_records

_SECONDS = 0.5
_GROWN = 190 << 20  # bytes


def whole(data: bytes) -> bytes:
    """The bytes are a file."""
    return data


def array(data: bytes) -> bytes:
    """The bytes are an array in a file as NumPy writes it."""
    return zip_file([Member(b'a.npy', data)])


def deflated(data: bytes) -> bytes:
    """The bytes are an array, deflated."""
    return zip_file([Member(b'a.npy', data, deflated=True, streamed=True)])


def stream(data: bytes) -> bytes:
    """The bytes are what an array was deflated to."""
    try:
        content = zlib.decompressobj(wbits=-15).decompress(data, 1000)
    except zlib.error:
        content = b''
    fields = (0, 8, 0, 33, zlib.crc32(content), len(data), len(content), 5, 0)
    entry = ENTRY.pack(b'PK\1\2', 20, 20, *fields, 0, 0, 0, 0, 0) + b'a.npy'
    body = LOCAL.pack(b'PK\3\4', 20, *fields) + b'a.npy' + data
    return body + entry + END.pack(b'PK\5\6', 0, 0, 1, 1, len(entry), len(body), 0)


def names(data: bytes) -> bytes:
    """The bytes are the names of an Objax file."""
    text = np.frombuffer(data[: len(data) // 8 * 8], '<U2')
    header = f"{{'descr': '<U2', 'fortran_order': False, 'shape': ({len(text)},), }}".encode()
    content = b'\x93NUMPY\1\0' + struct.pack('<H', len(header)) + header + text.tobytes()
    one = (
        b'\x93NUMPY\1\0'
        + struct.pack('<H', 58)
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), } \n"
        + b'\7'
    )
    members = [Member(b'%d.npy' % index, one) for index in range(min(len(text), 50))]
    return zip_file([Member(b'names.npy', content), *members])


def manifest(data: bytes) -> bytes:
    """The bytes are the manifest of a file by objio without arrays."""
    layout = manifest_alone(len(data), 0)
    crc = zlib.crc32(data)
    directory = layout.directory([crc])
    (header,) = layout.local_headers(0, 1, [crc])
    body = header + data
    return body + directory + end_records(1, len(directory), len(body))


def metadata(data: bytes) -> bytes:
    """The bytes are the metadata of such a file; whether they are right is known from parsing them, too."""
    try:
        value = json.loads(data)
        check_metadata(value)
        spelled = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode()
        right = type(value) is dict and spelled == data
    except (ValueError, TypeError, RecursionError):
        right = False
    try:
        check_spelling(data)
    except ValueError:
        assert not right, 'right metadata is refused'
    else:
        assert right, 'wrong metadata is accepted'
    return manifest(b'{"format":"objio-npz","version":1,"arrays":[],"aliases":{},"metadata":' + data + b'}')


def table(data: bytes) -> bytes:
    """The bytes are the table of contents of a safetensors file with 8 bytes of arrays."""
    return struct.pack('<Q', len(data)) + data + bytes(8)


def extension(data: bytes) -> bytes:
    """The bytes are what stands in the extension of an array of a msgpack file."""
    return b'\x81\xa1a\xc8' + struct.pack('>H', len(data)) + b'\1' + data


WAYS = [whole, array, deflated, stream, names, manifest, metadata]
RAW_WAYS = [('x.safetensors', whole), ('x.safetensors', table), ('x.msgpack', whole), ('x.msgpack', extension),
            ('x.safetensors.index.json', whole)]  # fmt: skip
FOLDER = tempfile.TemporaryDirectory(dir='/dev/shm' if Path('/dev/shm').is_dir() else None)


def corpus() -> list[bytes]:
    """What atheris starts from: a small whole input for each way."""
    files = [*objio_files().values(), *foreign_files().values()]
    npy = io.BytesIO()
    np.save(npy, np.ones((2, 3), '>i2'))
    text = b'{"format":"objio-npz","version":1,"arrays":[],"aliases":{},"metadata":{"a":[1,2.5,"x"]}}'
    parts = [npy.getvalue(), npy.getvalue(), zlib.compress(npy.getvalue(), wbits=-15), bytes(16), text,
             b'{"a":[1,-2.5e-07,null],"b":{"c":"\\n"}}']  # fmt: skip
    entry = b'{"a":{"dtype":"F4","shape":[4,4],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}'
    raw = [raw_files()['x.safetensors'], entry, raw_files()['x.msgpack'], b'\x93\x91\2\xa5int16\xc4\4abcd',
           index_file(random.Random(1))]  # fmt: skip
    return [b'\0' + data for data in files if len(data) < 2000] + [
        bytes([way, *part]) for way, part in enumerate([*parts, *raw], 1)
    ]


def test_one_input(data: bytes) -> None:
    """Reads the file that an input makes; anything but success and FormatError is a crash."""
    if not data:
        return
    way = data[0] % (len(WAYS) + len(RAW_WAYS))
    if way < len(WAYS):
        file: io.BytesIO | Path = io.BytesIO(WAYS[way](data[1:]))
    else:
        name, make = RAW_WAYS[way - len(WAYS)]
        file = Path(FOLDER.name, name)
        file.write_bytes(make(data[1:]))
    start = time.process_time()
    try:
        with objio.open(file) as saved:
            for name in saved:
                saved[name]
    except FormatError:
        pass
    if time.process_time() - start > _SECONDS:
        raise TimeoutError('it took more than 0.5 s')


if __name__ == '__main__':
    folder = Path(sys.argv[-1])
    write_shards(Path(FOLDER.name))
    resident = status('VmRSS') + _GROWN >> 20
    for index, data in enumerate(corpus()):
        (folder / str(index)).write_bytes(data)
        test_one_input(data)
    atheris.Setup([*sys.argv, f'-rss_limit_mb={resident}'], test_one_input)
    atheris.Fuzz()

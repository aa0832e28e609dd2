r"""The file format objio-npz, version 1: named arrays in one zip file that `np.load` opens.

This text is the specification. MUST and MAY are meant as in RFC 2119. Numbers are little-endian, sizes and offsets are
in bytes, `0x` marks hexadecimal numbers. What zip records and their fields mean stands in PKWARE's APPNOTE.TXT; what
is fixed here is which of its choices a file makes: **a file is a pure function of its names, dtypes, shapes, array
bytes, aliases and metadata**. Equal content gives equal files, and a reader can rebuild every byte outside the arrays.

## Overview

```
local header + NPY header + bytes of the first array
...
local header + NPY header + bytes of the last array
local header + manifest                                member `objio.json`
central directory: one entry for each member, in the same order
zip64 end record and locator                           only where the end record is too small
end record
```

The records follow each other without gaps; nothing stands before the first or behind the last. Every member is stored
(method 0), never compressed or encrypted. The arrays come in the order of the collection that was saved, the manifest
comes last. A file without arrays holds the manifest alone.

## Names

The name of an array is a non-empty Unicode string without U+0000 and without lone surrogates; no two arrays have the
same. The array called `name` is the member `encode(name) + '.npy'`, in UTF-8, of at most 4,095 bytes. `encode` takes
these steps in this order, each on what the one before gave; *segments* are what lies between `/`, and case means that
of ASCII letters:

1. `%`, `\`, U+0001 to U+001F and U+007F become `%XX`, their number in two upper-case hexadecimal digits;
2. a `/` at the start, at the end, or behind another `/` becomes `%2F`;
3. the dots of a segment that is `.` or `..` become `%2E`;
4. the last dot of a segment that ends in `.npy`, in any case, becomes `%2E`;
5. a `:` behind one ASCII letter at the start of the name becomes `%3A`;
6. the dot of a name that is `objio.json`, in any case, becomes `%2E`.

Percent-decoding, `urllib.parse.unquote`, undoes all of them. Ordinary names, `(Sequential)[0](Linear).w` and
`resnet/~/conv.w` among them, stand for themselves.

## Local headers

The NPY header and the bytes of an array together are the *content* of its member, `size` bytes with the CRC-32 `crc`;
the content of `objio.json` is the manifest. `wide` is true where `size >= 0xFFFFFFFF`.

| bytes | value |
| --- | --- |
| 4 | `50 4B 03 04` |
| 2 | version needed: 45 where `wide`, else 20 |
| 2 | flags: `0x0800` where the member name has a byte above 127, else 0 |
| 2 | method: 0 |
| 2, 2 | time 0, date 33 (1980-01-01) |
| 4 | `crc` |
| 4, 4 | compressed and uncompressed size: `0xFFFFFFFF` where `wide`, else `size` |
| 2 | length of the member name |
| 2 | length of the extra fields |
| | member name |
| 20 | only where `wide`: the zip64 field `<HHQQ>` 1, 16, `size`, `size` |
| 6 + p | the alignment field `<HHH>` 0xD935, 2 + p, 64, then p bytes of 0 |

p is the smallest number that puts the first byte of the content at a multiple of 64 in the file. Since the NPY header
takes a multiple of 64 bytes too, the first byte of every array stands at a multiple of 64, as does that of the
manifest.

## Arrays

An NPY header, version 1.0: `93 4E 55 4D 50 59 01 00`, the length of what follows in two bytes, and the text
`{'descr': D, 'fortran_order': False, 'shape': S, }`, filled up with spaces and one newline so that the whole header is
the smallest possible multiple of 64 bytes. D is the dtype's descr in single quotes (see below), S the stored shape as
Python writes a tuple: `()`, `(3,)`, `(2, 3)`. The bytes of the array follow in C order: the last axis varies fastest.

An array has at most 64 axes, and the product of its itemsize and of all axes that are not 0 is below 2^63.

| dtype in the manifest | D | an element is stored as |
| --- | --- | --- |
| `bool` | `'\|b1'` | 0 or 1 |
| `int8` `int16` `int32` `int64` | `'\|i1'` `'<i2'` `'<i4'` `'<i8'` | itself |
| `uint8` `uint16` `uint32` `uint64` | `'\|u1'` `'<u2'` `'<u4'` `'<u8'` | itself |
| `float16` `float32` `float64` | `'<f2'` `'<f4'` `'<f8'` | itself, IEEE 754 |
| `complex64` `complex128` | `'<c8'` `'<c16'` | itself: real part, imaginary part |
| `bfloat16` | `'<u2'` | its bits |
| `float8_e3m4` `float8_e4m3` `float8_e4m3b11fnuz` `float8_e4m3fn` `float8_e4m3fnuz` `float8_e5m2` `float8_e5m2fnuz` `float8_e8m0fnu` | `'\|u1'` | its bits |
| `float6_e2m3fn` `float6_e3m2fn` | `'\|u1'` | its bits, one element a byte, 0 to 63 |
| `float4_e2m1fn` | `'\|u1'` | its bits, one element a byte, 0 to 15 |
| `int1` `int2` `int4` | `'\|i1'` | its value, one element a byte: -1 to 0, -2 to 1, -8 to 7 |
| `uint1` `uint2` `uint4` | `'\|u1'` | its value, one element a byte: 0 to 1, 0 to 3, 0 to 15 |
| `key<IMPL>` | `'<u4'` | its words, as `jax.random.key_data` gives them |

The dtypes are those of NumPy and `ml_dtypes`. `key<IMPL>` is a typed PRNG key of JAX; its words are one more axis at
the end of the stored shape, of size 2 where IMPL is `threefry2x32`, 4 `threefry4x32`, 1 `philox2x32`, 2 `philox4x32`,
4 `rbg` and 4 `unsafe_rbg`. There are no other dtypes.

## The manifest

The member `objio.json` is the UTF-8 of
`json.dumps(m, ensure_ascii=False, allow_nan=False, separators=(',', ':'))`, at most 2^30 bytes, for

```
m = {
    "format": "objio-npz",
    "version": 1,
    "arrays": [[name, dtype, shape], ...],
    "aliases": {other name: name, ...},
    "metadata": {...}
}
```

with the keys in this order. `arrays` lists the arrays in member order, `shape` is the logical one: without the axis of
a key's words. `aliases` are further names of arrays: no alias is the name of an array, and each leads to an array; the
rules for names hold for them, too. An alias says that the values were one when the file was written.

`metadata` is an object of the caller's. It nests at most 100 levels deep, its integers have at most 4,300 digits, its
numbers are finite, its text has no lone surrogates, and no object has a key twice. Keys at its top that start with
`objio.` are reserved. `objio.metrics` is an object from names to numbers or to the strings `nan`, `inf` and `-inf`.
`objio.weak` is a list of the arrays, in member order, that were weakly typed in JAX; it is there only where there are any.

That spelling in other words: no space outside strings; in strings `"` and `\` are escaped with `\`, U+0008, U+0009,
U+000A, U+000C and U+000D as `\b`, `\t`, `\n`, `\f`, `\r`, other characters below U+0020 as `\u00` and two lower-case
hexadecimal digits, and nothing else is escaped; floats are the shortest decimal numbers that give them back, as
Python's `repr` writes them.

## Directory and end

Each entry of the central directory:

| bytes | value |
| --- | --- |
| 4 | `50 4B 01 02` |
| 2, 2 | version made by and version needed: 45 where the entry has a zip64 field, else 20; the former plus `0x0300`, Unix |
| 2, 2, 2, 2, 4 | flags, method, time, date, CRC-32 as in the local header |
| 4, 4 | compressed and uncompressed size, `0xFFFFFFFF` where that is too small |
| 2, 2, 2 | lengths of the member name, of the zip64 field (or 0), of the comment: 0 |
| 2, 2, 4 | disk 0, internal attributes 0, external attributes `0x01800000` (mode 0600) |
| 4 | offset of the local header, `0xFFFFFFFF` where that is too small |
| | member name |
| | only where a value did not fit: the zip64 field, `<HH>` 1 and its length, then 8 bytes for each value that was `>= 0xFFFFFFFF`, in the order uncompressed size, compressed size, offset |

The end record is `50 4B 05 06`, disks 0 and 0 in two bytes each, the number of entries twice in two bytes each, size
and offset of the directory in four bytes each, and a comment of length 0. Where the number of entries is `>= 0xFFFF`,
or size or offset `>= 0xFFFFFFFF`, the fields that are too small hold `0xFFFF` or `0xFFFFFFFF`, and before the end
record stand a zip64 end record (`50 4B 06 06`, length 44, made by `0x032D`, needed 45, disks 0 and 0, the number of
entries twice, size and offset of the directory, all of these as zip64 has them) and its locator (`50 4B 06 07`, disk
0, offset of the zip64 end record, 1 disk). zip64 stands nowhere else: some readers take it for an error.

## Reading

A file carries two signs: the last entry of its directory is `objio.json`, and its local headers have the alignment
field with the value 64. A file with one sign but not the other is damaged; it MUST NOT be read as a plain npz.

A reader MUST refuse a file whose manifest is not spelled as above, or in which anything outside the arrays differs
from what follows from the manifest, the CRC-32s alone excepted: of these the ones in a local header and in the
directory MUST be the same. It MUST find all that is outside the members when the file is opened, and the header of a
member at the latest when its array is read. It MUST compare the CRC-32 of a content unless its user asked it not to,
and MUST refuse elements that are no value of their dtype always. It MUST NOT trust a size before it was compared with
the size of the file. A reader that does so finds every changed bit of a file.

A manifest that starts with `{"format":"objio-npz","version":` and a number above 1 was written by a newer objio. A
reader compares its CRC-32 and refuses the file, saying so; everything else in it may differ from what stands here.

## Reading with NumPy alone

Names with unusual characters are percent-encoded, and dtypes that NumPy lacks are seen as integers:

    >>> import io, json, zipfile
    >>> from urllib.parse import unquote
    >>> import jax.numpy as jnp, ml_dtypes, numpy as np
    >>> import objio
    >>> file = io.BytesIO()
    >>> objio.save_var_collection(file, {'w': jnp.ones(2), '50%': jnp.arange(3, dtype='bfloat16')})
    >>> _ = file.seek(0)
    >>> arrays = np.load(file)
    >>> arrays['w']
    array([1., 1.], dtype=float32)
    >>> {unquote(name): arrays[name].shape for name in arrays.files if name != 'objio.json'}
    {'50%': (3,), 'w': (2,)}
    >>> manifest = json.loads(zipfile.ZipFile(file).read('objio.json'))
    >>> manifest['arrays']
    [['50%', 'bfloat16', [3]], ['w', 'float32', [2]]]
    >>> arrays['50%25'].view(ml_dtypes.bfloat16)
    array([0, 1, 2], dtype=bfloat16)

Small integers come back with `astype(ml_dtypes.int4)`, keys with `jax.random.wrap_key_data(words, impl=IMPL)`.

## Versions

Any change of order, padding, spelling or dtypes is a new version. A file of version 1 stays readable for ever.
"""

from collections.abc import Mapping
from typing import Any

from objio.formats import Archive, ArraySpec, Blocks, Encoded, Source
from objio.formats.foreign import ForeignArchive
from objio.formats.names import MANIFEST
from objio.formats.npz_reader import open_archive
from objio.formats.npz_writer import NpzFile
from objio.formats.reading import damaged
from objio.formats.zip_directory import first_is_aligned, last_entry, read_end


def encode(
    specs: Mapping[str, ArraySpec], blocks: Blocks, aliases: Mapping[str, str], metadata: Mapping[str, Any]
) -> Encoded:
    """Checks names, dtypes, shapes, aliases and metadata and lays the file out; nothing is written yet.

    Args:
        specs: the arrays, in the order in which they will stand in the file.
        blocks: gives the bytes of each.
        aliases: further names of arrays.
        metadata: what JSON gives back unchanged.

    Raises:
        UnsaveableError: a name, dtype or shape that the format cannot hold.
        TypeError: metadata that JSON does not give back unchanged; the message says where.
    """
    return NpzFile(specs, blocks, aliases, metadata)


def decode(source: Source, *, max_bytes: int | None = None) -> Archive:
    """Reads and checks the table of contents of an objio-npz file, or of one that NumPy or Objax wrote.

    Args:
        source: the file.
        max_bytes: how many bytes the compressed members of another writer may become in memory, all together; None:
            100 times their size in the file.

    Raises:
        FormatError: the file is damaged, cut short, or of another kind.
    """
    end = read_end(source)
    last = last_entry(source, end, MANIFEST.encode())
    if last is not None:
        return open_archive(source, end, last)
    if first_is_aligned(source):
        raise damaged(source, 'the directory', f'{MANIFEST} as its last entry, since objio wrote the file', 'another')
    return ForeignArchive(source, end, max_bytes)

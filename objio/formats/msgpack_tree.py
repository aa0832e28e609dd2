"""Finds the arrays in a msgpack file of Flax without reading their bytes; every size is held against the file first."""

from collections.abc import Container, Iterator
from functools import lru_cache
from struct import Struct, pack
from typing import Any

from objio.errors import FormatError
from objio.formats import ArraySpec, Source, npy
from objio.formats.dtypes import stored
from objio.formats.raw_archive import Places, Stretch
from objio.formats.reading import damaged, looks_like

CHUNKED = '__msgpack_chunked_array__'
NDARRAY, COMPLEX, SCALAR = 1, 2, 3  # the extensions of Flax

_DEEPEST = 100  # levels
_MOST_OTHERS = 20_000  # numbers and texts beside arrays: each takes far more memory than the bytes it has in the file
_LETTERS = 16  # letters of all names for each byte of the file: the start of a name stands there once, and counts often
_FEW_LETTERS = 1 << 20
_WINDOW = 1 << 12, 1 << 18  # bytes that are read at a time: at first, and where arrays are small

_MARK = b'\xb9' + CHUNKED.encode()
_PARTS = Struct('>HdBd')  # of a complex number: a list of two doubles
_SIZES = [Struct('>B'), Struct('>H'), Struct('>I')]
_NUMBERS = {
    0xCA: ('float', Struct('>f')),
    0xCB: ('float', Struct('>d')),
    **{0xCC + index: ('int', Struct(f'>{code}')) for index, code in enumerate('BHIQbhiq')},
}
_SIZED = {
    **{0xC4 + index: ('bin', size) for index, size in enumerate(_SIZES)},
    **{0xC7 + index: ('ext', size) for index, size in enumerate(_SIZES)},
    **{0xD9 + index: ('str', size) for index, size in enumerate(_SIZES)},
    **{0xDC + index: ('list', size) for index, size in enumerate(_SIZES[1:])},
    **{0xDE + index: ('dict', size) for index, size in enumerate(_SIZES[1:])},
}


class _Open:
    """A dict or a list of the file that is being read."""

    def __init__(self, prefix: str, left: int, *, is_list: bool) -> None:
        self.prefix, self.left, self.is_list = prefix, left, is_list
        self.count = left

    def __iter__(self) -> Iterator[int]:
        while self.left:
            self.left -= 1
            yield self.count - self.left - 1


class TreeReader:
    """One pass over a file.

    Args:
        source: the file.
        dtypes: the labels that arrays may have.
        turned: those whose bytes are not the stored bytes.

    Attributes:
        specs: name -> what the file says of an array.
        places: where the bytes are.
        metadata: text and None by name.
    """

    def __init__(self, source: Source, dtypes: Container[str], turned: Container[str]) -> None:
        self._source, self._dtypes, self._turned = source, dtypes, turned
        self.specs: dict[str, ArraySpec] = {}
        self.places = Places({}, {}, {})
        self.metadata: dict[str, Any] = {}
        self._at = 0
        self._window, self._begun, self._most = b'', 0, _WINDOW[0]
        self._others = 0
        self._letters = max(_LETTERS * source.size, _FEW_LETTERS)
        # What stood before the bytes of the last arrays, the head of the extension too: neighbours are often of one form.
        self._heads: list[tuple[bytes, ArraySpec, int]] = []

    def read(self) -> None:
        """Reads the whole file.

        Raises:
            FormatError: it is damaged, or not what Flax writes of a tree.
        """
        kind, value = self._token('the file') if self._source.size else ('nothing', 0)
        if kind not in ('dict', 'list'):
            raise FormatError(
                f'{self._source.name}: expected a dict of arrays as Flax writes it, found {kind}: '
                f'{looks_like(self._source)}'
            )
        stack = [_Open('', value, is_list=kind == 'list')]
        if kind == 'dict' and self._skips_mark('the file', value):
            raise FormatError(f'{self._source.name}: holds one array without a name; read it with flax.serialization')
        while stack:
            index = next(iter(stack[-1]), None)
            if index is None:
                stack.pop()
                continue
            prefix = stack[-1].prefix
            if self._heads and not stack[-1].is_list and self._usual(prefix):
                continue
            name = prefix + (str(index) if stack[-1].is_list else self._key(prefix))
            self._letters -= len(name)
            if self._letters < 0:
                raise self._wrong(name[:100], 'names that take no more memory than the file', 'longer ones')
            start = self._at
            kind, value = self._token(name)
            if kind == 'dict' and self._skips_mark(name, value):
                self._chunked(name, value)
            elif kind in ('dict', 'list'):
                if len(stack) == _DEEPEST:
                    raise self._wrong(name, f'at most {_DEEPEST} levels', 'more')
                stack.append(_Open(f'{name}.', value, is_list=kind == 'list'))
            elif kind == 'ext':
                self._extension(name, value, start)
            else:
                self._other(name, kind, value)
        if self._at != self._source.size:
            raise self._wrong('the end', f'it after {self._at} bytes', self._source.size)

    def _usual(self, prefix: str) -> bool:
        """Passes a short key and an array whose head is equal to one of the last; False where something else comes."""
        window, at = self._window, self._at - self._begun
        if not at < len(window) or not 0xA0 <= window[at] < 0xC0:
            return False
        end = at + window[at] - 0x9F
        for head, spec, nbytes in self._heads:
            if window.startswith(head, end):
                start = self._begun + end + len(head)
                try:
                    name = prefix + window[at + 1 : end].decode()
                except UnicodeDecodeError:
                    return False
                if len(name) > self._letters or start + nbytes > self._source.size or CHUNKED in name:
                    return False
                if name in self.specs or name in self.metadata:
                    return False
                self._letters -= len(name)
                self.specs[name] = spec
                self._place(name, ((start, nbytes),))
                self._skip_to(start + nbytes)
                return True
        return False

    def _key(self, prefix: str) -> str:
        kind, value = self._token(f'a key of {prefix!r}')
        if value == CHUNKED:
            raise self._wrong(f'a key of {prefix!r}', f'{CHUNKED!r} in its first place', 'it in a later one')
        if kind in ('str', 'int'):
            return str(value)
        raise self._wrong(f'a key of {prefix!r}', 'text', kind)

    def _other(self, name: str, kind: str, value: Any) -> None:
        """A leaf that is no array: a number becomes one without axes."""
        self._others += 1
        if self._others > _MOST_OTHERS:
            raise self._wrong(name, f'at most {_MOST_OTHERS} numbers and texts beside arrays', 'more')
        if kind == 'int':
            spec, raw = (ArraySpec('int64', ()), '<q') if value < 2**63 else (ArraySpec('uint64', ()), '<Q')
            self._add(name, spec)
            self.places.values[name] = pack(raw, value)
        elif kind in ('float', 'bool'):
            self._add(name, ArraySpec('float64' if kind == 'float' else 'bool', ()))
            self.places.values[name] = pack('<d' if kind == 'float' else '<?', value)
        elif name in self.specs or name in self.metadata:
            raise self._twice(name)
        else:
            self.metadata[name] = value

    def _extension(self, name: str, size: int, start: int) -> None:
        (code,) = self._take(name, 1)
        end = self._at + size
        if code == NDARRAY:
            spec = self._head(name, end)
            self._add(name, spec)
            self._place(name, ((self._at, end - self._at),))
            if start >= self._begun:  # else it was read in two windows
                head = self._window[start - self._begun : self._at - self._begun]
                self._heads = [(head, spec, end - self._at), *self._heads[:3]]
        elif code == SCALAR:
            spec = self._head(name, end)
            if spec.shape:
                raise self._wrong(name, 'a NumPy scalar without axes', spec.shape)
            self._add(name, spec)
            self._place(name, ((self._at, end - self._at),))
        elif code == COMPLEX:
            raw = self._take(name, min(size, _PARTS.size + 1))
            if len(raw) != _PARTS.size or _PARTS.unpack(raw)[::2] != (0x92CB, 0xCB):
                raise self._wrong(name, 'the two parts of a complex number', raw)
            self._add(name, ArraySpec('complex128', ()))
            self.places.values[name] = pack('<dd', *_PARTS.unpack(raw)[1::2])
        else:
            raise self._wrong(name, 'an extension of Flax, 1 to 3', code)
        self._skip_to(end)

    def _place(self, name: str, stretches: tuple[Stretch, ...]) -> None:
        if len(stretches) == 1 and self.specs[name].dtype not in self._turned:
            self.places.starts[name] = stretches[0][0]
        else:
            self.places.others[name] = stretches

    def _chunked(self, name: str, count: int) -> None:
        """An array in pieces, whose mark was passed."""
        expected = [('bool', True), ('str', 'shape')]
        found = [self._token(name), self._token(name)]
        shape = self._numbered(name)
        if count != 3 or found != expected:
            raise self._wrong(name, 'the mark, the shape and the pieces of a large array', found)
        axes = []
        for _ in shape:
            kind, size = self._token(name)
            if kind != 'int' or size < 0:
                raise self._wrong(name, 'a size of an axis', size)
            axes.append(size)
        if self._token(name) != ('str', 'chunks'):
            raise self._wrong(name, 'the pieces of a large array', 'something else')
        dtypes: set[str] = set()
        stretches: list[Stretch] = []
        for _ in self._numbered(name):
            kind, size = self._token(name)
            if kind != 'ext' or self._take(name, 1)[0] != NDARRAY:
                raise self._wrong(name, 'a piece of a large array', kind)
            end = self._at + size
            piece = self._head(name, end)
            if len(piece.shape) != 1:
                raise self._wrong(name, 'a flat piece', piece.shape)
            dtypes.add(piece.dtype)
            stretches.append((self._at, end - self._at))
            self._skip_to(end)
        if len(dtypes) != 1:
            raise self._wrong(name, 'pieces of one dtype', sorted(dtypes))
        spec = self._checked(name, dtypes.pop(), tuple(axes), sum(nbytes for _, nbytes in stretches))
        self._add(name, spec)
        self._place(name, tuple(stretches))

    def _numbered(self, name: str) -> Iterator[int]:
        """Goes over a dict with the keys '0', '1', …; its values are read by the caller."""
        kind, count = self._token(name)
        if kind != 'dict':
            raise self._wrong(name, 'a dict', kind)

        def items() -> Iterator[int]:
            for index in range(count):
                if self._token(name) != ('str', str(index)):
                    raise self._wrong(name, f'the key {index}', 'another')
                yield index

        return items()

    def _head(self, name: str, end: int) -> ArraySpec:
        """Reads what stands before the bytes of an array, which must end where its extension does."""
        if end > self._source.size:
            raise self._wrong(name, f'an array up to byte {end}', f'a file of {self._source.size} bytes')
        kinds = [self._token(name), self._token(name)]
        if kinds[0] != ('list', 3) or kinds[1][0] != 'list' or kinds[1][1] > 64:
            raise self._wrong(name, 'shape, dtype and bytes of an array', kinds)
        axes = [self._token(name) for _ in range(kinds[1][1])]
        text, data = self._token(name), self._token(name, passing=True)
        if (
            any(kind != 'int' or size < 0 for kind, size in axes)
            or text[0] != 'str'
            or data[0] != 'bin'
            or data[1] != end - self._at
        ):
            raise self._wrong(name, f'shape, dtype and {end - self._at} bytes of an array', [*axes, text, data])
        if text[1] not in self._dtypes:
            raise self._wrong(name, 'a dtype of NumPy or ml_dtypes', repr(text[1]))
        return self._checked(name, text[1], tuple(size for _, size in axes), data[1])

    def _checked(self, name: str, dtype: str, shape: tuple[int, ...], nbytes: int) -> ArraySpec:
        try:
            spec, expected = _form(dtype, shape)
        except ValueError as error:
            raise FormatError(f'{self._source.name}: {name!r}: {error}') from error
        if expected != nbytes:
            raise self._wrong(name, f'{expected} bytes for {dtype} of shape {shape}', nbytes)
        return spec

    def _add(self, name: str, spec: ArraySpec) -> None:
        if name in self.specs or name in self.metadata:
            raise self._twice(name)
        self.specs[name] = spec

    def _skips_mark(self, name: str, count: int) -> bool:
        """Whether a dict is an array in pieces; then its mark is passed."""
        if not count or self._at + len(_MARK) > self._source.size:
            return False
        at = self._at - self._begun
        if at + len(_MARK) > len(self._window):
            self._peek(name, len(_MARK))
            at = 0
        if not self._window.startswith(_MARK, at):
            return False
        self._at += len(_MARK)
        return True

    def _token(self, name: str, *, passing: bool = False) -> tuple[str, Any]:
        """The next token: its kind and its value, or its size where others follow.

        Args:
            name: where it stands, for errors.
            passing: give the size of bytes too, and leave the bytes.
        """
        at = self._at - self._begun
        byte = self._window[at] if at < len(self._window) else self._peek(name, 1)[0]
        self._at += 1
        if byte < 0x80:
            return 'int', byte
        if byte >= 0xE0:
            return 'int', byte - 0x100
        if byte < 0x90:
            return 'dict', byte - 0x80
        if byte < 0xA0:
            return 'list', byte - 0x90
        if byte < 0xC0:
            return 'str', self._text(name, byte - 0xA0)
        if byte in (0xC0, 0xC2, 0xC3):
            return ('none', None) if byte == 0xC0 else ('bool', byte == 0xC3)
        if 0xD4 <= byte <= 0xD8:
            return 'ext', 1 << byte - 0xD4
        if byte in _NUMBERS:
            kind, form = _NUMBERS[byte]
            return kind, form.unpack(self._take(name, form.size))[0]
        if byte not in _SIZED:
            raise self._wrong(name, 'msgpack', f'the byte {byte:#04x}')
        kind, form = _SIZED[byte]
        (size,) = form.unpack(self._take(name, form.size))
        if kind == 'str':
            return kind, self._text(name, size)
        return kind, self._take(name, size) if kind == 'bin' and not passing else size

    def _text(self, name: str, size: int) -> str:
        raw = self._take(name, size)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self._wrong(name, 'text', raw[:40]) from error

    def _take(self, name: str, size: int) -> bytes:
        raw = self._peek(name, size)
        self._at += size
        return raw

    def _peek(self, name: str, size: int) -> bytes:
        """The next bytes of the file."""
        start = self._at - self._begun
        if start + size > len(self._window):
            if self._at + size > self._source.size:
                raise self._wrong(name, f'{size} bytes from byte {self._at}', f'a file of {self._source.size} bytes')
            buffer = bytearray(min(max(size, self._most), self._source.size - self._at))
            if buffer:
                self._source.read_into(self._at, memoryview(buffer))
            self._window, self._begun, start = bytes(buffer), self._at, 0
            self._most = min(2 * self._most, _WINDOW[1])
        return self._window[start : start + size]

    def _skip_to(self, end: int) -> None:
        if end > self._begun + len(self._window) + self._most:
            self._most = _WINDOW[0]  # the arrays are large: no more than their heads is read
        self._at = end

    def _twice(self, name: str) -> FormatError:
        return self._wrong(name, 'each name once', 'two leaves whose paths, joined with dots, are this one')

    def _wrong(self, name: str, expected: object, found: object) -> FormatError:
        return damaged(self._source, f'{name!r} at byte {self._at}', expected, str(found)[:200])


@lru_cache(maxsize=4096)
def _form(dtype: str, shape: tuple[int, ...]) -> tuple[ArraySpec, int]:
    """What is said of arrays, one object for many, and the bytes of each.

    Raises:
        ValueError: there is no such array.
    """
    form = stored(dtype)
    npy.check_shape(shape, form.itemsize)
    return ArraySpec(dtype, shape), form.nbytes(shape)

"""What the golden file of objio-npz 1 holds, as stored bytes, so that no library can change it."""

from collections.abc import Mapping
from typing import Any

from support_formats import Entry

from objio.formats import ArraySpec

# label, itemsize, words of a key, smallest and largest stored byte where not all are values
DTYPES = [
    ('bool', 1, 1, (0, 1)),
    *[(f'{sign}int{size * 8}', size, 1, None) for sign in ('', 'u') for size in (1, 2, 4, 8)],
    *[(f'float{size * 8}', size, 1, None) for size in (2, 4, 8)],
    *[(f'complex{size * 8}', size, 1, None) for size in (8, 16)],
    ('bfloat16', 2, 1, None),
    *[
        (f'float8_{kind}', 1, 1, None)
        for kind in ('e3m4', 'e4m3', 'e4m3b11fnuz', 'e4m3fn', 'e4m3fnuz', 'e5m2', 'e5m2fnuz', 'e8m0fnu')
    ],
    ('float6_e2m3fn', 1, 1, (0, 63)),
    ('float6_e3m2fn', 1, 1, (0, 63)),
    ('float4_e2m1fn', 1, 1, (0, 15)),
    ('int1', 1, 1, (-1, 0)),
    ('int2', 1, 1, (-2, 1)),
    ('int4', 1, 1, (-8, 7)),
    ('uint1', 1, 1, (0, 1)),
    ('uint2', 1, 1, (0, 3)),
    ('uint4', 1, 1, (0, 15)),
    *[
        (f'key<{impl}>', 4, words, None)
        for impl, words in [
            ('threefry2x32', 2), ('threefry4x32', 4), ('philox2x32', 1), ('philox4x32', 2), ('rbg', 4), ('unsafe_rbg', 4)
        ]
    ],
]  # fmt: skip
NAMES = ['(Sequential)[0](Linear).w', 'resnet/~/conv.w', 'é', '\U0001f600', '50%', '../up', '/a//b/', 'C:\\x', 'x.npy',
         'objio.json', 'line\nbreak\x7f', '"quoted"']  # fmt: skip
ALIASES = {'(Sequential)[1](Linear).w': '(Sequential)[0](Linear).w', '\t"': '50%'}
METADATA: dict[str, Any] = {
    'step': 12345678901234567890,
    'loss': [0.1, -0.0, 1e300, 5e-324, 1.0],
    'deep': {'a': [{'b': [None, True, False, '']}], '\x1f\x7f\u2028é\U0001f600': {}},
    'objio.metrics': {'accuracy': 0.97, 'loss': 'nan'},
}


def _stored(size: int, limits: tuple[int, int] | None, seed: int) -> bytes:
    low, high = limits or (0, 255)
    return bytes((low + (index * 37 + seed) % (high - low + 1)) % 256 for index in range(size))


def arrays() -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Maps each name to its dtype, shape and stored bytes: every dtype, strange names, 0-d and empty arrays."""
    result = {}
    for seed, (label, itemsize, words, limits) in enumerate(DTYPES):
        for shape, count in (((2, 3), 6), ((), 1), ((0, 2), 0)):
            result[f'{label}/{len(shape)}/{count}'] = (label, shape, _stored(count * words * itemsize, limits, seed))
    for seed, name in enumerate(NAMES):
        result[name] = ('float32', (seed,), _stored(seed * 4, None, seed))
    return result


def content() -> tuple[list[Entry], Mapping[str, str], Mapping[str, Any]]:
    """The golden file as a format takes it."""
    entries = [
        Entry(name, ArraySpec(label, shape), lambda data=data: [memoryview(data)] if data else [])
        for name, (label, shape, data) in arrays().items()
    ]
    return entries, ALIASES, METADATA

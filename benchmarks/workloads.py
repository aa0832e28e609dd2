"""What is measured: a tree of arrays, what is done with it, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from benchmarks import trees
from benchmarks.trees import Tree

MIB = 1 << 20

OPERATIONS = {
    'save': 'Save',
    'load': 'Load',
    'resume': 'Resume into existing arrays',
    'pick': 'Partial load',
    'open': 'Open, one array of 1 MiB, close',
    'mean': 'Mean of the saves',
    'background': 'Blocking part of a background save',
    'held': 'A training step that donates its state, while',
    'import': 'Import',
}


@dataclass(frozen=True)
class Workload:
    """One set of arrays and the operations that are timed on it.

    Attributes:
        name: what `--only` calls it.
        title: the heading of its tables.
        tree: the arrays.
        operations: keys of `OPERATIONS`.
        rounds: how often each way is timed.
        fewer: library or title of a row -> rounds, for those that take long and are far from the others.
        names: the arrays of the operations `pick` and `open`.
        copies: number of files, each with other values.
        libraries: which libraries take part; None: all.
        without: titles of the rows that are left out.
        limits: operation -> title of the limit that its ways are held against, where it is not the usual one.
        group: the plot of growth that it is a point of.
    """

    name: str
    title: str
    tree: Tree
    operations: tuple[str, ...]
    rounds: int = 5
    fewer: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    names: tuple[str, ...] = ()
    copies: int = 1
    libraries: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    group: str = ''


_PLACING = {'load': 'place one by one'}  # what many small arrays cost even where the file costs nothing
_PICKED = ('h.5.attn.c_proj.weight', 'h.6.attn.c_proj.weight')  # 4.5 of 474.7 MiB
_GROWING = ('objio', 'safetensors.flax', 'raw')

# Rows that a workload can do without, by what they tell.
_UNCHECKED = 'objio, mmap=True, verify=False'
_READ = 'read, huge pages, 2 threads'
_BARE = ('write', 'write, fsync', 'memcpy')  # limits that nobody is held against
_UNSYNCED = ('objio, durable=False', 'preallocate, write')  # of gigabytes the kernel makes every writer wait
_ORBAX = ('Orbax, async', 'Orbax, sync')

# Seconds go where something is to be seen: these are slow, or do what another one does (Objax: np.savez).
_FEWER = {'Objax': 3, 'flax msgpack': 1, 'Orbax, async': 3, 'Orbax, sync': 3, 'memcpy': 3, 'place one by one': 3}
_FEWER_LARGE = {'np.savez': 2, 'safetensors.flax': 2} | dict.fromkeys(
    ('safetensors.numpy', 'flax msgpack', 'equinox', 'pickle 5', 'Orbax, async'), 1
)


def formats() -> tuple[Workload, ...]:
    """The formats of others, as objio and as their own libraries write and read them."""
    whose = ('objio .safetensors', 'safetensors.flax', 'safetensors.numpy', 'objio .msgpack', 'flax msgpack', 'raw')
    common = {'operations': ('save', 'load'), 'fewer': {'flax msgpack': 3}, 'libraries': whose}
    without = _BARE
    many = trees.equal(5_000, 1024)
    return (
        Workload(
            'formats',
            'GPT-2 124M, float32, as safetensors and msgpack',
            trees.gpt2('float32'),
            **common,
            without=(*without, 'place one by one'),
        ),
        Workload(
            'formats-1k',
            '5,000 arrays of 1 KiB, as safetensors and msgpack',
            many,
            **common,
            without=(*without, _READ),
            limits=_PLACING,
        ),
    )


def growth() -> tuple[Workload, ...]:
    """The points of the two plots of growth."""
    sizes = [
        Workload(
            f'growth-{number}{unit.lower()}',
            f'{number} {unit} in 16 arrays',
            trees.equal(16, number * (MIB if unit == 'MiB' else 1 << 30) // 16),
            ('save', 'load'),
            rounds=2,
            # Others hold the arrays twice or more, which not every machine can at that size.
            libraries=('objio',) if (number, unit) == (8, 'GiB') else _GROWING,
            without=(_UNCHECKED, *_UNSYNCED, *_BARE, 'place one by one'),
            group='bytes',
        )
        for number, unit in [(1, 'MiB'), (16, 'MiB'), (256, 'MiB'), (2, 'GiB'), (8, 'GiB')]
    ]
    counts = [
        Workload(
            f'growth-{count}x256b',
            f'{count:,} arrays of 256 B',
            trees.equal(count, 256),
            ('save', 'load'),
            rounds=2,
            libraries=_GROWING,
            without=(_UNCHECKED, *_BARE, _READ),
            limits=_PLACING,
            group='count',
        )
        for count in (10, 100, 1_000, 10_000, 100_000)
    ]
    return (*sizes, *counts)


WORKLOADS = (
    Workload('gpt2-f32', 'GPT-2 124M, float32', trees.gpt2('float32'), ('save', 'load'), rounds=7, fewer=_FEWER),
    Workload(
        'gpt2-bf16',
        'GPT-2 124M, bfloat16',
        trees.gpt2('bfloat16'),
        ('save', 'load'),
        fewer=_FEWER,
        without=(_UNCHECKED, *_BARE, 'place one by one'),
    ),
    Workload(
        'collection-4g',
        '4 GiB in 271 arrays',
        trees.collection(),
        ('save', 'load', 'open'),
        rounds=3,
        fewer=_FEWER_LARGE,
        names=('layer.128.scale',),
        without=(_UNCHECKED, *_UNSYNCED, *_BARE, 'Objax', 'flax msgpack', 'pickle 5', 'Orbax, sync'),
    ),
    Workload(
        'many-1k',
        '5,000 arrays of 1 KiB',
        trees.equal(5_000, 1024),
        ('save', 'load'),
        fewer=dict.fromkeys(_ORBAX, 1),
        without=(_UNCHECKED, *_BARE, _READ),
        limits=_PLACING,
    ),
    Workload(
        'many-256',
        '20,000 arrays of 256 B',
        trees.equal(20_000, 256),
        ('save', 'load'),
        without=(_UNCHECKED, *_BARE, _READ, *_ORBAX),
        limits=_PLACING,
    ),
    Workload(
        'one-2g',
        'One array of 2 GiB',
        Tree({'embedding': (32768, 16384)}),
        ('save', 'load'),
        rounds=3,
        fewer=_FEWER_LARGE,
        without=(_UNCHECKED, *_UNSYNCED, *_BARE, 'Objax', 'Orbax, sync'),
    ),
    Workload(
        'resume',
        'GPT-2 124M, float32, into a model that has its arrays',
        trees.gpt2('float32'),
        ('resume',),
        fewer=_FEWER,
    ),
    Workload(
        'partial',
        '1 % of GPT-2 124M, float32',
        trees.gpt2('float32'),
        ('pick',),
        rounds=3,
        fewer=_FEWER,
        names=_PICKED,
    ),
    Workload(
        'mean',
        'Five saves of 256 MiB',
        trees.matrices(16, 2048),
        ('mean',),
        fewer={'np.savez, jnp.stack and mean': 2},
        copies=5,
    ),
    Workload('background', 'GPT-2 124M, float32, in the background', trees.gpt2('float32'), ('background', 'held')),
    *formats(),
    Workload('import', 'Imports', trees.equal(1, 4), ('import',)),
    *growth(),
)

_FEW = ('objio', 'np.savez', 'safetensors.flax', 'equinox', 'raw')
_QUICK = (_UNCHECKED, 'write', 'memcpy')
QUICK = (
    Workload(
        'gpt2-f32',
        'GPT-2 124M, float32',
        trees.gpt2('float32'),
        ('save', 'load'),
        rounds=3,
        libraries=_FEW,
        without=(*_QUICK, 'place one by one'),
    ),
    Workload(
        'many-1k',
        '5,000 arrays of 1 KiB',
        trees.equal(5_000, 1024),
        ('save', 'load'),
        rounds=3,
        libraries=_FEW,
        without=(*_QUICK, _READ),
        limits=_PLACING,
    ),
)

_TORCH = ('objio', 'torch', 'safetensors.flax', 'raw')
TORCH = (
    Workload('gpt2-f32', 'GPT-2 124M, float32', trees.gpt2('float32'), ('save', 'load'), libraries=_TORCH),
    Workload(
        'many-1k',
        '5,000 arrays of 1 KiB',
        trees.equal(5_000, 1024),
        ('save', 'load'),
        libraries=_TORCH,
        limits=_PLACING,
    ),
)

# A moment each, so that a test can run every operation: nothing they say about speed means anything.
_OURS = ('objio', 'objio .safetensors', 'objio .msgpack', 'np.savez', 'raw')
_SMALL = trees.matrices(3, 64)
TINY = (
    Workload(
        'tiny',
        'Three small arrays',
        _SMALL,
        ('save', 'load', 'resume', 'pick', 'open', 'background', 'held'),
        rounds=2,
        names=('layer.1.weight',),
        libraries=_OURS,
    ),
    Workload('tiny-mean', 'Two tiny saves', _SMALL, ('mean',), rounds=1, copies=2, libraries=('objio', 'raw')),
)

SETS = {'full': WORKLOADS, 'quick': QUICK, 'torch': TORCH, 'tiny': TINY}

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
        names: the arrays of the operations `pick` and `open`.
        copies: number of files, each with other values.
        libraries: which libraries take part; None: all.
        limits: operation -> title of the limit that its ways are held against, where it is not the usual one.
        group: the plot of growth that it is a point of.
        brief: without the rows that are extra.
    """

    name: str
    title: str
    tree: Tree
    operations: tuple[str, ...]
    rounds: int = 5
    names: tuple[str, ...] = ()
    copies: int = 1
    libraries: tuple[str, ...] | None = None
    limits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    group: str = ''
    brief: bool = False


_PLACING = {'load': 'place one by one'}  # what many small arrays cost even where the file costs nothing
_PICKED = ('h.5.attn.c_proj.weight', 'h.6.attn.c_proj.weight')  # 4.5 of 474.7 MiB
_GROWING = ('objio', 'safetensors.flax', 'raw')


def growth() -> tuple[Workload, ...]:
    """The points of the two plots of growth."""
    by_size = [(1, 'MiB'), (4, 'MiB'), (16, 'MiB'), (64, 'MiB'), (256, 'MiB'), (1, 'GiB'), (2, 'GiB'), (8, 'GiB')]
    sizes = [
        Workload(
            f'growth-{number}{unit.lower()}',
            f'{number} {unit} in 16 arrays',
            trees.equal(16, number * (MIB if unit == 'MiB' else 1 << 30) // 16),
            ('save', 'load'),
            rounds=3,
            # Others hold the arrays twice or more, which not every machine can at that size.
            libraries=('objio', 'raw') if (number, unit) == (8, 'GiB') else _GROWING,
            group='bytes',
            brief=True,
        )
        for number, unit in by_size
    ]
    counts = [
        Workload(
            f'growth-{count}x256b',
            f'{count:,} arrays of 256 B',
            trees.equal(count, 256),
            ('save', 'load'),
            rounds=3,
            libraries=_GROWING,
            limits=_PLACING,
            group='count',
            brief=True,
        )
        for count in (10, 100, 1_000, 10_000, 100_000)
    ]
    return (*sizes, *counts)


WORKLOADS = (
    Workload('gpt2-f32', 'GPT-2 124M, float32', trees.gpt2('float32'), ('save', 'load'), rounds=7),
    Workload('gpt2-bf16', 'GPT-2 124M, bfloat16', trees.gpt2('bfloat16'), ('save', 'load')),
    Workload(
        'collection-4g',
        '4 GiB in 271 arrays',
        trees.collection(),
        ('save', 'load', 'open'),
        rounds=3,
        names=('layer.128.scale',),
    ),
    Workload('many-1k', '5,000 arrays of 1 KiB', trees.equal(5_000, 1024), ('save', 'load'), limits=_PLACING),
    Workload('many-256', '20,000 arrays of 256 B', trees.equal(20_000, 256), ('save', 'load'), limits=_PLACING),
    Workload('one-2g', 'One array of 2 GiB', Tree({'embedding': (32768, 16384)}), ('save', 'load'), rounds=3),
    Workload('resume', 'GPT-2 124M, float32, into a model that has its arrays', trees.gpt2('float32'), ('resume',)),
    Workload('partial', '1 % of GPT-2 124M, float32', trees.gpt2('float32'), ('pick',), names=_PICKED),
    Workload('mean', 'Five saves of 256 MiB', trees.matrices(16, 2048), ('mean',), copies=5),
    Workload('background', 'GPT-2 124M, float32, in the background', trees.gpt2('float32'), ('background',)),
    Workload('import', 'Imports', trees.equal(1, 4), ('import',)),
    *growth(),
)

_FEW = ('objio', 'np.savez', 'safetensors.flax', 'equinox', 'raw')
QUICK = (
    Workload(
        'gpt2-f32',
        'GPT-2 124M, float32',
        trees.gpt2('float32'),
        ('save', 'load'),
        rounds=3,
        libraries=_FEW,
        brief=True,
    ),
    Workload(
        'many-1k',
        '5,000 arrays of 1 KiB',
        trees.equal(5_000, 1024),
        ('save', 'load'),
        rounds=3,
        libraries=_FEW,
        limits=_PLACING,
        brief=True,
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
_OURS = ('objio', 'np.savez', 'raw')
_SMALL = trees.matrices(3, 64)
TINY = (
    Workload(
        'tiny',
        'Three small arrays',
        _SMALL,
        ('save', 'load', 'resume', 'pick', 'open', 'background'),
        rounds=2,
        names=('layer.1.weight',),
        libraries=_OURS,
    ),
    Workload('tiny-mean', 'Two tiny saves', _SMALL, ('mean',), rounds=1, copies=2, libraries=('objio', 'raw')),
)

SETS = {'full': WORKLOADS, 'quick': QUICK, 'torch': TORCH, 'tiny': TINY}

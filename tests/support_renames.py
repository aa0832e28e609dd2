"""Networks of which some names were moved, drawn from a seed: what became of which name is known."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]
Change = Callable[[str], str]


@dataclass(frozen=True)
class Moved:
    """A file and a model that were one network once."""

    saved: Shapes  # name in the file -> shape
    wanted: Shapes  # name in the model -> shape
    truth: dict[str, str]  # name in the file -> its name in the model, where it was moved and still fits
    kinds: tuple[str, ...]  # how names were changed
    lost: tuple[str, ...]  # names in the model that the file lost
    reshaped: tuple[str, ...]  # names in the model that have another shape now


def network(style: str) -> Shapes:
    """120 arrays of a convolutional stem and tail, six transformer blocks and a head, as one of the libraries names them."""
    size = 64
    shapes: Shapes = {}

    def add(path: str, kind: str, **leaves: tuple[int, ...]) -> None:
        plain = re.sub(r'\[(\d)\]', r'_\1', path)
        names = {
            'objio': f'(Net).{path}({kind})',
            'flax': f'params.{plain}',
            'haiku': f'net/~/{plain.replace(".", "/")}',
        }
        for leaf, shape in leaves.items():
            shapes[f'{names[style]}.{leaf}'] = shape

    for i, width in enumerate((16, 32, size)):
        add(f'stem.conv[{i}]', 'Conv2D', w=(3, 3, width // 2, width), b=(width,))
        add(f'stem.norm[{i}]', 'BatchNorm', gamma=(width,), beta=(width,), mean=(width,), var=(width,))
    for i in range(2):
        add(f'tail.conv[{i}]', 'Conv2D', w=(3, 3, size, size), b=(size,))
        add(f'tail.norm[{i}]', 'BatchNorm', gamma=(size,), beta=(size,), mean=(size,), var=(size,))
    for i in range(6):
        for part in 'qkvo':
            add(f'block[{i}].attn.{part}', 'Linear', w=(size, size), b=(size,))
        add(f'block[{i}].mlp.up', 'Linear', w=(size, 4 * size), b=(4 * size,))
        add(f'block[{i}].mlp.down', 'Linear', w=(4 * size, size), b=(size,))
        add(f'block[{i}].norm', 'LayerNorm', gamma=(size,), beta=(size,))
    for i, (n, m) in enumerate(((size, 128), (128, 10))):
        add(f'head.fc[{i}]', 'Linear', w=(n, m), b=(m,))
    add('embed', 'Embed', w=(1000, size))
    add('position', 'Embed', w=(128, size))
    return shapes


def _shifted(name: str) -> str:
    return re.sub(r'(block|conv|norm|fc)([\[_])(\d+)', lambda m: f'{m[1]}s{m[2]}{int(m[3]) + 1}', name, count=1)


CHANGES: dict[str, Change] = {
    'prefix': lambda name: f'model.{name}',
    'prefix lost': lambda name: re.sub(r'^(\(Net\)\.|params\.|net/~/)', '', name),
    'separator': lambda name: re.sub(r'\[(\d+)\]', r'.\1', name).replace('/', '.').replace('_', '.'),
    'layer number': _shifted,
    'moved block': lambda name: re.sub(r'(stem|tail|block|head|embed|position)', r'backbone.\1', name, count=1),
    'class name': lambda name: re.sub(r'\((\w+?)(2D)?\)', lambda m: f'({_CLASSES.get(m[1], m[1])})', name),
    'leaf': lambda name: re.sub(r'\w+$', lambda m: _LEAVES[m[0]], name),
}
_CLASSES = {'Linear': 'Dense', 'Conv2D': 'Convolution', 'Conv': 'Convolution', 'BatchNorm': 'Norm', 'Net': 'Model'}
_LEAVES = {'w': 'kernel', 'b': 'bias', 'gamma': 'scale', 'beta': 'offset', 'mean': 'running_mean', 'var': 'running_var'}


def draw(seed: int) -> Moved:
    """30 of 120 names moved, 2 shapes changed, 3 names missing."""
    rng = random.Random(seed)
    style = rng.choice(['objio', 'flax', 'haiku'])
    shapes = network(style)
    names = list(shapes)
    # Whole branches move, as they do when code is rewritten.
    branches: dict[str, list[str]] = {}
    for name in names:
        found = re.search(r'block\W\d|block_\d|(stem|tail)\W(conv|norm)|head|embed|position', name)
        assert found
        branches.setdefault(found[0], []).append(name)
    chosen: list[str] = []
    while len(chosen) != 30:
        chosen = []
        for branch in rng.sample(list(branches), len(branches)):
            if len(chosen) + len(branches[branch]) <= 30:
                chosen += branches[branch]
    kinds = tuple(rng.sample(list(CHANGES), rng.randint(1, 3)))
    moved = {}
    for name in sorted(chosen, key=names.index):
        new = name
        for kind in kinds:
            new = CHANGES[kind](new)
        moved[name] = new
    model = [moved.get(name, name) for name in names]
    if (
        sum(old != new for old, new in moved.items()) < 24
        or len(set(model)) < len(model)
        or any(new in shapes and new != old for old, new in moved.items())
    ):
        return draw(seed + 1_000_003)  # a moved name must not be that of another array
    saved = dict(shapes)
    wanted = {moved.get(name, name): shape for name, shape in shapes.items()}
    changed = rng.sample(names, 5)
    reshaped, lost = changed[:2], changed[2:]
    for name in reshaped:
        new = moved.get(name, name)
        wanted[new] = (*wanted[new][:-1], wanted[new][-1] + 3)
    for name in lost:
        del saved[name]
    truth = {old: new for old, new in moved.items() if new != old and old not in changed}
    return Moved(
        saved,
        wanted,
        truth,
        (style, *kinds),
        tuple(moved.get(name, name) for name in lost),
        tuple(moved.get(name, name) for name in reshaped),
    )

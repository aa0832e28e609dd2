"""The arrays that are saved and loaded: names, shapes, and values that any process can make again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any
from zlib import crc32

_BLOCK = 1 << 22  # elements of the noise that every array is cut from: 16 MiB in float32, more than a cache holds


@dataclass(frozen=True)
class Tree:
    """A flat tree of arrays of one dtype.

    Attributes:
        shapes: name -> shape.
        dtype: name of the dtype.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtype: str = 'float32'

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        import jax.numpy as jnp

        return sum(map(prod, self.shapes.values())) * int(jnp.dtype(self.dtype).itemsize)

    def array(self, name: str, seed: int = 0) -> Any:
        """The NumPy array of that name: normal noise, other for each name and seed, equal in every process."""
        import numpy as np

        block, shape = _noise(self.dtype, seed), self.shapes[name]
        out = np.empty(prod(shape), block.dtype)
        # Each name starts elsewhere in the noise, so that an array that is taken for another is seen.
        source, position = crc32(name.encode()) % len(block), 0
        while position < out.size:
            piece = block[source : source + out.size - position]
            out[position : position + len(piece)] = piece
            position, source = position + len(piece), 0
        return out.reshape(shape)

    def arrays(self, seed: int = 0) -> dict[str, Any]:
        """Every array as a `jax.Array` in memory of JAX's own."""
        import jax
        import jax.numpy as jnp

        return jax.block_until_ready({name: jnp.array(self.array(name, seed)) for name in self.shapes})

    def like(self) -> dict[str, Any]:
        """Every array as a `ShapeDtypeStruct`: what a load is told of the model."""
        import jax

        return {name: jax.ShapeDtypeStruct(shape, self.dtype) for name, shape in self.shapes.items()}

    def only(self, names: tuple[str, ...]) -> 'Tree':
        """The same tree with fewer arrays."""
        return Tree({name: self.shapes[name] for name in names}, self.dtype)


@cache
def _noise(dtype: str, seed: int) -> Any:
    import jax.numpy as jnp
    import numpy as np

    return np.random.default_rng(seed).standard_normal(_BLOCK, dtype=np.float32).astype(jnp.dtype(dtype))


def gpt2(dtype: str) -> Tree:
    """GPT-2 124M: 148 arrays, 0.46 GiB in float32, called as in the published weights."""
    width, shapes = 768, {}
    shapes['wte.weight'] = (50257, width)
    shapes['wpe.weight'] = (1024, width)
    for layer in range(12):
        block = {
            'ln_1.weight': (width,),
            'ln_1.bias': (width,),
            'attn.c_attn.weight': (width, 3 * width),
            'attn.c_attn.bias': (3 * width,),
            'attn.c_proj.weight': (width, width),
            'attn.c_proj.bias': (width,),
            'ln_2.weight': (width,),
            'ln_2.bias': (width,),
            'mlp.c_fc.weight': (width, 4 * width),
            'mlp.c_fc.bias': (4 * width,),
            'mlp.c_proj.weight': (4 * width, width),
            'mlp.c_proj.bias': (width,),
        }
        shapes |= {f'h.{layer}.{name}': shape for name, shape in block.items()}
    shapes |= {'ln_f.weight': (width,), 'ln_f.bias': (width,)}
    return Tree(shapes, dtype)


def collection() -> Tree:
    """4 GiB: 255 arrays of 16 MiB, and among them 16 of 1 MiB."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(255):
        shapes[f'layer.{layer}.weight'] = (2048, 2048)
        if layer % 16 == 0:
            shapes[f'layer.{layer}.scale'] = (512, 512)
    return Tree(shapes)


def equal(count: int, nbytes: int) -> Tree:
    """A number of float32 vectors of `nbytes` bytes each."""
    return Tree({f'layer.{index}.weight': (nbytes // 4,) for index in range(count)})


def matrices(count: int, side: int) -> Tree:
    """A number of square float32 matrices."""
    return Tree({f'layer.{index}.weight': (side, side) for index in range(count)})

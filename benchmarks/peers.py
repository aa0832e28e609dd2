"""The other libraries, each called as its own documentation says."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import Library, Prepare, Way, replacing, whole

Timed = Callable[[], Any]


def np_save(path: str, tree: dict[str, Any]) -> Timed:
    import numpy as np

    return lambda: np.savez(path, **tree)


def np_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp
    import numpy as np

    def timed() -> dict[str, Any]:
        with np.load(path) as saved:
            # The dtypes that NumPy lacks come back as bytes without a name.
            return {name: jnp.array(saved[name].view(spec.dtype)) for name, spec in like.items()}

    return timed


def np_pick(path: str, like: dict[str, Any], names: tuple[str, ...]) -> Timed:
    return np_load(path, {name: like[name] for name in names})


def np_open(path: str, names: tuple[str, ...]) -> Timed:
    import numpy as np

    def timed() -> dict[str, Any]:
        with np.load(path) as saved:
            return {name: saved[name] for name in names}

    return timed


def np_mean(paths: list[str]) -> Timed:
    import numpy as np

    def timed() -> dict[str, Any]:
        total: dict[str, Any] = {}
        for path in paths:
            with np.load(path) as saved:
                for name in saved.files:
                    array = saved[name]
                    if name in total:
                        total[name] += array
                    else:
                        total[name] = array
        for array in total.values():
            np.divide(array, len(paths), out=array)
        return total

    return timed


def jnp_mean(paths: list[str]) -> Timed:
    import jax.numpy as jnp
    import numpy as np

    def timed() -> dict[str, Any]:
        saves = []
        for path in paths:
            with np.load(path) as saved:
                saves.append({name: jnp.asarray(saved[name]) for name in saved.files})
        return {name: jnp.stack([save[name] for save in saves]).mean(0) for name in saves[0]}

    return timed


def objax_save(path: str, tree: dict[str, Any]) -> Timed:
    """What Objax 1.8.0 does: numbered members and the array of their names, streamed beside the target."""
    import numpy as np

    def timed() -> None:
        beside = Path(path + '.tmp')
        with beside.open('wb') as file:
            np.savez(file, names=np.array(list(tree)), **{str(i): array for i, array in enumerate(tree.values())})
        beside.rename(path)

    return timed


def objax_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp
    import numpy as np

    def timed() -> dict[str, Any]:
        with Path(path).open('rb') as file:
            data = np.load(file, allow_pickle=False)
            index = {str(name): str(i) for i, name in enumerate(data['names'])}
            return {name: jnp.array(data[index[name]]) for name in like}

    return timed


def st_flax_save(path: str, tree: dict[str, Any]) -> Timed:
    from safetensors.flax import save_file

    return lambda: save_file(dict(tree), path)  # a copy, since it puts NumPy arrays into the dict it is given


def st_flax_load(path: str, like: dict[str, Any]) -> Timed:
    from safetensors.flax import load_file

    return lambda: load_file(path)


def st_flax_pick(path: str, like: dict[str, Any], names: tuple[str, ...]) -> Timed:
    from safetensors import safe_open

    def timed() -> dict[str, Any]:
        with safe_open(path, framework='flax') as saved:
            return {name: saved.get_tensor(name) for name in names}

    return timed


def st_save(path: str, tree: dict[str, Any]) -> Timed:
    import numpy as np
    from safetensors.numpy import save_file

    return lambda: save_file({name: np.asarray(array) for name, array in tree.items()}, path)


def st_numpy(path: str, like: dict[str, Any]) -> Timed:
    from safetensors.numpy import load_file

    return lambda: load_file(path)


def st_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp
    from safetensors.numpy import load_file

    return lambda: {name: jnp.asarray(array) for name, array in load_file(path).items()}


def st_open(path: str, names: tuple[str, ...]) -> Timed:
    from safetensors import safe_open

    def timed() -> dict[str, Any]:
        with safe_open(path, framework='numpy') as saved:
            return {name: saved.get_tensor(name) for name in names}

    return timed


def st_mean(paths: list[str]) -> Timed:
    import numpy as np
    from safetensors.numpy import load_file

    def timed() -> dict[str, Any]:
        total = load_file(paths[0])
        for path in paths[1:]:
            for name, array in load_file(path).items():
                total[name] += array
        for array in total.values():
            np.divide(array, len(paths), out=array)
        return total

    return timed


def flax_save(path: str, tree: dict[str, Any]) -> Timed:
    from flax import serialization

    return lambda: Path(path).write_bytes(serialization.to_bytes(tree))


def flax_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp
    from flax import serialization

    def timed() -> dict[str, Any]:
        arrays = serialization.from_bytes(like, Path(path).read_bytes())
        return {name: jnp.asarray(array) for name, array in arrays.items()}

    return timed


def equinox_save(path: str, tree: dict[str, Any]) -> Timed:
    import equinox

    return lambda: equinox.tree_serialise_leaves(path, tree)


def equinox_load(path: str, like: dict[str, Any]) -> Timed:
    import equinox

    return lambda: equinox.tree_deserialise_leaves(path, like)


def pickle_save(path: str, tree: dict[str, Any]) -> Timed:
    import numpy as np

    def timed() -> None:
        with Path(path).open('wb') as file:
            pickle.dump({name: np.asarray(array) for name, array in tree.items()}, file, protocol=5)

    return timed


def pickle_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp

    def timed() -> dict[str, Any]:
        with Path(path).open('rb') as file:
            return {name: jnp.asarray(array) for name, array in pickle.load(file).items()}

    return timed


def torch_save(path: str, tree: dict[str, Any]) -> Timed:
    import numpy as np
    import torch

    tensors = {name: torch.from_numpy(np.array(array)) for name, array in tree.items()}
    return lambda: torch.save(tensors, path)


def torch_load(path: str, like: dict[str, Any]) -> Timed:
    import jax.numpy as jnp
    import torch

    return lambda: {name: jnp.asarray(tensor.numpy()) for name, tensor in torch.load(path, mmap=True).items()}


def _reading(load: Prepare) -> tuple[Way, ...]:
    """What a library that only loads whole files can do with them."""
    return Way('load', '', load), Way('resume', '', replacing(load)), Way('pick', ' (whole file)', whole(load))


def _library(name: str, suffix: str, packages: tuple[str, ...], *ways: Way) -> Library:
    """A peer whose rows are called after it."""
    named = (Way(way.operation, name + way.title, way.prepare, numpy=way.numpy, most=way.most) for way in ways)
    return Library(name, 'peer', suffix, tuple(named), packages)


LIBRARIES = (
    _library(
        'np.savez',
        '.npz',
        ('numpy',),
        Way('save', '', np_save),
        Way('load', '', np_load),
        Way('resume', '', replacing(np_load)),
        Way('pick', '', np_pick),
        Way('open', '', np_open),
        Way('mean', ', np.load and add', np_mean, numpy=True),
        Way('mean', ', jnp.stack and mean', jnp_mean),
    ),
    _library('Objax', '.objax.npz', (), Way('save', '', objax_save), *_reading(objax_load)),
    _library(
        'safetensors.flax',
        '.flax.safetensors',
        ('safetensors',),
        Way('save', '', st_flax_save),
        Way('load', '', st_flax_load),
        Way('resume', '', replacing(st_flax_load)),
        Way('pick', '', st_flax_pick),
    ),
    _library(
        'safetensors.numpy',
        '.numpy.safetensors',
        ('safetensors',),
        Way('save', '', st_save),
        Way('load', ' + asarray', st_load),
        Way('load', '', st_numpy, numpy=True),
        Way('resume', ' + asarray', replacing(st_load)),
        Way('open', '', st_open),
        Way('mean', ', add', st_mean, numpy=True),
    ),
    _library('flax msgpack', '.msgpack', ('flax', 'msgpack'), Way('save', '', flax_save), *_reading(flax_load)),
    _library('equinox', '.eqx', ('equinox',), Way('save', '', equinox_save), *_reading(equinox_load)),
    _library('pickle 5', '.pickle', (), Way('save', '', pickle_save), *_reading(pickle_load)),
    _library('torch', '.pt', ('torch',), Way('save', '', torch_save), *_reading(torch_load)),
)

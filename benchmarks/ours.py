"""objio, as its users call it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.contenders import DURABLE, Library, Way

Timed = Callable[[], Any]


def save(path: str, tree: dict[str, Any], *, durable: bool) -> Timed:
    import objio

    vc = objio.VarCollection.from_tree(tree)
    return lambda: objio.save_var_collection(path, vc, durable=durable)


def load(path: str, like: dict[str, Any], **options: Any) -> Timed:
    import objio

    vc = objio.VarCollection.from_tree(like)

    def timed() -> Any:
        objio.load_var_collection(path, vc, **options)
        return vc

    return timed


def pick(path: str, like: dict[str, Any], names: tuple[str, ...], **options: Any) -> Timed:
    return load(path, like, only=list(names), **options)


def open_one(path: str, names: tuple[str, ...], **options: Any) -> Timed:
    import objio

    def timed() -> dict[str, Any]:
        with objio.open(path, **options) as saved:
            return {name: saved[name] for name in names}

    return timed


def mean(paths: list[str]) -> Timed:
    import objio

    return lambda: objio.average(paths)


def background(path: str, tree: dict[str, Any]) -> Timed:
    import objio

    vc = objio.VarCollection.from_tree(tree)
    checkpoint = objio.Checkpoint(path, background=True, verbose=False)

    def timed() -> Callable[[], None]:
        checkpoint.save(vc, idx=1)
        return checkpoint.close

    return timed


def hold(path: str, tree: dict[str, Any]) -> Timed:
    """A background save that takes its snapshot and writes nothing until it is waited for."""
    import objio

    go_on = threading.Event()

    def save_later(file: str, vc: Any) -> None:
        go_on.wait()
        objio.save_var_collection(file, vc, durable=False)

    class Later(objio.Checkpoint):
        SAVE_FN = staticmethod(save_later)

    vc = objio.VarCollection.from_tree(tree)
    checkpoint = Later(path, background=True, verbose=False)

    def timed() -> Callable[[], None]:
        checkpoint.save(vc, idx=1)

        def finish() -> None:
            go_on.set()
            checkpoint.close()

        return finish

    return timed


def statement(text: str) -> str:
    return text


LIBRARY = Library(
    'objio',
    'objio',
    '.npz',
    (
        Way('save', 'objio', partial(save, durable=True), limit=DURABLE),
        Way('save', 'objio, durable=False', partial(save, durable=False)),
        Way('load', 'objio', load),
        Way('load', 'objio, mmap=True', partial(load, mmap=True)),
        Way('load', 'objio, mmap=True, verify=False', partial(load, mmap=True, verify=False)),
        Way('resume', 'objio', load),
        Way('resume', 'objio, mmap=True', partial(load, mmap=True)),
        Way('pick', 'objio, only=', pick),
        Way('pick', 'objio, only=, mmap=True', partial(pick, mmap=True)),
        Way('open', 'objio.open', open_one),
        Way('open', 'objio.open, mmap=True', partial(open_one, mmap=True)),
        Way('mean', 'objio.average', mean, numpy=True),
        Way('background', 'objio.Checkpoint', background),
        Way('held', 'objio holds a snapshot', hold),
        Way('held', 'objio saves', background),
        Way('import', 'import objio', partial(statement, 'import objio')),
        Way('import', 'import objio, objio.open', partial(statement, 'import objio; objio.open')),
        Way(
            'import',
            'import objio, objio.save_var_collection',
            partial(statement, 'import objio; objio.save_var_collection'),
        ),
    ),
    ('objio', 'isal'),
)


def _format(suffix: str, package: str, *ways: Way) -> Library:
    """A format of somebody else as objio writes and reads it, in files of its own."""
    title = f'objio {suffix}'
    common = (
        Way('save', title, partial(save, durable=True), limit=DURABLE),
        Way('save', f'{title}, durable=False', partial(save, durable=False)),
        Way('load', title, load),
    )
    return Library(title, 'objio', suffix, (*common, *ways), ('objio', package))


LIBRARIES = (
    LIBRARY,
    _format('.safetensors', 'safetensors', Way('load', 'objio .safetensors, mmap=True', partial(load, mmap=True))),
    _format('.msgpack', 'msgpack'),
)

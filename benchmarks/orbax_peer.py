"""Orbax, with the checkpointer that writes in the background and with the one that does not."""

from collections.abc import Callable
from typing import Any

from benchmarks.contenders import Library, Way, replacing

Timed = Callable[[], Any]


def save(path: str, tree: dict[str, Any]) -> Timed:
    import orbax.checkpoint as ocp

    checkpointer = ocp.StandardCheckpointer()

    def timed() -> None:
        checkpointer.save(path, tree)
        checkpointer.wait_until_finished()

    return timed


def load(path: str, like: dict[str, Any]) -> Timed:
    import orbax.checkpoint as ocp

    checkpointer, target = ocp.StandardCheckpointer(), _placed(like)
    return lambda: checkpointer.restore(path, target)


def pick(path: str, like: dict[str, Any], names: tuple[str, ...]) -> Timed:
    import orbax.checkpoint as ocp

    item = {name: spec for name, spec in _placed(like).items() if name in names}
    how = {name: ocp.ArrayRestoreArgs(sharding=spec.sharding) for name, spec in item.items()}
    checkpointer = ocp.PyTreeCheckpointer()
    return lambda: checkpointer.restore(
        path, args=ocp.args.PyTreeRestore(item=item, restore_args=how, partial_restore=True)
    )


def save_sync(path: str, tree: dict[str, Any]) -> Timed:
    import orbax.checkpoint as ocp

    checkpointer = ocp.PyTreeCheckpointer()
    return lambda: checkpointer.save(path, tree)


def load_sync(path: str, like: dict[str, Any]) -> Timed:
    import orbax.checkpoint as ocp

    item = _placed(like)
    how = {name: ocp.ArrayRestoreArgs(sharding=spec.sharding) for name, spec in item.items()}
    checkpointer = ocp.PyTreeCheckpointer()
    return lambda: checkpointer.restore(path, args=ocp.args.PyTreeRestore(item=item, restore_args=how))


def background(path: str, tree: dict[str, Any]) -> Timed:
    import orbax.checkpoint as ocp

    checkpointer = ocp.StandardCheckpointer()

    def timed() -> Callable[[], None]:
        checkpointer.save(path, tree)
        return checkpointer.wait_until_finished

    return timed


def _placed(like: dict[str, Any]) -> dict[str, Any]:
    """The arrays that are wanted, with the device they are wanted on, which Orbax asks for."""
    import jax

    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return {name: jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=where) for name, spec in like.items()}


LIBRARIES = (
    Library(
        'Orbax, async',
        'peer',
        '.orbax',
        (
            Way('save', 'Orbax, async', save),
            Way('load', 'Orbax, async', load),
            Way('resume', 'Orbax, async', replacing(load)),
            Way('pick', 'Orbax, async', pick),
            Way('background', 'Orbax, async', background),
            Way('held', 'Orbax saves', background),
        ),
        ('orbax-checkpoint', 'tensorstore'),
    ),
    Library(
        'Orbax, sync',
        'peer',
        '.sync.orbax',
        (
            Way('save', 'Orbax, sync', save_sync),
            Way('load', 'Orbax, sync', load_sync),
        ),
        ('orbax-checkpoint',),
    ),
)

"""Waiting for new saves in a folder."""

import threading
import time
from collections.abc import Iterator

from objio.io.saves import Folder, hold

_POLL_S = 0.5


def watch(folder: Folder, changed: threading.Condition, timeout: float | None) -> Iterator[tuple[int, str]]:
    """Yields each whole save that it has not yielded yet; see `Checkpoint.watch`.

    Args:
        folder: the saves.
        changed: notified when this process made a save; those of other processes are looked for.
        timeout: seconds without a new save after which it ends; None: never.
    """
    seen: dict[str, tuple[int, ...]] = {}
    since = time.monotonic()
    while True:
        whole = folder.whole().values()
        seen = {save.path: seen[save.path] for save in whole if save.path in seen}
        new = next((save for save in whole if seen.get(save.path) != save.identity), None)
        if new is not None:
            seen[new.path] = new.identity
            with hold(new.path):
                # From here on this process does not remove it; it may have done so, or another one, since the listing.
                if folder.is_there(new):
                    yield new.idx, new.path
            since = time.monotonic()
            continue
        rest = _POLL_S if timeout is None else since + timeout - time.monotonic()
        if rest <= 0:
            return
        with changed:
            changed.wait(min(_POLL_S, rest))

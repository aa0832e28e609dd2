"""Where rules and files meet: what becomes of each file of a folder of saves."""

import logging
from collections.abc import Iterable

from objio.io.retention import Fate, Policy
from objio.io.saves import Folder, Save, State, is_held, remove_unless_held

_LOG = logging.getLogger('objio')


def fates(folder: Folder, policy: Policy, just_made: Save | None = None) -> list[tuple[Save | None, Fate]]:
    """Each file of the folder with its fate: first the saves by ascending index, then what is no save.

    Args:
        folder: the files.
        policy: the rules.
        just_made: a save that stays whatever the rules say, and takes the place of others of its index.
    """
    saves = [(save, state) for save in folder.saves() if not (state := folder.state(save)).gone]
    reasons = policy.reasons(scores(saves, policy))
    found: list[tuple[Save | None, Fate]] = []
    for save, state in saves:
        if state.damaged:
            stays, why = True, f'is damaged and is never deleted: {state.damaged}'
        elif just_made is not None and save.idx == just_made.idx:
            stays, why = save.path == just_made.path, 'just made' if save.path == just_made.path else 'replaced'
        else:
            stays, why = bool(reasons[save.idx]), ', '.join(reasons[save.idx]) or 'no rule keeps it'
        if not stays and state.unread:
            stays, why = True, f'could not be read: {state.unread}'
        elif not stays and is_held(save.path):
            stays, why = True, 'is being watched'
        found.append((save, Fate(save.name, save.idx, stays, why)))
    names = {save.name for save, _ in saves}
    found += [(None, Fate(name, None, True, 'is no save')) for name in folder.names() if name not in names]
    return found


def scores(saves: Iterable[tuple[Save, State]], policy: Policy) -> dict[int, float | None]:
    """Index -> the value of the policy's metric, or None, of each save that counts.

    Where several files have one index, the last of them stands for it.
    """
    return {save.idx: state.metrics.get(policy.best_metric or '') for save, state in saves if state.counts}


def prune(folder: Folder, policy: Policy, just_made: Save) -> list[int]:
    """Removes the saves that no rule keeps; `just_made` must be durable.

    Returns:
        their indices, ascending.
    """
    removed = []
    for save, fate in fates(folder, policy, just_made):
        if save is not None and not fate.stays:
            try:
                if remove_unless_held(save.path):
                    removed.append(save.idx)
            except OSError as error:
                # The new save is made; the next one tries again.
                _LOG.warning('%s could not be removed: %s', save.path, error)
    return removed

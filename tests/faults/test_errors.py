"""Every call of a save that touches a file reports an error, once and for ever; or takes a part of what it is given."""

import dataclasses
import errno
import functools
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from faults import saving
from faults.saving import NEW, SCENES, Look, Nursery, Scene, blank, check, ckpt_of, look, path_of, prepare
from faults.tracing import Ended, Fail, Fault, Say, Shorten, mark, trace

CODES = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG]
CALLS = frozenset(
    [
        'close',
        'fallocate',
        'fchmod',
        'fcntl',
        'flock',
        'fstatfs',
        'fsync',
        'ftruncate',
        'getdents64',
        'ioctl',
        'link',
        'lseek',
        'mkdir',
        'newfstatat',
        'openat',
        'preadv2',
        'pwrite64',
        'rename',
        'statfs',
        'sync_file_range',
        'unlink',
    ]
)
TOLD = {'fallocate', 'fchmod', 'fcntl', 'fsync', 'ftruncate', 'pwrite64', 'rename', 'statfs'}
"""What a save cannot do without: if one of these fails, it says so."""
WRITES = frozenset({'pwrite64'})

OF_LARGE = frozenset({'fallocate', 'pwrite64', 'sync_file_range', 'ftruncate', 'fsync', 'unlink'})
"""What a large file adds, or does more often."""


pytestmark = pytest.mark.usefixtures('nursery')  # without it, nothing here can be run


def trial(nursery: Nursery, scene: Scene, folder: Path, fault: Fault) -> Ended:
    """A save with a fault, a look into the folder, and another save without it; the first one may have failed."""
    prepare(scene, folder)
    job = functools.partial(saving.save, scene, folder, again=True)
    ended: Ended = nursery.run(trace, job, fault, between=functools.partial(look, scene, folder))
    assert ended.status == 0
    assert ended.said[1:] == ['saved again']
    return ended


def judge(scene: Scene, ended: Ended, fault: Fault) -> None:
    """What must hold right after a save that met an error: it is told or harmless, and nothing older is lost."""
    outcome, found = ended.said[0], ended.seen
    assert isinstance(found, Look)
    both = scene.before | scene.after
    code = errno.errorcode[fault.act.code]
    name, following = ended.struck[0], ended.calls[fault.first :]
    if outcome == 'saved':
        of_a_removal = name == 'fsync' and 'unlink' in ended.calls[: fault.first]  # a warning tells of it
        assert name not in TOLD or of_a_removal
        assert both.items() >= found.saves.items() >= scene.after.items()
    elif outcome == f'SaveNotDurable {code}':
        assert found.saves in (both, scene.before)  # before: a damaged file was set aside, and that is not durable
    else:
        assert outcome == f'OSError {code}'
        assert found.saves == scene.before or (found.saves == both and scene.policy is not None)
    # Who cannot remove a file leaves one, for the next save to remove.
    assert len(found.temporary) <= (fault.forever and found.saves == scene.before)
    if name == 'fsync':
        assert not {'fsync', 'rename'}.intersection(following), 'went on after a sync that failed'
        assert following.count('unlink') <= (found.saves == scene.before), 'removed something older'


def cases() -> Iterator[object]:
    """Scenes with codes; the short run has one of each kind."""
    for key, scene in SCENES.items():
        for code in CODES if key in ('file', 'checkpoint') else CODES[:2] if key == 'crowded' else [errno.EIO]:
            for forever in (False, True):
                short = key == 'file' or (key == 'checkpoint' and code == errno.EIO and not forever)
                if key != 'jax':
                    yield pytest.param(
                        scene,
                        code,
                        forever,
                        id=f'{key}-{errno.errorcode[code]}-{"for ever" if forever else "once"}',
                        marks=[] if short else pytest.mark.full,
                    )


@pytest.mark.proves('errors')
@pytest.mark.parametrize(('scene', 'code', 'forever'), list(cases()))
def test_an_error_at_any_call(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, scene: Scene, code: int, forever: bool
) -> None:
    """The error comes out with its code, or did no harm; the older saves stay, and the same process saves again."""
    folder = tmp_path / 'run'
    silent: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for place in count(1):
        fault = Fault(Fail(code), place, forever, CALLS if scene.key != 'large' else OF_LARGE)
        ended = trial(nursery, scene, folder, fault)
        if not ended.struck:
            break
        judge(scene, ended, fault)
        (silent if ended.said[0] == 'saved' else told)[ended.struck[0]] += 1
        resume(scene, folder)
    mode = 'for ever' if forever else 'once'
    detail = f'{scene}, {mode}: told at {names(told)}; the save was made in spite of it at {names(silent)}'
    figure('errors', silent.total() + told.total(), detail)


def resume(scene: Scene, folder: Path) -> None:
    """After the save that came after the one that failed: it is there, and nothing half done is."""
    found = look(scene, folder)
    assert found.temporary == []
    assert found.saves[NEW + 1] == NEW + 1
    assert ckpt_of(folder).restore(blank(scene, None))[0] == NEW + 1


def names(calls: Counter[str]) -> str:
    """The system calls by name, for the report."""
    return ', '.join(f'{name} {number}' for name, number in sorted(calls.items())) or 'none'


def save_within(limit: int, scene: Scene, folder: Path, say: Say) -> None:
    """The save with a limit on the size of files, and once more without."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    saving.save(scene, folder, say)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    saving.save(dataclasses.replace(scene, policy={}), folder, say)


@pytest.mark.proves('errors')
@pytest.mark.parametrize('key', ['file', 'checkpoint', pytest.param('large', marks=pytest.mark.full)])
def test_a_limit_on_the_size_of_files(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, amount: Callable[[int, int], int], key: str
) -> None:
    """EFBIG as the system itself gives it (`ulimit -f`), at any size up to the whole file: the old saves and no litter."""
    scene, folder = SCENES[key], tmp_path / 'run'
    prepare(scene, folder)
    saving.save(scene, folder, lambda line: None)
    size = path_of(folder, NEW).stat().st_size
    limits = range(0, size, size // amount(4, 40 if key != 'large' else 4) + 1)
    for limit in limits:
        prepare(scene, folder)
        ended = nursery.run(
            trace, functools.partial(save_within, limit, scene, folder), between=functools.partial(look, scene, folder)
        )
        assert ended.said == ['OSError EFBIG', 'saved']
        assert ended.seen == Look(scene.before, [])
        assert look(scene, folder) == Look(scene.before | scene.after, [])
    figure('errors', len(limits), f'{scene}: {len(limits)} real limits (RLIMIT_FSIZE)')


def restore(scene: Scene, folder: Path, say: Say) -> None:
    """Restores the newest save: says the index and the value that the variables have then, or what was raised."""
    vc = blank(scene, None)
    outcome = ''
    mark()
    try:
        outcome = str(ckpt_of(folder).restore(vc)[0])
    except OSError as error:
        outcome = errno.errorcode[error.errno or 0]
    mark()
    say(f'{outcome} {vc["step"].value} {int(vc["w"].value.min())}')


@pytest.mark.proves('errors')
@pytest.mark.parametrize('forever', [False, True], ids=['once', 'for ever'])
def test_an_error_at_any_call_of_a_restore(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, forever: bool
) -> None:
    """A bad disk is not a bad file: EIO comes out as it is, nothing was assigned, and no older save takes its place."""
    scene, folder = SCENES['checkpoint'], tmp_path / 'run'
    prepare(scene, folder)
    job = functools.partial(restore, scene, folder)
    told: Counter[str] = Counter()
    for place in count(1):
        ended = nursery.run(trace, job, Fault(Fail(errno.EIO), place, forever, CALLS))
        if not ended.struck:
            break
        assert ended.status == 0
        assert ended.said in (['EIO -1 -1'], ['4 4 4'])
        told.update(ended.struck[:1] if ended.said == ['EIO -1 -1'] else [])
        assert look(scene, folder) == Look(scene.before, [])
    assert told.keys() >= {'openat', 'getdents64', 'preadv2'}
    figure('errors', place - 1, f'restore, {"for ever" if forever else "once"}: told at {names(told)}')


@pytest.mark.proves('short-writes')
@pytest.mark.parametrize('forever', [False, True], ids=['once', 'always'])
@pytest.mark.parametrize('key', ['file', 'checkpoint', 'background', pytest.param('large', marks=pytest.mark.full)])
def test_a_short_write(
    nursery: Nursery, tmp_path: Path, figure: Callable[..., None], *, key: str, forever: bool
) -> None:
    """The system takes a part of what it is given, down to a single byte, once or always: the file is right."""
    scene, folder = SCENES[key], tmp_path / 'run'
    job = functools.partial(saving.save, scene, folder)
    shortened = 0
    # Always a single byte would be a call for each of the large file's.
    for part in (0.5,) if key == 'large' else (0, 0.1, 0.5, 0.9, 0.999):
        for place in count(1):
            prepare(scene, folder)
            ended = nursery.run(trace, job, Fault(Shorten(part), place, forever, WRITES))
            if not ended.struck or (forever and place > 3):
                break
            assert (ended.status, ended.said) == (0, ['saved'])
            assert check(scene, folder, acknowledged=True).temporary == []
            shortened += len(ended.struck)
    figure('short-writes', shortened)

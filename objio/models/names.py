"""Names of runs: what may be one, and friendly ones for runs that were given none."""

import re
import secrets
from collections.abc import Iterable

_LONGEST = 128  # bytes; every file system takes twice as many
_RESERVED = re.compile(r'(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?', re.IGNORECASE)
_NUMBER = re.compile(r'[a-z]+-[a-z]+-([1-9]\d{0,8})')
_KINDS = (
    'agile amber azure brave bright brisk calm clear clever coral cosmic crisp curious eager early fair fleet fresh '
    'gentle glad golden grand green happy honest humble jolly keen kind late lively lucid lucky mellow merry mild '
    'modest neat nimble noble patient polite proud quick quiet rapid ready royal rustic sharp silent silver smart '
    'snowy solid steady still sunny swift tidy vivid warm wise witty young'
)
_BEINGS = (
    'badger beaver bison bobcat condor cougar coyote crane cricket curlew dolphin dove eagle egret falcon ferret finch '
    'fox gazelle gecko gibbon goose grouse gull hare hawk heron hornet ibis iguana impala jackal jaguar kestrel kite '
    'koala lark lemur leopard linnet lion lizard llama lynx magpie marlin marmot marten moose newt ocelot orca oriole '
    'osprey otter owl panda parrot pelican pigeon plover puffin puma quail rabbit raven robin salmon seal shrike '
    'sparrow stork swallow swan tern thrush tiger toucan trout turtle walrus weasel whale wolf wombat wren zebra'
)


def check_name(name: object) -> str:
    """A run's name, once it is known to be that of one folder, on every system.

    Raises:
        TypeError: it is no str.
        ValueError: it is no such name; the message says what is wrong with it.

    Example:
        >>> check_name('lr-0.1')
        'lr-0.1'
        >>> check_name('../etc')
        Traceback (most recent call last):
        ...
        ValueError: '../etc' cannot be the name of a run: it starts with a dot
    """
    if not isinstance(name, str):
        raise TypeError(f'run: expected a name of type str, got {name!r}')
    wrong = _fault(name)
    if wrong:
        raise ValueError(f'{name!r} cannot be the name of a run: {wrong}')
    return name


def _fault(name: str) -> str:
    if not name:
        return 'it is empty'
    if name.startswith('.'):
        return 'it starts with a dot'
    bad = sorted({letter for letter in name if letter in '/\\<>:"|?*' or not letter.isprintable()})
    if bad:
        return f'it has {", ".join(map(repr, bad))} in it, and it becomes the name of a folder'
    if name != name.strip() or name.endswith('.'):
        return 'it starts or ends with a blank, or ends with a dot'
    if len(name.encode()) > _LONGEST:
        return f'it has {len(name.encode())} bytes, more than {_LONGEST}'
    if _RESERVED.fullmatch(name):
        return 'Windows keeps it for a device'
    return ''


def friendly_name(others: Iterable[str]) -> str:
    """A name for the next run: two words by chance, and a number above those of the others.

    Chance is the system's here: a program that seeds `random` gets other names and other numbers all the same.

    Args:
        others: the names that are taken.

    Example:
        >>> friendly_name(['calm-heron-7', 'baseline']).rpartition('-')[2]
        '8'
    """
    last = max((int(match[1]) for other in others if (match := _NUMBER.fullmatch(other))), default=0)
    return f'{secrets.choice(_KINDS.split())}-{secrets.choice(_BEINGS.split())}-{last + 1}'

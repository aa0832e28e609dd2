"""What a save keeps of a model's settings, and the copy of it that people read."""

import json
import logging
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Self

from objio import storage
from objio.errors import ConfigConflict, FormatError
from objio.formats import Archive, manifest
from objio.io.files import opened
from objio.io.metrics import CONFIG_KEY, checked, reserved
from objio.io.texts import read_bytes
from objio.models.registry import name_of

if TYPE_CHECKING:
    from objio.models.config import Config

WEIGHTS, COPY = 'model.npz', 'config.json'
_LARGEST_COPY = 100 << 20  # bytes
_LOG = logging.getLogger('objio')


@dataclass(frozen=True)
class Record:
    """The settings of a model as a save keeps them.

    Attributes:
        cls: the model's class, as the registry calls it.
        package: the distribution that the class came with; '' for a script.
        version: its version; '' for a script.
        values: every setting, nested, as JSON has it.
        given: the dotted names of those that were given; the others were defaults.
    """

    cls: str
    package: str
    version: str
    values: dict[str, Any]
    given: frozenset[str]

    @classmethod
    def of(cls, model: type, config: 'Config') -> Self:
        """The record of a model's settings as they are now."""
        # Here, so that whoever only reads records, or saves a plain module, needs no pydantic.
        from objio.models.settings import json_values

        return cls(name_of(model), *package_of(model.__module__), json_values(config), config.given)

    @classmethod
    def read(cls, archive: Archive, name: str) -> Self:
        """The record in an archive.

        Raises:
            ConfigConflict: it has none.
        """
        found = archive.metadata.get(CONFIG_KEY)
        kinds = {'class': str, 'package': str, 'version': str, 'values': dict, 'given': list}
        if (
            not isinstance(found, Mapping)
            or any(not isinstance(found.get(key), kind) for key, kind in kinds.items())
            or not all(isinstance(path, str) for path in found['given'])
        ):
            raise ConfigConflict(
                f'{name} carries no settings, so Model.save did not write it; nothing was loaded. '
                'load_var_collection(file, model.state()) loads its arrays alone'
            )
        return cls(found['class'], found['package'], found['version'], found['values'], frozenset(found['given']))

    def beside(self, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        """The metadata of a save, with the settings in their place."""
        return checked(metadata) | reserved(CONFIG_KEY, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """What stands in the metadata."""
        found = asdict(self)
        return {'class': found.pop('cls'), **found, 'given': sorted(self.given)}


@cache
def package_of(module: str) -> tuple[str, str]:
    """The distribution of a module and its version; two empty strings where it came with none."""
    root = module.partition('.')[0]
    try:
        found = metadata.distribution(root)  # most are called as what they bring
    except metadata.PackageNotFoundError:
        file = getattr(sys.modules.get(root), '__file__', None) or ''
        folder = os.path.dirname(os.path.dirname(file) if os.path.basename(file) == '__init__.py' else file)
        # To ask all that is installed takes a second; what brought the module stands beside it.
        beside = metadata.distributions(path=[folder]) if folder else ()
        other = next((one for one in beside if root in _top_level(one)), None)
        return (other.name, other.version) if other else ('', '')
    return found.name, found.version


def _top_level(distribution: metadata.Distribution) -> set[str]:
    listed = distribution.read_text('top_level.txt')
    if listed is not None:
        return set(listed.split())
    return {file.parts[0].removesuffix('.py') for file in distribution.files or ()}


def checksum(archive: Archive) -> str:
    """The CRC-32 of a file's manifest, the member `objio.json`: another for every change of names or settings."""
    return f'{zlib.crc32(manifest.dump(archive.specs, archive.aliases, archive.metadata)):08x}'


def write_copy(folder: str, *, durable: bool) -> None:
    """Writes beside the weights in a folder the settings that they carry, for people to read."""
    weights = os.path.join(folder, WEIGHTS)
    with opened(weights) as (archive, name):
        content = Record.read(archive, name).as_json() | {WEIGHTS: checksum(archive)}
    text = json.dumps(content, indent=2, ensure_ascii=False).encode() + b'\n'
    with storage.create(os.path.join(folder, COPY), durable=durable, size=len(text)) as sink:
        sink.write(text)


def read_copy(path: str) -> tuple[str, dict[str, Any]]:
    """The checksum of the save that a copy belongs to, and the settings in it.

    Raises:
        FormatError: it is none.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(read_bytes(path, _LARGEST_COPY))
        return found.pop(WEIGHTS), found
    except FileNotFoundError:
        raise
    except OSError as error:
        error.add_note(f'it is only a copy, for people, of the settings in {WEIGHTS}: delete it')
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise FormatError(
            f'{path} cannot be read ({error}); it is only a copy, for people, of the settings in {WEIGHTS}: '
            'delete it, and the next save writes it anew'
        ) from error


def check_copy(folder: str, archive: Archive, record: Record) -> None:
    """Compares the copy for people with what the weights carry; one that belongs to an older save is passed over.

    Raises:
        ConfigConflict: somebody edited it.
        FormatError: it cannot be read.
    """
    path = os.path.join(folder, COPY)
    try:
        crc, found = read_copy(path)
    except FileNotFoundError:
        return
    if crc != checksum(archive):
        _LOG.info('%s belongs to another save than %s: it is passed over, and the next save replaces it', path, WEIGHTS)
    elif found != record.as_json():
        raise ConfigConflict(
            f'{path} was edited by hand. It is only a copy of the settings in {WEIGHTS}: pass the values as arguments '
            f'instead, and delete {COPY} or put it back as it was'
        )

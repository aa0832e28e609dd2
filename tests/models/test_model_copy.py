"""`config.json` is a copy for people: it tells what the weights carry, and is never taken in their place."""

import json
import logging
import os
import zipfile
from pathlib import Path

import pytest
from support_wide import Wide

import objio
from objio import ConfigConflict


def test_the_copy_tells_what_the_weights_carry(tmp_path: Path) -> None:
    """`config.json` has class, package, values, which were given, and the checksum of the manifest."""
    model = Wide(tmp_path, width=5)
    model.save()
    text = json.loads((tmp_path / 'config.json').read_text())
    crc = zipfile.ZipFile(tmp_path / 'model.npz').getinfo('objio.json').CRC
    assert text.pop('model.npz') == f'{crc:08x}'
    assert text == {
        'class': 'support_wide:Wide',
        'package': '',
        'version': '',
        'values': {'width': 5, 'note': ''},
        'given': ['width'],
    }
    with objio.open(tmp_path / 'model.npz') as saved:
        assert saved.metadata['objio.config'] == text


def test_a_copy_of_another_save_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy that does not belong to the weights is ignored with a line in the log; the next save replaces it."""
    Wide(tmp_path, note='old').save()
    old = (tmp_path / 'config.json').read_bytes()
    Wide(tmp_path, note='new').save()
    (tmp_path / 'config.json').write_bytes(old)
    with caplog.at_level(logging.INFO, 'objio'):
        model = Wide(tmp_path)
    assert model.config.note == 'new'
    assert 'config.json belongs to another save' in caplog.text
    assert (tmp_path / 'config.json').read_bytes() == old
    model.save()
    assert json.loads((tmp_path / 'config.json').read_text())['values']['note'] == 'new'
    (tmp_path / 'config.json').unlink()
    assert Wide(tmp_path).config.note == 'new'


def test_a_copy_edited_by_hand_is_a_conflict(tmp_path: Path) -> None:
    """An edited copy is told, with the right way to change a value."""
    Wide(tmp_path, note='old').save()
    path = tmp_path / 'config.json'
    path.write_text(path.read_text().replace('old', 'new'))
    with pytest.raises(ConfigConflict, match='edited by hand.*pass the values as arguments'):
        Wide(tmp_path)
    model = Wide(tmp_path / 'other')
    with pytest.raises(ConfigConflict, match='edited by hand'):
        model.load(tmp_path)


@pytest.mark.parametrize('damage', [b'', b'{', b'[]', b'{}', b'\xff\xfe', b'{"a": ' * 2000], ids=repr)
def test_a_damaged_copy_is_told_to_be_only_a_copy(tmp_path: Path, damage: bytes) -> None:
    """A copy that cannot be read is one clear error; without it the model loads."""
    Wide(tmp_path).save()
    (tmp_path / 'config.json').write_bytes(damage)
    with pytest.raises(objio.FormatError, match=r'config\.json cannot be read .*only a copy.*delete it'):
        Wide(tmp_path)
    (tmp_path / 'config.json').unlink()
    Wide(tmp_path)


def test_a_copy_that_the_system_cannot_read_is_told_to_be_only_a_copy(tmp_path: Path) -> None:
    """What the system says of it comes as it is, with a note."""
    Wide(tmp_path).save()
    (tmp_path / 'config.json').unlink()
    (tmp_path / 'config.json').mkdir()
    with pytest.raises(IsADirectoryError) as failure:
        Wide(tmp_path)
    assert 'only a copy' in failure.value.__notes__[0]


def test_a_copy_that_is_no_file_is_told(tmp_path: Path) -> None:
    """A pipe is not waited for, and a device not read to its end."""
    Wide(tmp_path / 'm').save()
    copy = tmp_path / 'm' / 'config.json'
    copy.unlink()
    os.mkfifo(copy)
    with pytest.raises(OSError, match='expected a regular file') as info:
        Wide(tmp_path / 'm')
    assert 'delete it' in info.value.__notes__[0]
    copy.unlink()
    copy.symlink_to('/dev/zero')
    with pytest.raises(OSError, match='expected a regular file'):
        Wide(tmp_path / 'm')

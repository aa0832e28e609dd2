"""Looking into folders, making them, and what names in them stand for."""

import errno
import os
from pathlib import Path

import pytest
from support_storage import NEW, OLD, contents, names, save

from objio import storage
from objio.storage import kernel


def test_file_names_are_those_of_files(tmp_path: Path) -> None:
    """Files, hidden ones and links to files are listed; folders, pipes, dangling links and circles are not."""
    for name in ('a.npz', '[b].npz', '.hidden'):
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'folder').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to('a.npz')
    (tmp_path / 'link to folder').symlink_to('folder')
    (tmp_path / 'dangling').symlink_to('nowhere')
    (tmp_path / 'circle').symlink_to('circle')
    assert sorted(storage.file_names(str(tmp_path))) == ['.hidden', '[b].npz', 'a.npz', 'link']


def test_a_name_that_cannot_be_looked_at_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link into a closed folder neither hides nor fails the listing: who opens it gets the error."""

    class Closed:
        name = 'latest.npz'

        def is_file(self) -> bool:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    class Listing(list[Closed]):
        def __enter__(self) -> list[Closed]:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, 'scandir', lambda _: Listing([Closed()]))
    assert storage.file_names(str(tmp_path)) == ['latest.npz']


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    """A missing folder is an error, not an empty list."""
    with pytest.raises(FileNotFoundError):
        storage.file_names(str(tmp_path / 'nowhere'))


@pytest.mark.parametrize(('path', 'folder'), [('a.npz', '.'), ('b/a.npz', 'b'), ('/a.npz', '/'), ('/b/c/a', '/b/c')])
def test_the_folder_of_a_path(path: str, folder: str) -> None:
    """The folder of a bare name is the working folder."""
    assert storage.folder_of(path) == folder


def test_a_folder_is_made_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder on the way is made, and the one above it synced, so that a power cut leaves the way; once."""
    synced: list[Path] = []
    sync_file = kernel.sync_file

    def record(fd: int) -> None:
        folders = [tmp_path, tmp_path / 'a', tmp_path / 'a' / 'b']
        synced.extend(path for path in folders if path.exists() and os.path.samestat(os.fstat(fd), path.stat()))
        sync_file(fd)

    monkeypatch.setattr(kernel, 'sync_file', record)
    storage.make_folder(str(tmp_path / 'a' / 'b' / 'c'))
    assert (tmp_path / 'a' / 'b' / 'c').is_dir()
    assert sorted(synced) == [tmp_path, tmp_path / 'a', tmp_path / 'a' / 'b']
    storage.make_folder(str(tmp_path / 'a' / 'b' / 'c'))
    assert len(synced) == 3


def test_a_file_stands_where_a_folder_should(tmp_path: Path) -> None:
    """A file in the way is told."""
    (tmp_path / 'a').write_bytes(OLD)
    with pytest.raises(FileExistsError):
        storage.make_folder(str(tmp_path / 'a'))
    assert contents(tmp_path) == {'a': OLD}


def test_a_file_is_removed(tmp_path: Path) -> None:
    """`remove` takes the file, and says where there is none."""
    (tmp_path / 'a.npz').write_bytes(OLD)
    storage.remove(str(tmp_path / 'a.npz'))
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        storage.remove(str(tmp_path / 'a.npz'))


def refuse(*_: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize('links', [True, False])
def test_a_file_gets_a_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """`link` never takes a name that is given; where the file system has no links, the file moves. `unlink` undoes it."""
    path, new = str(tmp_path / 'a.npz'), str(tmp_path / 'b.npz')
    if not links:
        monkeypatch.setattr(os, 'link', refuse)
    with pytest.raises(FileNotFoundError):
        storage.link(path, new)
    Path(path).write_bytes(OLD)
    storage.link(path, new)
    assert contents(tmp_path) == {'b.npz': OLD} | ({'a.npz': OLD} if links else {})
    storage.unlink(new, path)
    assert contents(tmp_path) == {'a.npz': OLD}
    Path(new).write_bytes(NEW)
    with pytest.raises(FileExistsError):
        storage.link(path, new)
    assert contents(tmp_path) == {'a.npz': OLD, 'b.npz': NEW}


def test_a_symbolic_link_moves(tmp_path: Path) -> None:
    """What is written through the old name afterwards does not come out under the new one."""
    (tmp_path / 'store').mkdir()
    (tmp_path / 'store' / 'a').write_bytes(OLD)
    (tmp_path / 'a.npz').symlink_to(tmp_path / 'store' / 'a')
    storage.link(str(tmp_path / 'a.npz'), str(tmp_path / 'b.npz'))
    save(tmp_path / 'a.npz')
    assert (tmp_path / 'b.npz').read_bytes() == OLD
    assert (tmp_path / 'a.npz').read_bytes() == NEW


def test_the_identity_of_a_file_changes_with_it(tmp_path: Path) -> None:
    """Equal while nobody touches the file; another one after a save of equal length, and after bytes were added."""
    path = tmp_path / 'a.npz'
    save(path)
    first = storage.identity(str(path))
    assert storage.identity(str(path)) == first
    save(path)
    second = storage.identity(str(path))
    assert second != first
    with path.open('ab') as file:
        file.write(b'x')
    assert len({first, second, storage.identity(str(path))}) == 3

"""What a path may be: links, other things than files, modes, odd names, folders that are not there or closed."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support_storage import NEW, OLD, contents, names, read, run, save

from objio import storage


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask of 027, whatever the machine's is."""
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_a_link_keeps_pointing_where_it_points(tmp_path: Path) -> None:
    """Through any number of links the file behind them is replaced, in its own folder; the links stay."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'a.npz').write_bytes(OLD)
    (tmp_path / 'one.npz').symlink_to('far/a.npz')
    (tmp_path / 'two.npz').symlink_to(tmp_path / 'one.npz')
    save(tmp_path / 'two.npz')
    assert contents(tmp_path / 'far') == {'a.npz': NEW}
    assert os.readlink(tmp_path / 'one.npz') == 'far/a.npz'
    assert os.readlink(tmp_path / 'two.npz') == str(tmp_path / 'one.npz')
    assert names(tmp_path) == ['far', 'one.npz', 'two.npz']


def test_a_link_to_nothing_gets_its_file(tmp_path: Path) -> None:
    """A dangling link stays, and the file it names is made."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'a.npz').symlink_to('far/new.npz')
    save(tmp_path / 'a.npz')
    assert contents(tmp_path / 'far') == {'new.npz': NEW}
    assert (tmp_path / 'a.npz').is_symlink()


def test_a_link_to_a_folder_on_the_way_is_followed(tmp_path: Path) -> None:
    """A folder may be a link."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'near').symlink_to('far')
    save(tmp_path / 'near' / 'a.npz')
    assert contents(tmp_path / 'far') == {'a.npz': NEW}


@pytest.mark.parametrize('name', ['a.npz', 'a.npz/b.npz'])
def test_links_in_a_circle_are_refused(tmp_path: Path, name: str) -> None:
    """Links that lead back to themselves give ELOOP, for saving and for reading, and stay."""
    (tmp_path / 'a.npz').symlink_to('b.npz')
    (tmp_path / 'b.npz').symlink_to('a.npz')
    for action in (save, lambda path: storage.open_file(str(path))):
        with pytest.raises(OSError, match='a.npz') as caught:
            action(tmp_path / name)
        assert caught.value.errno == errno.ELOOP
    assert names(tmp_path) == ['a.npz', 'b.npz']


def test_a_hard_link_keeps_the_old_file(tmp_path: Path) -> None:
    """Another name of the same file goes on holding what it held."""
    (tmp_path / 'a.npz').write_bytes(OLD)
    os.link(tmp_path / 'a.npz', tmp_path / 'kept.npz')
    save(tmp_path / 'a.npz')
    assert contents(tmp_path) == {'a.npz': NEW, 'kept.npz': OLD}


@pytest.mark.parametrize('name', ['', '.', 'folder', 'folder/', 'new/', 'folder/..', 'missing/..'])
def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A path that is a folder, or is written as one, is an `IsADirectoryError`; nothing is made."""
    (tmp_path / 'folder').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match='expected'):
        save(name)
    assert names(tmp_path) == ['folder']
    if os.path.isdir(name):
        with pytest.raises(IsADirectoryError, match='expected a file'):
            storage.open_file(name)


def null_device(folder: Path) -> Path:
    """A device that a save which fails to refuse it may destroy: for root a copy, nobody else can hurt the real one."""
    device = Path(os.devnull)
    if os.geteuid() == 0:
        device = folder / 'null'
        try:
            os.mknod(device, stat.S_IFCHR | 0o666, os.stat(os.devnull).st_rdev)
        except PermissionError:
            pytest.skip('in this container not even root may make a device')
    return device


def test_devices_are_refused(tmp_path: Path) -> None:
    """A device is refused with the way out, and stays one."""
    device = null_device(tmp_path)
    before = names(tmp_path)
    for action in (save, storage.open_file):
        with pytest.raises(OSError, match='pass it as an open file') as caught:
            action(str(device))
        assert caught.value.errno == errno.EINVAL
    assert stat.S_ISCHR(device.stat().st_mode)
    assert names(tmp_path) == before


def test_pipes_are_refused(tmp_path: Path) -> None:
    """A named pipe, and one behind `/dev/fd`, is refused in the same way, without waiting for its other end."""
    os.mkfifo(tmp_path / 'pipe')
    reader, writer = os.pipe()
    for path in (str(tmp_path / 'pipe'), f'/dev/fd/{reader}'):
        for action in (save, storage.open_file):
            with pytest.raises(OSError, match='pass it as an open file') as caught:
                action(path)
            assert caught.value.errno == errno.EINVAL
    os.close(reader)
    os.close(writer)
    assert stat.S_ISFIFO(os.stat(tmp_path / 'pipe').st_mode)
    assert names(tmp_path) == ['pipe']


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A save makes no folders: it says which one is missing, also where a link leads there."""
    (tmp_path / 'link.npz').symlink_to('nowhere/a.npz')
    for path in (tmp_path / 'nowhere' / 'a.npz', tmp_path / 'link.npz'):
        with pytest.raises(FileNotFoundError, match="nowhere' does not exist; make it first") as caught:
            save(path)
        assert caught.value.filename == str(path)
    assert names(tmp_path) == ['link.npz']


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A path below a file is a `NotADirectoryError`."""
    (tmp_path / 'a.npz').write_bytes(OLD)
    with pytest.raises(NotADirectoryError):
        save(tmp_path / 'a.npz' / 'b.npz')
    assert contents(tmp_path) == {'a.npz': OLD}


def test_a_name_of_full_length_is_saved(tmp_path: Path) -> None:
    """A name as long as the file system allows works, as the temporary name hangs not on it; a longer one is told."""
    longest = os.pathconf(tmp_path, 'PC_NAME_MAX')
    save(tmp_path / ('a' * longest))
    assert contents(tmp_path) == {'a' * longest: NEW}
    with pytest.raises(OSError, match=r'\[Errno') as caught:
        save(tmp_path / ('b' * (longest + 1)))
    assert caught.value.errno == errno.ENAMETOOLONG
    assert names(tmp_path) == ['a' * longest]


CLOSED_FOLDER = """
if os.geteuid() == 0:  # whom no folder is closed to
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with storage.create(sys.argv[1], durable=True, size=3) as sink:
        sink.write(b'new')
except PermissionError as error:
    print(error)
print(os.listdir(os.path.dirname(sys.argv[1])), storage.sweep(os.path.dirname(sys.argv[1])))
"""


def test_a_folder_that_may_not_be_written_to() -> None:
    """`PermissionError` names the file and the folder; the old file, also a writable one, stays, and no other comes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'a.npz'
        path.write_bytes(OLD)
        path.chmod(0o666)
        os.chmod(folder, 0o555)
        output = run(CLOSED_FOLDER, path)
        os.chmod(folder, 0o755)
        assert 'Permission denied' in output
        assert repr(os.path.realpath(folder)) in output
        assert repr(str(path)) in output
        assert output.endswith("['a.npz'] []\n")
        assert path.read_bytes() == OLD


@pytest.mark.usefixtures('umask')
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    """A new file gets 0666 less the umask."""
    save(tmp_path / 'a.npz')
    assert mode(tmp_path / 'a.npz') == 0o640


@pytest.mark.usefixtures('umask')
@pytest.mark.parametrize('old', [0o600, 0o444, 0o664, 0o755, 0o666])
def test_the_old_files_mode_is_kept(tmp_path: Path, old: int) -> None:
    """The new file has the mode of the one it replaces, also a link's; until then only its owner may read it."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    path.chmod(old)
    (tmp_path / 'link').symlink_to(path)
    with storage.create(str(tmp_path / 'link'), durable=True, size=len(NEW)) as sink:
        (temporary,) = tmp_path.glob('.objio-*')
        assert mode(temporary) == 0o600
        sink.write(NEW)
    assert mode(path) == old
    assert path.read_bytes() == NEW


def test_a_file_system_without_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every file has the same mode, nobody asks for another one: such file systems refuse it."""
    path = tmp_path / 'a.npz'
    path.write_bytes(OLD)
    path.chmod(0o600)  # what a temporary file has
    monkeypatch.setattr(os, 'fchmod', lambda *_: pytest.fail('a mode was asked for'))
    save(path)
    assert contents(tmp_path) == {'a.npz': NEW}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.text(st.characters(codec='utf-8', exclude_characters='/\0'), min_size=1, max_size=60))
@example('with space.npz')
@example(' ')
@example('line\nbreak.npz')
@example('[a-z]*?.npz')
@example('{0}%s$HOME`ls`;&|.npz')
@example('überä→模型.npz')
@example('..npz')
@example('-rf')
@example('\udcff\udcfe.npz')  # bytes that are no UTF-8
def test_any_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    """A name of any characters is the file's name, and is read back under it; nothing in it is a pattern or code."""
    if name in ('.', '..') or len(os.fsencode(name)) > 255:
        return
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    save(f'{folder}/{name}')
    assert storage.file_names(str(folder)) == [name]
    with storage.open_file(f'{folder}/{name}') as source:
        assert read(source) == NEW


@pytest.mark.parametrize('action', [save, storage.open_file, storage.file_names, storage.make_folder])
def test_a_url_is_refused_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: object) -> None:
    """A URL is no path: it is refused before a folder called `s3:` comes into being."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r's3://bucket/a\.npz.*is a URL'):
        action('s3://bucket/a.npz')
    assert names(tmp_path) == []


def test_a_mode_that_cannot_be_kept_says_of_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system knows no name for a descriptor; the error has it, and the old file stays."""
    path = tmp_path / 'a'
    path.write_bytes(b'old')
    path.chmod(0o640)
    monkeypatch.setattr(os, 'fchmod', lambda *_: (_ for _ in ()).throw(PermissionError(1, 'Operation not permitted')))
    with pytest.raises(PermissionError) as info, storage.create(str(path), durable=False, size=3) as sink:
        sink.write(b'new')
    assert info.value.filename == str(path)
    assert path.read_bytes() == b'old'

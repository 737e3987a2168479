import getpass
import os
import pwd
import stat

import pytest

from mmseg_uda import places
from mmseg_uda.errors import UserError
from mmseg_uda.places import require_folder, settle_home


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = require_folder(tmp_path / "a/b")
    assert folder == tmp_path / "a/b" and list(folder.iterdir()) == []
    (folder / "kept").touch()
    require_folder(folder)
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="^.*/file is no folder"):
        require_folder(tmp_path / "file")
    with pytest.raises(UserError, match="file/a/b cannot be made: .*/file is no folder"):
        require_folder(tmp_path / "file/a/b")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="link/a cannot be made: .*/link is no folder"):
        require_folder(tmp_path / "link/a")


def test_a_place_where_nobody_may_write():
    with pytest.raises(UserError, match="/proc/a_folder cannot be used: No such file"):
        require_folder("/proc/a_folder")


def test_a_full_disk_is_told_at_once(tmp_path, monkeypatch):
    def full(**options):
        return open("/dev/full", "wb")

    monkeypatch.setattr(places.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(UserError, match=rf"No space left to write {tmp_path}\. It needs 1.0 MB"):
        require_folder(tmp_path)


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A user id that nobody has registered."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(places.tempfile, "tempdir", None)


@pytest.mark.parametrize("home", [None, "nowhere", "a_file"])
def test_without_user_and_home(tmp_path, monkeypatch, stranger, home):
    (tmp_path / "a_file").touch()
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setenv("USER", "")
    settle_home()
    assert getpass.getuser() == str(os.getuid())
    own = tmp_path / f"mmseg_uda-{os.getuid()}"
    assert os.path.expanduser("~/.cache") == str(own / ".cache")
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    settle_home()
    assert os.environ["HOME"] == str(own)


def test_a_home_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_home()
    assert os.environ["HOME"] == str(tmp_path)

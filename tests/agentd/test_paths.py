"""Paths: short enough for sockets, apart for each home, private, and gone with their session."""

import os
import socket
from pathlib import Path

import pytest

from relay_agentd.errors import FolderUnsafe
from relay_agentd.paths import Paths, make_private
from relay_agentd.session_folder import remove_session_folder


def test_two_homes_of_one_user_do_not_share_a_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a"))
    first = Paths.default()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
    second = Paths.default()

    assert first.runtime == second.runtime
    assert first.control_socket != second.control_socket
    assert first.sessions != second.sessions


def test_runtime_folder_too_long_for_a_socket_moves_to_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "long" * 30)

    paths = Paths.default()

    socket = paths.session_folder("0123456789abcdef") / "as.sock"
    assert len(str(socket)) <= 100
    assert len(str(paths.control_socket)) <= 100


def test_private_folder_is_made_private_with_all_above_it(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "a" / "b")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_private_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)

    make_private(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_link_in_the_place_of_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FolderUnsafe, match="is not a folder"):
        make_private(tmp_path / "link")


def test_folder_below_one_that_anybody_may_change_is_refused(tmp_path: Path) -> None:
    common = tmp_path / "common"
    common.mkdir()
    common.chmod(0o777)

    with pytest.raises(FolderUnsafe, match="other users"):
        make_private(common / "mine")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)

    with pytest.raises(FolderUnsafe, match="another user"):
        make_private(folder)


def test_session_folder_goes_with_the_socket_and_lock_that_its_link_leads_to(
    tmp_path: Path,
) -> None:
    folder, elsewhere = tmp_path / "session", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with socket.socket(socket.AF_UNIX) as real:
        real.bind(str(elsewhere / "ab12"))
    (elsewhere / "ab12.lock").touch()
    (elsewhere / "cd34.lock").touch()
    (folder / "as.sock").symlink_to(elsewhere / "ab12")

    remove_session_folder(folder)

    assert not folder.exists()
    assert [each.name for each in elsewhere.iterdir()] == ["cd34.lock"]


def test_what_a_link_in_a_session_folder_leads_to_stays_when_it_is_no_socket(
    tmp_path: Path,
) -> None:
    folder, precious = tmp_path / "session", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("a person's own")
    precious.with_name("precious.lock").touch()
    (folder / "link").symlink_to(precious)

    remove_session_folder(folder)

    assert not folder.exists()
    assert precious.read_text() == "a person's own"
    assert precious.with_name("precious.lock").exists()

"""Paths: short enough for sockets, apart for each home, and private."""

import os
from pathlib import Path

import pytest

from relay_agentd.errors import FolderUnsafe
from relay_agentd.paths import Paths, make_private


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

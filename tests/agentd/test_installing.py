"""`install` and `uninstall` among files of a person's that are not as one expects."""

import sys
from pathlib import Path

import pytest

from relay_agentd.installing import InstallFailed, install, uninstall
from relay_launchers.codex.install import CodexInstaller
from relay_launchers.install import InstallRequest


@pytest.fixture
def request_here(tmp_path: Path) -> InstallRequest:
    """Codex needs no program of its own to be installed for."""
    (tmp_path / "home").mkdir()
    return InstallRequest(
        home=tmp_path / "home",
        data=tmp_path / "data",
        binary=None,
        environment={},
        python=Path(sys.executable),
        pipe=Path("/opt/pipe.py"),
        control_socket=Path("/run/control-01234567.sock"),
        config=Path("/etc/agentd.env"),
    )


def put_in(request: InstallRequest) -> str:
    return install(CodexInstaller(), request, dry_run=False).state


def take_out(request: InstallRequest) -> str:
    installer = CodexInstaller()
    return uninstall(installer, request.home, request.data, dry_run=False, purge=False).state


def test_a_persons_own_skill_of_that_name_is_neither_written_over_nor_removed(
    request_here: InstallRequest,
) -> None:
    own = request_here.home / "skills" / "agent-relay" / "SKILL.md"
    own.parent.mkdir(parents=True)
    own.write_text("mine")

    with pytest.raises(InstallFailed, match="move it away first"):
        put_in(request_here)

    assert take_out(request_here) == "not installed"
    assert own.read_text() == "mine"


def test_a_link_to_a_file_that_did_not_exist_yet_stays(request_here: InstallRequest) -> None:
    link, file = request_here.home / "config.toml", request_here.home / "dotfiles.toml"
    link.symlink_to(file.name)

    assert put_in(request_here) == "installed"
    assert "mcp_servers" in file.read_text()

    assert take_out(request_here) == "uninstalled"
    assert link.is_symlink()
    assert not file.exists()


def test_without_its_record_an_installation_is_found_by_its_marks(
    request_here: InstallRequest,
) -> None:
    config = request_here.home / "config.toml"
    config.write_text('model = "x"\n')
    put_in(request_here)
    (request_here.data / "record.json").write_text('{"version": ')

    for command in (put_in, take_out):
        with pytest.raises(InstallFailed, match=r"record\.json is damaged: move .*/data away"):
            command(request_here)
    request_here.data.rename(request_here.data.with_name("away"))

    assert take_out(request_here) == "uninstalled"
    assert config.read_text() == 'model = "x"\n'
    assert not (request_here.home / "skills" / "agent-relay").exists()


def test_a_link_that_leads_to_itself_is_said_to_be_one(request_here: InstallRequest) -> None:
    (request_here.home / "config.toml").symlink_to("config.toml")

    with pytest.raises(InstallFailed, match=r"cannot change .*config\.toml"):
        put_in(request_here)

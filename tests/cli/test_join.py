"""`join`: this machine on another one's relay."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_agentd.settings import parse_env_lines, with_settings
from relay_server.wire import join_code
from tests.cli.machine import Machine

TOKEN = "of-the-other-relay"


@pytest.fixture(scope="module")
def far() -> Iterator[Machine]:
    """Another machine, with a relay that wants a token."""
    with Machine() as other:
        up = other.run("up", AGENT_RELAY_TOKEN=TOKEN)
        assert up.returncode == 0, up.stderr
        yield other


@pytest.fixture
def here(machine: Machine) -> Machine:
    """A machine whose environment names no relay."""
    machine.url = ""
    return machine


def env_file(machine: Machine) -> Path:
    return machine.home.path / ".config" / "agent-relay" / "agentd.env"


def test_after_joining_every_command_is_on_that_relay(far: Machine, here: Machine) -> None:
    code = join_code(far.url, TOKEN)

    done = here.run("join", stdin=f"On the other machine:\n  relay-agentd join {code}\n")

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[::2] == [far.url, "not running\n"]
    assert here.run("agents", "--all").returncode == 0
    assert parse_env_lines(env_file(here).read_text()) == {
        "AGENT_RELAY_URL": far.url,
        "AGENT_RELAY_TOKEN": TOKEN,
    }
    assert stat.S_IMODE(env_file(here).stat().st_mode) == 0o600


def test_the_rest_of_the_file_stays_and_a_link_to_it_too(far: Machine, here: Machine) -> None:
    dotfile = here.home.path / "dotfiles.env"
    dotfile.write_text("# mine\nAGENT_RELAY_TAGS=shop\nexport AGENT_RELAY_TOKEN='old'\n")
    dotfile.chmod(0o644)
    env_file(here).parent.mkdir(parents=True)
    env_file(here).symlink_to(dotfile)

    assert here.run("join", join_code(far.url, TOKEN)).returncode == 0

    assert env_file(here).is_symlink()
    assert dotfile.read_text() == (
        f"# mine\nAGENT_RELAY_TAGS=shop\nAGENT_RELAY_TOKEN={TOKEN}\nAGENT_RELAY_URL={far.url}\n"
    )
    assert stat.S_IMODE(dotfile.stat().st_mode) == 0o600


def test_a_dry_run_tries_the_code_and_changes_nothing(far: Machine, here: Machine) -> None:
    done = here.run("join", join_code(far.url, TOKEN), "--dry-run", "--json")

    assert json.loads(done.stdout)["isDryRun"] is True
    assert TOKEN not in done.stdout
    assert not env_file(here).exists()


@pytest.mark.parametrize("code", ["nonsense", "eyJ2IjoyfQ", "", "-" * 40])
def test_nonsense_is_refused_and_changes_nothing(here: Machine, code: str) -> None:
    done = here.run("join", stdin=code)

    assert done.returncode == 2
    assert "relay-server invite" in done.stderr
    assert not env_file(here).exists()


def test_a_token_the_relay_does_not_take_is_not_written(far: Machine, here: Machine) -> None:
    done = here.run("join", join_code(far.url, "revoked"))

    assert done.returncode == 4
    assert "ask for a new one" in done.stderr
    assert "revoked" not in done.stderr
    assert not env_file(here).exists()


def test_a_relay_that_does_not_answer_is_not_written(here: Machine) -> None:
    done = here.run("join", join_code(f"http://127.0.0.1:{here.port}", TOKEN))

    assert done.returncode == 3
    assert "does this machine reach that address" in done.stderr
    assert not env_file(here).exists()


def test_typed_at_a_prompt_the_code_is_not_shown(far: Machine, here: Machine) -> None:
    code = join_code(far.url, TOKEN)
    with here.terminal("join") as terminal:
        terminal.wait_for_text("Join code")
        terminal.write(f"{code}\r")
        screen = terminal.wait_for_text(r"No daemon runs now")

        assert terminal.exit_status() == 0
    assert code[:20] not in screen
    assert TOKEN not in screen


def test_an_environment_that_overrules_it_is_named(far: Machine, here: Machine) -> None:
    done = here.run("join", join_code(far.url, TOKEN), AGENT_RELAY_URL="http://127.0.0.1:1")

    assert done.returncode == 0
    assert "unset AGENT_RELAY_URL" in done.stderr


def test_an_idle_daemon_moves_to_the_new_relay(far: Machine, machine: Machine) -> None:
    assert machine.run("up").returncode == 0
    before = machine.daemon_process()

    done = machine.run("join", join_code(far.url, TOKEN), AGENT_RELAY_URL="")

    assert done.stdout.endswith("\trestarted\n")
    assert machine.daemon_process() != before
    assert machine.run("up", AGENT_RELAY_URL="").returncode == 0


def test_a_daemon_with_sessions_stays_until_they_have_ended(far: Machine, machine: Machine) -> None:
    with machine.terminal("run", "stand-in") as window:
        window.wait_for_text("READY")
        machine.a_session()
        before = machine.daemon_process()

        done = machine.run("join", join_code(far.url, TOKEN))

        assert done.stdout.endswith("\thas sessions\n")
        assert machine.daemon_process() == before
        machine.run("down", "--force")
        window.exit_status()


def test_settings_are_put_in_the_place_of_all_their_older_lines() -> None:
    text = "A=1\nAGENT_RELAY_URL=x\n\n# AGENT_RELAY_URL=c\nexport AGENT_RELAY_URL = y\nB=2"

    assert with_settings(text, {"url": "http://new"}) == (
        "A=1\nAGENT_RELAY_URL=http://new\n\n# AGENT_RELAY_URL=c\nB=2\n"
    )
    assert with_settings("", {"url": "http://new"}) == "AGENT_RELAY_URL=http://new\n"

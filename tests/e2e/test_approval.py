"""What a session may do, and that answering on the relay is always possible without a prompt."""

from pathlib import Path

import pytest

from tests.e2e.stack import Session, Stack, tool
from tests.support.providers import CliName

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

PROVIDERS: list[CliName] = ["codex", "claude-2.1.197", "claude-2.1.330"]
READ_ONLY = ("--approval", "read-only")


def _write_attempts(session: Session, folder: Path) -> list[Path]:
    """The files a model tries to make, each in another way; returns when its turn is over."""
    by_command, by_editing = folder / "by-command", folder / "by-editing"
    edit = f"[[patch: {by_editing} | text]]"
    if session.name == "codex":
        # Codex offers the stand-in's model no tool for edits: all its writing is by commands.
        edit = f"[[shell: echo text > {by_editing}]]"
    session.terminal.submit(f"[[shell: touch {by_command}]] {edit} [[say: tried it all]]")
    session.terminal.wait_for_text("^. tried it all", within=40)
    return [by_command, by_editing]


def _operators_mail(stack: Stack) -> list[str]:
    inbox = stack.client.get("/api/messages", params={"to": "operator"}).raise_for_status().json()
    return [message["body"] for message in inbox["messages"]]


@pytest.mark.parametrize("name", PROVIDERS)
def test_read_only_refuses_what_changes_files(stack: Stack, name: CliName) -> None:
    session = stack.session(name, options=READ_ONLY)

    attempts = _write_attempts(session, stack.home.project)

    assert [path.name for path in attempts if path.exists()] == []


@pytest.mark.parametrize("name", PROVIDERS)
def test_read_only_refuses_still_when_the_daemon_is_gone(stack: Stack, name: CliName) -> None:
    stack.relay_agentd("up")
    session = stack.session(name, options=("--no-autostart", *READ_ONLY))
    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)

    attempts = _write_attempts(session, stack.home.project)

    assert [path.name for path in attempts if path.exists()] == []


@pytest.mark.parametrize("name", PROVIDERS)
def test_open_asks_nothing_where_the_persons_own_settings_allow_it(
    stack: Stack, name: CliName
) -> None:
    allowed = () if name == "codex" else ("--allowedTools", "Bash", "Write")
    session = stack.session(name, *allowed, options=("--approval", "open"))

    attempts = _write_attempts(session, stack.home.project)

    assert [path.name for path in attempts if not path.exists()] == []


@pytest.mark.parametrize("mode", ["open", "read-only"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_the_relays_tools_work_without_a_prompt(stack: Stack, name: CliName, mode: str) -> None:
    session = stack.session(name, options=("--approval", mode))

    session.terminal.submit(tool("relay_send", to="operator", body="for you"))

    # The stand-in's final answer repeats what the tool said.
    session.model.wait_for(lambda request: "Sent as message" in str(request.step), within=40)
    assert _operators_mail(stack) == ["for you"]

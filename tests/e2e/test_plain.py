"""Sessions that a person starts himself, without `run`: they join by themselves once installed."""

import os
import signal
import subprocess
import sys

import pytest

from tests.e2e.stack import Stack, tool
from tests.support.providers import READY, CliName
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

ALL: list[CliName] = ["codex", "claude-2.1.197", "claude-2.1.330"]
ANSWER = tool("relay_reply", message_id="%N%", body="fine").replace('"%N%"', "%N%")


def provider_of(name: CliName) -> str:
    return "codex" if name == "codex" else "claude"


def type_in(stack: Stack, name: CliName, *words: str) -> str:
    """What one command prints, in a shell that finds the provider."""
    done = subprocess.run(
        [sys.executable, "-m", "relay_agentd", *words],
        env=stack.environment(name),
        cwd=stack.home.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start_plainly(stack: Stack, name: CliName) -> Terminal:
    """Types the provider's own name."""
    terminal = Terminal([provider_of(name)], stack.environment(name), stack.home.project)
    stack.terminals.append(terminal)
    terminal.wait_for_text(READY[name], within=40)
    return terminal


def tree(stack: Stack) -> dict[str, bytes | None]:
    """Every file and folder of the home, but for the links on PATH."""
    home = stack.home.path
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in home.rglob("*")
        if path.relative_to(home).parts[0] != "bin"
    }


@pytest.mark.parametrize("name", ALL)
def test_a_plain_session_joins_gets_mail_answers_and_is_gone_when_killed(
    stack: Stack, name: CliName
) -> None:
    stack.relay_agentd("up")
    type_in(stack, name, "install", provider_of(name))
    terminal = start_plainly(stack, name)
    if name != "codex":
        eventually(lambda: stack.home.tool_connections() > 0, within=40)
    terminal.submit("good morning [[say: to you]]")
    agent = eventually(
        lambda: next(iter(stack.online(provider_of(name))), None), 30, message=terminal.screen
    )
    assert agent is not None
    eventually(lambda: stack.agent(agent["id"])["status"] == "idle", 20)

    number = stack.send(agent["id"], f"how are you? {ANSWER}")

    stack.wait_until_in_context(number)
    messages = stack.client.get
    eventually(
        lambda: any(
            each["from"] == agent["id"] and each["replyTo"] == number
            for each in messages("/api/messages").json()["messages"]
        ),
        20,
        message=terminal.screen,
    )
    os.kill(terminal.pid, signal.SIGKILL)
    eventually(lambda: not stack.online(), 5)
    eventually(lambda: not stack.session_folders(), 5)


@pytest.mark.parametrize("name", ALL)
def test_uninstalling_leaves_no_trace(stack: Stack, name: CliName) -> None:
    provider = provider_of(name)
    settings = stack.home.claude_config / "settings.json"
    settings.write_text('{\t"permissions" : {"allow":[ "Read" ]},\n\n "env": {} }')
    stack.environment(name)
    before = tree(stack)

    assert "dry run" in type_in(stack, name, "install", provider, "--dry-run")
    assert tree(stack) == before
    assert f"{provider}: installed" in type_in(stack, name, "install", provider)
    installed = tree(stack)
    assert "already installed" in type_in(stack, name, "install", provider)
    assert tree(stack) == installed
    assert f"{provider}: uninstalled" in type_in(stack, name, "uninstall", provider)

    assert tree(stack) == before
    assert "not installed" in type_in(stack, name, "uninstall", provider)


@pytest.mark.parametrize("name", ALL)
def test_a_session_started_by_run_is_there_once_though_all_is_installed(
    stack: Stack, name: CliName
) -> None:
    stack.relay_agentd("up")
    type_in(stack, name, "install", provider_of(name))

    session = stack.session(name)
    session.terminal.submit("good morning [[say: to you]]")
    request = session.model.wait_for(lambda each: each.main)

    names = [str(each.get("name")) for each in request.body["tools"]]
    assert len([each for each in names if "relay" in each]) == len(
        {each for each in names if "relay" in each}
    )
    eventually(lambda: stack.agent(session.id)["status"] == "idle", 20)
    assert [each["id"] for each in stack.online()] == [session.id]
    number = stack.send(session.id, "only once")
    stack.wait_until_in_context(number)
    eventually(lambda: session.model.message_ids() == [number])

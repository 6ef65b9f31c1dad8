"""A person's path: a guarded Claude Code asks, and is answered on the command line or there."""

import json
from typing import Any

import pytest

from tests.e2e.stack import Session, Stack
from tests.support.providers import CliName
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

CLAUDES: list[CliName] = ["claude-2.1.197", "claude-2.1.330"]
GUARDED = ("--approval", "guarded")
DIALOG = r"1\. Yes"


def pending(stack: Stack) -> list[dict[str, Any]]:
    """What `relay-agentd approvals` lists."""
    listed: list[dict[str, Any]] = json.loads(stack.relay_agentd("approvals", "--json"))[
        "approvals"
    ]
    return listed


def question(stack: Stack, session: Session, command: str) -> dict[str, Any]:
    """The question about this command, which the terminal shows as well."""
    session.terminal.wait_for_text(DIALOG)
    (found,) = eventually(
        lambda: [each for each in pending(stack) if each["summary"] == command],
        10,
        message=session.terminal.screen,
    )
    assert (found["agentId"], found["tool"]) == (session.id, "Bash")
    return found


def status(stack: Stack, approval: dict[str, Any]) -> str:
    answer = stack.client.get(f"/api/approvals/{approval['id']}").raise_for_status().json()
    return str(answer["status"])


def broken_off(terminal: Terminal) -> bool:
    """Press Escape until the dialog is gone."""
    terminal.press("Escape")
    return "Do you want to" not in terminal.screen()


@pytest.mark.parametrize("name", CLAUDES)
def test_a_guarded_step_is_answered_from_the_command_line_or_in_the_terminal(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name, options=GUARDED)
    terminal, made = session.terminal, stack.home.project / "made"
    terminal.submit(
        "[[shell: touch made]] [[shell: touch other]] [[shell: rm made]] [[say: turn over]]"
    )

    first = question(stack, session, "touch made")
    assert first["input"]["command"] == "touch made"
    assert stack.agent(session.id)["status"] == "waiting"
    assert not made.exists()
    assert "touch made" in stack.relay_agentd("approvals")
    stack.relay_agentd("approve", str(first["id"]))
    eventually(made.exists, 10, message=terminal.screen)

    second = question(stack, session, "touch other")
    assert "touch made" not in [each["summary"] for each in pending(stack)]
    stack.relay_agentd("deny", str(second["id"]), "--reason", "leave that alone")

    third = question(stack, session, "rm made")
    assert "leave that alone" in str(session.model.main_requests[-1].body["messages"])

    def allowed_here() -> bool:
        # 2.1.330 takes no key in a dialog's first moments.
        terminal.press("1")
        return not made.exists()

    eventually(allowed_here, 10)
    eventually(lambda: status(stack, third) == "canceled", 2)
    terminal.wait_for_text("^. turn over")
    assert "Do you want to" not in terminal.screen()
    eventually(lambda: stack.agent(session.id)["status"] == "idle")

    terminal.submit("[[shell: touch more]]")
    fourth = question(stack, session, "touch more")
    eventually(lambda: broken_off(terminal), 10)
    eventually(lambda: status(stack, fourth) == "canceled", 2)
    assert pending(stack) == []
    assert list(stack.home.project.iterdir()) == []


@pytest.mark.parametrize("name", CLAUDES)
def test_a_question_outlives_the_daemon_and_a_tightened_mode_answers_it(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name, options=("--approval", "open"))

    def tighten(mode: str) -> None:
        answer = stack.client.patch(f"/api/agents/{session.id}", json={"approvalMode": mode})
        answer.raise_for_status()
        (folder,) = stack.session_folders()
        written = folder / "mode"
        eventually(lambda: written.exists() and written.read_text() == mode)

    tighten("guarded")
    session.terminal.submit("[[shell: touch one]] [[shell: touch two]] [[say: turn over]]")
    first = question(stack, session, "touch one")
    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)
    eventually(stack.daemon, 15)
    assert [each["id"] for each in pending(stack)] == [first["id"]]
    stack.relay_agentd("approve", str(first["id"]))
    eventually((stack.home.project / "one").exists, 15, message=session.terminal.screen)

    second = question(stack, session, "touch two")
    tighten("read-only")
    session.terminal.wait_for_text("^. turn over")

    assert status(stack, second) == "canceled"
    assert "read-only" in str(session.model.main_requests[-1].body["messages"])
    assert [path.name for path in stack.home.project.iterdir()] == ["one"]

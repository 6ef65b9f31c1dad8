"""A person's path: a guarded Codex asks, and is answered on the command line or at its terminal;
and a session that is tightened at the relay while it works."""

import json
from typing import Any

import pytest

from tests.e2e.stack import Session, Stack
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

GUARDED = ("--approval", "guarded")
DIALOG = r"Yes, proceed \(y\)"


def pending(stack: Stack) -> list[dict[str, Any]]:
    """What `relay-agentd approvals` lists."""
    listed = json.loads(stack.relay_agentd("approvals", "--json"))["approvals"]
    assert isinstance(listed, list)
    return listed


def question(stack: Stack, session: Session, summary: str) -> dict[str, Any]:
    """The question about this step, which the terminal shows as well."""
    session.terminal.wait_for_text(DIALOG)
    found = eventually(
        lambda: [each for each in pending(stack) if each["summary"] == summary],
        10,
        message=session.terminal.screen,
    )
    assert found[0]["agentId"] == session.id
    return found[0]


def status(stack: Stack, approval: dict[str, Any]) -> str:
    answer = stack.client.get(f"/api/approvals/{approval['id']}").raise_for_status().json()
    return str(answer["status"])


def wait_dialog_closed(session: Session) -> None:
    """Nobody has pressed a key."""
    eventually(
        lambda: "Yes, proceed" not in session.terminal.screen(),
        5,
        message=session.terminal.screen,
    )


def test_a_guarded_step_is_answered_from_the_command_line_or_in_the_terminal(stack: Stack) -> None:
    session = stack.session("codex", options=GUARDED)
    terminal, project = session.terminal, stack.home.project
    probe = f"curl -sS {stack.url}/healthz -o reached"
    terminal.submit(
        f"[[shellesc: {probe}]] [[shellesc: touch by-hand]] [[shellesc: touch never]]"
        " [[say: turn over]]"
    )

    first = question(stack, session, probe)
    assert first["tool"] == "shell"
    assert first["input"]["cwd"] == str(project)
    assert first["input"]["reason"] == "scripted"
    eventually(lambda: stack.agent(session.id)["status"] == "waiting", 5)
    assert not (project / "reached").exists()
    assert probe in " ".join(stack.relay_agentd("approvals").split())
    stack.relay_agentd("approve", str(first["id"]))
    eventually((project / "reached").exists, 10, message=terminal.screen)

    second = question(stack, session, "touch by-hand")
    assert status(stack, first) == "allowed"

    def is_pressed() -> bool:
        # The dialog ignores keys for a moment, lest it catch what was meant for the composer.
        terminal.press("y")
        return (project / "by-hand").exists()

    eventually(is_pressed, 20, message=terminal.screen)
    eventually(lambda: status(stack, second) == "canceled", 5)

    third = question(stack, session, "touch never")
    assert [each["id"] for each in pending(stack)] == [third["id"]]
    stack.relay_agentd("deny", str(third["id"]), "--reason", "not on a Friday")

    terminal.wait_for_text("^. turn over", within=20)
    wait_dialog_closed(session)
    assert not (project / "never").exists()
    assert "not on a Friday" in json.dumps(session.model.main_requests[-1].body)
    assert pending(stack) == []
    eventually(lambda: stack.agent(session.id)["status"] == "idle", 5)


def test_a_question_outlives_the_daemon_as_the_same_approval(stack: Stack) -> None:
    session = stack.session("codex", options=GUARDED)
    made = stack.home.project / "made"
    session.terminal.submit("[[shellesc: touch made]] [[say: turn over]]")
    asked = question(stack, session, "touch made")
    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)
    # Nothing runs unasked meanwhile, and the answer given meanwhile is the one that counts.
    assert not made.exists()
    stack.client.post(
        f"/api/approvals/{asked['id']}/decision", json={"decision": "allow"}
    ).raise_for_status()

    eventually(made.exists, 20, message=session.terminal.screen)
    session.terminal.wait_for_text("^. turn over", within=20)
    wait_dialog_closed(session)
    assert pending(stack) == []


def set_mode(stack: Stack, session: Session, mode: str) -> None:
    stack.client.patch(f"/api/agents/{session.id}", json={"approvalMode": mode}).raise_for_status()


def test_a_session_that_is_tightened_stops_in_the_middle_of_its_turn_and_stays_so(
    stack: Stack,
) -> None:
    session = stack.session("codex", options=("--approval", "open"))
    terminal, project = session.terminal, stack.home.project
    terminal.submit("[[shell: touch before]] [[hold: x]] [[shell: touch after]]")
    eventually((project / "before").exists, 20, message=terminal.screen)

    set_mode(stack, session, "read-only")
    terminal.wait_for_text("interrupted", within=10)
    session.model.release("x")

    terminal.submit("[[shell: touch next-turn]] [[say: second over]]")
    terminal.wait_for_text("^. second over", within=20)
    # The next conversation in the same terminal, and a new daemon, have it as well.
    agents = {agent["id"] for agent in stack.online("codex")}
    terminal.submit("/new")
    fresh = eventually(
        lambda: next((a for a in stack.online("codex") if a["id"] not in agents), None), 20
    )
    assert fresh is not None
    assert fresh["approvalMode"] == "read-only"
    terminal.submit("[[shell: touch new-conversation]] [[say: third over]]")
    terminal.wait_for_text("^. third over", within=20)

    # The sandbox of the first turn left empty folders with a dot.
    assert list(project.glob("[!.]*")) == [project / "before"]

"""A real Claude Code session's life: its identity, its status, the person's own arguments."""

import pytest

from relay_server.wire import AgentStatus
from tests.claude.conftest import Stage
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]


def endless_turn(stage: Stage) -> Terminal:
    """A session in the middle of a tool call that never ends."""
    (stage.home.project / "log").touch()
    terminal = stage.start()
    # 2.1.330 refuses a bare `sleep 60`.
    terminal.submit("go [[shell: tail -f log]] [[say: never]]")
    stage.model.wait_for(lambda each: each.main)
    terminal.wait_for_text(r"\$ tail -f log|Bash\(tail")
    return terminal


def test_clear_is_a_new_conversation_that_can_be_woken(stage: Stage) -> None:
    terminal = stage.start()
    terminal.submit("first [[say: one]]")
    terminal.wait_for_text("● one")
    eventually(lambda: stage.bench.status is AgentStatus.IDLE)

    terminal.submit("/clear")
    eventually(lambda: len(stage.bench.opens) == 2, 15)

    (first, _), (second, meta) = stage.bench.opens
    assert first != second
    assert meta["source"] == "clear"
    mail = stage.bench.mail(1, "after the clearing [[say: here]]")
    delivery = stage.bench.deliver(mail)
    eventually(lambda: delivery in stage.bench.proofs, 15)
    eventually(lambda: sum(mail in text for text in stage.model.user_texts()) == 1)


def test_a_turn_broken_off_by_escape_is_noticed_though_no_hook_tells(stage: Stage) -> None:
    terminal = endless_turn(stage)
    eventually(lambda: stage.bench.status is AgentStatus.BUSY)

    terminal.press("Escape")

    eventually(lambda: stage.bench.status is AgentStatus.IDLE, 10)
    assert stage.bench.events("Stop") == []
    delivery = stage.bench.deliver(stage.bench.mail(1, "still there? [[say: yes]]"))
    eventually(lambda: delivery in stage.bench.proofs, 15)


def test_mail_that_waits_while_a_turn_is_broken_off_arrives_once(stage: Stage) -> None:
    terminal = endless_turn(stage)
    delivery = stage.bench.deliver(stage.bench.mail(1, "meanwhile [[say: yes]]"))
    eventually(lambda: stage.bench.outcomes)
    eventually(lambda: stage.queued(1), 10)

    terminal.press("Escape")

    eventually(lambda: delivery in stage.bench.proofs, 40)
    eventually(lambda: stage.model.message_ids() == [1])


def test_a_resumed_session_keeps_its_id(stage: Stage) -> None:
    terminal = stage.start()
    terminal.submit("first [[say: one]]")
    terminal.wait_for_text("● one")
    (session_id, _) = stage.bench.opens[0]
    terminal.submit("/exit")
    assert terminal.exit_status() == 0

    again = stage.start(arguments=["--resume", session_id])

    assert [each for each, _ in stage.bench.opens] == [session_id, session_id]
    assert stage.bench.opens[1][1]["source"] == "resume"
    assert "--session-id" not in stage.plan(arguments=["--resume", session_id]).provider.argv
    delivery = stage.bench.deliver(stage.bench.mail(1, "welcome back [[say: hi]]"))
    eventually(lambda: delivery in stage.bench.proofs, 15, message=again.screen)


@pytest.mark.parametrize("approval", ["open", "guarded", "read-only"])
def test_the_persons_prompt_survives_our_flags(stage: Stage, approval: str) -> None:
    stage.launch(approval, ["tell me [[say: gladly]]"])  # type: ignore[arg-type]

    request = stage.model.wait_for(lambda each: each.main, 30)

    assert any(text.startswith("tell me") for text in request.texts)


def test_a_session_without_a_terminal_answer_is_on_the_relay_too(stage: Stage) -> None:
    terminal = stage.launch(
        arguments=[
            "-p",
            'go [[mcp: relay relay_send {"to": "bob", "body": "hi"}]] [[say: all done]]',
        ]
    )

    assert terminal.exit_status(30) == 0
    assert stage.bench.opens[0][1]["source"] == "startup"
    assert [call["arguments"] for call in stage.bench.tool_calls] == [{"to": "bob", "body": "hi"}]


def test_the_bell_wakes_a_session_whose_socket_is_gone(stage: Stage) -> None:
    stage.start()
    for socket in (stage.home.runtime / "cc-socks").glob("*.sock"):
        socket.unlink()

    delivery = stage.bench.deliver(stage.bench.mail(1, "hello [[say: yes]]"))

    eventually(lambda: delivery in stage.bench.proofs, 15)
    assert len(stage.bench.events("bell")) == 1
    eventually(lambda: stage.model.message_ids() == [1])


def test_a_session_that_bypasses_permissions_gets_its_mail_without_a_dialog(stage: Stage) -> None:
    settings = stage.home.claude_config / "settings.json"
    settings.write_text('{"skipDangerousModePermissionPrompt": true}')
    terminal = stage.launch(arguments=["--dangerously-skip-permissions"])
    eventually(lambda: stage.bench.opens, 30)
    terminal.wait_for_text(r"bypass permissions on")

    delivery = stage.bench.deliver(stage.bench.mail(1, "hello [[say: yes]]"))

    eventually(lambda: delivery in stage.bench.proofs, 15, message=terminal.screen)

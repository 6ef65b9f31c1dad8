"""The adapter's own decisions, with real files and sockets but no Claude Code."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_agentd.adapters import claude
from relay_agentd.adapters.base import Delivery, Outcome
from relay_agentd.adapters.claude import ClaudeAdapter
from relay_agentd.adapters.claude_session import ClaudeSession
from relay_server.wire import AgentStatus, Priority, Reachability
from tests.claude.world import World, running

pytestmark = pytest.mark.anyio

MAIL = Delivery(
    id="d-1", message_ids=(1,), text="[msg:1] from bob (x): hi", priority=Priority.NORMAL
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes become moments."""
    for name in ("PROOF_SECONDS", "RING_SECONDS", "GRACE_SECONDS", "SETTLE_SECONDS"):
        monkeypatch.setattr(claude, name, 0.05)


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[list[bytes]]:
    """A messaging socket; what was written to it."""
    written: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        written.append(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(take, str(path))
    async with server:
        yield written


async def test_mail_before_the_session_is_known_is_not_handed_over(tmp_path: Path) -> None:
    world = World(tmp_path)

    assert await world.adapter.push(MAIL) is Outcome.NOT_NOW


async def test_a_start_opens_the_session_and_introduces_it(tmp_path: Path) -> None:
    world = World(tmp_path)

    output = await world.hook("SessionStart", source="startup")

    assert ("opened", "s-1", "/home/me/shop") in world.port.told
    assert ("reachable", Reachability.PUSH) in world.port.told
    assert output["hookSpecificOutput"]["additionalContext"] == "you are an agent"


async def test_the_record_that_logs_shows_is_the_one_written_now(tmp_path: Path) -> None:
    world = World(tmp_path)

    await world.hook("SessionStart", source="startup", transcript_path="/t/first.jsonl")
    await world.hook(
        "SessionStart", session_id="s-2", source="clear", transcript_path="/t/second.jsonl"
    )

    records = [told[1] for told in world.port.told if told[0] == "records"]
    assert records == [Path("/t/first.jsonl"), Path("/t/second.jsonl")]


async def test_a_socket_named_by_the_session_is_used_with_its_token(tmp_path: Path) -> None:
    world = World(tmp_path)
    socket = tmp_path / "m.sock"
    world.environment |= {
        "CLAUDE_CODE_MESSAGING_SOCKET": str(socket),
        "CLAUDE_CODE_MESSAGING_TOKEN": "secret",
    }
    await world.hook("SessionStart", source="startup")

    async with listening(socket) as written:
        assert await world.adapter.push(MAIL) is Outcome.HANDED
        while not written:
            await asyncio.sleep(0.01)

    auth, message = written[0].splitlines()
    assert json.loads(auth)["token"] == "secret"
    assert MAIL.text in json.loads(message)["message"]["content"]


async def test_a_socket_only_the_registry_names_is_used_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    socket = tmp_path / "m.sock"
    world.register(messagingSocketPath=str(socket))
    await world.hook("SessionStart", source="startup")

    async with listening(socket):
        assert await world.adapter.push(MAIL) is Outcome.HANDED


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("reason", ["nobody listens", "bypass", "bell only"])
async def test_the_bell_is_rung_when_the_socket_will_not_do(tmp_path: Path, reason: str) -> None:
    world = World(tmp_path)
    socket = tmp_path / "m.sock"
    world.environment["CLAUDE_CODE_MESSAGING_SOCKET"] = str(socket)
    if reason == "bell only":
        world.environment["AGENT_RELAY_CLAUDE_INBOUND"] = "bell"
    await world.hook("SessionStart", source="startup")
    if reason == "bypass":
        await world.hook("Stop", permission_mode="bypassPermissions")
    await asyncio.sleep(0.06)

    if reason == "nobody listens":
        assert await world.adapter.push(MAIL) is Outcome.RINGING
    else:
        async with listening(socket) as written:
            assert await world.adapter.push(MAIL) is Outcome.RINGING
            assert written == []
    assert (world.folder / "bell").exists()


async def test_right_after_a_start_nobody_hears_the_bell(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")

    assert await world.adapter.push(MAIL) is Outcome.NOT_NOW


async def test_a_prompt_that_holds_the_exact_text_is_the_proof(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    world.adapter.outstanding([MAIL])

    await world.hook("UserPromptSubmit", prompt="[msg:1] from bob (x): something else")
    assert "proved" not in world.port.names()
    await world.hook("UserPromptSubmit", prompt=f"<x>\n{MAIL.text}\n</x>")

    assert ("proved", "d-1", "prompt hook") in world.port.told


async def test_a_hook_of_another_session_proves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    world.adapter.outstanding([MAIL])

    world.environment["CLAUDE_PID"] = "4243"
    await world.hook("UserPromptSubmit", session_id="s-2", prompt=MAIL.text)

    assert "proved" not in world.port.names()
    assert world.port.names().count("opened") == 1


async def test_a_session_started_inside_the_session_does_not_take_its_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.environment["CLAUDE_PID"] = str(os.getpid())
    await world.hook("SessionStart", source="startup")

    world.environment["CLAUDE_PID"] = str(os.getppid())
    await world.hook("SessionStart", source="startup", session_id="s-2")

    assert [each[1] for each in world.port.told if each[0] == "opened"] == ["s-1"]


async def test_a_conversation_that_began_while_the_daemon_was_away_is_opened_late(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")

    other = str(tmp_path / "other.jsonl")
    await world.hook("UserPromptSubmit", session_id="s-2", transcript_path=other, prompt="hi")
    await world.hook("Notification", session_id="s-1")

    assert [each[1] for each in world.port.told if each[0] == "opened"] == ["s-1", "s-2"]


@pytest.mark.usefixtures("impatient")
async def test_a_transcript_line_is_the_proof_where_no_hook_tells(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await world.hook("UserPromptSubmit", prompt="work")
    world.adapter.outstanding([MAIL])

    async with running(world.adapter):
        attachment = {"type": "queued_command", "prompt": MAIL.text}
        world.write(type="attachment", attachment=attachment)

        assert await world.told("proved") == ("proved", "d-1", "transcript")


@pytest.mark.usefixtures("impatient")
async def test_what_a_resting_session_does_not_show_is_lost_and_the_bell_is_next(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    socket = tmp_path / "m.sock"
    world.environment["CLAUDE_CODE_MESSAGING_SOCKET"] = str(socket)
    await world.hook("SessionStart", source="startup")

    async with running(world.adapter), listening(socket):
        assert await world.adapter.push(MAIL) is Outcome.HANDED
        world.adapter.outstanding([MAIL])

        assert await world.told("lost") == ("lost", "d-1")
        assert await world.adapter.push(MAIL) is Outcome.RINGING


@pytest.mark.usefixtures("impatient")
async def test_what_is_in_the_transcript_is_never_called_lost(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(type="user", message={"content": MAIL.text})
    await world.hook("SessionStart", source="startup")
    world.adapter.outstanding([MAIL])

    async with running(world.adapter):
        await world.told("proved")

    assert "lost" not in world.port.names()


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_lost_while_the_program_is_stopped(tmp_path: Path) -> None:
    """What was written to its socket waits there, and would come a second time."""
    world = World(tmp_path)
    program = subprocess.Popen(["sleep", "60"])
    try:
        program.send_signal(signal.SIGSTOP)
        world.environment["CLAUDE_PID"] = str(program.pid)
        await world.hook("SessionStart", source="startup")
        world.adapter.outstanding([MAIL])

        async with running(world.adapter):
            # More than one look at it.
            await asyncio.sleep(1.5 * claude.TICK_SECONDS)
            assert "lost" not in world.port.names()

            program.send_signal(signal.SIGCONT)
            assert await world.told("lost") == ("lost", "d-1")
    finally:
        program.kill()
        program.wait()


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_lost_while_a_turn_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await world.hook("UserPromptSubmit", prompt="work")
    world.adapter.outstanding([MAIL])

    await asyncio.sleep(0.1)
    await world.adapter._look()

    assert "lost" not in world.port.names()
    assert await world.adapter.find_evidence(MAIL) is None


@pytest.mark.usefixtures("impatient")
async def test_a_bell_nobody_answers_is_worth_another_try(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await asyncio.sleep(0.1)
    assert await world.adapter.push(MAIL) is Outcome.RINGING
    world.port.told.clear()

    async with running(world.adapter):
        await world.told("ready")


async def test_the_registry_tells_what_no_hook_does(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await world.hook("UserPromptSubmit", prompt="work")
    world.port.told.clear()

    # Written before the prompt was submitted: says nothing of it.
    for status, at in [("idle", 1), ("waiting", 4_000_000_000_001), ("idle", 4_000_000_000_002)]:
        world.register(status=status, statusUpdatedAt=at, waitingFor="permission prompt")
        await world.adapter._look()

    assert [each[1] for each in world.port.told] == [AgentStatus.WAITING, AgentStatus.IDLE]


async def test_a_prompt_that_led_to_no_turn_is_noticed_in_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude, "LAG_SECONDS", 0.0)
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await world.hook("UserPromptSubmit", prompt="refused by another hook")
    world.register(status="idle", statusUpdatedAt=1)

    await world.adapter._look()

    assert world.port.told[-1] == ("status", AgentStatus.IDLE, None)


async def test_the_next_daemon_finds_the_session_written_down(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.environment["CLAUDE_CODE_MESSAGING_TOKEN"] = "secret"
    world.environment["CLAUDE_CODE_MESSAGING_SOCKET"] = str(tmp_path / "m.sock")
    await world.hook("SessionStart", source="startup")

    heir = ClaudeAdapter(world.port)

    async with listening(tmp_path / "m.sock"):
        assert await heir.push(MAIL) is Outcome.HANDED
    written = world.folder / "claude-session.json"
    assert written.stat().st_mode & 0o077 == 0
    assert "secret" not in repr(ClaudeSession.load(world.folder))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"id": 1}', "\udcff"])
async def test_a_damaged_note_of_the_last_daemon_is_ignored(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "claude-session.json").write_text(content, errors="surrogateescape")

    assert ClaudeSession.load(folder) is None


async def test_clearing_opens_the_next_conversation_in_the_same_process(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")
    await world.hook("SessionEnd", reason="clear")
    assert await world.adapter.push(MAIL) is Outcome.NOT_NOW

    await world.hook("SessionStart", source="clear", session_id="s-2")

    assert [each[1] for each in world.port.told if each[0] == "opened"] == ["s-1", "s-2"]


async def test_a_hook_without_a_session_id_is_ignored(tmp_path: Path) -> None:
    world = World(tmp_path)

    assert await world.adapter.hook("Stop", {}, {}) == {}
    assert world.port.told == []

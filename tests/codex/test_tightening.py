"""An approval mode that changes at the relay while a Codex session runs, on a scripted server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.adapters.codex_welcomed import FILE
from relay_launchers.base import ApprovalMode
from relay_launchers.codex.policy import MODES, POLICY_FILE, SessionPolicy
from relay_server.wire import ApprovalMode as ModeInForce
from tests.codex.bench import Attached, RecordingPort
from tests.codex.scripted_server import THREAD, ScriptedServer, ServerError
from tests.support.wait import eventually

OPEN, GUARDED, READ_ONLY = ModeInForce.OPEN, ModeInForce.GUARDED, ModeInForce.READ_ONLY


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer(tmp_path / "as.sock") as scripted:
        yield scripted


def launched(folder: Path, mode: ApprovalMode, **more: Any) -> RecordingPort:
    """A session that was started in a mode."""
    approval, sandbox = MODES[mode]
    policy = SessionPolicy(mode=mode, approval=approval, sandbox=sandbox, **more)
    (folder / POLICY_FILE).write_text(policy.to_text())
    return RecordingPort(
        key="0123456789abcdef", folder=folder, cwd=folder, approval=ModeInForce(mode)
    )


def attach(server: ScriptedServer, port: RecordingPort) -> Attached:
    """A daemon's adapter, connected."""
    before = len(server.connections)
    running = Attached(port, port.folder / "as.sock")
    eventually(lambda: len(server.connections) > before)
    return running


def load(server: ScriptedServer, *threads: dict[str, Any]) -> None:
    """What the server has in its memory."""
    by_id = {thread["id"]: thread for thread in threads}
    server.answers["thread/loaded/list"] = lambda _: {"data": list(by_id)}
    server.answers["thread/read"] = lambda params: {"thread": by_id[params["threadId"]]}


def a_thread(thread_id: str = "thread-1", kind: str = "idle", **more: Any) -> dict[str, Any]:
    return {**THREAD, "id": thread_id, "status": {"type": kind}, **more}


def wait_noted(folder: Path, *notes: str) -> None:
    """Waits until a mode was set on a thread for good, as the next daemon will read it."""
    noted = folder / FILE
    eventually(lambda: noted.exists() and set(notes) <= set(noted.read_text().splitlines()))


def settings(server: ScriptedServer) -> list[tuple[str, str, str]]:
    """What threads were set to: thread, approval, profile or sandbox."""
    return [
        (each["threadId"], each["approvalPolicy"], _sandbox(each))
        for each in server.asked("thread/settings/update")
    ]


def _sandbox(setting: dict[str, Any]) -> str:
    return str(setting.get("permissions") or setting["sandboxPolicy"]["type"])


def test_a_running_turn_is_broken_off_with_what_it_left_running(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(kind="active"))
    with attach(server, launched(tmp_path, "open")) as running:
        running.wait_opened()
        eventually(lambda: running.port.times_ready)

        running.tighten(READ_ONLY)

        server.wait_asked("thread/backgroundTerminals/clean")
    assert settings(server) == [("thread-1", "never", "agent-relay")]
    assert server.asked("turn/interrupt") == [{"threadId": "thread-1", "turnId": ""}]
    (told,) = server.asked("thread/inject_items")
    assert "set this session to read-only" in told["items"][0]["content"][0]["text"]
    methods = [each.get("method") for each in server.received]
    assert methods.index("thread/settings/update") < methods.index("turn/interrupt")


def test_an_idle_thread_only_loses_what_it_left_running(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread())
    with attach(server, launched(tmp_path, "open")) as running:
        running.wait_opened()
        running.tighten(GUARDED)

        server.wait_asked("thread/backgroundTerminals/clean")
    assert settings(server) == [("thread-1", "on-request", "readOnly")]
    assert server.asked("turn/interrupt") == []


def test_sub_agents_and_conversations_that_were_left_are_tightened_too(
    server: ScriptedServer, tmp_path: Path
) -> None:
    helper = a_thread("helper", "active", threadSource="subagent", sessionId="thread-1")
    load(server, a_thread(), helper, a_thread("left", createdAt=1, kind="active"))
    with attach(server, launched(tmp_path, "open")) as running:
        running.wait_opened()
        running.tighten(READ_ONLY)

        server.wait_asked("thread/backgroundTerminals/clean", 3)
    assert {thread for thread, *_ in settings(server)} == {"thread-1", "helper", "left"}
    assert {each["threadId"] for each in server.asked("turn/interrupt")} == {"helper", "left"}


def test_the_next_conversation_is_tightened_before_any_message(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(), a_thread("thread-2"))
    server.answers["thread/loaded/list"] = lambda _: {"data": ["thread-1"]}
    with attach(server, launched(tmp_path, "open")) as running:
        running.wait_opened()
        running.tighten(READ_ONLY)
        wait_noted(tmp_path, "thread-1 read-only")

        server.open_thread("thread-2")
        running.wait_opened(2)
        server.wait_asked("thread/settings/update", 2)

    assert settings(server)[1] == ("thread-2", "never", "agent-relay")


def test_a_new_daemon_keeps_it_and_does_it_only_once(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(kind="active"))
    port = launched(tmp_path, "open")
    with attach(server, port) as running:
        running.wait_opened()
        running.tighten(READ_ONLY)
        wait_noted(tmp_path, "thread-1 read-only")

    with attach(server, port) as running:
        eventually(lambda: running.port.times_ready > 1)
        load(server, a_thread(kind="active"), a_thread("thread-2"))
        server.open_thread("thread-2")
        server.wait_asked("thread/settings/update", 2)

    assert [thread for thread, *_ in settings(server)] == ["thread-1", "thread-2"]


def test_what_was_tightened_while_no_daemon_ran_is_done_by_the_next(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(kind="active"))
    port = launched(tmp_path, "guarded")
    port.approval = READ_ONLY
    with attach(server, port):
        server.wait_asked("turn/interrupt")

    assert settings(server) == [("thread-1", "never", "agent-relay")]


def test_a_mode_that_is_loosened_again_is_the_launched_one_and_breaks_nothing_off(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread())
    with attach(server, launched(tmp_path, "open")) as running:
        running.wait_opened()
        running.tighten(READ_ONLY)
        wait_noted(tmp_path, "thread-1 read-only")
        load(server, a_thread(kind="active"))

        running.tighten(OPEN)

        server.wait_asked("thread/settings/update", 2)
    assert settings(server)[1] == ("thread-1", "never", "workspaceWrite")
    assert server.asked("turn/interrupt") == []


def test_nobody_makes_a_session_looser_than_it_was_launched(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread())
    port = launched(tmp_path, "read-only")
    port.approval = OPEN
    with attach(server, port):
        server.wait_asked("thread/settings/update")

    assert settings(server) == [("thread-1", "never", "agent-relay")]


def test_a_session_in_its_own_mode_is_left_to_the_terminals_flags(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(kind="active"))
    with attach(server, launched(tmp_path, "guarded")) as running:
        eventually(lambda: running.port.times_ready)

    assert settings(server) == []
    assert server.asked("turn/interrupt") == []


def test_a_first_turn_that_was_quicker_than_the_profile_is_broken_off_where_rules_allow_commands(
    server: ScriptedServer, tmp_path: Path
) -> None:
    load(server, a_thread(kind="active"))
    with attach(server, launched(tmp_path, "guarded", has_rules=True)):
        server.wait_asked("turn/interrupt")

    assert settings(server) == [("thread-1", "on-request", "agent-relay")]


def test_a_server_that_knows_no_profile_gets_the_sandbox(
    server: ScriptedServer, tmp_path: Path
) -> None:
    def refuse_profiles(params: dict[str, Any]) -> dict[str, Any]:
        if "permissions" in params:
            raise ServerError("unknown field `permissions`")
        return {}

    load(server, a_thread())
    server.answers["thread/settings/update"] = refuse_profiles
    with attach(server, launched(tmp_path, "read-only")):
        server.wait_asked("thread/settings/update", 2)

    assert settings(server)[1] == ("thread-1", "never", "readOnly")

"""How a Codex session's questions reach a person and his word comes back, on a scripted server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_server.wire import AgentStatus, Decision
from tests.codex.bench import Attached, RecordingPort
from tests.codex.scripted_server import THREAD, ScriptedServer
from tests.support.wait import eventually

COMMAND = "item/commandExecution/requestApproval"
ACCEPT = {"id": 0, "result": {"decision": "accept"}}
DECLINE = {"id": 0, "result": {"decision": "decline"}}
ASK_ID = "turn-1/call-1/0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer(tmp_path / "as.sock") as scripted:
        yield scripted


@pytest.fixture
def attached(server: ScriptedServer, tmp_path: Path) -> Iterator[Attached]:
    """A session on the terminal."""
    port = RecordingPort(key="0123456789abcdef", folder=tmp_path, cwd=Path("/home/me/project"))
    with Attached(port, tmp_path / "as.sock") as running:
        eventually(lambda: server.connections and server.asked("thread/loaded/list"))
        server.open_thread()
        eventually(lambda: running.port.times_ready)
        yield running


def ask(server: ScriptedServer, thread_id: str = "thread-1", **more: Any) -> None:
    """A command that waits for a person."""
    params = {"turnId": "turn-1", "itemId": "call-1", "command": "bash -lc 'rm -r .'", **more}
    server.ask(COMMAND, threadId=thread_id, **params)


def set_waiting(server: ScriptedServer, thread_id: str = "thread-1") -> None:
    status = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    server.tell("thread/status/changed", threadId=thread_id, status=status)


def resolve(server: ScriptedServer, request_id: int = 0, thread_id: str = "thread-1") -> None:
    server.tell("serverRequest/resolved", threadId=thread_id, requestId=request_id)


def is_waiting(running: Attached) -> bool:
    return bool(running.port.statuses) and running.port.statuses[-1][0] is AgentStatus.WAITING


def test_a_command_is_put_to_a_person_and_nothing_is_answered_meanwhile(
    server: ScriptedServer, attached: Attached
) -> None:
    set_waiting(server)
    ask(server)

    asked = attached.wait_asked()

    assert (asked.id, asked.tool, asked.summary) == (ASK_ID, "shell", "rm -r .")
    eventually(lambda: is_waiting(attached))
    assert server.answered() == []


def test_a_yes_lets_it_run(server: ScriptedServer, attached: Attached) -> None:
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.ALLOW)

    assert server.wait_answered() == [ACCEPT]


def test_a_yes_for_the_session_is_remembered_by_codex(
    server: ScriptedServer, attached: Attached
) -> None:
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.ALLOW, for_session=True)

    assert server.wait_answered() == [{"id": 0, "result": {"decision": "acceptForSession"}}]


def test_a_no_comes_with_its_reason_for_the_model(
    server: ScriptedServer, attached: Attached
) -> None:
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.DENY, reason="not on a Friday")

    assert server.wait_answered() == [DECLINE]
    (told,) = server.asked("thread/inject_items")
    text = told["items"][0]["content"][0]["text"]
    assert text == "[Agent Relay] A person denied `rm -r .`: not on a Friday"
    order = [each.get("method") for each in server.received]
    assert order.index("thread/inject_items") < order.index(None)


def test_an_answer_in_the_terminal_takes_the_question_from_the_relay(
    server: ScriptedServer, attached: Attached
) -> None:
    ask(server)
    attached.wait_asked()

    resolve(server)

    attached.wait_settled(ASK_ID)
    attached.answer(ASK_ID, Decision.ALLOW)
    server.set_status("active")
    eventually(lambda: attached.port.is_busy)
    assert server.answered() == []


def test_only_the_first_word_counts(server: ScriptedServer, attached: Attached) -> None:
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.DENY)
    attached.answer(ASK_ID, Decision.ALLOW)
    server.wait_answered()
    server.set_status("active")
    eventually(lambda: attached.port.is_busy)

    assert server.answered() == [DECLINE]


@pytest.mark.parametrize("end", ["idle", "active", "systemError"])
def test_a_turn_that_waits_no_more_has_no_questions(
    server: ScriptedServer, attached: Attached, end: str
) -> None:
    set_waiting(server)
    ask(server)
    attached.wait_asked()

    server.set_status(end)

    attached.wait_settled(ASK_ID)


def test_two_questions_are_answered_apart(server: ScriptedServer, attached: Attached) -> None:
    ask(server)
    ask(server, itemId="call-2", request_id=1)
    attached.wait_asked(2)
    by_id = {each.id: each for each in attached.port.asks}

    attached.answer("turn-1/call-2/1", Decision.ALLOW)
    server.wait_answered()
    resolve(server, request_id=1)

    assert set(by_id) == {ASK_ID, "turn-1/call-2/1"}
    assert server.answered() == [{"id": 1, "result": {"decision": "accept"}}]
    attached.wait_settled("turn-1/call-2/1")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("item/tool/requestUserInput", {"threadId": "thread-1", "turnId": "turn-1", "itemId": "i"}),
        ("mcpServer/elicitation/request", {"threadId": "thread-1", "serverName": "forms"}),
        ("item/future/requestApproval", {"threadId": "thread-1"}),
        (COMMAND, {"command": "no thread"}),
    ],
)
def test_what_nobody_understands_is_left_to_the_terminal(
    server: ScriptedServer, attached: Attached, method: str, params: dict[str, Any]
) -> None:
    server.ask(method, request_id=7, **params)
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.ALLOW)

    assert server.wait_answered() == [ACCEPT]
    assert [each.id for each in attached.port.asks] == [ASK_ID]


def test_another_conversations_question_is_nobodys_here(
    server: ScriptedServer, attached: Attached
) -> None:
    server.answers["thread/read"] = lambda params: {
        "thread": {**THREAD, "id": params["threadId"], "sessionId": params["threadId"]}
    }
    ask(server, thread_id="thread-9", request_id=7)
    server.wait_asked("thread/read")
    ask(server)
    attached.answer(attached.wait_asked().id, Decision.ALLOW)

    assert server.wait_answered() == [ACCEPT]
    assert [each.id for each in attached.port.asks] == [ASK_ID]


def test_a_sub_agents_question_is_the_conversations(
    server: ScriptedServer, attached: Attached
) -> None:
    helper = {**THREAD, "id": "helper", "sessionId": "thread-1", "threadSource": "subagent"}
    server.answers["thread/read"] = lambda _: {"thread": helper}
    server.set_status("active")
    ask(server, thread_id="helper")
    asked = attached.wait_asked()
    eventually(lambda: is_waiting(attached))

    attached.answer(asked.id, Decision.DENY)
    server.wait_answered()
    resolve(server, thread_id="helper")

    attached.wait_settled(asked.id)
    eventually(lambda: attached.port.is_busy)


def test_a_sub_agent_that_waits_already_is_heard(server: ScriptedServer, tmp_path: Path) -> None:
    waiting = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    threads = {
        "thread-1": {**THREAD, "status": {"type": "active"}},
        "helper": {
            **THREAD,
            "id": "helper",
            "sessionId": "thread-1",
            "threadSource": "subagent",
            "status": waiting,
        },
    }
    server.answers["thread/loaded/list"] = lambda _: {"data": list(threads)}
    server.answers["thread/read"] = lambda params: {"thread": threads[params["threadId"]]}
    port = RecordingPort(key="0123456789abcdef", folder=tmp_path, cwd=tmp_path)
    with Attached(port, tmp_path / "as.sock"):
        eventually(
            lambda: {"threadId": "helper", "excludeTurns": True} in server.asked("thread/resume")
        )


def test_a_patch_is_shown_as_it_was_proposed(server: ScriptedServer, attached: Attached) -> None:
    change = {"path": "/home/me/project/a.txt", "kind": {"type": "add"}, "diff": "hello\n"}
    item = {"type": "fileChange", "id": "call-1", "changes": [change]}
    server.tell("item/started", threadId="thread-1", turnId="turn-1", item=item)
    server.ask(
        "item/fileChange/requestApproval", threadId="thread-1", turnId="turn-1", itemId="call-1"
    )

    assert attached.wait_asked().summary == "add a.txt"


def test_a_patch_proposed_before_anybody_listened_is_looked_up(
    server: ScriptedServer, attached: Attached
) -> None:
    change = {"path": "/home/me/project/a.txt", "kind": {"type": "delete"}, "diff": ""}
    item = {"type": "fileChange", "id": "call-1", "changes": [change]}
    server.answers["thread/read"] = lambda _: {"thread": {**THREAD, "turns": [{"items": [item]}]}}
    server.ask(
        "item/fileChange/requestApproval", threadId="thread-1", turnId="turn-1", itemId="call-1"
    )

    assert attached.wait_asked().summary == "delete a.txt"


def test_a_question_answered_while_it_is_looked_up_is_not_asked(
    server: ScriptedServer, attached: Attached
) -> None:
    def read(_: dict[str, Any]) -> dict[str, Any]:
        resolve(server)
        return {"thread": THREAD}

    server.answers["thread/read"] = read
    server.ask(
        "item/fileChange/requestApproval", threadId="thread-1", turnId="turn-1", itemId="call-1"
    )
    server.wait_asked("thread/read")
    ask(server, itemId="call-2", request_id=1)

    assert attached.wait_asked().id == "turn-1/call-2/1"
    assert attached.port.settlements == []


def test_the_server_asks_again_after_a_lost_connection_and_it_is_the_same_question(
    server: ScriptedServer, attached: Attached
) -> None:
    server.answers["thread/loaded/list"] = lambda _: {"data": ["thread-1"]}
    server.answers["thread/read"] = lambda _: {
        "thread": {**THREAD, "status": {"type": "active", "activeFlags": ["waitingOnApproval"]}}
    }
    ask(server)
    attached.wait_asked()
    server.hang_up()
    eventually(lambda: len(server.connections) == 2)
    # A word that comes before the server asked again waits for it.
    attached.answer(ASK_ID, Decision.ALLOW)
    server.wait_asked("thread/resume", 2)
    assert server.answered() == []

    ask(server)

    assert server.wait_answered() == [ACCEPT]
    assert {each.id for each in attached.port.asks} == {ASK_ID}
    assert attached.port.settlements == []


def test_a_question_the_server_does_not_ask_again_is_over(
    server: ScriptedServer, attached: Attached
) -> None:
    server.answers["thread/loaded/list"] = lambda _: {"data": ["thread-1"]}
    server.answers["thread/read"] = lambda _: {
        "thread": {**THREAD, "status": {"type": "active", "activeFlags": ["waitingOnApproval"]}}
    }
    ask(server)
    attached.wait_asked()
    server.hang_up()
    eventually(lambda: len(server.connections) == 2)
    ask(server, itemId="call-2", request_id=1)

    attached.wait_settled(ASK_ID)
    assert attached.port.asks[-1].id == "turn-1/call-2/1"


def test_questions_of_a_conversation_that_was_left_are_over(
    server: ScriptedServer, attached: Attached
) -> None:
    ask(server)
    attached.wait_asked()

    server.open_thread("thread-2")

    attached.wait_settled(ASK_ID)
    assert server.answered() == []

"""The adapter's decisions, on a scripted app-server: older versions, losses, other clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from relay_agentd.adapters.base import Outcome
from relay_launchers.codex.policy import POLICY_FILE, SessionPolicy
from relay_server.wire import Priority, Reachability
from tests.codex.bench import Attached, RecordingPort, a_delivery
from tests.codex.scripted_server import THREAD, HangUp, ScriptedServer, ServerError
from tests.support.wait import eventually


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer(tmp_path / "as.sock") as scripted:
        yield scripted


@pytest.fixture
def attached(server: ScriptedServer, tmp_path: Path) -> Iterator[Attached]:
    """An adapter that is connected, before the terminal has a thread."""
    with Attached(a_port(tmp_path), tmp_path / "as.sock") as running:
        eventually(lambda: server.connections and server.asked("thread/loaded/list"))
        yield running


def a_port(folder: Path) -> RecordingPort:
    return RecordingPort(key="0123456789abcdef", folder=folder, cwd=folder)


def refuse(message: str) -> Any:
    def answer(_: dict[str, Any]) -> NoReturn:
        raise ServerError(message)

    return answer


def hang_up(_: dict[str, Any]) -> NoReturn:
    raise HangUp


def on_thread(server: ScriptedServer, attached: Attached, **changes: Any) -> None:
    """The terminal has its thread, and messages may come."""
    server.open_thread(**changes)
    eventually(lambda: attached.port.times_ready)


def make_old(server: ScriptedServer) -> None:
    """A server from before the queue."""
    for method in ("thread/queue/add", "thread/queue/start", "thread/queue/list"):
        server.answers[method] = refuse(f"Invalid request: unknown variant `{method}`")


def test_a_message_is_queued_with_the_deliverys_id(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)

    assert attached.push(a_delivery(1, "hello")) == [Outcome.HANDED]

    assert server.asked("thread/queue/add") == [
        {
            "threadId": "thread-1",
            "clientUserMessageId": "d-0000000000000001",
            "input": [{"type": "text", "text": "[msg:1] from backend-agent: hello"}],
        }
    ]


def test_before_there_is_a_thread_nothing_is_taken(attached: Attached) -> None:
    assert attached.push(a_delivery(1, "hello")) == [Outcome.NOT_NOW]
    assert attached.find_evidence(a_delivery(1, "hello")) is None


def test_an_older_server_starts_a_turn_when_it_is_idle(
    server: ScriptedServer, attached: Attached
) -> None:
    make_old(server)
    on_thread(server, attached)

    outcomes = attached.push(a_delivery(1, "hello"))

    assert outcomes == [Outcome.HANDED]
    assert [each["clientUserMessageId"] for each in server.asked("turn/start")] == [
        "d-0000000000000001"
    ]


def test_an_older_server_gets_one_message_a_turn(
    server: ScriptedServer, attached: Attached
) -> None:
    make_old(server)
    on_thread(server, attached)

    outcomes = attached.push(a_delivery(1, "first"), a_delivery(2, "second"))
    ready_before = attached.port.times_ready
    server.set_status("active")
    server.set_status("idle")
    eventually(lambda: attached.port.times_ready > ready_before)

    assert outcomes == [Outcome.HANDED, Outcome.NOT_NOW]
    assert attached.push(a_delivery(2, "second")) == [Outcome.HANDED]


def test_an_older_server_is_asked_for_its_queue_only_once(
    server: ScriptedServer, attached: Attached
) -> None:
    make_old(server)
    on_thread(server, attached)

    attached.push(a_delivery(1, "first"), a_delivery(2, "second"))

    assert len(server.asked("thread/queue/add")) == 1


def test_an_urgent_message_steers_only_a_running_turn(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    attached.push(a_delivery(1, "idle", Priority.URGENT))
    server.set_status("active")
    eventually(lambda: attached.port.is_busy)

    attached.push(a_delivery(2, "busy", Priority.URGENT))

    assert [each["clientUserMessageId"] for each in server.asked("thread/queue/add")] == [
        "d-0000000000000001"
    ]
    assert [each["clientUserMessageId"] for each in server.asked("turn/start")] == [
        "d-0000000000000002"
    ]


def test_a_connection_lost_in_the_middle_leaves_the_outcome_unknown(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    server.answers["thread/queue/add"] = hang_up

    assert attached.push(a_delivery(1, "hello")) == [Outcome.UNKNOWN]

    eventually(lambda: Reachability.NONE in attached.port.reachabilities)


def test_a_lost_connection_comes_back_and_finds_the_same_conversation(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    server.answers["thread/loaded/list"] = lambda _: {"data": ["thread-1"]}

    server.hang_up()

    eventually(lambda: len(server.connections) == 2)
    eventually(
        lambda: (
            attached.port.reachabilities
            == [Reachability.PUSH, Reachability.NONE, Reachability.PUSH]
        )
    )
    assert attached.port.opens == ["thread-1"]


def test_of_several_conversations_the_most_recent_is_followed(
    server: ScriptedServer, tmp_path: Path
) -> None:
    threads = {
        "old": {**THREAD, "id": "old", "updatedAt": 1_795_000_500},
        "newest": {**THREAD, "id": "newest", "recencyAt": 1_795_000_900},
        "title": {**THREAD, "id": "title", "ephemeral": True, "updatedAt": 1_795_000_999},
        "sub": {**THREAD, "id": "sub", "parentThreadId": "old", "updatedAt": 1_795_000_999},
    }
    server.answers["thread/loaded/list"] = lambda _: {"data": list(threads)}
    server.answers["thread/read"] = lambda params: {"thread": threads[params["threadId"]]}

    with Attached(a_port(tmp_path), tmp_path / "as.sock") as running:
        running.wait_opened()

        assert running.port.opens == ["newest"]


def test_the_proof_is_the_user_message_with_the_deliverys_id(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    attached.push(a_delivery(1, "hello"))
    item = {"type": "userMessage", "clientId": "d-0000000000000001"}
    typed = {"type": "userMessage", "clientId": "of-the-terminal"}

    server.tell("item/started", threadId="thread-1", item=typed)
    server.tell("item/started", threadId="thread-1", item=item)
    server.tell("item/completed", threadId="thread-1", item=item)
    server.set_status("active")
    eventually(lambda: attached.port.is_busy)

    assert attached.port.proofs == ["d-0000000000000001"]


def test_a_proof_that_passed_before_subscribing_is_read_back(
    server: ScriptedServer, attached: Attached
) -> None:
    items = [{"type": "userMessage", "clientId": "d-0000000000000001"}]
    server.answers["thread/resume"] = refuse("no rollout found for thread id thread-1")
    server.answers["thread/turns/list"] = lambda _: {"data": [{"items": items}]}
    on_thread(server, attached)
    attached.push(a_delivery(1, "hello"))

    server.answers["thread/resume"] = lambda _: {}
    server.set_status("active")

    eventually(lambda: attached.port.proofs == ["d-0000000000000001"])


def test_evidence_is_looked_for_on_every_page(server: ScriptedServer, attached: Attached) -> None:
    def turns(params: dict[str, Any]) -> dict[str, Any]:
        if "cursor" not in params:
            return {"data": [], "nextCursor": "older"}
        return {"data": [{"items": [{"type": "userMessage", "clientId": "d-0000000000000001"}]}]}

    server.answers["thread/turns/list"] = turns
    on_thread(server, attached)

    assert attached.find_evidence(a_delivery(1, "hello")) is True
    assert attached.find_evidence(a_delivery(2, "never sent")) is False


def test_a_message_between_queue_and_turn_is_not_taken_for_lost(
    server: ScriptedServer, attached: Attached
) -> None:
    looks = []

    def turns(_: dict[str, Any]) -> dict[str, Any]:
        looks.append(1)
        entered = [{"type": "userMessage", "clientId": "d-0000000000000001"}]
        return {"data": [{"items": entered if len(looks) > 1 else []}]}

    server.answers["thread/turns/list"] = turns
    on_thread(server, attached)

    assert attached.find_evidence(a_delivery(1, "hello")) is True


def test_an_interrupted_turn_has_its_queue_started_again(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)

    server.tell(
        "turn/completed", threadId="thread-1", turn={"id": "turn-1", "status": "interrupted"}
    )

    assert server.wait_asked("thread/queue/start") == [{"threadId": "thread-1"}]


def test_messages_queued_in_a_conversation_that_was_left_are_given_back(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    attached.push(a_delivery(1, "hello"))
    entries = [
        {"id": "entry-1", "clientUserMessageId": "d-0000000000000001"},
        {"id": "entry-2", "clientUserMessageId": "of-the-terminal"},
    ]
    server.answers["thread/queue/list"] = lambda params: {
        "data": entries if params["threadId"] == "thread-1" else []
    }

    server.open_thread("thread-2")

    eventually(lambda: attached.port.losses == ["d-0000000000000001"])
    assert server.asked("thread/queue/delete") == [
        {"threadId": "thread-1", "queuedSubmissionId": "entry-1"}
    ]
    assert attached.port.opens == ["thread-1", "thread-2"]


def test_a_conversation_that_is_closed_cannot_be_reached(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)

    server.tell("thread/closed", threadId="thread-1")

    eventually(lambda: attached.port.reachabilities[-1] is Reachability.NONE)
    assert attached.push(a_delivery(1, "hello")) == [Outcome.NOT_NOW]


def test_a_refused_message_is_offered_again_later(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    server.answers["thread/queue/add"] = refuse("thread is archived")

    assert attached.push(a_delivery(1, "hello")) == [Outcome.NOT_NOW]


def test_a_resumed_thread_gets_its_policy_before_any_message(
    server: ScriptedServer, tmp_path: Path
) -> None:
    policy = SessionPolicy(
        mode="read-only", approval="never", sandbox="workspace-write", is_own=True, is_resumed=True
    )
    (tmp_path / POLICY_FILE).write_text(policy.to_text())
    with Attached(a_port(tmp_path), tmp_path / "as.sock") as running:
        eventually(lambda: server.connections and server.asked("thread/loaded/list"))
        server.set_status("idle")
        running.wait_opened()
        running.deliver(a_delivery(1, "hello"))

    methods = [each.get("method") for each in server.received]
    assert methods.index("thread/settings/update") < methods.index("thread/queue/add")
    assert server.asked("thread/settings/update") == [
        {"threadId": "thread-1", **policy.settings("read-only")}
    ]


def test_an_introduction_is_told_once_for_each_conversation(
    server: ScriptedServer, tmp_path: Path
) -> None:
    port = a_port(tmp_path)
    port.text = "You are on the relay."
    with Attached(port, tmp_path / "as.sock") as running:
        eventually(lambda: server.connections and server.asked("thread/loaded/list"))
        on_thread(server, running)
        server.open_thread("thread-2")
        server.wait_asked("thread/inject_items", 2)
        eventually(lambda: port.times_ready == 2)
        server.tell("thread/goal/cleared", threadId="thread-1")
        eventually(lambda: port.opens == ["thread-1", "thread-2", "thread-1"])
        running.deliver(a_delivery(1, "hello"))

    told = [each["threadId"] for each in server.asked("thread/inject_items")]
    assert told == ["thread-1", "thread-2"]


def test_an_adapter_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    with Attached(a_port(tmp_path), tmp_path / "as.sock") as running:
        assert running.push(a_delivery(1, "hello")) == [Outcome.NOT_NOW]
        with ScriptedServer(tmp_path / "as.sock") as late:
            eventually(lambda: late.connections and late.asked("thread/loaded/list"))
            on_thread(late, running)

            assert running.push(a_delivery(1, "hello")) == [Outcome.HANDED]


def test_a_server_of_another_protocol_does_not_end_the_adapter(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers["thread/loaded/list"] = lambda _: {"data": ["thread-1"]}
    server.answers["thread/read"] = lambda _: {"conversation": {}}
    with Attached(a_port(tmp_path), tmp_path / "as.sock") as running:
        eventually(lambda: server.connections and server.asked("thread/read"))
        server.answers["thread/read"] = lambda _: {"thread": THREAD}
        server.hang_up()

        running.wait_opened()


def test_a_status_that_changes_while_its_thread_is_looked_at_is_not_missed(
    server: ScriptedServer, attached: Attached
) -> None:
    looks = []

    def read(_: dict[str, Any]) -> dict[str, Any]:
        looks.append(1)
        if len(looks) == 1:
            server.set_status("active")
            return {"thread": THREAD}
        return {"thread": {**THREAD, "status": {"type": "active"}}}

    server.answers["thread/read"] = read

    server.set_status("idle")

    eventually(lambda: attached.port.is_busy)
    assert attached.port.opens == ["thread-1"]

"""What is known of the ways into a Codex session, on a scripted app-server."""

from pathlib import Path

from relay_agentd.adapters.base import Outcome, WayState
from relay_server.wire import Priority
from tests.codex.bench import Attached, a_delivery
from tests.codex.scripted_server import ScriptedServer
from tests.codex.test_adapter import a_port, attached, make_old, on_thread, server
from tests.support.wait import eventually

__all__ = ["attached", "server"]

QUEUE, TURN, STEER = (
    "thread/queue/add",
    "turn/start when idle",
    "turn/start while busy (urgent)",
)


def states(attached: Attached) -> dict[str, WayState]:
    return {way.name: way.state for way in attached.adapter.ways()}


def show(server: ScriptedServer, number: int) -> None:
    item = {"type": "userMessage", "clientId": f"d-{number:016x}"}
    server.tell("item/started", threadId="thread-1", item=item)


def test_each_way_is_proved_by_its_own_messages(server: ScriptedServer, attached: Attached) -> None:
    on_thread(server, attached)
    assert states(attached) == dict.fromkeys((QUEUE, TURN, STEER), WayState.UNTRIED)

    attached.push(a_delivery(1, "hello"))
    show(server, 1)
    eventually(lambda: states(attached)[QUEUE] is WayState.PROVED)
    server.set_status("active")
    eventually(lambda: attached.port.is_busy)
    attached.push(a_delivery(2, "now", Priority.URGENT))
    show(server, 2)

    eventually(lambda: states(attached)[STEER] is WayState.PROVED)
    assert states(attached)[TURN] is WayState.UNTRIED


def test_an_older_server_has_no_queue(server: ScriptedServer, attached: Attached) -> None:
    make_old(server)
    on_thread(server, attached)

    attached.push(a_delivery(1, "hello"))
    show(server, 1)

    eventually(lambda: states(attached)[TURN] is WayState.PROVED)
    assert states(attached)[QUEUE] is WayState.ABSENT


def test_a_queue_that_loses_a_message_is_not_used_again_in_this_conversation(
    server: ScriptedServer, attached: Attached
) -> None:
    on_thread(server, attached)
    attached.push(a_delivery(1, "hello"))

    assert attached.find_evidence(a_delivery(1, "hello")) is False
    assert states(attached)[QUEUE] is WayState.FAILED
    assert attached.push(a_delivery(1, "hello")) == [Outcome.HANDED]

    assert len(server.asked("thread/queue/add")) == 1
    assert len(server.asked("turn/start")) == 1


def test_probing_puts_nothing_into_the_thread(server: ScriptedServer, attached: Attached) -> None:
    on_thread(server, attached)

    found = {each.name: each.ok for each in attached.probe()}

    assert found == {"app-server": True, "thread": True, "queue": True}
    assert not server.asked("thread/queue/add")
    assert not server.asked("turn/start")


def test_without_a_connection_probing_says_so(tmp_path: Path) -> None:
    with Attached(a_port(tmp_path), tmp_path / "none.sock") as alone:
        assert [(each.name, each.ok) for each in alone.probe()] == [("app-server", False)]

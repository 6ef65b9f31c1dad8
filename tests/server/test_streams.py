"""/api/stream and /api/events over a real connection."""

import socket
import threading
from contextlib import ExitStack, closing

import pytest

from relay_server.services.events import KEPT_BYTES
from relay_server.services.streaming import PING_SECONDS
from tests.server.conftest import StartRelay
from tests.server.running import LaterClock, RunningRelay
from tests.support.wait import eventually


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """Two agents of one machine."""
    relay_server.agent("a", tags=["t"])
    relay_server.agent("b", tags=["t"])
    return relay_server


def test_a_stream_starts_with_hello_and_everything_not_yet_handed_in_id_order(
    relay: RunningRelay,
) -> None:
    handed = relay.send("operator", "a")["id"]
    one = relay.send("operator", "b")["id"]
    both = relay.send("operator", "tag:t")["id"]
    last = relay.send("operator", "a")["id"]
    relay.ack("a", handed, "handed")

    with relay.stream("/api/stream?agent=a&agent=b&machine=m", {"Last-Event-ID": "999"}) as s:
        messages = s.messages(4)

    assert s.events[0].type == "hello"
    assert s.events[0].data["streamId"]
    assert messages == [("b", one), ("a", both), ("b", both), ("a", last)]
    assert [event.id for event in s.of_type("message")] == [one, both, both, last]


def test_a_live_message_comes_once_to_each_agent_it_matches(relay: RunningRelay) -> None:
    with relay.stream("/api/stream?agent=a&agent=b") as s:
        s.wait_for("hello")
        sent = [relay.send("operator", to)["id"] for to in ("tag:t", "a", "broadcast")]
        relay.send("operator", "tag:none")
        end = relay.send("operator", "b")["id"]
        messages = s.messages(6)

    assert sorted(messages) == sorted(
        [("a", sent[0]), ("b", sent[0]), ("a", sent[1]), ("a", sent[2]), ("b", sent[2]), ("b", end)]
    )
    assert [m for _, m in messages] == sorted(m for _, m in messages)


def test_what_was_not_handed_comes_again_after_a_reconnect(relay: RunningRelay) -> None:
    first, second = (relay.send("operator", "a")["id"] for _ in range(2))
    with relay.stream("/api/stream?agent=a") as s:
        s.messages(2)
    relay.ack("a", first, "handed")

    with relay.stream("/api/stream?agent=a") as s:
        messages = s.messages(1)

    assert messages == [("a", second)]


def test_a_backlog_longer_than_a_page_comes_whole_and_in_order(relay: RunningRelay) -> None:
    ids = [relay.send("operator", "tag:t")["id"] for _ in range(450)]

    with relay.stream("/api/stream?agent=a&agent=b") as s:
        messages = s.messages(900)

    assert messages == [(agent, number) for number in ids for agent in ("a", "b")]


def test_streaming_a_message_marks_it_routed(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]

    with relay.stream("/api/stream?agent=a") as s:
        s.messages(1)
        eventually(lambda: relay.receipt(message, "a")["state"] == "routed")

    assert relay.receipt(message, "a")["attempts"] == 1


def test_the_set_of_agents_changes_without_reconnecting(relay: RunningRelay) -> None:
    waiting = relay.send("operator", "b")["id"]
    with relay.stream("/api/stream?agent=a") as s:
        stream_id = s.wait_for("hello")[0].data["streamId"]
        changed = relay.client.put(f"/api/stream/{stream_id}", json={"agents": ["b"]})
        backlog = s.messages(1)
        relay.send("operator", "a")
        live = relay.send("operator", "b")["id"]
        messages = s.messages(2)

    assert changed.json()["agents"] == ["b"]
    assert backlog == [("b", waiting)]
    assert messages == [("b", waiting), ("b", live)]


def test_an_agent_registered_later_is_served_from_then_on(relay: RunningRelay) -> None:
    with relay.stream("/api/stream?agent=later") as s:
        s.wait_for("hello")
        relay.agent("later", tags=["t"])
        message = relay.send("operator", "tag:t")["id"]

        assert s.messages(1) == [("later", message)]


def test_a_new_tag_reaches_the_open_stream(relay: RunningRelay) -> None:
    old = relay.send("operator", "tag:new")["id"]
    with relay.stream("/api/stream?agent=a&agent=b") as s:
        # Its arrival says that the stream is past its first backlog, which reads today's tags.
        first = relay.send("operator", "b")["id"]
        s.wait_for("message")
        relay.client.patch("/api/agents/a", json={"tags": ["new"], "label": "L"})
        described = s.wait_for("agent")[0].data
        new = relay.send("operator", "tag:new")["id"]

        assert s.messages(3) == [("b", first), ("a", old), ("a", new)]
    assert (described["agentId"], described["agent"]["tags"]) == ("a", ["new"])


def test_an_event_for_a_machine_reaches_each_of_its_streams_and_no_other(
    relay: RunningRelay,
) -> None:
    listeners = relay.relay.core.listeners
    with (
        relay.stream("/api/stream?agent=a&machine=m") as one,
        relay.stream("/api/stream?machine=m") as two,
        relay.stream("/api/stream?agent=b&machine=other") as other,
    ):
        for followed in (one, two, other):
            followed.wait_for("hello")
        listeners.notify_machine("m", "command", {"id": 1})
        listeners.notify_machine("nobody", "command", {"id": 2})
        listeners.notify_machine("other", "command", {"id": 3})
        got = [followed.wait_for("command")[0].data["id"] for followed in (one, two, other)]

    assert got == [1, 1, 3]


def test_an_unknown_stream_cannot_be_changed(relay: RunningRelay) -> None:
    answer = relay.client.put("/api/stream/nope", json={"agents": []})

    assert (answer.status_code, answer.json()["code"]) == (404, "stream_not_found")


@pytest.mark.parametrize(
    ("taken", "other"),
    [("/api/stream?machine=m", "/api/events"), ("/api/events", "/api/stream?machine=m")],
)
def test_streams_are_bounded_together_and_their_places_come_back(
    start_relay: StartRelay, taken: str, other: str
) -> None:
    relay = start_relay(AGENT_RELAY_MAX_STREAMS="1")
    with relay.stream(taken) as s:
        eventually(lambda: s.events or s.comments)
        refused = relay.client.get(other)
        stats = relay.client.get("/api/stats").json()["streams"]

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json()["code"] == "too_many_streams"
    assert stats == {"open": 1, "limit": 1}
    eventually(lambda: relay.client.get("/api/stats").json()["streams"]["open"] == 0)
    with relay.stream(other) as s:
        eventually(lambda: s.events or s.comments)


@pytest.mark.parametrize("path", ["/api/stream?machine=m", "/api/events"])
def test_a_stream_with_nothing_to_say_pings_every_fifteen_seconds(
    start_relay: StartRelay, path: str
) -> None:
    clock = LaterClock()
    relay = start_relay(clock=clock)
    with relay.stream(path) as s:
        eventually(lambda: s.events or s.comments)
        # Counted from the last event, so let there be one.
        relay.agent("a")
        relay.relay.core.listeners.notify_machine("m", "command", {})
        s.wait_for("command" if "machine" in path else "agent.registered")
        for count in (1, 2):
            clock.advance(PING_SECONDS - 5)
            relay.client.get("/healthz")
            assert s.comments.count("ping") == count - 1
            clock.advance(5)
            eventually(lambda: s.comments.count("ping") == count)  # noqa: B023 - called at once


def test_a_stream_keeps_no_thread(relay: RunningRelay) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(relay.stream("/api/stream?agent=a"))
        first.wait_for("hello")
        served = _threads_of_the_relay()
        for _ in range(20):
            stack.enter_context(relay.stream("/api/stream?agent=a")).wait_for("hello")

        assert _threads_of_the_relay() == served


def _threads_of_the_relay() -> int:
    return sum(thread.name.startswith("waitress-") for thread in threading.enumerate())


def test_parked_requests_never_starve_ordinary_ones(relay: RunningRelay) -> None:
    streams = [relay.stream("/api/stream?agent=a") for _ in range(30)]
    followed = [stream.__enter__() for stream in streams]
    try:
        for one in followed:
            one.wait_for("hello")
        message = relay.send("operator", "a")["id"]
        assert [one.messages(1) for one in followed] == [[("a", message)]] * 30
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)


def test_stopping_the_server_ends_its_streams(start_relay: StartRelay) -> None:
    relay = start_relay()
    with relay.stream("/api/stream?machine=m") as s, relay.stream("/api/events") as e:
        s.wait_for("hello")
        relay.server.stop()
        eventually(lambda: s.has_ended and e.has_ended)


# -- events


def test_everything_that_happens_is_an_event_in_order(relay: RunningRelay) -> None:
    with relay.stream("/api/events") as s:
        eventually(lambda: s.comments)
        relay.agent("new")
        relay.client.patch("/api/agents/new", json={"label": "N"})
        relay.client.patch("/api/agents/new/status", json={"status": "busy"})
        message = relay.send("operator", "new", claimable=True)["id"]
        for verb in ("claim", "release", "claim", "complete"):
            relay.client.post(f"/api/messages/{message}/{verb}", json={"agentId": "new"})
        relay.ack("new", message, "handed")
        relay.client.delete(f"/api/messages/{message}")
        relay.client.patch("/api/agents/new/status", json={"status": "offline"})
        relay.client.delete("/api/agents/new")
        relay.client.put("/api/machines/m", json={})
        s.wait_for("machine.online")

    assert [event.type for event in s.events] == [
        *("agent.registered", "agent.updated", "agent.status", "message.created"),
        *("message.claimed", "message.released", "message.claimed", "message.completed"),
        *("message.receipt", "message.deleted", "agent.status", "agent.offline"),
        *("agent.removed", "machine.online"),
    ]
    ids = [event.id or 0 for event in s.events]
    assert ids == sorted(set(ids))
    assert s.of_type("message.created")[0].data["message"]["id"] == message


def test_types_narrow_to_events_or_families(relay: RunningRelay) -> None:
    with relay.stream("/api/events?types=message.created,agent") as s:
        eventually(lambda: s.comments)
        message = relay.send("operator", "a")["id"]
        relay.ack("a", message, "handed")
        relay.agent("last")
        s.wait_for("agent.registered")

    assert [event.type for event in s.events] == ["message.created", "agent.registered"]


def test_last_event_id_resumes_where_the_reader_stopped(relay: RunningRelay) -> None:
    with relay.stream("/api/events") as s:
        eventually(lambda: s.comments)
        relay.send("operator", "a", "seen")
        seen = s.wait_for("message.created")[0].id
    relay.send("operator", "a", "missed")

    with relay.stream("/api/events", {"Last-Event-ID": str(seen)}) as s:
        missed = s.wait_for("message.created")

    assert [event.type for event in s.events] == ["message.created"]
    assert missed[0].data["message"]["body"] == "missed"


@pytest.mark.parametrize("last_id", ["99999999", "nonsense", "9" * 40])
def test_an_id_out_of_reach_is_answered_with_reset(relay: RunningRelay, last_id: str) -> None:
    with relay.stream("/api/events", {"Last-Event-ID": last_id}) as s:
        s.wait_for("reset")
        relay.send("operator", "a")
        s.wait_for("message.created")

    assert [event.type for event in s.events] == ["reset", "message.created"]


def test_the_log_reaches_back_ten_thousand_events_and_no_further(relay: RunningRelay) -> None:
    log = relay.relay.core.events
    log.add("agent.registered", number=0)
    first = log.subscribe(frozenset(), 10**9).feed.take()[0]
    number = int(first.split(b"id: ")[1].split(b"\n")[0])
    for _ in range(10_000):
        log.add("agent.updated", number=1)

    with relay.stream("/api/events", {"Last-Event-ID": str(number)}) as still_known:
        still_known.wait_for("agent.updated", 10_000)
    with relay.stream("/api/events", {"Last-Event-ID": str(number - 1)}) as lost:
        lost.wait_for("reset")


def test_the_log_keeps_fewer_events_when_they_are_large(relay: RunningRelay) -> None:
    log = relay.relay.core.events
    log.add("agent.registered", number=0)
    first = log.subscribe(frozenset(), 10**9).feed.take()[0]
    number = int(first.split(b"id: ")[1].split(b"\n")[0])
    log.add("agent.updated", number=1)
    for _ in range(8):
        log.add("message.created", text="x" * (KEPT_BYTES // 8))

    with relay.stream("/api/events", {"Last-Event-ID": str(number)}) as lost:
        lost.wait_for("reset")


def test_after_a_restart_event_ids_go_on_and_readers_are_reset(
    start_relay: StartRelay, relay: RunningRelay
) -> None:
    with relay.stream("/api/events") as s:
        eventually(lambda: s.comments)
        relay.agent("before")
        seen = s.wait_for("agent.registered")[0].id or 0
    relay.stop()
    again = start_relay()

    with again.stream("/api/events", {"Last-Event-ID": str(seen)}) as s:
        s.wait_for("reset")
        again.agent("after")
        event = s.wait_for("agent.registered")[0]

    assert (event.id or 0) > seen


def test_a_reader_that_does_not_keep_up_is_cut(relay: RunningRelay) -> None:
    subscription = relay.relay.core.events.subscribe(frozenset(), None)

    for _ in range(6000):
        relay.relay.core.events.add("session.updated", number=1)

    assert subscription.feed.is_closed
    relay.relay.core.events.unsubscribe(subscription)


@pytest.mark.parametrize("path", ["/api/stream?agent=a", "/api/events"])
def test_a_reader_that_does_not_read_is_cut_before_it_costs_much(
    relay: RunningRelay, path: str
) -> None:
    with closing(socket.socket()) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", relay.server.port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(lambda: relay.relay.core.slots.streams == 1)

        sent = 0
        while relay.relay.core.slots.streams and sent < 40_000_000:
            sent += len(relay.send("operator", "a", "x" * 60_000)["body"])
        eventually(lambda: relay.relay.core.slots.streams == 0)

    assert sent < 30_000_000

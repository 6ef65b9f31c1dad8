"""Waiting for an approval's answer, hearing of it, and how long it is kept."""

import pytest

from tests.server.asking import ask, cancel, decide, get, ids
from tests.server.conformance import judged_client
from tests.server.conftest import Background
from tests.server.running import LaterClock, RunningRelay
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

_DAY = 24 * 3600


@pytest.fixture
def relay(patient_relay: RunningRelay) -> RunningRelay:
    """One session."""
    patient_relay.agent("a", instanceId="one")
    return patient_relay


# -- waiting


@pytest.mark.parametrize("end", ["decide", "cancel", "offline", "expire"])
def test_a_long_poll_wakes_when_it_is_no_longer_pending(
    relay: RunningRelay, clock: LaterClock, background: Background, end: str
) -> None:
    approval = ask(relay)
    waiting = background(get, relay, approval, wait=19)
    eventually(lambda: relay.relay.core.slots.parked == 1)

    if end == "decide":
        decide(relay, approval, "allow")
    elif end == "cancel":
        cancel(relay, approval)
    elif end == "offline":
        relay.client.patch("/api/agents/a/status", json={"status": "offline"})
    else:
        relay.relay.sweeper.sweep(clock.now_ms() + 600_000)

    status = {"decide": "allowed", "expire": "expired"}.get(end, "canceled")
    assert waiting.result(timeout=5)["status"] == status


def test_a_long_poll_ends_unanswered_when_its_time_is_over(relay: RunningRelay) -> None:
    assert get(relay, ask(relay), wait=0.05)["status"] == "pending"


def test_another_approval_wakes_nobody_else(relay: RunningRelay, background: Background) -> None:
    approval, other = ask(relay), ask(relay)
    waiting = background(get, relay, approval, wait=19)
    eventually(lambda: relay.relay.core.slots.parked == 1)

    decide(relay, other, "allow")
    assert not waiting.done()
    decide(relay, approval, "deny")

    assert waiting.result(timeout=5)["status"] == "denied"


# -- telling


def test_every_change_is_an_event_and_the_sessions_stream_hears_the_answers(
    relay: RunningRelay, clock: LaterClock
) -> None:
    relay.agent("b")
    with (
        relay.stream("/api/events?types=approval") as events,
        relay.stream("/api/stream?agent=a") as stream,
        relay.stream("/api/stream?agent=b") as other,
    ):
        stream.wait_for("hello")
        other.wait_for("hello")
        eventually(lambda: events.comments)
        first, second, third = ask(relay), ask(relay), ask(relay, expiresInSeconds=5)
        decide(relay, first, "allow")
        cancel(relay, second)
        relay.relay.sweeper.sweep(clock.now_ms() + 5_000)
        told = stream.wait_for("approval", 3)
        events.wait_for("approval.expired")

        assert other.of_type("approval") == []
    assert [(e.type, e.data["approval"]["id"]) for e in events.events] == [
        *(("approval.requested", asked["id"]) for asked in (first, second, third)),
        ("approval.decided", first["id"]),
        ("approval.canceled", second["id"]),
        ("approval.expired", third["id"]),
    ]
    assert [event.data["agentId"] for event in told] == ["a"] * 3
    assert [event.data["approval"]["status"] for event in told] == [
        *("allowed", "canceled"),
        "expired",
    ]
    assert told[0].data["approval"] == get(relay, first)


# -- keeping


def test_a_pending_question_survives_a_killed_relay(relay_process: RelayProcess) -> None:
    relay_process.start()
    with judged_client(relay_process.url) as client:
        client.post("/api/agents", json={"id": "a"})
        given = {"agentId": "a", "tool": "Bash", "summary": "ls"}
        approval = client.post("/api/approvals", json=given).json()
    relay_process.kill()
    relay_process.start()

    with judged_client(relay_process.url) as client:
        path = f"/api/approvals/{approval['id']}"
        found = client.get(path).json()
        decided = client.post(f"{path}/decision", json={"decision": "allow"}).json()

    assert found == approval
    assert decided["status"] == "allowed"


def test_old_approvals_go_and_their_ids_are_not_used_again(
    relay: RunningRelay, clock: LaterClock
) -> None:
    old = [ask(relay)["id"] for _ in range(3)]
    clock.advance(30 * _DAY)
    relay.agent("a")
    kept = ask(relay)["id"]

    relay.relay.sweeper.sweep(clock.now_ms() + 1000)
    after = ids(relay)
    clock.advance(31 * _DAY)
    relay.relay.sweeper.sweep(clock.now_ms())
    relay.agent("a")

    assert after == [kept]
    assert ids(relay) == []
    assert ask(relay)["id"] > kept > max(old)


def test_one_sweep_writes_down_all_that_nobody_answered(
    relay: RunningRelay, clock: LaterClock
) -> None:
    asked = [ask(relay)["id"] for _ in range(70)]

    relay.relay.sweeper.sweep(clock.now_ms() + 600_000)

    assert ids(relay, status="expired", limit=100) == asked[::-1]
    with relay.relay.core.database.read() as reader:
        assert reader.all("SELECT DISTINCT status FROM approvals") == [("expired",)]

"""Work whose lease ends by itself: nothing shows, lists, updates or keeps it as still held."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_server.clock import SystemClock
from tests.server.running import Json, LaterClock, RunningRelay

STALE_MS = 600_000


@pytest.fixture
def clock() -> LaterClock:
    return LaterClock()


@pytest.fixture
def relay(tmp_path: Path, clock: LaterClock) -> Iterator[RunningRelay]:
    """Two workers; the sweeper comes by only when it is called."""
    made = RunningRelay(tmp_path, clock, SystemClock(), STALE_TTL_MS=str(STALE_MS))
    made.agent("a", tags=["work"])
    made.agent("b", tags=["work"])
    yield made
    made.stop()


@pytest.fixture
def task(relay: RunningRelay) -> Json:
    """Claimed by a for ten seconds."""
    return _task(relay)


def _task(relay: RunningRelay, **more: Any) -> Json:
    body = {"title": "disk full", "target": "tag:work", **more}
    task = relay.client.post("/api/tasks", json=body).json()
    claim = {"agentId": "a", "leaseSeconds": 10}
    assert relay.client.post(f"/api/tasks/{task['id']}/claim", json=claim).status_code == 200
    return dict(task)


def _update(relay: RunningRelay, task: Json, status: str, by: str) -> httpx.Response:
    body = {"agentId": by, "status": status}
    return relay.client.patch(f"/api/tasks/{task['id']}/status", json=body)


def _history(relay: RunningRelay, task: Json) -> list[str]:
    events = relay.client.get(f"/api/tasks/{task['id']}/events").json()["events"]
    return [event["type"].removeprefix("task.") for event in events]


def test_what_has_lapsed_is_open_for_an_update_too(
    relay: RunningRelay, clock: LaterClock, task: Json
) -> None:
    _update(relay, task, "in_progress", "a")
    clock.advance(11)

    assert relay.client.get(f"/api/tasks/{task['id']}").json()["status"] == "open"
    blocked = _update(relay, task, "blocked", "operator")
    by_its_last_owner = _update(relay, task, "in_progress", "a")

    assert (blocked.status_code, blocked.json()["code"]) == (409, "invalid_transition")
    assert blocked.json()["from"] == "open"
    assert by_its_last_owner.json()["code"] == "not_owner"


def test_ended_by_others_after_its_lease_it_was_nobodys(
    relay: RunningRelay, clock: LaterClock, task: Json
) -> None:
    clock.advance(11)

    done = _update(relay, task, "done", "operator").json()
    message = relay.client.get(f"/api/messages/{task['messageId']}").json()
    claim = relay.client.post(
        f"/api/messages/{task['messageId']}/claim", json={"agentId": "b"}
    ).json()

    assert (done["status"], done["claimedBy"]) == ("done", None)
    assert message["claim"]["agentId"] == "operator"
    assert (claim["code"], claim["claimedBy"]) == ("already_claimed", "operator")
    assert _history(relay, task) == ["created", "claimed", "released", "status"]


def test_between_two_owners_there_is_a_release_in_its_history(
    relay: RunningRelay, clock: LaterClock, task: Json
) -> None:
    clock.advance(11)

    relay.client.post(f"/api/messages/{task['messageId']}/claim", json={"agentId": "b"})

    assert _history(relay, task) == ["created", "claimed", "released", "claimed"]


def test_a_list_finds_it_as_it_shows_it(relay: RunningRelay, clock: LaterClock, task: Json) -> None:
    def listed(**query: str) -> list[int]:
        tasks = relay.client.get("/api/tasks", params=query).json()["tasks"]
        return [found["id"] for found in tasks]

    assert (listed(status="claimed"), listed(claimedBy="a")) == ([task["id"]], [task["id"]])
    clock.advance(11)

    assert (listed(status="open"), listed(status="claimed")) == ([task["id"]], [])
    assert listed(claimedBy="a") == []


def test_who_claims_is_there_and_watched_over_again(relay: RunningRelay, clock: LaterClock) -> None:
    """Else an agent that counts as gone would keep its work for as long as its lease."""
    work = relay.send("operator", "tag:work", claimable=True)["id"]
    task = relay.client.post("/api/tasks", json={"title": "x", "target": "tag:work"}).json()
    clock.advance(STALE_MS / 1000 + 1)
    relay.relay.sweeper.sweep(clock.now_ms())

    def status(agent_id: str) -> object:
        return relay.client.get(f"/api/agents/{agent_id}").json()["status"]

    assert (status("a"), status("b")) == ("offline", "offline")
    long = {"leaseSeconds": 86_400}
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a", **long})
    relay.client.post(f"/api/tasks/{task['id']}/claim", json={"agentId": "b", **long})
    assert (status("a"), status("b")) == ("idle", "idle")

    clock.advance(STALE_MS / 1000 + 1)
    relay.relay.sweeper.sweep(clock.now_ms())

    assert relay.client.get(f"/api/messages/{work}").json()["claim"] is None
    assert relay.client.get(f"/api/tasks/{task['id']}").json()["status"] == "open"


Ending = Callable[[RunningRelay, LaterClock, int], None]


def _released(relay: RunningRelay, clock: LaterClock, work: int) -> None:
    relay.client.post(f"/api/messages/{work}/release", json={"agentId": "a"})


def _gone(relay: RunningRelay, clock: LaterClock, work: int) -> None:
    relay.client.delete("/api/agents/a")


def _lapsed(relay: RunningRelay, clock: LaterClock, work: int) -> None:
    clock.advance(11)
    relay.relay.sweeper.sweep(clock.now_ms())


@pytest.mark.parametrize("end", [_released, _gone, _lapsed])
def test_work_that_is_open_again_reaches_the_stream_of_one_who_came_while_it_was_held(
    relay: RunningRelay, clock: LaterClock, end: Ending
) -> None:
    work = relay.send("operator", "tag:work", claimable=True)["id"]
    relay.ack("b", work, "handed")
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a", "leaseSeconds": 10})
    relay.agent("newcomer", tags=["work"])
    with relay.stream("/api/stream?agent=newcomer&agent=b") as stream:
        mark = relay.send("operator", "newcomer")["id"]
        assert stream.messages(1) == [("newcomer", mark)]

        end(relay, clock, work)
        relay.send("operator", "newcomer", "the end")

        # Not to b: it has been handed it.
        assert stream.messages(3)[1] == ("newcomer", work)
    assert relay.inbox("newcomer")[0] == work

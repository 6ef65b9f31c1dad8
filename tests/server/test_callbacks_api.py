"""Callbacks of real changes, and what the API shows of them."""

import json
import threading
import time
from typing import Any

import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay
from tests.support.wait import eventually
from tests.support.webhook_receiver import WebhookReceiver

SCOPES = ["tasks:create", "tasks:read", "tasks:update"]


@pytest.fixture
def relay(start_relay: StartRelay, receiver: WebhookReceiver) -> RunningRelay:
    """With the integrations `ci`, which is called back, and `elsewhere`, which sees little."""
    ci = {
        "name": "ci",
        "token": "token-of-ci",
        "scopes": SCOPES,
        "callbackUrl": receiver.url,
        "callbackSecret": "signs",
    }
    elsewhere = {"name": "elsewhere", "token": "other", "scopes": SCOPES, "targets": ["tag:x"]}
    return start_relay(AGENT_RELAY_INTEGRATIONS=json.dumps([ci, elsewhere]))


def _report(relay: RunningRelay, token: str = "token-of-ci", **fields: Any) -> Any:
    answer = relay.client.post(
        "/api/integrations/events",
        json={"title": "Build broken", "target": "broadcast", **fields},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["task"]


def _callbacks(relay: RunningRelay, task_id: int, **query: Any) -> Any:
    answer = relay.client.get(f"/api/tasks/{task_id}/callbacks", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["callbacks"]


def test_an_integration_is_told_of_each_change_to_its_task_as_it_was_then(
    relay: RunningRelay, receiver: WebhookReceiver
) -> None:
    relay.agent("a")
    path = f"/api/tasks/{_report(relay)['id']}"
    changes = [
        relay.client.post(f"{path}/claim", json={"agentId": "a"}),
        relay.client.patch(
            f"{path}/status", json={"agentId": "a", "status": "in_progress", "progress": 50}
        ),
        relay.client.post(f"{path}/release", json={"agentId": "a"}),
        relay.client.patch(f"{path}/status", json={"agentId": "operator", "status": "canceled"}),
    ]

    created, *others = receiver.wait_for(5)

    assert [received.json["event"] for received in receiver.received] == [
        *("task.created", "task.claimed", "task.status", "task.released", "task.status"),
    ]
    assert (created.json["task"]["title"], created.json["task"]["status"]) == (
        "Build broken",
        "open",
    )
    assert [received.json["task"]["status"] for received in others] == [
        *("claimed", "in_progress", "open", "canceled"),
    ]
    assert others[0].json["task"] == changes[0].json()
    assert all(received.is_signed_with("signs") for received in receiver.received)


def test_more_occurrences_are_no_news(relay: RunningRelay, receiver: WebhookReceiver) -> None:
    _report(relay, dedupeKey="k")
    _report(relay, dedupeKey="k")
    _report(relay, dedupeKey="k", status="resolved")

    receiver.wait_for(2)

    assert [event for _, event in receiver.steps] == ["task.created", "task.status"]


def test_a_task_that_no_integration_made_has_no_callbacks(
    relay: RunningRelay, receiver: WebhookReceiver
) -> None:
    given = {"title": "t", "target": "operator"}
    mine = relay.client.post("/api/tasks", json=given).json()["id"]
    others = _report(relay, "other", target="tag:x")["id"]
    _report(relay)

    receiver.wait_for(1)

    assert (_callbacks(relay, mine), _callbacks(relay, others)) == ([], [])


def test_callbacks_are_shown_with_their_attempts(
    relay: RunningRelay, receiver: WebhookReceiver
) -> None:
    task_id = _report(relay)["id"]
    eventually(lambda: _callbacks(relay, task_id)[0]["status"] == "delivered")

    (callback,) = _callbacks(relay, task_id)

    assert callback["deliveryId"] == receiver.received[0].delivery
    assert callback["event"] == "task.created"
    assert callback["nextAttemptAt"] is None
    assert callback["createdAt"] <= callback["endedAt"]
    (attempt,) = callback["attempts"]
    assert (attempt["number"], attempt["statusCode"], attempt["error"]) == (1, 204, None)


def test_only_the_newest_callbacks_are_shown_when_asked(
    relay: RunningRelay, receiver: WebhookReceiver
) -> None:
    relay.agent("a")
    task_id = _report(relay)["id"]
    relay.client.post(f"/api/tasks/{task_id}/claim", json={"agentId": "a"})

    assert [c["event"] for c in _callbacks(relay, task_id)] == ["task.created", "task.claimed"]
    assert [c["event"] for c in _callbacks(relay, task_id, limit=1)] == ["task.claimed"]


def test_callbacks_are_shown_to_whoever_may_read_the_task(relay: RunningRelay) -> None:
    path = f"/api/tasks/{_report(relay)['id']}/callbacks"

    def read(path: str, token: str) -> tuple[int, Any]:
        answer = relay.client.get(path, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json().get("code")

    assert read(path, "token-of-ci") == (200, None)
    assert read(path, "other") == (403, "target_forbidden")
    assert read("/api/tasks/99/callbacks", "token-of-ci") == (404, "task_not_found")


def test_a_relay_that_waits_for_an_answer_stops_in_time(
    relay: RunningRelay, receiver: WebhookReceiver
) -> None:
    may_answer = threading.Event()
    receiver.answer = lambda _: 200 if may_answer.wait(20) else 500
    _report(relay)
    receiver.wait_for(1)

    began = time.monotonic()
    relay.stop()
    took = time.monotonic() - began

    may_answer.set()
    assert took < 5

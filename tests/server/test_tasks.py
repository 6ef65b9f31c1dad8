"""Tasks: folded by key, claimed once with the message that offers them, ended for good."""

import json
from itertools import product
from typing import Any

import httpx
import pytest

from relay_server.domain.task import TRANSITIONS
from tests.server.conftest import StartRelay
from tests.server.running import LaterClock, RunningRelay

Json = dict[str, Any]
INTEGRATIONS = json.dumps(
    [
        {"name": name, "token": f"{name}-token", "scopes": ["tasks:create", "tasks:update"]}
        for name in ("ci", "monitoring")
    ]
)


@pytest.fixture
def relay(start_relay: StartRelay) -> RunningRelay:
    """A relay with two integrations and two agents."""
    return _with_agents(start_relay(AGENT_RELAY_INTEGRATIONS=INTEGRATIONS))


def _with_agents(relay: RunningRelay) -> RunningRelay:
    relay.agent("worker", tags=["ops"])
    relay.agent("other", tags=["ops"])
    return relay


def _report(relay: RunningRelay, by: str = "ci", **fields: Any) -> Json:
    given = {"title": "The disk is full", "target": "tag:ops", **fields}
    answer = relay.client.post(
        "/api/integrations/events", json=given, headers={"Authorization": f"Bearer {by}-token"}
    )
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json()) | {"status": answer.status_code}


def _task(relay: RunningRelay, **fields: Any) -> int:
    return int(_report(relay, **fields)["task"]["id"])


def _do(relay: RunningRelay, task: int, verb: str, agent: str = "worker", **fields: Any) -> Any:
    return relay.client.post(f"/api/tasks/{task}/{verb}", json={"agentId": agent, **fields})


def _update(relay: RunningRelay, task: int, status: str, **fields: Any) -> httpx.Response:
    given = {"agentId": "worker", "status": status, **fields}
    return relay.client.patch(f"/api/tasks/{task}/status", json=given)


def _get(relay: RunningRelay, task: int) -> Json:
    return dict(relay.client.get(f"/api/tasks/{task}").json())


def _message(relay: RunningRelay, task: int) -> Json:
    number = _get(relay, task)["messageId"]
    return dict(relay.client.get(f"/api/messages/{number}").json())


# -- reporting


def test_an_event_makes_a_task_and_one_claimable_message(relay: RunningRelay) -> None:
    found = _report(relay, body="df says 99 %", severity="critical", externalUrl="https://mon/1")

    message = _message(relay, found["task"]["id"])
    assert (found["status"], found["created"], found["deduped"]) == (201, True, False)
    assert (found["task"]["source"], found["task"]["status"]) == ("ci", "open")
    assert (message["from"], message["to"], message["claimable"]) == ("system", "tag:ops", True)
    assert (message["subject"], message["priority"]) == ("The disk is full", "high")
    assert message["body"] == "The disk is full\n\ndf says 99 %\n\nhttps://mon/1"
    assert message["payload"]["external"] is True
    assert relay.inbox("worker") == relay.inbox("other") == [message["id"]]


def test_a_storm_of_one_key_is_one_task_and_one_message(relay: RunningRelay) -> None:
    first = _report(relay, dedupeKey="disk")
    again = [_report(relay, dedupeKey="disk") for _ in range(4)]

    task = again[-1]["task"]
    assert [(a["status"], a["created"], a["deduped"]) for a in again] == [(200, False, True)] * 4
    assert (task["id"], task["occurrenceCount"]) == (first["task"]["id"], 5)
    assert task["lastSeenAt"] >= task["firstSeenAt"] == task["createdAt"]
    assert len(relay.inbox("worker")) == 1


@pytest.mark.parametrize("status", ["claimed", "in_progress", "blocked"])
def test_a_task_that_is_worked_on_still_folds(relay: RunningRelay, status: str) -> None:
    task = _task(relay, dedupeKey="disk")
    _do(relay, task, "claim")
    for step in {"claimed": [], "in_progress": ["in_progress"]}.get(
        status, ["in_progress", "blocked"]
    ):
        assert _update(relay, task, step).status_code == 200

    again = _report(relay, dedupeKey="disk")

    assert (again["task"]["id"], again["task"]["status"]) == (task, status)


def test_keys_of_different_sources_are_different_keys(relay: RunningRelay) -> None:
    ours = _report(relay, by="ci", dedupeKey="disk")
    theirs = _report(relay, by="monitoring", dedupeKey="disk")

    assert theirs["created"]
    assert ours["task"]["id"] != theirs["task"]["id"]


def test_resolved_ends_the_active_task_and_the_key_is_free_again(relay: RunningRelay) -> None:
    task = _task(relay, dedupeKey="disk")

    ended = _report(relay, dedupeKey="disk", status="resolved")
    nothing = _report(relay, dedupeKey="disk", status="resolved")
    anew = _report(relay, dedupeKey="disk")

    assert (ended["task"]["id"], ended["task"]["status"]) == (task, "done")
    assert (nothing["status"], nothing["task"], nothing["created"]) == (200, None, False)
    assert (anew["status"], anew["task"]["id"] > task) == (201, True)


def test_an_agent_and_the_operator_create_tasks_too(relay: RunningRelay) -> None:
    given = {"title": "Review", "target": "worker", "dedupeKey": "k"}

    from_agent = relay.client.post("/api/tasks", json={**given, "from": "other"})
    from_operator = relay.client.post("/api/tasks", json=given)
    again = relay.client.post("/api/tasks", json=given)

    assert (from_agent.status_code, from_agent.json()["source"]) == (201, "other")
    assert (from_operator.status_code, from_operator.json()["source"]) == (201, "operator")
    assert (again.status_code, again.json()["occurrenceCount"]) == (200, 2)
    assert _message(relay, from_agent.json()["id"])["from"] == "other"


@pytest.mark.parametrize("named", [{}, {"from": "other"}])
def test_tasks_count_as_messages_of_whoever_makes_them(
    start_relay: StartRelay, named: dict[str, str]
) -> None:
    relay = _with_agents(start_relay(AGENT_RELAY_SENDER_LIMIT="2"))
    made = relay.client.post("/api/tokens", json={"name": "t", "scope": "agent"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    given = {"title": "Review", "target": "worker", **named}

    answers = [relay.client.post("/api/tasks", json=given, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert int(answers[2].headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"title": None}, 422, "invalid_request"),
        ({"target": None}, 422, "invalid_request"),
        ({"target": "tag:"}, 422, "invalid_request"),
        ({"target": "nobody"}, 404, "agent_not_found"),
        ({"status": "resolved"}, 422, "invalid_request"),
        ({"externalUrl": "javascript:alert(1)"}, 422, "invalid_request"),
        ({"title": "x" * 201}, 422, "invalid_request"),
        ({"more": 1}, 422, "invalid_request"),
    ],
)
def test_an_incomplete_event_is_refused_whole(
    relay: RunningRelay, fields: Json, status: int, code: str
) -> None:
    given = {"title": "t", "target": "tag:ops", **fields}

    answer = relay.client.post("/api/integrations/events", json=given)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert relay.client.get("/api/tasks").json() == {"tasks": [], "more": False}
    assert relay.inbox("worker") == []


# -- one claim for the task and its message


def test_claiming_either_claims_both(relay: RunningRelay) -> None:
    by_task, by_message = _task(relay), _task(relay)
    number = _get(relay, by_message)["messageId"]

    _do(relay, by_task, "claim", leaseSeconds=60)
    relay.client.post(f"/api/messages/{number}/claim", json={"agentId": "worker"})

    for task in (by_task, by_message):
        claim = _message(relay, task)["claim"]
        assert (_get(relay, task)["status"], _get(relay, task)["claimedBy"]) == (
            "claimed",
            "worker",
        )
        assert claim["agentId"] == "worker"
        assert claim["expiresAt"] == _get(relay, task)["leaseExpiresAt"]


def test_whoever_comes_second_hears_who_was_first(relay: RunningRelay) -> None:
    task = _task(relay)
    _do(relay, task, "claim")
    number = _get(relay, task)["messageId"]

    late = _do(relay, task, "claim", "other")
    roundabout = relay.client.post(f"/api/messages/{number}/claim", json={"agentId": "other"})

    for refused in (late, roundabout):
        assert (refused.status_code, refused.json()["code"]) == (409, "already_claimed")
        assert refused.json()["claimedBy"] == "worker"


def test_claiming_again_renews_and_keeps_the_progress(relay: RunningRelay) -> None:
    task = _task(relay)
    _do(relay, task, "claim", leaseSeconds=60)
    _update(relay, task, "in_progress", progress=30)

    renewed = _do(relay, task, "claim", leaseSeconds=3600).json()

    assert (renewed["status"], renewed["progress"]) == ("in_progress", 30)
    assert renewed["leaseExpiresAt"] == _message(relay, task)["claim"]["expiresAt"]


@pytest.mark.parametrize("by", ["task", "message"])
def test_releasing_either_opens_both(relay: RunningRelay, by: str) -> None:
    task = _task(relay)
    _do(relay, task, "claim")
    number = _get(relay, task)["messageId"]
    path = f"/api/tasks/{task}" if by == "task" else f"/api/messages/{number}"
    stranger = relay.client.post(f"{path}/release", json={"agentId": "other"})

    relay.client.post(f"{path}/release", json={"agentId": "worker"})

    assert (stranger.status_code, stranger.json()["code"]) == (409, "not_owner")
    assert (_get(relay, task)["status"], _get(relay, task)["claimedBy"]) == ("open", None)
    assert _message(relay, task)["claim"] is None
    assert _do(relay, task, "claim", "other").status_code == 200


def test_completing_the_message_ends_the_task_with_its_result(relay: RunningRelay) -> None:
    task = _task(relay)
    _do(relay, task, "claim")
    number = _get(relay, task)["messageId"]

    relay.client.post(
        f"/api/messages/{number}/complete", json={"agentId": "worker", "result": {"rows": 7}}
    )

    found = _get(relay, task)
    assert (found["status"], found["result"], found["claimedBy"]) == ("done", {"rows": 7}, "worker")


@pytest.mark.parametrize("status", ["done", "failed", "canceled"])
def test_ending_the_task_completes_its_message_also_when_nobody_had_it(
    relay: RunningRelay, status: str
) -> None:
    task = _task(relay)

    answer = _update(relay, task, status, agentId="operator", result="no need")

    claim = _message(relay, task)["claim"]
    late = _do(relay, task, "claim")
    assert (answer.json()["status"], answer.json()["claimedBy"]) == (status, None)
    assert claim["agentId"] == "operator"
    assert claim["completedAt"] is not None
    assert (late.status_code, late.json()["code"]) == (409, "invalid_transition")


@pytest.mark.parametrize("way", ["offline", "removed"])
def test_the_work_of_who_leaves_is_open_again(relay: RunningRelay, way: str) -> None:
    task = _task(relay)
    _do(relay, task, "claim")
    _update(relay, task, "in_progress")

    if way == "offline":
        relay.client.patch("/api/agents/worker/status", json={"status": "offline"})
    else:
        relay.client.delete("/api/agents/worker")

    assert (_get(relay, task)["status"], _get(relay, task)["claimedBy"]) == ("open", None)
    assert _message(relay, task)["claim"] is None


def test_a_lease_that_is_over_holds_nothing(start_relay: StartRelay, clock: LaterClock) -> None:
    relay = _with_agents(
        start_relay(
            clock=clock, AGENT_RELAY_INTEGRATIONS=INTEGRATIONS, STALE_TTL_MS=str(24 * 3600 * 1000)
        )
    )
    task = _task(relay)
    _do(relay, task, "claim", leaseSeconds=10)
    clock.advance(11)

    lapsed = _get(relay, task)
    too_late = _update(relay, task, "in_progress")
    taken = _do(relay, task, "claim", "other")

    assert (lapsed["status"], lapsed["claimedBy"]) == ("open", None)
    assert (too_late.status_code, too_late.json()["code"]) == (409, "not_owner")
    assert taken.json()["claimedBy"] == "other"


# -- updates


@pytest.mark.parametrize(
    ("before", "wanted"), list(product(("open", "claimed", "in_progress", "blocked"), TRANSITIONS))
)
def test_an_update_moves_along_the_table_only(
    relay: RunningRelay, before: str, wanted: str
) -> None:
    task = _task(relay)
    way = ["open", "claimed", "in_progress", "blocked"]
    for step in way[1 : way.index(before) + 1]:
        if step == "claimed":
            _do(relay, task, "claim")
        else:
            _update(relay, task, step)

    answer = _update(relay, task, wanted, agentId="operator")

    allowed = {
        "open": {"done", "failed", "canceled"},
        "claimed": {"in_progress", "done", "failed", "canceled"},
        "in_progress": {"in_progress", "blocked", "done", "failed", "canceled"},
        "blocked": {"in_progress", "blocked", "done", "failed", "canceled"},
    }[before]
    expected = (200, wanted) if wanted in allowed else (409, before)
    assert (answer.status_code, _get(relay, task)["status"]) == expected


@pytest.mark.parametrize("ended", ["done", "failed", "canceled"])
def test_what_has_ended_changes_no_more(relay: RunningRelay, ended: str) -> None:
    task = _task(relay)
    _do(relay, task, "claim")
    _update(relay, task, ended)
    before = _get(relay, task)

    answers = [_update(relay, task, wanted) for wanted in TRANSITIONS]
    answers += [_do(relay, task, verb) for verb in ("claim", "release")]

    assert {(a.status_code, a.json()["code"]) for a in answers} == {(409, "invalid_transition")}
    assert _get(relay, task) == before


def test_only_its_owner_its_integration_and_the_operator_update_it(relay: RunningRelay) -> None:
    task = _task(relay, by="ci")
    _do(relay, task, "claim")

    def as_integration(name: str) -> int:
        answer = relay.client.patch(
            f"/api/tasks/{task}/status",
            json={"status": "in_progress", "agentId": "worker"},
            headers={"Authorization": f"Bearer {name}-token"},
        )
        return answer.status_code

    assert _update(relay, task, "in_progress", agentId="other").json()["code"] == "not_owner"
    assert as_integration("monitoring") == 409
    assert as_integration("ci") == 200
    assert _update(relay, task, "blocked").status_code == 200
    assert _update(relay, task, "in_progress", agentId="operator").status_code == 200


def test_its_history_says_who_did_what(relay: RunningRelay) -> None:
    task = _task(relay, dedupeKey="disk")
    _report(relay, dedupeKey="disk")
    _do(relay, task, "claim")
    _update(relay, task, "in_progress", note="looking")
    _do(relay, task, "release")
    _update(relay, task, "canceled", agentId="operator")

    events = relay.client.get(f"/api/tasks/{task}/events").json()["events"]

    assert [(e["type"], e["actor"], e["status"]) for e in events] == [
        ("task.created", "ci", "open"),
        ("task.deduped", "ci", "open"),
        ("task.claimed", "worker", "claimed"),
        ("task.status", "worker", "in_progress"),
        ("task.released", "worker", "open"),
        ("task.status", "operator", "canceled"),
    ]
    assert events[3]["detail"] == {"note": "looking"}


def test_each_change_is_an_event_for_dashboards(relay: RunningRelay) -> None:
    with relay.stream("/api/events?types=task") as followed:
        task = _task(relay, dedupeKey="disk")
        _report(relay, dedupeKey="disk")
        _do(relay, task, "claim")
        _update(relay, task, "done")

        followed.wait_for("task.status")

    assert [event.type for event in followed.events] == [
        *("task.created", "task.deduped", "task.claimed", "task.status")
    ]
    assert followed.events[-1].data["task"]["status"] == "done"


# -- lists


def test_lists_filter_and_page_newest_first(relay: RunningRelay) -> None:
    relay.agent("db", tags=["db"], channels=["night"])
    full = [_task(relay, title=f"Disk {n} is full") for n in range(3)]
    slow = _task(relay, title="Queries are slow", target="tag:db", channel="night", by="monitoring")
    _do(relay, full[0], "claim")

    def ids(query: str) -> list[int]:
        answer = relay.client.get(f"/api/tasks?{query}")
        assert answer.status_code == 200, answer.text
        return [task["id"] for task in answer.json()["tasks"]]

    assert ids("") == [slow, *reversed(full)]
    assert ids("status=claimed") == ids("claimedBy=worker") == [full[0]]
    assert ids("target=tag:db") == ids("channel=night") == ids("source=monitoring") == [slow]
    assert ids("q=disk+full") == list(reversed(full))
    assert ids(f"limit=2&before={full[2]}") == [full[1], full[0]]
    assert relay.client.get("/api/tasks?limit=2").json()["more"] is True

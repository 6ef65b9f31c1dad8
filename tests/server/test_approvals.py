"""/api/approvals: a session asks, a person answers once, and what happens when nobody does."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.server.asking import ask, cancel, decide, get, ids
from tests.server.conftest import StartRelay
from tests.server.running import Json, LaterClock, RunningRelay
from tests.support.wait import eventually

_FIELDS = {
    *("id", "agentId", "tool", "summary", "input", "status", "decision", "reason", "remember"),
    *("decidedBy", "createdAt", "expiresAt", "decidedAt"),
}


@pytest.fixture
def relay(patient_relay: RunningRelay) -> RunningRelay:
    """One session."""
    patient_relay.agent("a", instanceId="one")
    return patient_relay


# -- asking


def test_a_question_waits_for_a_person_for_ten_minutes(relay: RunningRelay) -> None:
    approval = ask(relay, input={"command": "rm -r build", "Ünï": [1, None, {"x": 1.5}]})

    assert set(approval) == _FIELDS
    assert (approval["agentId"], approval["tool"]) == ("a", "Bash")
    assert approval["input"] == {"command": "rm -r build", "Ünï": [1, None, {"x": 1.5}]}
    assert (approval["status"], approval["decision"], approval["decidedBy"]) == (
        *("pending", None),
        None,
    )
    assert _milliseconds(approval["expiresAt"]) - _milliseconds(approval["createdAt"]) == 600_000
    assert get(relay, approval) == approval


def test_only_a_registered_agent_asks_and_only_its_newest_instance(relay: RunningRelay) -> None:
    given = {"agentId": "aa", "tool": "Bash", "summary": "ls"}
    unknown = relay.client.post("/api/approvals", json=given)
    relay.agent("a", instanceId="two")
    zombie = relay.client.post(
        "/api/approvals", json={**given, "agentId": "a"}, headers={"X-Agent-Instance": "one"}
    )

    assert (unknown.status_code, unknown.json()["code"]) == (404, "agent_not_found")
    assert unknown.json()["suggestions"] == ["a"]
    assert (zombie.status_code, zombie.json()["code"]) == (409, "stale_instance")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"tool": ""}, {"tool": "x" * 201}, {"tool": None}, {"summary": ""}),
        *({"summary": "x" * 4001}, {"input": []}, {"input": "text"}, {"agentId": "a b"}),
        *({"expiresInSeconds": 4}, {"expiresInSeconds": 86401}, {"status": "allowed"}),
    ],
)
def test_a_wrong_question_is_refused(relay: RunningRelay, wrong: Json) -> None:
    given = {"agentId": "a", "tool": "Bash", "summary": "ls", **wrong}

    answer = relay.client.post("/api/approvals", json=given)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert relay.client.get("/api/approvals").json() == {"approvals": []}


def test_a_repeated_question_with_its_key_is_one(relay: RunningRelay) -> None:
    given = {"agentId": "a", "tool": "Bash", "summary": "ls"}
    first, again = (
        relay.client.post("/api/approvals", json=given, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"


# -- answering


def test_a_persons_answer_stands(relay: RunningRelay) -> None:
    allowed, denied = ask(relay), ask(relay)

    yes = decide(relay, allowed, "allow", remember="session")
    no = decide(relay, denied, "deny", reason="not on a Friday")
    late = decide(relay, allowed, "deny")

    assert (yes.status_code, no.status_code) == (200, 200)
    assert yes.json() == get(relay, allowed)
    assert (yes.json()["status"], yes.json()["decision"]) == ("allowed", "allow")
    assert (yes.json()["remember"], yes.json()["decidedBy"]) == ("session", "operator")
    assert yes.json()["decidedAt"] is not None
    assert (no.json()["status"], no.json()["decision"]) == ("denied", "deny")
    assert (no.json()["reason"], no.json()["remember"]) == ("not on a Friday", None)
    assert (late.status_code, late.json()["code"]) == (409, "already_decided")
    assert (late.json()["decision"], late.json()["decidedBy"]) == ("allow", "operator")
    assert get(relay, allowed)["decision"] == "allow"


def test_of_64_answers_at_once_exactly_one_counts(relay: RunningRelay) -> None:
    approval = ask(relay)
    barrier = threading.Barrier(64)

    def decide(number: int) -> tuple[int, str | None]:
        with relay.new_client() as client:
            client.get("/healthz")
            barrier.wait(timeout=20)
            decision = "allow" if number % 2 else "deny"
            answer = client.post(
                f"/api/approvals/{approval['id']}/decision",
                json={"decision": decision, "reason": str(number)},
            )
            return answer.status_code, answer.json().get("reason")

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(decide, range(64)))

    assert Counter(status for status, _ in answers) == {200: 1, 409: 63}
    winner = next(reason for status, reason in answers if status == 200)
    assert get(relay, approval)["reason"] == winner


@pytest.mark.parametrize(
    "wrong", [{}, {"decision": "maybe"}, {"decision": "allow", "remember": "always"}]
)
def test_a_wrong_answer_is_refused(relay: RunningRelay, wrong: Json) -> None:
    approval = ask(relay)

    answer = relay.client.post(f"/api/approvals/{approval['id']}/decision", json=wrong)

    assert answer.status_code == 422
    assert get(relay, approval)["status"] == "pending"


@pytest.mark.parametrize(
    ("method", "verb"), [("GET", ""), ("POST", "/decision"), ("POST", "/cancel")]
)
def test_an_unknown_approval_is_not_found(relay: RunningRelay, method: str, verb: str) -> None:
    body = {"decision": "allow"} if verb == "/decision" else {}
    for number in ("7", "0", "x"):
        answer = relay.client.request(
            method, f"/api/approvals/{number}{verb}", json=body if method == "POST" else None
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "approval_not_found")


# -- no answer


def test_nobodys_answer_is_a_denial_at_the_very_moment(
    relay: RunningRelay, clock: LaterClock
) -> None:
    approval = ask(relay, expiresInSeconds=600)

    clock.advance(300)
    before = get(relay, approval)
    clock.advance(300)
    after, late = get(relay, approval), decide(relay, approval, "allow")

    assert before["status"] == "pending"
    assert (after["status"], after["decision"]) == ("expired", "deny")
    assert (after["decidedBy"], after["decidedAt"]) == (None, approval["expiresAt"])
    assert (late.status_code, late.json()["code"]) == (409, "already_decided")
    assert ids(relay, status="pending") == []
    assert ids(relay, status="expired") == [approval["id"]]
    assert relay.client.get("/api/stats").json()["approvals"] == {"pending": 0}


def test_a_question_that_was_answered_at_the_terminal_disappears(relay: RunningRelay) -> None:
    approval, other = ask(relay), ask(relay)

    wrong = cancel(relay, approval, agentId="b")
    canceled = cancel(relay, approval, agentId="a")
    again, late = cancel(relay, approval), decide(relay, approval, "allow")

    assert (wrong.status_code, wrong.json()["code"]) == (409, "not_owner")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert (canceled.json()["decision"], canceled.json()["decidedBy"]) == (None, None)
    assert [a.json()["code"] for a in (again, late)] == ["already_decided"] * 2
    assert ids(relay, status="pending") == [other["id"]]


def test_a_zombie_cancels_nothing(relay: RunningRelay) -> None:
    approval = ask(relay)
    relay.agent("a", instanceId="two")

    path, headers = f"/api/approvals/{approval['id']}/cancel", {"X-Agent-Instance": "one"}
    answer = relay.client.post(path, json={}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (409, "stale_instance")


@pytest.mark.parametrize("end", ["offline", "offline again", "register", "heartbeats", "remove"])
def test_the_end_of_a_session_cancels_what_it_asked(relay: RunningRelay, end: str) -> None:
    relay.agent("b")
    ended, others = ask(relay), ask(relay, "b")
    client = relay.client
    if end == "offline again":
        # It may ask once more after it said so; that it repeats it must end that too.
        client.patch("/api/agents/a/status", json={"status": "offline"})
        ended = ask(relay)

    if end.startswith("offline"):
        client.patch("/api/agents/a/status", json={"status": "offline"})
    elif end == "register":
        relay.agent("a", status="offline")
    elif end == "heartbeats":
        client.post("/api/heartbeats", json={"agents": [{"id": "a", "status": "offline"}]})
    else:
        client.delete("/api/agents/a")

    assert get(relay, ended)["status"] == "canceled"
    assert get(relay, others)["status"] == "pending"


def test_an_agent_that_is_only_silent_may_still_be_waiting(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(STALE_TTL_MS="300")
    relay.agent("a")
    approval = ask(relay)

    eventually(lambda: relay.client.get("/api/agents/a").json()["status"] == "offline")

    assert get(relay, approval)["status"] == "pending"


# -- lists


def test_the_list_is_newest_first_and_narrows(relay: RunningRelay) -> None:
    relay.agent("b")
    asked = [ask(relay, agent)["id"] for agent in ("a", "b", "a", "b")]
    decide(relay, {"id": asked[0]}, "allow")

    assert ids(relay) == asked[::-1]
    assert ids(relay, status="pending") == asked[:0:-1]
    assert ids(relay, status="allowed") == [asked[0]]
    assert ids(relay, agentId="b") == [asked[3], asked[1]]
    assert ids(relay, limit=2) == asked[:1:-1]
    assert ids(relay, before=asked[2], limit=1) == [asked[1]]
    assert relay.client.get("/api/stats").json()["approvals"] == {"pending": 3}
    assert relay.client.get("/api/approvals?status=odd").status_code == 422


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)

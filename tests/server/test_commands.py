"""Commands to machines: asking for sessions and their ends, and how far the machine got."""

from collections import Counter
from typing import Any

import pytest

from tests.server.commanding import LAUNCH, REPORT, get, launch, launched, pending, report
from tests.server.conftest import Background, StartRelay
from tests.server.running import Json, RunningRelay
from tests.support.wait import eventually

_FIELDS = {
    *("id", "machine", "kind", "agentId", "input", "status", "detail", "result"),
    *("requestedBy", "createdAt", "updatedAt"),
}


@pytest.fixture
def relay(patient_relay: RunningRelay) -> RunningRelay:
    """A machine that lets sessions be started, and one of its sessions."""
    patient_relay.client.put("/api/machines/m", json=REPORT)
    patient_relay.agent("a", machine="m")
    return patient_relay


# -- launching


def test_a_launch_becomes_a_command_for_its_machine(relay: RunningRelay) -> None:
    given = {
        "provider": "claude",
        "cwd": "/w/./x",
        "prompt": "go",
        "approvalMode": "guarded",
        "label": "L",
        "tags": ["t"],
        "args": ["--model", "o"],
    }
    command = launched(relay, **given)

    assert set(command) == _FIELDS
    assert (command["machine"], command["kind"], command["input"]) == ("m", "launch", given)
    assert (command["status"], command["agentId"]) == ("pending", None)
    assert command["requestedBy"] == "operator"
    assert get(relay, command) == command
    assert pending(relay) == [command]


@pytest.mark.parametrize(
    ("reported", "given", "status", "code"),
    [
        ({**REPORT, "launchRoots": []}, LAUNCH, 403, "launch_disabled"),
        ({"hostname": "box"}, LAUNCH, 403, "launch_disabled"),
        ({"launchRoots": None}, LAUNCH, 403, "launch_disabled"),
        (REPORT, {**LAUNCH, "cwd": "/w/../etc"}, 403, "launch_root_forbidden"),
        (REPORT, {**LAUNCH, "cwd": "/wx"}, 403, "launch_root_forbidden"),
        (REPORT, {**LAUNCH, "cwd": "w/project"}, 422, "invalid_request"),
        (REPORT, {**LAUNCH, "provider": "other"}, 422, "invalid_request"),
        (REPORT, {"provider": "codex"}, 422, "invalid_request"),
        (REPORT, {**LAUNCH, "approvalMode": "yolo"}, 422, "invalid_request"),
        (REPORT, {**LAUNCH, "args": ["x" * 4097]}, 422, "invalid_request"),
    ],
)
def test_what_the_machines_owner_does_not_allow_is_not_asked(
    relay: RunningRelay, reported: Json, given: Json, status: int, code: str
) -> None:
    relay.client.put("/api/machines/m", json=reported)

    answer = relay.client.post("/api/machines/m/sessions", json=given)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert pending(relay) == []


def test_a_machine_that_named_no_providers_may_have_any(relay: RunningRelay) -> None:
    relay.client.put("/api/machines/m", json={"launchRoots": ["/w"]})

    assert launch(relay, provider="other").status_code == 202


def test_nothing_is_asked_of_an_unknown_machine(relay: RunningRelay) -> None:
    answers = [launch(relay, "ghost"), relay.client.get("/api/machines/ghost/commands")]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "machine_not_found")] * 2


def test_a_repeated_launch_with_its_key_starts_one_session(relay: RunningRelay) -> None:
    first, again = (
        relay.client.post("/api/machines/m/sessions", json=LAUNCH, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )

    assert (again.status_code, again.json()) == (202, first.json())
    assert len(pending(relay)) == 1


# -- stopping


def test_a_stop_goes_to_the_agents_machine(relay: RunningRelay) -> None:
    gentle = relay.client.post("/api/agents/a/stop", json={})
    forced = relay.client.post("/api/agents/a/stop", json={"force": True})

    assert (gentle.status_code, forced.status_code) == (202, 202)
    assert [(c["kind"], c["agentId"], c["input"]) for c in pending(relay)] == [
        ("stop", "a", {"force": True}),
        ("stop", "a", {"force": False}),
    ]


@pytest.mark.parametrize("path", ["stop", "logs"])
def test_what_nobody_can_do_is_a_conflict(relay: RunningRelay, path: str) -> None:
    relay.agent("alone")
    method = "POST" if path == "stop" else "GET"

    for agent_id, expected in (
        *(("alone", (409, "conflict")), ("operator", (409, "conflict"))),
        ("ghost", (404, "agent_not_found")),
    ):
        answer = relay.client.request(method, f"/api/agents/{agent_id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == expected


# -- how far it got


def test_a_command_goes_forward_with_its_machines_reports(relay: RunningRelay) -> None:
    command = launched(relay)

    steps = [
        report(relay, command, "accepted"),
        report(relay, command, "running", agentId="new", detail="starting"),
        report(relay, command, "done", result={"pid": 7}),
    ]

    assert [step.status_code for step in steps] == [200] * 3
    done = steps[-1].json()
    assert done == get(relay, command)
    assert (done["status"], done["agentId"], done["detail"]) == ("done", "new", "starting")
    assert done["result"] == {"pid": 7}
    assert pending(relay) == []


def test_a_report_is_repeatable_but_nothing_goes_back(relay: RunningRelay) -> None:
    command = launched(relay)
    report(relay, command, "running")

    assert report(relay, command, "running").status_code == 200
    back = report(relay, command, "accepted")
    assert (back.status_code, back.json()["code"]) == (409, "invalid_transition")
    ended = report(relay, command, "failed", detail="no such folder").json()
    assert report(relay, command, "failed", detail="other").json() == ended
    assert [report(relay, command, s).status_code for s in ("done", "running")] == [409, 409]
    assert get(relay, command) == ended


@pytest.mark.parametrize("wrong", [{}, {"status": "pending"}, {"status": "done", "agentId": "a b"}])
def test_a_wrong_report_is_refused(relay: RunningRelay, wrong: Json) -> None:
    command = launched(relay)

    assert relay.client.patch(f"/api/commands/{command['id']}", json=wrong).status_code == 422
    assert get(relay, command) == command


def test_an_unknown_command_is_not_found(relay: RunningRelay) -> None:
    for number in ("7", "0", "x"):
        answers = [
            relay.client.get(f"/api/commands/{number}"),
            relay.client.patch(f"/api/commands/{number}", json={"status": "done"}),
        ]
        assert [(a.status_code, a.json()["code"]) for a in answers] == [
            (404, "command_not_found")
        ] * 2


def test_of_many_daemons_that_hear_a_command_one_may_carry_it_out(
    relay: RunningRelay, background: Background
) -> None:
    for _ in range(10):
        command = launched(relay)
        answers = [background(report, relay, command, "accepted") for _ in range(8)]

        statuses = Counter(answer.result(timeout=20).status_code for answer in answers)
        assert statuses == {200: 1, 409: 7}


def test_a_report_is_a_sign_of_life_of_its_machine(start_relay: StartRelay) -> None:
    relay = start_relay(STALE_TTL_MS="400")
    relay.client.put("/api/machines/m", json=REPORT)
    command = launched(relay)
    eventually(lambda: relay.client.get("/api/machines/m").json()["status"] == "offline")

    report(relay, command, "accepted")

    assert relay.client.get("/api/machines/m").json()["status"] == "online"


# -- following one


def test_whoever_follows_a_command_hears_at_once_that_it_ended(
    relay: RunningRelay, background: Background
) -> None:
    command = launched(relay)
    waiting = background(get, relay, command, wait=19)
    eventually(lambda: relay.relay.core.slots.parked == 1)

    report(relay, command, "accepted")
    report(relay, command, "done")

    assert waiting.result(timeout=5)["status"] == "done"
    assert get(relay, launched(relay), wait=0.05)["status"] == "pending"


def test_the_list_is_newest_first_and_narrows(relay: RunningRelay) -> None:
    ids = [launched(relay)["id"] for _ in range(4)]
    report(relay, {"id": ids[0]}, "done")

    def listed(**query: Any) -> list[int]:
        answer = relay.client.get("/api/machines/m/commands", params=query)
        return [command["id"] for command in answer.json()["commands"]]

    assert listed() == ids[::-1]
    assert listed(status="pending") == ids[:0:-1]
    assert listed(status="done") == [ids[0]]
    assert listed(limit=1, before=ids[2]) == [ids[1]]
    assert relay.client.get("/api/machines/m/commands?status=odd").status_code == 422


def test_starting_and_stopping_sessions_is_told_to_whoever_listens(relay: RunningRelay) -> None:
    with relay.stream("/api/events?types=session") as followed:
        eventually(lambda: followed.comments)
        command = launched(relay)
        report(relay, command, "accepted")

        requested = followed.wait_for("session.requested")[0].data["command"]
        updated = followed.wait_for("session.updated")[0].data["command"]

    assert (requested["id"], requested["status"]) == (command["id"], "pending")
    assert (updated["id"], updated["status"]) == (command["id"], "accepted")

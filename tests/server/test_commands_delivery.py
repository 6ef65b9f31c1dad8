"""How commands reach their machine, the output it answers with, and what time does to them."""

from typing import Any

import httpx
import pytest

from tests.server.commanding import LAUNCH, REPORT, get, launch, launched, pending, report
from tests.server.conformance import judged_client
from tests.server.conftest import Background
from tests.server.running import Json, LaterClock, RunningRelay
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

_HOUR = 3600


@pytest.fixture
def relay(patient_relay: RunningRelay) -> RunningRelay:
    """A machine that lets sessions be started, and one of its sessions."""
    patient_relay.client.put("/api/machines/m", json=REPORT)
    patient_relay.agent("a", machine="m")
    return patient_relay


# -- delivery


def test_a_machine_gets_what_it_missed_after_hello_and_then_what_comes(
    relay: RunningRelay,
) -> None:
    relay.client.put("/api/machines/other", json=REPORT)
    relay.send("operator", "a")
    missed = [launched(relay) for _ in range(3)]
    report(relay, missed.pop(1), "accepted")
    launch(relay, "other")

    with relay.stream("/api/stream?agent=a&machine=m") as s:
        s.wait_for("command", 2)
        s.messages(1)
        live = launched(relay)
        launch(relay, "other")
        stop = relay.client.post("/api/agents/a/stop", json={"force": True}).json()
        told = s.wait_for("command", 4)

    assert s.events[0].type == "hello"
    assert [event.data["command"] for event in told] == [*missed, live, stop]
    assert len(s.of_type("command")) == 4


def test_what_was_not_taken_comes_again_on_every_connect(relay: RunningRelay) -> None:
    command = launched(relay)
    for _ in range(2):
        with relay.stream("/api/stream?machine=m") as s:
            assert s.wait_for("command")[0].data == {"command": command}
    report(relay, command, "accepted")

    with relay.stream("/api/stream?machine=m") as s:
        s.wait_for("hello")
        last = launched(relay)
        assert [e.data["command"]["id"] for e in s.wait_for("command")] == [last["id"]]


def test_many_missed_commands_come_whole_and_in_order(relay: RunningRelay) -> None:
    ids = [launched(relay)["id"] for _ in range(450)]

    with relay.stream("/api/stream?machine=m") as s:
        told = s.wait_for("command", 450)

    assert [event.data["command"]["id"] for event in told] == ids


def test_a_command_survives_a_killed_relay(relay_process: RelayProcess) -> None:
    relay_process.start()
    with judged_client(relay_process.url) as client:
        client.put("/api/machines/m", json=REPORT)
        pending, taken = (
            client.post("/api/machines/m/sessions", json=LAUNCH).json() for _ in range(2)
        )
        client.patch(f"/api/commands/{taken['id']}", json={"status": "accepted"})
    relay_process.kill()
    relay_process.start()

    with judged_client(relay_process.url) as client:
        listed = client.get("/api/machines/m/commands?status=pending").json()["commands"]
        again = client.patch(f"/api/commands/{taken['id']}", json={"status": "accepted"})

    assert listed == [pending]
    assert again.status_code == 409


# -- output


def _logs(relay: RunningRelay, agent_id: str = "a", **query: Any) -> httpx.Response:
    with judged_client(relay.url) as client:
        return client.get(f"/api/agents/{agent_id}/logs", params=query)


def _asked(relay: RunningRelay) -> Json:
    """The request for output that the machine hears of."""
    return eventually(lambda: pending(relay))[0]


def test_the_output_of_a_session_comes_from_its_machine(
    relay: RunningRelay, background: Background
) -> None:
    waiting = background(_logs, relay, lines=2)
    command = _asked(relay)
    report(relay, command, "done", result={"lines": ["one", "two", "three"]})
    answer = waiting.result(timeout=5)

    assert (command["kind"], command["agentId"], command["input"]) == ("logs", "a", {"lines": 2})
    assert (answer.status_code, answer.json()) == (200, {"agentId": "a", "lines": ["two", "three"]})


def test_a_machine_may_say_why_it_has_no_output(
    relay: RunningRelay, background: Background
) -> None:
    waiting = background(_logs, relay)
    command = _asked(relay)
    report(relay, command, "failed", detail="it runs in a terminal of its own")
    answer = waiting.result(timeout=5)

    assert command["input"] == {"lines": 200}
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["detail"] == "it runs in a terminal of its own"


def test_a_machine_that_does_not_answer_in_time_is_asked_no_more(
    relay: RunningRelay, clock: LaterClock, background: Background
) -> None:
    waiting = background(_logs, relay)
    command = _asked(relay)
    # Waits look at the clock each second at the latest.
    clock.advance(5)
    answer = waiting.result(timeout=5)
    late = report(relay, command, "done", result={"lines": []})

    assert (answer.status_code, answer.json()["code"]) == (504, "machine_timeout")
    assert (late.status_code, late.json()["code"]) == (409, "invalid_transition")
    assert get(relay, command)["status"] == "failed"
    assert pending(relay) == []


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        ({"lines": ["one", "two"]}, ["one", "two"]),
        ({"lines": "one\ntwo\n"}, ["one", "two"]),
        (["one", 2], ["one", "2"]),
        ("one\ntwo", ["one", "two"]),
        ({"text": "one"}, ['{"text": "one"}']),
        ({"lines": []}, []),
        (None, []),
    ],
)
def test_output_is_shown_in_whatever_form_a_machine_sends_it(
    relay: RunningRelay, background: Background, result: object, lines: list[str]
) -> None:
    waiting = background(_logs, relay)
    report(relay, _asked(relay), "done", result=result)

    assert waiting.result(timeout=5).json() == {"agentId": "a", "lines": lines}


@pytest.mark.parametrize("lines", [0, 2001, "x"])
def test_the_number_of_lines_is_bounded(relay: RunningRelay, lines: object) -> None:
    assert _logs(relay, lines=lines).status_code == 422
    assert pending(relay) == []


# -- with time


def test_a_command_that_nobody_takes_for_a_day_is_given_up(
    relay: RunningRelay, clock: LaterClock
) -> None:
    old, taken = launched(relay), launched(relay)
    report(relay, taken, "accepted")
    clock.advance(23 * _HOUR)
    young = launched(relay)

    relay.relay.sweeper.sweep(clock.now_ms() + 2 * _HOUR * 1000)

    given_up = get(relay, old)
    assert (given_up["status"], given_up["detail"]) == (
        "failed",
        "the machine did not take the command within 24 hours",
    )
    assert (get(relay, taken)["status"], get(relay, young)["status"]) == ("accepted", "pending")


def test_old_commands_go_and_output_goes_soon(
    relay: RunningRelay, clock: LaterClock, background: Background
) -> None:
    waiting = background(_logs, relay)
    output = _asked(relay)
    report(relay, output, "done", result={"lines": ["secret"]})
    waiting.result(timeout=5)
    kept = launched(relay)

    def listed() -> list[int]:
        found = relay.client.get("/api/machines/m/commands").json()["commands"]
        return [command["id"] for command in found]

    assert listed() == [kept["id"], output["id"]]
    relay.relay.sweeper.sweep(clock.now_ms() + 2 * _HOUR * 1000)
    assert listed() == [kept["id"]]
    relay.relay.sweeper.sweep(clock.now_ms() + 31 * 24 * _HOUR * 1000)
    assert listed() == []
    assert launched(relay)["id"] > kept["id"]

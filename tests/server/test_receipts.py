"""Proof of delivery: receipts, the cursor, waiting for a state, explain, route."""

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from tests.server.running import RunningRelay
from tests.support.wait import eventually


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """Two receivers with a tag."""
    relay_server.agent("a", tags=["t"])
    relay_server.agent("b", tags=["t"])
    return relay_server


def test_a_receiver_that_got_nothing_yet_has_the_state_stored(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]

    receipt = relay.receipt(message, "a")

    assert receipt["state"] == "stored"
    assert set(receipt) >= {
        *("agentId", "state", "routedAt", "handedAt", "inContextAt", "readAt", "repliedAt"),
        *("via", "attempts"),
    }


def test_a_poll_routes_and_counts_its_attempts(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]

    relay.inbox("a")
    relay.inbox("a")

    receipt = relay.receipt(message, "a")
    assert (receipt["state"], receipt["attempts"]) == ("routed", 2)


def test_states_only_move_forward_and_repeats_are_harmless(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]
    relay.ack("a", message, "in_context", via="thread/queue/add")

    relay.ack("a", message, "handed")
    relay.ack("a", message, "failed", detail="too late")
    before = relay.receipt(message, "a")
    relay.ack("a", message, "in_context")

    assert (before["state"], before["via"]) == ("in_context", "thread/queue/add")
    assert relay.receipt(message, "a") == before


def test_a_failed_handover_is_offered_again_and_can_still_succeed(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]
    relay.ack("a", message, "failed", detail="no socket")

    assert relay.receipt(message, "a")["state"] == "failed"
    assert relay.inbox("a") == [message]
    relay.ack("a", message, "handed")
    assert relay.receipt(message, "a")["state"] == "handed"


def test_the_cursor_is_the_newest_id_with_nothing_unhanded_before_it(relay: RunningRelay) -> None:
    ids = [relay.send("operator", "a")["id"] for _ in range(3)]

    gap = relay.ack("a", ids[1], "handed")["cursor"]
    closed = relay.ack("a", ids[0], "handed")["cursor"]
    end = relay.client.post(f"/api/messages/{ids[2]}/read", json={"agentId": "a"})
    agent = relay.client.get("/api/agents/a").json()

    assert gap < ids[0]
    assert closed == ids[1]
    assert end.json()["state"] == "read"
    assert agent["cursor"] == ids[2]


def test_what_was_deleted_stands_in_the_cursors_way_no_longer(relay: RunningRelay) -> None:
    relay.agent("a")
    first, second = (relay.send("operator", "a")["id"] for _ in range(2))
    relay.ack("a", second, "handed")
    relay.client.delete(f"/api/messages/{first}")

    assert relay.ack("a", second, "handed")["cursor"] == second


def test_acknowledging_many_at_once_moves_the_cursor_over_all(relay: RunningRelay) -> None:
    ids = [relay.send("operator", "a")["id"] for _ in range(300)]

    receipts = [{"messageId": number, "state": "handed"} for number in ids]
    answer = relay.client.post("/api/agents/a/ack", json={"receipts": receipts})

    assert answer.json()["cursor"] == ids[-1]


def test_acknowledging_an_unknown_message_harms_nothing(relay: RunningRelay) -> None:
    assert relay.ack("a", 999, "handed")["unknown"] == [999]


@pytest.mark.parametrize("state", ["held", "expired", "stored", "lost", None, 1])
def test_a_session_reports_only_states_of_its_side(relay: RunningRelay, state: Any) -> None:
    receipts = {"receipts": [{"messageId": 1, "state": state}]}

    assert relay.client.post("/api/agents/a/ack", json=receipts).status_code == 422


def test_seeing_it_in_context_is_a_proof_of_the_agents_way(relay: RunningRelay) -> None:
    message = relay.send("operator", "a")["id"]
    assert relay.client.get("/api/agents/a").json()["lastProofAt"] is None

    relay.ack("a", message, "in_context")

    assert relay.client.get("/api/agents/a").json()["lastProofAt"] is not None


# -- waiting for a state


def _wait(relay: RunningRelay, message: int, state: str, seconds: float) -> dict[str, Any]:
    query = f"/api/messages/{message}?for={state}&wait={seconds}"
    return dict(relay.client.get(query).json())


def test_waiting_ends_when_every_receiver_reached_the_state(relay: RunningRelay) -> None:
    message = relay.send("operator", "tag:t")["id"]
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(
        target=lambda: answers.append(_wait(relay, message, "in_context", 30))
    )
    waiting.start()
    eventually(lambda: relay.relay.core.slots.parked == 1)

    relay.ack("a", message, "in_context")
    relay.ack("b", message, "read")
    waiting.join(timeout=5)

    assert answers[0]["reached"] is True
    assert {r["agentId"]: r["state"] for r in answers[0]["receipts"]} == {
        "a": "in_context",
        "b": "read",
    }


def test_waiting_ends_with_its_time_when_one_receiver_is_behind(relay: RunningRelay) -> None:
    message = relay.send("operator", "tag:t")["id"]
    relay.ack("a", message, "handed")

    assert _wait(relay, message, "handed", 0.2)["reached"] is False


def test_a_message_for_nobody_never_reaches_a_state(relay: RunningRelay) -> None:
    message = relay.send("operator", "tag:nobody")["id"]

    assert _wait(relay, message, "routed", 0.1)["reached"] is False


def test_marks_that_could_not_be_written_are_written_later(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    message = relay.send("operator", "a")["id"]
    database = relay.relay.core.database
    with database.write() as transaction:
        transaction.run("DELETE FROM receipts")
    with database.exclusive() as writer:
        writer.all("PRAGMA busy_timeout = 10")

    def rows() -> list[str]:
        with closing(sqlite3.connect(database.path)) as reader:
            return [state for (state,) in reader.execute("SELECT state FROM receipts")]

    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        relay.relay.receipts.mark_routed([("a", message)])
        eventually(lambda: "the database does not answer" in caplog.text)
        other.execute("ROLLBACK")

    assert eventually(lambda: rows() == ["routed"])


# -- explain and route


def test_explain_tells_who_matched_and_why_others_did_not(relay: RunningRelay) -> None:
    relay.agent("c", tags=["t"], channels=["other"])
    message = relay.send("a", "tag:t", channel="ops")["id"]
    relay.agent("d", tags=["t"])
    relay.ack("b", message, "in_context", via="hook")

    explained = relay.client.get(f"/api/messages/{message}/explain").json()
    why = {c["agentId"]: (c["matched"], c["why"]) for c in explained["candidates"]}
    steps = [(step["event"], step["agentId"], step["detail"]) for step in explained["timeline"]]

    assert why["a"] == (False, "it is the sender")
    assert why["b"][0] is True
    assert why["c"] == (False, "not subscribed to channel ops")
    assert why["d"] == (False, "it registered after the message was sent")
    assert steps == [
        ("created", "a", None),
        ("routed", "b", None),
        ("handed", "b", "hook"),
        ("in_context", "b", "hook"),
    ]
    assert explained["held"] is None


def test_route_answers_before_sending(relay: RunningRelay) -> None:
    candidates = relay.client.get("/api/route?to=tag:t").json()["candidates"]
    nobody = relay.client.get("/api/route?to=ghost")
    malformed = relay.client.get("/api/route?to=tag:")

    assert {c["agentId"] for c in candidates if c["matched"]} == {"a", "b"}
    assert (nobody.status_code, nobody.json()["code"]) == (404, "agent_not_found")
    assert malformed.status_code == 422


def test_a_message_costs_one_row_for_any_number_of_receivers(relay: RunningRelay) -> None:
    for number in range(30):
        relay.agent(f"many-{number}", tags=["many"])

    def rows() -> int:
        with relay.relay.core.database.read() as reader:
            tables = reader.all(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%search%'"
            )
            counted = [reader.one(f"SELECT count(*) FROM {name}") for (name,) in tables]
            return sum(int(row[0]) for row in counted if row)

    before = rows()
    relay.send("operator", "tag:many")

    assert rows() == before + 1

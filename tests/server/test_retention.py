"""What is removed with time, and what is not; and how many are left."""

import sqlite3
import time
from pathlib import Path

from relay_server.wire import TaskStatus
from tests.server.conftest import StartRelay
from tests.server.history import add_messages
from tests.server.running import LaterClock, RunningRelay

_DAY_MS = 24 * 3600 * 1000


def _sweep_in(relay: RunningRelay, days: int) -> None:
    """Retention runs once a minute, so each relay here is a day or more apart from its last."""
    relay.relay.sweeper.sweep(time.time_ns() // 1_000_000 + days * _DAY_MS)


def test_old_messages_go_but_open_claimable_ones_stay(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    relay.send("operator", "a")
    done = relay.send("operator", "a", claimable=True)["id"]
    relay.client.post(f"/api/messages/{done}/claim", json={"agentId": "a"})
    relay.client.post(f"/api/messages/{done}/complete", json={"agentId": "a"})
    still_open = relay.send("operator", "a", claimable=True)["id"]

    _sweep_in(relay, days=1)
    before = relay.client.get("/api/messages").json()["messages"]
    _sweep_in(relay, days=3)
    after = relay.client.get("/api/messages").json()["messages"]

    assert len(before) == 3
    assert [message["id"] for message in after] == [still_open]


def test_receipts_go_with_their_message(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    message = relay.send("operator", "a")["id"]
    relay.ack("a", message, "read")

    _sweep_in(relay, days=3)

    with relay.relay.core.database.read() as reader:
        assert reader.one("SELECT count(*) FROM receipts") == (0,)


def test_ids_are_never_used_again_after_everything_was_removed(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    last = relay.send("operator", "a")["id"]
    _sweep_in(relay, days=3)

    assert relay.send("operator", "operator")["id"] > last


def test_work_that_ends_after_its_time_goes_then(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    work = [relay.send("operator", "a", claimable=True)["id"] for _ in range(3)]
    _sweep_in(relay, days=3)
    assert len(relay.client.get("/api/messages").json()["messages"]) == 3

    relay.client.post(f"/api/messages/{work[1]}/claim", json={"agentId": "a"})
    relay.client.post(f"/api/messages/{work[1]}/complete", json={"agentId": "a"})
    _sweep_in(relay, days=4)

    left = relay.client.get("/api/messages").json()["messages"]
    assert [message["id"] for message in left] == [work[2], work[0]]


def test_work_that_has_expired_is_nobodys_any_more(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    relay.send("operator", "a", claimable=True, expiresInSeconds=60)

    _sweep_in(relay, days=3)

    assert relay.client.get("/api/messages").json()["messages"] == []


def test_ended_tasks_go_with_their_history_and_others_stay(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    ended, active = (
        relay.client.post(
            "/api/tasks", json={"from": "operator", "title": "disk full", "target": "a"}
        ).json()["id"]
        for _ in range(2)
    )
    relay.client.patch(f"/api/tasks/{ended}/status", json={"agentId": "operator", "status": "done"})

    _sweep_in(relay, days=3)

    left = relay.client.get("/api/tasks", params={"q": "disk"}).json()["tasks"]
    by_status = relay.client.get("/api/stats").json()["tasks"]["byStatus"]
    with relay.relay.core.database.read() as reader:
        of_tasks = reader.all("SELECT DISTINCT task_id FROM task_events")
    assert [task["id"] for task in left] == [active]
    assert of_tasks == [(active,)]
    assert (by_status["open"], by_status["done"]) == (1, 0)


def test_what_is_kept_is_looked_at_once(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    relay.agent("a")
    for _ in range(5):
        relay.send("operator", "a", claimable=True)
    _sweep_in(relay, days=3)
    before = relay.relay.core.database.commits
    looked_at: list[str] = []
    writer = relay.relay.core.database._writer
    writer.set_trace_callback(looked_at.append)

    _sweep_in(relay, days=4)

    writer.set_trace_callback(None)
    assert relay.relay.core.database.commits > before
    assert not [sql for sql in looked_at if "FROM messages WHERE id >" in sql]


def test_many_are_removed_in_small_batches(start_relay: StartRelay) -> None:
    relay = start_relay(RETENTION_DAYS="2")
    database = relay.relay.core.database
    add_messages(database, [{"id": n, "target": "operator"} for n in range(1, 2001)])
    before = database.commits

    _sweep_in(relay, days=3)

    with database.read() as reader:
        assert reader.one("SELECT count(*) FROM messages") == (0,)
    assert database.commits - before >= 10


# -- many agents at once


def test_agents_that_fall_silent_together_are_all_told_of(start_relay: StartRelay) -> None:
    relay = start_relay(STALE_TTL_MS="3600000", OFFLINE_PRUNE_MS="3600000")
    names = {f"agent-{number}" for number in range(100)}
    for name in names:
        relay.agent(name)
    work = relay.send("operator", "agent-7", claimable=True)["id"]
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "agent-7"})
    now = time.time_ns() // 1_000_000

    with relay.stream("/api/events") as followed:
        relay.relay.sweeper.sweep(now + 2 * 3_600_000)
        offline = followed.wait_for("agent.offline", 100)
        counted = relay.client.get("/api/stats").json()["agents"]
        relay.relay.sweeper.sweep(now + 4 * 3_600_000)
        removed = followed.wait_for("agent.removed", 100)
        released = followed.wait_for("message.released")

    assert {event.data["agent"]["id"] for event in offline} == names
    assert (counted["total"], counted["offline"], counted["online"]) == (100, 100, 0)
    assert {event.data["agentId"] for event in removed} == names
    assert released[0].data["message"]["id"] == work
    assert relay.client.get("/api/stats").json()["agents"]["total"] == 0


# -- numbers


def test_stats_count_what_is_there(start_relay: StartRelay) -> None:
    clock = LaterClock()
    relay = start_relay(clock=clock, STALE_TTL_MS="864000000")
    relay.agent("a")
    first = relay.send("operator", "a")["id"]
    relay.send("operator", "a", claimable=True)
    clock.advance(2 * 24 * 3600)
    work = relay.send("operator", "a", claimable=True)["id"]
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a"})

    before = relay.client.get("/api/stats").json()["messages"]
    relay.client.delete(f"/api/messages/{first}")
    after = relay.client.get("/api/stats").json()["messages"]

    assert before == {"total": 3, "last24h": 1, "unclaimed": 1}
    assert after == {"total": 2, "last24h": 1, "unclaimed": 1}


def test_stats_name_every_status_of_a_task(start_relay: StartRelay) -> None:
    relay = start_relay()

    by_status = relay.client.get("/api/stats").json()["tasks"]["byStatus"]

    assert by_status == dict.fromkeys(TaskStatus, 0)


def test_an_older_database_knows_how_many_messages_it_has(
    tmp_path: Path, start_relay: StartRelay
) -> None:
    old = sqlite3.connect(tmp_path / "relay.db")
    golden = Path(__file__).resolve().parents[1] / "data" / "schema" / "v1.sql"
    old.executescript(golden.read_text(encoding="utf-8"))
    old.execute("DELETE FROM messages WHERE id = 2")
    old.commit()
    old.close()

    assert start_relay().client.get("/api/stats").json()["messages"]["total"] == 1

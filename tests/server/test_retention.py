"""What is removed with time, and what is not."""

import time

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay

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

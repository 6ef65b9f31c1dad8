"""Who is alive: heartbeats, statuses, going offline, being pruned."""

import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay
from tests.support.wait import eventually


def _status(relay: RunningRelay, agent_id: str) -> str:
    return str(relay.client.get(f"/api/agents/{agent_id}").json()["status"])


def test_a_heartbeat_answers_the_agent_and_404_asks_to_register_again(
    relay_server: RunningRelay,
) -> None:
    relay_server.agent("a")

    known = relay_server.client.post("/api/agents/a/heartbeat")
    unknown = relay_server.client.post("/api/agents/b/heartbeat")

    assert (known.status_code, known.json()["id"]) == (200, "a")
    assert unknown.status_code == 404


def test_a_status_is_kept_with_its_detail(relay_server: RunningRelay) -> None:
    relay_server.agent("a")

    given = {"status": "waiting", "statusDetail": "for a person"}
    agent = relay_server.client.patch("/api/agents/a/status", json=given).json()

    assert (agent["status"], agent["statusDetail"]) == ("waiting", "for a person")


def test_one_call_carries_the_heartbeats_of_a_machine(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    relay_server.agent("b")

    answer = relay_server.client.post(
        "/api/heartbeats",
        json={"agents": [{"id": "a", "status": "busy"}, {"id": "b"}, {"id": "x"}], "machine": "m"},
    )

    assert answer.json() == {"known": ["a", "b"], "unknown": ["x"]}
    assert (_status(relay_server, "a"), _status(relay_server, "b")) == ("busy", "idle")
    assert relay_server.client.get("/api/machines/m").json()["status"] == "online"


def test_a_silent_agent_goes_offline_and_a_heartbeat_brings_it_back(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(STALE_TTL_MS="400")
    relay.agent("a")

    eventually(lambda: _status(relay, "a") == "offline")
    relay.client.post("/api/agents/a/heartbeat")

    assert _status(relay, "a") == "idle"


def test_going_offline_releases_claims_by_silence_and_by_its_own_word(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(STALE_TTL_MS="400")
    relay.agent("a")
    work = relay.send("operator", "a", claimable=True)["id"]

    def owner() -> object:
        return relay.client.get(f"/api/messages/{work}").json()["claim"]

    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a"})
    eventually(lambda: owner() is None)
    relay.client.post("/api/agents/a/heartbeat")
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a"})
    relay.client.patch("/api/agents/a/status", json={"status": "offline"})

    assert owner() is None


def test_agents_offline_for_long_are_removed_but_never_the_built_in_ones(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(STALE_TTL_MS="200", OFFLINE_PRUNE_MS="300")
    relay.agent("a")

    eventually(lambda: relay.client.get("/api/agents/a").status_code == 404)

    assert relay.client.get("/api/agents/operator").json()["status"] == "idle"


def test_a_silent_machine_goes_offline(start_relay: StartRelay) -> None:
    relay = start_relay(STALE_TTL_MS="300")
    relay.client.put("/api/machines/m", json={"hostname": "box"})

    eventually(lambda: relay.client.get("/api/machines/m").json()["status"] == "offline")


def test_a_machine_keeps_its_report(relay_server: RunningRelay) -> None:
    report = {
        "hostname": "box",
        "os": "linux",
        "version": "1.0",
        "providers": [{"name": "codex"}],
        "addresses": ["10.0.0.1"],
        "load": 0.5,
        "memory": {"free": 7},
        "launchRoots": ["/w"],
    }

    put = relay_server.client.put("/api/machines/m", json=report).json()
    listed = relay_server.client.get("/api/machines").json()["machines"]

    assert report.items() <= put.items()
    assert [machine["id"] for machine in listed] == ["m"]
    assert relay_server.client.get("/api/machines/other").status_code == 404


@pytest.mark.parametrize("odd", ["%00", "a%0Ab", "%7F", "m" * 201])
def test_a_machines_id_is_short_and_visible(relay_server: RunningRelay, odd: str) -> None:
    answer = relay_server.client.put(f"/api/machines/{odd}", json={})

    assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")
    assert relay_server.client.get("/api/machines").json() == {"machines": []}

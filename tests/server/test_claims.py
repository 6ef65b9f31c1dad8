"""Claimable messages: exactly one owner, for a time."""

import threading

import httpx
import pytest

from tests.server.running import RunningRelay
from tests.support.wait import eventually


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """Two workers."""
    relay_server.agent("a", tags=["work"])
    relay_server.agent("b", tags=["work"])
    return relay_server


@pytest.fixture
def work(relay: RunningRelay) -> int:
    """Something to claim."""
    return int(relay.send("operator", "tag:work", claimable=True)["id"])


def _do(relay: RunningRelay, work: int, verb: str, agent: str, **more: object) -> httpx.Response:
    return relay.client.post(f"/api/messages/{work}/{verb}", json={"agentId": agent, **more})


def test_the_first_gets_it_and_the_second_learns_who(relay: RunningRelay, work: int) -> None:
    first = _do(relay, work, "claim", "a")
    second = _do(relay, work, "claim", "b")

    assert (first.status_code, first.json()["claim"]["agentId"]) == (200, "a")
    assert (second.status_code, second.json()["code"]) == (409, "already_claimed")
    assert second.json()["claimedBy"] == "a"


def test_claiming_again_renews_the_lease(relay: RunningRelay, work: int) -> None:
    short = _do(relay, work, "claim", "a", leaseSeconds=10).json()["claim"]
    longer = _do(relay, work, "claim", "a", leaseSeconds=1000).json()["claim"]

    assert longer["expiresAt"] > short["expiresAt"]
    assert longer["claimedAt"] == short["claimedAt"]


def test_an_expired_lease_can_be_claimed_by_another_agent(relay: RunningRelay, work: int) -> None:
    _do(relay, work, "claim", "a", leaseSeconds=1)

    eventually(lambda: _do(relay, work, "claim", "b").status_code == 200)

    assert _do(relay, work, "complete", "a").json()["code"] == "not_owner"


def test_only_what_is_claimable_can_be_claimed(relay: RunningRelay) -> None:
    plain = relay.send("operator", "a")["id"]

    assert _do(relay, plain, "claim", "a").json()["code"] == "not_claimable"


def test_only_the_owner_releases_and_completes(relay: RunningRelay, work: int) -> None:
    _do(relay, work, "claim", "a")

    assert _do(relay, work, "release", "b").json()["code"] == "not_owner"
    assert _do(relay, work, "complete", "b").json()["code"] == "not_owner"
    assert _do(relay, work, "release", "a").json()["claim"] is None
    assert _do(relay, work, "claim", "b").status_code == 200


def test_completing_ends_it_and_the_result_becomes_a_reply(relay: RunningRelay, work: int) -> None:
    _do(relay, work, "claim", "a")

    done = _do(relay, work, "complete", "a", result="42 rows moved").json()
    again = _do(relay, work, "complete", "a", result="42 rows moved")
    thread = relay.client.get(f"/api/messages/{work}/thread").json()["messages"]

    assert done["claim"]["completedAt"] is not None
    assert again.status_code == 200
    assert [(m["from"], m["to"], m["body"]) for m in thread[1:]] == [
        ("a", "operator", "42 rows moved")
    ]
    assert _do(relay, work, "claim", "b").json()["code"] == "already_claimed"


def test_an_object_as_result_is_a_payload(relay: RunningRelay, work: int) -> None:
    _do(relay, work, "claim", "a")
    _do(relay, work, "complete", "a", result={"rows": 42})

    reply = relay.client.get(f"/api/messages/{work}/thread").json()["messages"][1]

    assert reply["payload"] == {"rows": 42}


def test_open_work_is_shown_to_every_agent_that_matches_however_old(
    relay: RunningRelay, work: int
) -> None:
    relay.agent("newcomer", tags=["work"])
    relay.send("operator", "newcomer")

    assert relay.inbox("newcomer")[0] == work
    relay.ack("newcomer", work, "handed")
    assert work not in relay.inbox("newcomer")
    relay.agent("later", tags=["work"])
    _do(relay, work, "claim", "a")
    assert relay.inbox("later") == []


@pytest.mark.parametrize("seconds", [0, 86401, "x", 1.5])
def test_a_lease_lasts_from_a_second_to_a_day(
    relay: RunningRelay, work: int, seconds: object
) -> None:
    answer = _do(relay, work, "claim", "a", leaseSeconds=seconds)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "leaseSeconds")


def test_unknown_agents_claim_nothing(relay: RunningRelay, work: int) -> None:
    assert _do(relay, work, "claim", "ghost").json()["code"] == "agent_not_found"


def test_of_64_that_claim_at_once_exactly_one_wins(relay: RunningRelay) -> None:
    for number in range(64):
        relay.agent(f"racer-{number}", tags=["race"])
    limits = httpx.Limits(max_connections=64)
    with relay.new_client(limits=limits, timeout=30) as client:
        for _ in range(5):
            work = relay.send("operator", "tag:race", claimable=True)["id"]
            assert _race(client, work) == [200] + [409] * 63


def _race(client: httpx.Client, work: int) -> list[int]:
    barrier = threading.Barrier(64)
    statuses: list[int] = []

    def claim(number: int) -> None:
        barrier.wait()
        body = {"agentId": f"racer-{number}"}
        statuses.append(client.post(f"/api/messages/{work}/claim", json=body).status_code)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)

"""`/metrics`: what Prometheus reads is well formed, moves as it should, and stays small."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay_server import __version__
from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay
from tests.support.wait import eventually


class Scrape:
    """The samples of one look."""

    def __init__(self, relay: RunningRelay) -> None:
        answer = relay.client.get("/metrics")
        assert answer.status_code == 200
        self.families = list(text_string_to_metric_families(answer.text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """0 when it is not there yet, as Prometheus counts."""
        return self.samples.get((f"agent_relay_{name}", tuple(sorted(labels.items()))), 0.0)


def _requests(relay: RunningRelay, method: str, route: str, status: str) -> float:
    return Scrape(relay).value("http_requests_total", method=method, route=route, status=status)


def test_it_is_the_text_format_of_prometheus(relay_server: RunningRelay) -> None:
    answer = relay_server.client.get("/metrics")

    scrape = Scrape(relay_server)

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert scrape.value("build_info", version=__version__) == 1
    ours = [family for family in scrape.families if not family.name.startswith("process_")]
    assert {family.name.startswith("agent_relay_") for family in ours} == {True}
    assert all(family.documentation for family in scrape.families)


def test_requests_are_counted_by_method_route_and_class_of_status(
    relay_server: RunningRelay,
) -> None:
    relay_server.agent("a")
    for agent_id in ("a", "a", "b", "c"):
        relay_server.client.get(f"/api/agents/{agent_id}")

    route = "/api/agents/{agentId}"
    assert _requests(relay_server, "GET", route, "2xx") == 2
    assert _requests(relay_server, "GET", route, "4xx") == 2
    scrape = Scrape(relay_server)
    name = "http_request_duration_seconds"
    assert scrape.value(f"{name}_count", method="GET", route=route) == 4
    assert 0 < scrape.value(f"{name}_sum", method="GET", route=route) < 4


def test_what_clients_make_up_makes_no_new_series(relay_server: RunningRelay) -> None:
    relay_server.client.get("/api/nope-0")
    relay_server.client.request("BREW-0", "/healthz")
    before = len(Scrape(relay_server).samples)

    for number in range(1, 30):
        relay_server.client.get(f"/api/nope-{number}")
        relay_server.client.get(f"/nope/{number}")
        relay_server.client.request(f"BREW-{number}", "/healthz")

    # The scrape itself has become a series.
    assert len(Scrape(relay_server).samples) <= before + 20
    assert _requests(relay_server, "GET", "none", "4xx") >= 59


def test_streams_and_what_waits_are_counted_but_not_measured(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    with relay_server.stream("/api/stream?agent=a") as followed:
        followed.wait_for("hello")
        assert Scrape(relay_server).value("streams") == 1
    relay_server.client.get("/api/messages?for=a&wait=0.01")
    relay_server.client.get("/api/messages?for=a")

    scrape = Scrape(relay_server)

    name = "http_request_duration_seconds_count"
    assert scrape.value("http_requests_total", method="GET", route="/api/stream", status="2xx") == 1
    assert scrape.value(name, method="GET", route="/api/stream") == 0
    assert scrape.value(name, method="GET", route="/api/messages") == 1
    assert eventually(lambda: Scrape(relay_server).value("streams") == 0)


def test_messages_and_their_way_are_counted(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    first = relay_server.send("operator", "a")["id"]
    second = relay_server.send("operator", "a")["id"]
    relay_server.ack("a", first, "handed")
    relay_server.ack("a", first, "in_context")
    relay_server.ack("a", first, "in_context")
    relay_server.client.post(f"/api/messages/{second}/read", json={"agentId": "a"})
    relay_server.client.post(f"/api/messages/{second}/read", json={"agentId": "a"})
    relay_server.send("a", "operator", replyTo=first)

    scrape = Scrape(relay_server)

    assert scrape.value("messages_sent_total") == 3
    assert scrape.value("messages") == 3
    states = ("handed", "in_context", "read", "replied")
    assert [scrape.value("receipts_total", state=state) for state in states] == [1, 1, 1, 1]
    name = "delivery_duration_seconds"
    assert scrape.value(f"{name}_count", state="handed") == 2
    # Read implies that it was handed, but only its session proves what was in its context.
    assert scrape.value(f"{name}_count", state="in_context") == 1
    assert 0 <= scrape.value(f"{name}_sum", state="in_context") < 60


def test_held_messages_are_counted(start_relay: StartRelay) -> None:
    relay = start_relay(AGENT_RELAY_LOOP_LIMIT="1")
    relay.agent("a")
    relay.agent("b")
    first = relay.send("a", "b")["id"]
    assert relay.send("b", "a", replyTo=first)["held"]

    assert Scrape(relay).value("messages_held_total") == 1


def test_tasks_are_counted(relay_server: RunningRelay) -> None:
    given = {"title": "t", "target": "broadcast", "dedupeKey": "k"}
    task = relay_server.client.post("/api/tasks", json=given).json()["id"]
    relay_server.client.post("/api/tasks", json=given)
    before = Scrape(relay_server)
    path = f"/api/tasks/{task}/status"
    relay_server.client.patch(path, json={"agentId": "operator", "status": "canceled"})

    after = Scrape(relay_server)

    assert (before.value("tasks_reported_total"), before.value("tasks_deduped_total")) == (1, 1)
    assert (before.value("tasks", status="open"), after.value("tasks", status="open")) == (1, 0)
    assert after.value("tasks_ended_total", status="canceled") == 1


def test_approvals_are_counted(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    given = {"agentId": "a", "tool": "t", "summary": "s"}
    approval = relay_server.client.post("/api/approvals", json=given).json()["id"]
    pending = Scrape(relay_server).value("approvals_pending")
    path = f"/api/approvals/{approval}/decision"
    relay_server.client.post(path, json={"decision": "deny"})

    scrape = Scrape(relay_server)

    assert (pending, scrape.value("approvals_pending")) == (1, 0)
    statuses = ("pending", "denied", "allowed")
    assert [scrape.value("approvals_total", status=s) for s in statuses] == [1, 1, 0]


def test_agents_machines_and_the_database_are_measured(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    relay_server.client.patch("/api/agents/a/status", json={"status": "waiting"})
    relay_server.client.put("/api/machines/m", json={})

    scrape = Scrape(relay_server)

    assert scrape.value("agents", status="waiting") == 1
    assert scrape.value("machines", status="online") == 1
    assert scrape.value("database_bytes") > 10_000
    assert scrape.value("start_time_seconds") > 1_700_000_000


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_it_needs_a_token_like_the_api(start_relay: StartRelay, headers: dict[str, str]) -> None:
    relay = start_relay(AGENT_RELAY_TOKEN="s3cret")

    refused: httpx.Response = relay.client.get("/metrics", headers=headers)
    given = relay.client.get("/metrics", headers={"Authorization": "Bearer s3cret"})

    assert (refused.status_code, given.status_code) == (401, 200)

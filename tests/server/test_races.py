"""Many at once: one winner, one row, one answer. Each runner keeps its connection."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_server.clock import SystemClock
from tests.server.conftest import StartRelay
from tests.server.plain import Answer, PlainClient
from tests.server.running import LaterClock, RunningRelay

RUNNERS = 64
ROUNDS = 200
INTEGRATION = {"name": "ci", "token": "ci-secret", "scopes": ["tasks:create"]}

Run = Callable[[PlainClient, int], Answer]


class Runners:
    """Threads that start together, once for each round."""

    def __init__(self, port: int, count: int) -> None:
        self._start = threading.Barrier(count + 1)
        self._finish = threading.Barrier(count + 1)
        self._run: Run | None = None
        self._answers: list[Answer | BaseException | None] = [None] * count
        self._threads = [threading.Thread(target=self._work, args=(port, n)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self, port: int, number: int) -> None:
        client = PlainClient(port)
        while True:
            self._start.wait()
            if self._run is None:
                client.close()
                return
            try:
                self._answers[number] = self._run(client, number)
            except Exception as error:
                self._answers[number] = error
            self._finish.wait()

    def race(self, run: Run) -> list[Answer]:
        """Each runner's answer, by its number."""
        self._run = run
        self._start.wait()
        self._finish.wait()
        found: list[Answer] = []
        for answer in self._answers:
            assert isinstance(answer, Answer), answer
            found.append(answer)
        return found

    def stop(self) -> None:
        self._run = None
        self._start.wait()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def relay(start_relay: StartRelay) -> RunningRelay:
    """With an agent for each runner."""
    relay = start_relay(
        AGENT_RELAY_SENDER_LIMIT="0",
        AGENT_RELAY_LOOP_LIMIT="0",
        AGENT_RELAY_INTEGRATIONS=json.dumps([INTEGRATION]),
        AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="0",
    )
    client = PlainClient(relay.server.port)
    for number in range(RUNNERS):
        client.post("/api/agents", {"id": _name(number), "tags": ["race"]})
    client.close()
    return relay


@pytest.fixture
def runners(relay: RunningRelay) -> Iterator[Runners]:
    made = Runners(relay.server.port, RUNNERS)
    yield made
    made.stop()


@pytest.fixture
def client(relay: RunningRelay) -> Iterator[PlainClient]:
    made = PlainClient(relay.server.port)
    yield made
    made.close()


def _name(number: int) -> str:
    return f"racer-{number}"


def _message(client: PlainClient) -> int:
    body = {"from": "operator", "to": "tag:race", "body": "x", "claimable": True}
    return int(client.post("/api/messages", body).body["id"])


def _task(client: PlainClient) -> dict[str, Any]:
    body = {"title": "x", "target": "tag:race"}
    return dict(client.post("/api/tasks", body).body)


def _one_winner(answers: list[Answer]) -> str:
    """His name, which all others were told."""
    [winner] = [number for number, answer in enumerate(answers) if answer.status == 200]
    others = {
        (answer.status, answer.code, answer.body["claimedBy"])
        for answer in answers
        if answer.status != 200
    }
    assert others == {(409, "already_claimed", _name(winner))}
    return _name(winner)


@pytest.mark.timeout(180)
def test_one_of_64_gets_a_message(client: PlainClient, runners: Runners) -> None:
    for _ in range(ROUNDS):
        path = f"/api/messages/{_message(client)}"
        winner = _one_winner(
            runners.race(lambda c, n, p=path: c.post(f"{p}/claim", {"agentId": _name(n)}))  # type: ignore[misc]
        )
        assert client.get(path).body["claim"]["agentId"] == winner


@pytest.mark.timeout(180)
def test_one_of_64_gets_a_task(client: PlainClient, runners: Runners) -> None:
    for _ in range(ROUNDS):
        path = f"/api/tasks/{_task(client)['id']}"
        winner = _one_winner(
            runners.race(lambda c, n, p=path: c.post(f"{p}/claim", {"agentId": _name(n)}))  # type: ignore[misc]
        )
        assert client.get(path).body["claimedBy"] == winner


@pytest.mark.timeout(180)
def test_one_of_64_gets_it_whether_it_is_claimed_as_a_message_or_as_a_task(
    client: PlainClient, runners: Runners
) -> None:
    winners_by = Counter[int]()
    for turn in range(ROUNDS):
        task = _task(client)
        paths = (f"/api/messages/{task['messageId']}", f"/api/tasks/{task['id']}")

        # Whoever is often first is so by either way.
        def claim(c: PlainClient, n: int, paths: tuple[str, str] = paths, t: int = turn) -> Answer:
            return c.post(f"{paths[(n + t) % 2]}/claim", {"agentId": _name(n)})

        winner = _one_winner(runners.race(claim))
        claimed, task = client.get(paths[0]).body["claim"], client.get(paths[1]).body
        assert (claimed["agentId"], task["claimedBy"], task["status"]) == (
            *(winner, winner),
            "claimed",
        )
        assert claimed["expiresAt"] == task["leaseExpiresAt"]
        winners_by[(int(winner.rpartition("-")[2]) + turn) % 2] += 1
    assert set(winners_by) == {0, 1}


def test_64_events_with_one_key_are_one_task(client: PlainClient, runners: Runners) -> None:
    body = {"title": "disk", "target": "tag:race", "dedupeKey": "disk"}
    resolved = {"dedupeKey": "disk", "status": "resolved"}

    for round_number in range(1, 6):
        answers = runners.race(
            lambda c, n: c.post("/api/integrations/events", body, X_Agent_Relay_Token="ci-secret")
        )
        [created] = [answer.body["task"] for answer in answers if answer.status == 201]
        folded = [answer.body for answer in answers if answer.status == 200]
        assert {(a["created"], a["deduped"], a["task"]["id"]) for a in folded} == {
            (False, True, created["id"])
        }
        assert sorted(a["task"]["occurrenceCount"] for a in folded) == list(range(2, RUNNERS + 1))
        task = client.get(f"/api/tasks/{created['id']}").body
        assert task["occurrenceCount"] == RUNNERS
        events = client.get(f"/api/tasks/{created['id']}/events").body["events"]
        assert len(events) == RUNNERS
        offers = client.get("/api/messages?limit=500&from=system").body["messages"]
        assert len(offers) == round_number
        ended = runners.race(
            lambda c, n: c.post(
                "/api/integrations/events", resolved, X_Agent_Relay_Token="ci-secret"
            )
        )
        # One ends it, for all others there is nothing to end.
        assert Counter(answer.body["task"] is None for answer in ended) == {True: 63, False: 1}


@pytest.mark.parametrize(
    ("path", "body", "listed"),
    [
        ("/api/messages", {"from": "operator", "to": "tag:race", "body": "x"}, "messages"),
        ("/api/tasks", {"title": "x", "target": "tag:race"}, "tasks"),
    ],
)
def test_64_with_one_key_are_one_row_and_one_answer(
    client: PlainClient, runners: Runners, path: str, body: dict[str, Any], listed: str
) -> None:
    for number in range(20):
        answers = runners.race(
            lambda c, n, key=f"k{number}": c.post(path, body, Idempotency_Key=key)  # type: ignore[misc]
        )

        assert {answer.status for answer in answers} == {201}
        assert len({json.dumps(answer.body) for answer in answers}) == 1
        replays = [a for a in answers if a.headers.get("Idempotency-Replayed") == "true"]
        assert len(replays) == RUNNERS - 1
        assert len(client.get(f"{path}?limit=500").body[listed]) == number + 1


def test_a_release_and_a_claim_at_once_leave_one_owner_or_none(
    client: PlainClient, runners: Runners
) -> None:
    for _ in range(50):
        task = _task(client)
        message = f"/api/messages/{task['messageId']}"
        client.post(f"{message}/claim", {"agentId": _name(0)})

        def run(c: PlainClient, n: int, path: str = message, task_id: int = task["id"]) -> Answer:
            if n == 0:
                return c.post(f"/api/tasks/{task_id}/release", {"agentId": _name(0)})
            return c.post(f"{path}/claim", {"agentId": _name(n)})

        answers = runners.race(run)
        assert answers[0].status == 200
        winners = {_name(n) for n in range(1, RUNNERS) if answers[n].status == 200}
        assert len(winners) <= 1
        claim, task = client.get(message).body["claim"], client.get(f"/api/tasks/{task['id']}").body
        assert ({claim["agentId"]} if claim else set()) == winners
        assert ({task["claimedBy"]} if task["claimedBy"] else set()) == winners
        assert task["status"] == ("claimed" if winners else "open")


def test_completing_and_ending_at_once_end_it_once(client: PlainClient, runners: Runners) -> None:
    for _ in range(50):
        task = _task(client)
        message = f"/api/messages/{task['messageId']}"
        client.post(f"{message}/claim", {"agentId": _name(0)})

        def run(c: PlainClient, n: int, path: str = message, task_id: int = task["id"]) -> Answer:
            if n % 2:
                return c.post(f"{path}/complete", {"agentId": _name(0), "result": "done"})
            body = {"agentId": _name(0), "status": "failed"}
            return c.call("PATCH", f"/api/tasks/{task_id}/status", body)

        answers = runners.race(run)
        failed = sum(answer.status == 200 for answer in answers[0::2])
        refused = {answer.code for answer in answers if answer.status != 200}
        thread = client.get(f"{message}/thread").body["messages"]
        status = client.get(f"/api/tasks/{task['id']}").body["status"]
        assert refused == {"invalid_transition"}
        assert (status, len(thread)) == (("failed", 1) if failed else ("done", 2))
        events = client.get(f"/api/tasks/{task['id']}/events").body["events"]
        assert [event["type"] for event in events] == [
            "task.created",
            "task.claimed",
            "task.status",
        ]


def test_a_lease_that_runs_out_while_it_is_renewed_has_one_owner(tmp_path: Path) -> None:
    """The clock strikes in the middle of the race: the owner is in time, or anyone may be next."""
    clock = LaterClock()
    relay = RunningRelay(
        tmp_path,
        clock,
        SystemClock(),
        AGENT_RELAY_SENDER_LIMIT="0",
        STALE_TTL_MS="86400000",
    )
    client, runners = PlainClient(relay.server.port), Runners(relay.server.port, RUNNERS)
    for number in range(RUNNERS):
        client.post("/api/agents", {"id": _name(number), "tags": ["race"]})
    for _ in range(100):
        path = f"/api/messages/{_message(client)}"
        first = {"agentId": _name(0), "leaseSeconds": 60}
        before = client.post(f"{path}/claim", first).body["claim"]

        def run(c: PlainClient, n: int, path: str = path) -> Answer:
            if n == RUNNERS // 2:
                clock.advance(61)
            return c.post(f"{path}/claim", {"agentId": _name(n), "leaseSeconds": 900})

        answers = runners.race(run)
        [winner] = [number for number, answer in enumerate(answers) if answer.status == 200]
        told = {answer.body["claimedBy"] for answer in answers if answer.status != 200}
        after = client.get(path).body["claim"]
        assert told <= {_name(0), _name(winner)}
        assert after["agentId"] == _name(winner)
        if winner:
            assert after["claimedAt"] > before["claimedAt"]
    runners.stop()
    client.close()
    relay.stop()

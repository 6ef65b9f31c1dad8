"""A relay that is killed again and again in a storm loses and doubles nothing."""

import json
import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.storm import INTEGRATION, TOKEN, Book, Storm
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually
from tests.support.webhook_receiver import Received, WebhookReceiver

CLIENTS = 16
KILLS = 20
LONG_MS = "3600000"


class _Refusing:
    """Answers 500 to the first of some tasks' `task.claimed`, once each."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def __call__(self, received: Received) -> int:
        task_id, event = received.step
        if event != "task.claimed" or task_id % 8 or received.delivery in self._refused:
            return 204
        self._refused.add(received.delivery)
        return 500


def _relay(folder: Path, receiver: WebhookReceiver) -> RelayProcess:
    integration = {
        "name": INTEGRATION,
        "token": TOKEN,
        "scopes": ["tasks:create"],
        "callbackUrl": receiver.url,
    }
    return RelayProcess(
        folder,
        AGENT_RELAY_INTEGRATIONS=json.dumps([integration]),
        AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="0",
        AGENT_RELAY_SENDER_LIMIT="0",
        AGENT_RELAY_LOOP_LIMIT="0",
        STALE_TTL_MS=LONG_MS,
    )


def _pending_callbacks(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        sql = "SELECT count(*) FROM callbacks WHERE status = 'pending'"
        return int(connection.execute(sql).fetchone()[0])


def _all(client: httpx.Client, kind: str, **query: Any) -> list[Any]:
    """Every page of a listing."""
    found: list[Any] = []
    while True:
        page = client.get(f"/api/{kind}", params={**query, "limit": 500}).json()
        found += page[kind]
        if not page["more"]:
            return found
        query["before"] = found[-1]["id"]


@pytest.mark.timeout(180)
def test_twenty_kills_in_a_storm_lose_and_double_nothing(
    tmp_path: Path, receiver: WebhookReceiver
) -> None:
    receiver.answer = _Refusing()
    chance = random.Random(20)
    with _relay(tmp_path, receiver) as relay:
        storm = Storm(relay.url, CLIENTS)
        with httpx.Client(base_url=relay.url, trust_env=False) as client:
            for name in storm.names:
                assert client.post("/api/agents", json={"id": name}).status_code == 201
        with storm:
            storm.is_up.set()
            for _ in range(KILLS):
                storm.wait_for_answers(chance.randint(30, 110))
                storm.is_up.clear()
                relay.kill()
                relay.start()
                storm.is_up.set()

        assert storm.book.wrong == []
        eventually(lambda: _pending_callbacks(relay.database) == 0, within=30)
        with httpx.Client(base_url=relay.url, trust_env=False, timeout=30) as client:
            _check_messages(client, storm.book)
            tasks = _check_tasks(client, storm.book)
            received = defaultdict[int, list[Received]](list)
            for each in receiver.received:
                received[each.step[0]].append(each)
            for task in tasks:
                events = client.get(f"/api/tasks/{task['id']}/events").json()["events"]
                _check_told(events, received[task["id"]])


def _check_messages(client: httpx.Client, book: Book) -> None:
    """Everything that was acknowledged is there once, under the number that was said."""
    messages = [m for m in _all(client, "messages") if m["from"] != "system"]

    assert {message["body"]: message["id"] for message in messages} == book.sent
    assert len(messages) == len(book.sent)


def _check_tasks(client: httpx.Client, book: Book) -> list[Any]:
    """Each task once, with one message, one owner, and at least as far as was said."""
    tasks = _all(client, "tasks")
    offers = _all(client, "messages", **{"from": "system"})

    assert {task["title"]: task["id"] for task in tasks} == book.reported
    assert len(tasks) == len(book.reported)
    assert Counter(offer["payload"]["taskId"] for offer in offers) == Counter(
        task["id"] for task in tasks
    )
    assert {task["id"]: task["claimedBy"] for task in tasks if task["claimedBy"]} == book.owners
    assert {task["id"]: task["progress"] for task in tasks if task["progress"]} == book.progress
    return tasks


def _check_told(events: list[Any], received: list[Received]) -> None:
    """A task's receiver heard of each change at least once, in their order."""
    told: dict[str, Received] = {}
    for each in received:
        # A repetition is of the newest one: the next is sent when this one is over.
        assert each.delivery not in told or each.delivery == list(told)[-1]
        told[each.delivery] = each
    assert [r.step[1] for r in told.values()] == [event["type"] for event in events]
    assert [r.json["task"]["status"] for r in told.values()] == [e["status"] for e in events]
    progress = [r.json["task"]["progress"] or 0 for r in told.values()]
    assert progress == sorted(progress)

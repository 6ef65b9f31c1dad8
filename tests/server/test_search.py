"""Full-text search: what is found, in which order, and that no text breaks it."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_server.clock import SystemClock
from relay_server.services.indexer import Indexer
from relay_server.store import messages, search
from relay_server.store.database import Database
from relay_server.store.search import Listing
from tests.server.conftest import StartRelay
from tests.server.history import add_messages
from tests.server.running import RunningRelay
from tests.support.wait import eventually

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """Two agents who may be written to."""
    for agent in ("a", "b"):
        relay_server.agent(agent)
    return relay_server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    opened = Database(tmp_path / "relay.db")
    yield opened
    opened.close()


def _found(relay: RunningRelay, q: str, **query: Any) -> list[int]:
    answer = relay.client.get("/api/messages", params={"q": q, **query})
    assert answer.status_code == 200, answer.text
    return [message["id"] for message in answer.json()["messages"]]


def _index(database: Database, most: int = 1000) -> int:
    """Batches until the index has reached the newest message; how many."""
    with database.read() as reader:
        newest = messages.newest_id(reader)
    batches, has_more = 0, True
    while has_more:
        batches += 1
        with database.write() as transaction:
            has_more = search.index_more(transaction, most, newest)
    return batches


def _sound(database: Database) -> None:
    """SQLite's own check of the index against the messages; raises when they differ."""
    with database.write() as transaction:
        transaction.run(
            "INSERT INTO messages_search (messages_search, rank) VALUES ('integrity-check', 1)"
        )


# -- what is found


def test_what_was_sent_before_the_search_is_found_newest_first(relay: RunningRelay) -> None:
    first = relay.send("operator", "a", "the migration is done")["id"]
    relay.send("operator", "a", "something else")
    second = relay.send("operator", "a", "nothing", subject="Migrations")["id"]

    assert _found(relay, "migra") == [second, first]


@pytest.mark.parametrize(
    ("q", "is_found"),
    [
        ("migration", True),
        ("MIGRA", True),
        ("uberprufung", True),
        ("Überprüfung migration", True),
        ("migration unknown", False),
        ('"clean migration"', True),
        ('"migration clean"', False),
        ('"clean migra"', False),
        ("x-42", True),
        ("gration", False),
        ("mig!", True),
        ("!!! migration ...", True),
        ("!!!", False),
        ('""', False),
        ("   ", False),
        ('"clean', True),
        ("a", True),
        ("t", False),
        ("NOT", False),
        ("migration OR unknown", False),
        ("body:migration", False),
        ("NEAR(clean migration)", False),
        ("部署", True),
        ("部", True),
    ],
)
def test_words_are_beginnings_and_all_must_be_there(
    relay: RunningRelay, q: str, is_found: bool
) -> None:
    sent = relay.send("operator", "a", "A clean migration of X-42: Überprüfung 部署完了 #42 (a)")[
        "id"
    ]

    assert _found(relay, q) == ([sent] if is_found else [])


def test_search_goes_together_with_every_filter_and_with_pages(relay: RunningRelay) -> None:
    plain = relay.send("operator", "a", "deploy one")["id"]
    work = relay.send("a", "b", "deploy two", claimable=True, channel="ops")["id"]
    reply = relay.send("b", "a", "deploy three", replyTo=work)["id"]
    relay.send("b", "a", "other", replyTo=work)

    assert _found(relay, "deploy") == [reply, work, plain]
    assert _found(relay, "deploy", **{"from": "a"}) == [work]
    assert _found(relay, "deploy", to="a") == [reply, plain]
    assert _found(relay, "deploy", thread=work) == [reply, work]
    assert _found(relay, "deploy", channel="ops") == [work]
    assert _found(relay, "deploy", claimable="true") == [work]
    assert _found(relay, "deploy", claimable="false") == [reply, plain]
    assert _found(relay, "deploy", to="a", claimable="false", **{"from": "b"}) == [reply]
    assert _found(relay, "deploy", limit=1) == [reply]
    assert _found(relay, "deploy", before=reply, limit=1) == [work]
    assert _found(relay, "deploy", after=plain) == [reply, work]
    assert _found(relay, "deploy", to="nobody") == []


def test_broad_filters_find_the_same_as_narrow_ones(
    relay: RunningRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        relay.send("operator" if number % 3 else "a", "ab"[number % 2], f"word{number % 4} text")
    asked: list[dict[str, Any]] = [
        {"q": "text"},
        {"q": "word1", "to": "b"},
        {"q": "text", "to": "a", "from": "a"},
        {"to": "a", "from": "a"},
        {"to": "a", "from": "operator", "claimable": "false"},
    ]

    def answers() -> list[Any]:
        return [relay.client.get("/api/messages", params=query).json() for query in asked]

    narrow = answers()
    monkeypatch.setattr(search, "_NARROW", 2)
    monkeypatch.setattr(search, "_FEW", 2)

    assert answers() == narrow
    assert all(answer["messages"] for answer in narrow)


def test_removed_messages_are_found_no_more(relay: RunningRelay) -> None:
    kept, removed = (relay.send("operator", "a", "deploy")["id"] for _ in range(2))
    assert _found(relay, "deploy") == [removed, kept]
    not_indexed = relay.send("operator", "a", "deploy")["id"]

    relay.client.delete(f"/api/messages/{removed}")
    relay.client.delete(f"/api/messages/{not_indexed}")

    assert _found(relay, "deploy") == [kept]
    _sound(relay.relay.core.database)


def test_tasks_are_searched_by_the_same_rules(relay: RunningRelay) -> None:
    made = relay.client.post(
        "/api/tasks",
        json={"from": "operator", "title": "Disk of Überhost", "target": "a", "body": "is full"},
    )
    assert made.status_code == 201, made.text

    def found(q: str, **query: Any) -> int:
        answer = relay.client.get("/api/tasks", params={"q": q, **query})
        assert answer.status_code == 200, answer.text
        return len(answer.json()["tasks"])

    assert found("uber disk") == 1
    assert found('"is full"', status="open", target="a") == 1
    assert found("disk", status="done") == 0
    assert found("!!!") == 0


# -- hostile text


@given(
    text=st.text(max_size=500) | st.text(alphabet='"*^()-+:{}NEARORT \0a\u0301é部', max_size=500)
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_the_index_language(database: Database, text: str) -> None:
    wanted = Listing({}, limit=5, text=text)
    with database.read() as reader:
        search.newest_first(reader, "messages", messages.FIELDS, wanted)
        search.newest_first(reader, "tasks", "m.id", wanted)


@given(words=st.lists(st.text(alphabet="abcé部1", min_size=2, max_size=8), min_size=1, max_size=8))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_message_is_found_by_the_beginnings_of_its_own_words(
    database: Database, words: list[str]
) -> None:
    with database.read() as reader:
        number = messages.newest_id(reader) + 1
    add_messages(database, [{"id": number, "body": " / ".join(words)}])
    _index(database)

    text = " ".join(word[: max(2, len(word) // 2)] for word in words)
    with database.read() as reader:
        found = search.newest_first(reader, "messages", "m.id", Listing({}, limit=1, text=text))
    assert found == [(number,)]


@pytest.mark.parametrize(
    "text", ["a" * 500, "%22" * 99, "a%20" * 250, "(", "*", "-a", "%F0%9F%92%A9"]
)
def test_strange_text_over_http_is_answered(relay: RunningRelay, text: str) -> None:
    assert relay.client.get(f"/api/messages?q={text}").status_code == 200
    assert relay.client.get(f"/api/tasks?q={text}").status_code == 200


# -- the index


def test_indexing_goes_on_where_it_was_cut_short(database: Database) -> None:
    add_messages(database, [{"id": n, "body": f"word{n}"} for n in range(1, 26)])
    with database.write() as transaction:
        assert search.index_more(transaction, 10, 25)
    with database.write() as transaction:
        transaction.run("DELETE FROM messages WHERE id IN (3, 11, 12, 24, 25)")
    assert _index(database, 10) == 2

    with database.read() as reader:
        assert search.indexed_up_to(reader) == 25
        assert reader.one("SELECT count(*) FROM messages_search('word*')") == (20,)
    _sound(database)


def test_a_batch_ends_early_when_its_texts_are_long(database: Database) -> None:
    add_messages(database, [{"id": n, "body": "long " * 8000} for n in range(1, 6)])

    assert _index(database) == 3


def test_a_failed_batch_moves_neither_the_mark_nor_the_index(database: Database) -> None:
    add_messages(database, [{"id": 1, "body": "word"}])

    def fail() -> None:
        with database.write() as transaction:
            search.index_more(transaction, 10, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as reader:
        assert search.indexed_up_to(reader) == 0
    _index(database)
    _sound(database)


def test_messages_of_an_older_schema_are_indexed_in_the_background(
    tmp_path: Path, start_relay: StartRelay
) -> None:
    old = sqlite3.connect(tmp_path / "relay.db")
    golden = _ROOT / "tests" / "data" / "schema" / "v1.sql"
    old.executescript(golden.read_text(encoding="utf-8"))
    old.close()

    relay = start_relay()
    database = relay.relay.core.database

    def is_indexed() -> bool:
        with database.read() as reader:
            return search.indexed_up_to(reader) == messages.newest_id(reader)

    eventually(is_indexed)
    assert _found(relay, "migration clean") == [1]
    _sound(database)


def test_a_search_waits_no_longer_than_its_patience(
    relay: RunningRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is the background's: a large database just upgraded has minutes of it."""
    steps = iter(range(1000))

    class Hurried(SystemClock):
        def monotonic(self) -> float:
            return next(steps) * 0.1

    indexer = Indexer(replace(relay.relay.core, clock=Hurried()))
    monkeypatch.setattr(search, "_MOST_CHARACTERS", 1)
    _end_the_background(relay)
    for _ in range(10):
        relay.send("operator", "a", "word")

    indexer.catch_up()

    with relay.relay.core.database.read() as reader:
        assert 0 < search.indexed_up_to(reader) < 10


def _end_the_background(relay: RunningRelay) -> None:
    for worker in relay.relay.workers:
        if isinstance(worker, Indexer):
            worker.close()
    [thread] = [thread for thread in relay.relay.threads if thread.name == Indexer.__name__]
    thread.join(timeout=10)
    assert not thread.is_alive()

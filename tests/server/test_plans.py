"""How SQLite goes about the queries that must stay quick among a million rows.

An index that is lost, or one that a query no longer fits, fails here and not on somebody's relay.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_server.domain.agent import Agent
from relay_server.store import agents, answers, messages, retention, search, tasks, unread
from relay_server.store.database import Database, Reader, Transaction
from relay_server.store.search import Listing

# What may be walked as a whole: the asker's own words and lists, and tables of a few rows.
_SMALL = ("json_each", "sqlite_sequence", "CONSTANT ROW", "(subquery-1)")


class Explained(Transaction):
    """Answers as the database does, and notes the plan of each statement."""

    def __init__(self, database: Database) -> None:
        self._connection = database._writer
        self._after = []
        self.plans: list[str] = []

    def all(self, sql: str, parameters: Any = ()) -> list[Any]:
        self._explain(sql, parameters)
        return super().all(sql, parameters)

    def one(self, sql: str, parameters: Any = ()) -> Any:
        self._explain(sql, parameters)
        return super().one(sql, parameters)

    def run(self, sql: str, parameters: Any = ()) -> int:
        self._explain(sql, parameters)
        return super().run(sql, parameters)

    def _explain(self, sql: str, parameters: Any) -> None:
        rows = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans += [row[3] for row in rows]


@pytest.fixture
def explained(tmp_path: Path) -> Iterator[Explained]:
    """On an empty database."""
    database = Database(tmp_path / "relay.db")
    yield Explained(database)
    database.close()


def _listed(table: str, **equal: Any) -> Callable[[Reader], object]:
    text = equal.pop("text", None)
    wanted = Listing(equal, limit=50, text=text, before=equal.pop("before", None))
    return lambda reader: search.newest_first(reader, table, "m.id, m.created_at", wanted)


_AGENT = Agent(id="a", name="a", tags=("x",), cursor=5)

# Sorts the few that an operator let through.
_SORTS = ("unread messages",)

# Each with the index it must go along.
_QUERIES: dict[str, tuple[Callable[[Explained], object], str]] = {
    "everyone's messages": (_listed("messages"), "SCAN m"),
    "messages before one": (_listed("messages", before=9), "SEARCH m USING INTEGER PRIMARY KEY"),
    "messages of a sender": (_listed("messages", sender="a"), "messages_sender (sender=?)"),
    "messages to a target": (_listed("messages", target="a"), "messages_inbox (target=?)"),
    "a thread's messages": (_listed("messages", thread_id=1), "messages_thread (thread_id=?)"),
    "a channel's messages": (_listed("messages", channel="c"), "messages_channel (channel=?)"),
    "claimable messages": (_listed("messages", claimable=True), "messages_claimable"),
    "messages by text": (_listed("messages", text="word"), "SCAN s VIRTUAL TABLE INDEX"),
    "a sender's by text": (
        _listed("messages", text="word", sender="a"),
        "COVERING INDEX messages_sender",
    ),
    "everyone's tasks": (_listed("tasks"), "SCAN m"),
    "tasks by status": (_listed("tasks", status="open"), "tasks_status (status=?)"),
    "tasks by target": (_listed("tasks", target="a"), "tasks_target (target=?)"),
    "tasks by source": (_listed("tasks", source="a"), "tasks_source (source=?)"),
    "tasks by channel": (_listed("tasks", channel="a"), "tasks_channel (channel=?)"),
    "tasks by owner": (_listed("tasks", claimed_by="a"), "tasks_claimed_by (claimed_by=?)"),
    "tasks by text": (_listed("tasks", text="word"), "SCAN s VIRTUAL TABLE INDEX"),
    "what an agent has claimed": (
        lambda t: messages.leased_by(t, "a"),
        "messages_claimed (claim_agent=?)",
    ),
    "an agent's unfinished tasks": (lambda t: tasks.held_by(t, "a"), "tasks_held (claimed_by=?)"),
    "leases of messages that are over": (
        lambda t: messages.expired_leases(t, 9, 5),
        "messages_leased (claim_expires_at<?)",
    ),
    "leases of tasks that are over": (
        lambda t: tasks.expired_leases(t, 9, 5),
        "tasks_leased (lease_expires_at<?)",
    ),
    "the first message of a time": (
        lambda t: messages.first_id_since(t, 9),
        "SEARCH messages",
    ),
    "how many messages": (lambda t: messages.counts(t, 9), "messages_unclaimed"),
    "how many agents": (agents.count_by_status, "SEARCH tallies"),
    "the first agents": (lambda t: agents.find(t, {}, None, 50), "agents_listed"),
    "a machine's agents": (
        lambda t: agents.find(t, {"machine": "m"}, None, 50),
        "agents_machine (machine=?)",
    ),
    "agents by status": (
        lambda t: agents.find(t, {"status": "busy"}, None, 50),
        "agents_status (status=?)",
    ),
    "silent agents": (lambda t: agents.silent_since(t, 9, 5), "agents_seen (last_seen_at<?)"),
    "agents to prune": (
        lambda t: agents.offline_since(t, 9, 5),
        "agents_offline (offline_since<?)",
    ),
    "unread messages": (lambda t: unread.counts(t, [_AGENT], now=9), "receipts_unread"),
    "messages to index": (lambda t: search.index_more(t, 5, 9), "SEARCH messages USING INTEGER"),
    "old messages": (
        lambda t: retention.remove_messages(t, 0, 9, 9, 5),
        "SEARCH messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
    "old work that has ended": (
        lambda t: retention.remove_completed(t, 9, 5),
        "messages_completed (id<?)",
    ),
    "old tasks": (lambda t: retention.remove_tasks(t, 9, 5), "tasks_ended (ended_at<?)"),
    "old answers": (lambda t: answers.remove_older(t, 9, 5), "idempotent_answers_age"),
}


@pytest.mark.parametrize("name", list(_QUERIES))
def test_a_query_goes_along_its_index(explained: Explained, name: str) -> None:
    query, expected = _QUERIES[name]

    query(explained)

    assert [plan for plan in explained.plans if expected in plan], explained.plans
    walked = [plan for plan in explained.plans if plan.startswith("SCAN") and "USING" not in plan]
    sorted_ones = [plan for plan in explained.plans if "TEMP B-TREE" in plan]
    assert sorted_ones == [] or name in _SORTS
    if expected != "SCAN m":
        assert [p for p in walked if "VIRTUAL" not in p and not p.endswith(_SMALL)] == []


def test_removing_a_message_looks_for_nothing_without_an_index(explained: Explained) -> None:
    """What goes with it is found by foreign keys: their statements are not explained, so the
    indexes they need are named here."""
    rows = explained.all("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index'")
    columns = {(table, text.split("(")[-1].split(")")[0]) for table, text in rows if text}
    starts = {(table, names.split(",")[0].strip()) for table, names in columns}

    for table in {row[0] for row in explained.all("SELECT name FROM sqlite_master")}:
        for key in explained.all(f"PRAGMA foreign_key_list({table})"):
            primary = explained.all(f"PRAGMA table_info({table})")
            first_of_primary = {row[1] for row in primary if row[5] == 1}
            assert (table, key[3]) in starts or key[3] in first_of_primary, (table, key[3])

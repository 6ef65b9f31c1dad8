"""Fills a stopped relay's database with a history: agents, messages, receipts and tasks.

Straight through sqlite3, the same for every run: a million messages take half a minute. What is
found by search is known: `RARE` is in a handful of messages of any size, `COMMON` in a third.
"""

import itertools
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from relay_server.store.search import INDEXED, TABLE

RARE: Final = "xylophone"
COMMON: Final = "deployment"
DAY_MS: Final = 24 * 3600 * 1000
# Ended ones first, so that most tasks are old, as in a relay that has run for long.
STATUSES: Final = ("done", "done", "done", "failed", "canceled", "open", "claimed", "in_progress")
_WORDS: Final = (
    *("the", "to", "and", "a", "in", "is", "on", "for", "of", "build", "test", "review", "please"),
    *("merge", "branch", "fails", "error", "server", "fix", "with", "run", "again", "look", "at"),
    *("schema", "query", "index", "token", "cache", "release", "done", "waiting", "customer"),
)
_SYLLABLES: Final = (
    *("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"),
    *("na", "pe", "qui", "ro", "su", "ta", "ve", "wi", "xo", "zu"),
)
_RARE_ONES: Final = 5


class Size(NamedTuple):
    """How much of everything. The newest message is a minute old, the oldest `days`."""

    messages: int
    agents: int
    tasks: int
    days: int = 28


SMALL: Final = Size(1_000, 50, 100)
LARGE: Final = Size(1_000_000, 5_000, 100_000)


def fill(path: Path, size: Size) -> None:
    """Write it all. The relay has made the file and is stopped."""
    chance = random.Random(7)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = off")
        # Sorting an index once is quicker than growing it row by row.
        indexes = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            database.execute(f"DROP INDEX {name}")
        database.execute("BEGIN")
        _agents(database, size)
        _messages(database, size, chance)
        _receipts(database)
        _tasks(database, size)
        for _, sql in indexes:
            database.execute(sql)
        database.execute("COMMIT")
        database.execute(f"INSERT INTO {TABLE} ({TABLE}) VALUES ('rebuild')")
        database.execute("UPDATE counters SET value = ? WHERE name = ?", (size.messages, INDEXED))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def agent_name(number: int) -> str:
    """The id of one of them."""
    return f"agent-{number:04d}"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _agents(database: sqlite3.Connection, size: Size) -> None:
    now = _now()
    for number in range(size.agents):
        tags = [f"team-{number % 50}", f"repo-{number % 200}"]
        values: dict[str, Any] = {
            "id": agent_name(number),
            "name": f"shop ({number})",
            "machine": f"box-{number % 200}",
            "provider": ("codex", "claude")[number % 2],
            "project": f"project-{number % 100}",
            "tags": json.dumps(tags),
            "capabilities": json.dumps(["chat"]),
            "channels": json.dumps(["ops"] if number % 10 == 0 else []),
            "status": ("idle", "busy", "waiting")[number % 3],
            "approval_mode": "open",
            "reachability": "push",
            "epoch": 1,
            "inbox_start": 0,
            # Nine of ten are up to date; the others have not looked for a while.
            "cursor": size.messages - 500 if number % 10 == 9 else size.messages,
            "registered_at": now - size.days * DAY_MS,
            "last_seen_at": now + DAY_MS,
        }
        marks = ", ".join(f":{name}" for name in values)
        database.execute(f"INSERT INTO agents ({', '.join(values)}) VALUES ({marks})", values)
        addresses = [*(f"tag:{tag}" for tag in tags), "cap:chat"]
        database.executemany(
            "INSERT INTO agent_addresses VALUES (?, ?)",
            [(address, values["id"]) for address in addresses],
        )


def _sentences(chance: random.Random) -> list[str]:
    """Twenty thousand of Zipf's words, and the common one in a sixth of them."""
    words = list(_WORDS)
    while len(words) < 20_000:
        words.append("".join(chance.choices(_SYLLABLES, k=chance.randint(2, 5))))
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(len(words))))
    sentences = []
    for number in range(20_000):
        chosen = chance.choices(words, cum_weights=weights, k=chance.randint(4, 18))
        if number % 6 == 0:
            chosen[0] = COMMON
        sentences.append(" ".join(chosen))
    return sentences


def _target(number: int, size: Size) -> str:
    """One of a thousand to everyone, one of twenty to a team, the rest to one agent."""
    if number % 1000 == 0:
        return "broadcast"
    if number % 20 == 0:
        return f"tag:team-{number // 20 % 50}"
    return agent_name(number * 7 % size.agents)


def _messages(database: sqlite3.Connection, size: Size, chance: random.Random) -> None:
    columns = (
        *("id", "sender", "target", "addressed_to", "body", "subject", "channel", "reply_to"),
        *("thread_id", "kind", "priority", "claimable", "recipients", "completed_at"),
        *("created_at",),
    )
    marks = ", ".join("?" * len(columns))
    database.executemany(
        f"INSERT INTO messages ({', '.join(columns)}) VALUES ({marks})", _rows(size, chance)
    )
    database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", (size.messages,))


def _rows(size: Size, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    sentences = _sentences(chance)
    start = _now() - size.days * DAY_MS
    step = size.days * DAY_MS / size.messages
    rare = {round((n + 1) * size.messages / (_RARE_ONES + 1)) for n in range(_RARE_ONES)}
    first_of_thread = 1
    for number in range(1, size.messages + 1):
        # Threads of ten messages each.
        is_first = number % 10 == 1
        first_of_thread = number if is_first else first_of_thread
        body = f"{chance.choice(sentences)}. {chance.choice(sentences)}"
        if number in rare:
            body += f" {RARE}"
        if number % 3 == 0:
            body += f" #{number}"
        target = _target(number, size)
        created = int(start + number * step)
        # To one agent each, and most of them done.
        claimable = number % 50 == 11
        is_done = claimable and number % 500 != 11
        yield (
            *(number, agent_name(number * 13 % size.agents), target, target, body),
            chance.choice(sentences)[:60] if is_first else None,
            ("ops", "ci")[number // 10 % 2] if number % 10 == 5 else None,
            None if is_first else number - 1,
            *(first_of_thread, "message", "normal", int(claimable), 1),
            *(created + 1000 if is_done else None, created),
        )


def _receipts(database: sqlite3.Connection) -> None:
    """Whatever went straight to one agent was read, up to its cursor."""
    database.execute(
        "INSERT INTO receipts"
        " (agent_id, message_id, state, routed_at, handed_at, read_at, attempts)"
        " SELECT a.id, m.id, 'read', m.created_at, m.created_at, m.created_at, 1"
        " FROM messages m JOIN agents a ON a.id = m.target AND m.id <= a.cursor"
    )


def _tasks(database: sqlite3.Connection, size: Size) -> None:
    now = _now()
    rows = []
    for number in range(1, size.tasks + 1):
        status = STATUSES[number % len(STATUSES)]
        created = now - size.days * DAY_MS + number * size.days * DAY_MS // size.tasks
        owner = agent_name(number % size.agents)
        is_held = status in ("claimed", "in_progress")
        target = f"tag:team-{number % 50}"
        rows.append(
            (
                *(number, f"source-{number % 20}", f"alert-{number}", f"{_WORDS[number % 13]} it"),
                *(f"disk {COMMON} of host {number} host{number}", target, target, "ops", status),
                *(owner if is_held else None, created if is_held else None),
                *(now + DAY_MS if is_held else None, *[created] * 4),
                created + 1000 if status in ("done", "failed", "canceled") else None,
            )
        )
    columns = (
        *("id", "source", "dedupe_key", "title", "body", "target", "addressed_to", "channel"),
        *("status", "claimed_by", "claimed_at", "lease_expires_at"),
        *("created_at", "first_seen_at", "last_seen_at", "updated_at", "ended_at"),
    )
    marks = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO tasks ({', '.join(columns)}) VALUES ({marks})", rows)
    for event in ("created", "status"):
        database.execute(
            "INSERT INTO task_events (task_id, type, at, status)"
            " SELECT id, ?, created_at, status FROM tasks",
            (event,),
        )

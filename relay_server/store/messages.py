"""Rows of messages: write one, find by id or thread; claims; how many."""

from collections.abc import Sequence
from typing import Final

from relay_server.domain.lease import Lease
from relay_server.domain.message import Message
from relay_server.store import tallies
from relay_server.store.database import Reader, Transaction

COLUMNS: Final = Message._fields
FIELDS: Final = ", ".join(f"m.{column}" for column in COLUMNS)
_SELECT: Final = f"SELECT {FIELDS} FROM messages m"
_INSERT: Final = (
    f"INSERT INTO messages ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
)


def newest_id(reader: Reader) -> int:
    """The highest id ever given, also when that message is gone."""
    row = reader.one("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
    return int(row[0]) if row else 0


def insert(transaction: Transaction, message: Message) -> None:
    """Write one row; its id is `newest_id` + 1, asked for in the same transaction."""
    transaction.run(_INSERT, message)


def get(reader: Reader, message_id: int) -> Message | None:
    """One message."""
    row = reader.one(f"{_SELECT} WHERE m.id = ?", (message_id,))
    return Message(*row) if row else None


def created_at(reader: Reader, message_ids: Sequence[int]) -> dict[int, int]:
    """Since when each of the ids is a message; those that are none are left out."""
    if not message_ids:
        return {}
    marks = ", ".join("?" * len(message_ids))
    return dict(
        reader.all(f"SELECT id, created_at FROM messages WHERE id IN ({marks})", message_ids)
    )


def by_key(reader: Reader, sender: str, key: str, after: int) -> Message | None:
    """What this sender sent with this idempotency key since."""
    sql = (
        f"{_SELECT} WHERE m.sender = ? AND m.idempotency_key = ? AND m.created_at > ?"
        " ORDER BY m.id DESC LIMIT 1"
    )
    row = reader.one(sql, (sender, key, after))
    return Message(*row) if row else None


def newest_of_thread(reader: Reader, thread_id: int, count: int) -> list[tuple[str, int]]:
    """(sender, created_at) of a thread's latest messages."""
    sql = "SELECT sender, created_at FROM messages WHERE thread_id = ? ORDER BY id DESC LIMIT ?"
    return [(row[0], row[1]) for row in reader.all(sql, (thread_id, count))]


def thread(reader: Reader, thread_id: int, limit: int) -> list[Message]:
    """A conversation, oldest first."""
    sql = f"{_SELECT} WHERE m.thread_id = ? ORDER BY m.id LIMIT ?"
    return [Message(*row) for row in reader.all(sql, (thread_id, limit))]


def set_lease(transaction: Transaction, message_id: int, lease: Lease | None) -> None:
    """Write who holds it now."""
    values = (
        (lease.agent_id, lease.claimed_at, lease.expires_at, lease.completed_at)
        if lease
        else (None, None, None, None)
    )
    transaction.run(
        "UPDATE messages SET claim_agent = ?, claimed_at = ?, claim_expires_at = ?,"
        " completed_at = ? WHERE id = ?",
        (*values, message_id),
    )


def set_completed(transaction: Transaction, message_id: int, by: str, at: int) -> None:
    """Its work has ended; `by` ended it, in case nobody had taken it."""
    transaction.run(
        "UPDATE messages SET completed_at = :at, claim_agent = coalesce(claim_agent, :by),"
        " claimed_at = coalesce(claimed_at, :at),"
        " claim_expires_at = coalesce(claim_expires_at, :at) WHERE id = :id",
        {"id": message_id, "by": by, "at": at},
    )


def leased_by(reader: Reader, agent_id: str) -> list[Message]:
    """What an agent holds and has not completed."""
    sql = (
        f"{_SELECT} WHERE m.claim_agent IS NOT NULL AND m.completed_at IS NULL"
        " AND m.claim_agent = ?"
    )
    return [Message(*row) for row in reader.all(sql, (agent_id,))]


def expired_leases(reader: Reader, now: int, limit: int) -> list[Message]:
    """Unfinished claims whose time is over."""
    sql = (
        f"{_SELECT} WHERE m.claim_agent IS NOT NULL AND m.completed_at IS NULL"
        " AND m.claim_expires_at <= ? LIMIT ?"
    )
    return [Message(*row) for row in reader.all(sql, (now, limit))]


def set_released(transaction: Transaction, message_id: int, at: int) -> None:
    """An operator let a held message through."""
    transaction.run("UPDATE messages SET released_at = ? WHERE id = ?", (at, message_id))


def remove(transaction: Transaction, message_id: int) -> bool:
    """Delete one and its receipts."""
    return bool(transaction.run("DELETE FROM messages WHERE id = ?", (message_id,)))


def counts(reader: Reader, day_ago: int) -> dict[str, int]:
    """For /api/stats, without looking at what is counted: an id is given to one message only and
    none is left out, so there are as many as ids, without those that were removed."""
    newest = newest_id(reader)
    unclaimed = reader.one(
        "SELECT count(*) FROM messages WHERE claimable = 1 AND completed_at IS NULL"
        " AND claim_agent IS NULL"
    )
    assert unclaimed
    total = newest - tallies.value(reader, "messages.removed")
    recent = newest - first_id_since(reader, day_ago) + 1
    return {"total": total, "last24h": min(total, max(0, recent)), "unclaimed": unclaimed[0]}


def first_id_since(reader: Reader, created_at: int) -> int:
    """The smallest id created at or after a time: ids and times grow together, so bisect."""
    ends = reader.one("SELECT (SELECT min(id) FROM messages), (SELECT max(id) FROM messages)")
    if ends is None or ends[0] is None:
        return newest_id(reader) + 1
    low, high = int(ends[0]), int(ends[1]) + 1
    while low < high:
        middle = (low + high) // 2
        found = reader.one(
            "SELECT id, created_at FROM messages WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        )
        if found is None or found[1] >= created_at:
            high = middle
        else:
            low = int(found[0]) + 1
    return low

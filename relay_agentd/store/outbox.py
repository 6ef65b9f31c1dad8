"""The outbox table: messages on their way to the relay, in order, and what became of them.

A row's `seq` is never used twice, so `-seq` names its message on this machine before the relay
has given it a number. Each method is one transaction.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from relay_agentd.store.database import Database
from relay_agentd.store.exchange import insert_mail, marked, settle, thread_of


class OutboxState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    REFUSED = "refused"
    """By the relay, for good, or expired: remembered when somebody here has it."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that a session of ours said."""

    seq: int
    idempotency_key: str
    message: Mapping[str, Any]
    """As it is sent; the relay's own object once that has it."""
    attempts: int
    queued_at: float
    state: OutboxState
    message_id: int | None
    """The relay's number."""
    is_delivered: bool
    """Receivers on this machine need nothing from the relay any more."""

    @property
    def sender(self) -> str:
        """The agent that said it."""
        return str(self.message.get("from"))

    @property
    def number(self) -> int:
        """What it is called on this machine."""
        return self.message_id or -self.seq


class OutboxStore:
    """Reads and writes outbox rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, message: Mapping[str, Any], idempotency_key: str, now: float) -> bool:
        """Keep a message; False when one with this key is kept already."""
        sql = """
            INSERT INTO outbox (idempotency_key, message, sender, queued_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (idempotency_key) DO NOTHING
        """
        text = json.dumps(marked(message, idempotency_key))
        values = (idempotency_key, text, str(message.get("from")), now)
        with self._database.write():
            return self._database.run(sql, values) == 1

    def first(self, *, but_of: Collection[str] = ()) -> OutboxRow | None:
        """The oldest one that waits and is not of these senders."""
        marks = ", ".join("?" * len(but_of))
        sql = f"""
            SELECT * FROM outbox WHERE state = 'waiting' AND sender NOT IN ({marks})
            ORDER BY seq LIMIT 1
        """  # noqa: S608 - question marks
        return self._one(sql, *but_of)

    def find(self, idempotency_key: str) -> OutboxRow | None:
        """The message with this key."""
        return self._one("SELECT * FROM outbox WHERE idempotency_key = ?", idempotency_key)

    def numbered(self, number: int) -> OutboxRow | None:
        """The message that this machine calls so (below zero)."""
        return self._one("SELECT * FROM outbox WHERE seq = ?", -number)

    def count(self) -> int:
        """How many wait."""
        sql = "SELECT count(*) FROM outbox WHERE state = 'waiting'"
        return int(self._database.rows(sql)[0][0])

    def undelivered(self) -> list[OutboxRow]:
        """What receivers on this machine may lack when the relay is away, oldest first."""
        sql = "SELECT * FROM outbox WHERE delivered = 0 AND state <> 'refused' ORDER BY seq"
        return [_row(found) for found in self._database.rows(sql)]

    def deliver(
        self,
        row: OutboxRow,
        message: Mapping[str, Any],
        receivers: Sequence[tuple[str, str]],
        now: float,
    ) -> None:
        """Put a message into the inboxes of receivers here: (agent id, session key)."""
        with self._database.write():
            thread = message.get("threadId")
            if thread is None:
                answered = message.get("replyTo")
                thread = thread_of(self._database, answered) if answered else row.number
            numbered = {**message, "id": row.number, "threadId": thread}
            for agent_id, session_key in receivers:
                insert_mail(
                    self._database,
                    agent_id,
                    numbered,
                    relay_id=row.message_id,
                    session_key=session_key,
                    now=now,
                )
            self._database.run("UPDATE outbox SET delivered = 1 WHERE seq = ?", (row.seq,))

    def failed(self, seq: int) -> None:
        """The relay answered, but not with a verdict."""
        with self._database.write():
            self._database.run("UPDATE outbox SET attempts = attempts + 1 WHERE seq = ?", (seq,))

    def sent(self, seq: int, answer: Mapping[str, Any]) -> None:
        """The relay has it; `answer` is the message as it knows it."""
        with self._database.write():
            settle(self._database, seq, answer)

    def refused(self, seq: int) -> None:
        """It will never be at the relay."""
        with self._database.write():
            self._database.run(
                "UPDATE outbox SET state = 'refused' WHERE seq = ? AND state = 'waiting'", (seq,)
            )
            self._database.run(
                "DELETE FROM outbox WHERE seq = ? AND state = 'refused' AND delivered = 0", (seq,)
            )

    def prune(self, before: float) -> None:
        """Forget what became of messages said before that time."""
        with self._database.write():
            sql = "DELETE FROM outbox WHERE queued_at < ? AND state <> 'waiting'"
            self._database.run(sql, (before,))

    def _one(self, sql: str, *values: Any) -> OutboxRow | None:
        rows = self._database.rows(sql, values)
        return _row(rows[0]) if rows else None


def _row(found: sqlite3.Row) -> OutboxRow:
    return OutboxRow(
        seq=found["seq"],
        idempotency_key=found["idempotency_key"],
        message=json.loads(found["message"]),
        attempts=found["attempts"],
        queued_at=found["queued_at"],
        state=OutboxState(found["state"]),
        message_id=found["message_id"],
        is_delivered=bool(found["delivered"]),
    )

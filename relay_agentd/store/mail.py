"""The inbox and the deliveries cut from it. Each method is one transaction.

A message's row is found by (agent, message): the relay may offer it again at any time. Mail is
kept in the order in which it came: numbers of ours and of the relay have none together.
`session_key` says which session gets it: none while its agent has no session here.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from relay_agentd.delivery import DeliveryState, MailState, Waiting, mail_state
from relay_agentd.store.database import Database
from relay_agentd.store.exchange import came_back, insert_mail
from relay_server.wire import Priority

TAKEN_BY_TOOL: Final = "tool"
"""The `via` of mail that the session asked for, and that no delivery brought into its context."""

_ENDED: Final = "('in_context', 'withdrawn')"
# A receipt's order; what the relay knows already is not reported again.
# What the relay has not got yet has no receipts there.
_UNREPORTED: Final = (
    "state IN ('handed', 'in_context', 'read') AND state <> reported AND relay_id IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A batch of messages on its way into a session."""

    id: str
    session_key: str
    message_ids: tuple[int, ...]
    text: str
    priority: Priority
    state: DeliveryState
    since: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far a message got, and the relay does not know yet."""

    agent_id: str
    message_id: int
    """As the relay calls it."""
    state: MailState
    via: str | None


class MailStore:
    """Reads and writes inbox and deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- the inbox ---

    def receive(
        self, agent_id: str, message: Mapping[str, Any], session_key: str | None, now: float
    ) -> bool:
        """Keep a message; False when it is here already, be it under a number of ours."""
        with self._database.write():
            if came_back(self._database, agent_id, message):
                return False
            return insert_mail(
                self._database,
                agent_id,
                message,
                relay_id=int(message["id"]),
                session_key=session_key,
                now=now,
            )

    def report_again(self, agent_id: str, message_id: int) -> None:
        """The relay offered what is here already: its answer to the receipt was lost."""
        with self._database.write():
            self._database.run(
                "UPDATE inbox SET reported = 'received' WHERE agent_id = ? AND relay_id = ?",
                (agent_id, message_id),
            )

    def waiting(self, session_key: str, now: float) -> list[Waiting]:
        """What a session has not been offered and has not expired, oldest first."""
        sql = """
            SELECT message_id, max(priority) AS priority, max(length(message)) AS size FROM inbox
            WHERE session_key = ? AND state = 'received' AND ifnull(expires_at, 1e18) > ?
            GROUP BY message_id ORDER BY min(arrival)
        """
        return [
            Waiting(found["message_id"], _priority(found["priority"]), found["size"])
            for found in self._database.rows(sql, (session_key, now))
        ]

    def messages(self, session_key: str, ids: Sequence[int]) -> list[dict[str, Any]]:
        """The waiting messages with these ids, oldest first, each once."""
        marks = ", ".join("?" * len(ids))
        sql = f"""
            SELECT message_id, message FROM inbox
            WHERE session_key = ? AND message_id IN ({marks}) AND state = 'received'
            ORDER BY arrival
        """  # noqa: S608 - question marks
        found = {
            row["message_id"]: json.loads(row["message"])
            for row in self._database.rows(sql, (session_key, *ids))
        }
        return list(found.values())

    def take(self, session_key: str, limit: int, key: str, now: float) -> list[dict[str, Any]]:
        """Waiting messages the session asked for: they count as read. The same `key` gets the
        same again."""
        again = self._taken(key)
        if again:
            return again
        ids = [mail.message_id for mail in self.waiting(session_key, now)[:limit]]
        marks = ", ".join("?" * len(ids))
        sql = f"""
            UPDATE inbox SET state = 'read', via = ?, taken_by = ?
            WHERE session_key = ? AND message_id IN ({marks}) AND state = 'received'
        """  # noqa: S608 - question marks
        with self._database.write():
            self._database.run(sql, (TAKEN_BY_TOOL, key, session_key, *ids))
        return self._taken(key)

    def find(self, agent_id: str, number: int) -> tuple[dict[str, Any], int | None] | None:
        """A message that this agent got under this number, and what the relay calls it; None:
        it got none."""
        sql = "SELECT message, relay_id FROM inbox WHERE agent_id = ? AND message_id = ?"
        rows = self._database.rows(sql, (agent_id, number))
        return (json.loads(rows[0]["message"]), rows[0]["relay_id"]) if rows else None

    def mark_read(self, session_key: str) -> bool:
        """What is in a session's context counts as read; False when there was nothing to mark."""
        sql = "UPDATE inbox SET state = 'read' WHERE session_key = ? AND state = 'in_context'"
        with self._database.write():
            return self._database.run(sql, (session_key,)) > 0

    def on_the_way(self, session_key: str) -> int:
        """How many messages were offered to a session and not proved."""
        sql = "SELECT count(*) FROM inbox WHERE session_key = ? AND state IN ('offered', 'handed')"
        return int(self._database.rows(sql, (session_key,))[0][0])

    def unseen(self, session_key: str) -> int:
        """How many messages wait for a session."""
        sql = """
            SELECT count(DISTINCT message_id) FROM inbox
            WHERE session_key = ? AND state = 'received'
        """
        return int(self._database.rows(sql, (session_key,))[0][0])

    def last_proof(self, session_key: str) -> tuple[float, str] | None:
        """When a delivery was last seen in the session's context, and by what."""
        sql = """
            SELECT since, via FROM delivery WHERE session_key = ? AND state = 'in_context'
            ORDER BY since DESC LIMIT 1
        """
        rows = self._database.rows(sql, (session_key,))
        return (rows[0]["since"], rows[0]["via"] or "") if rows else None

    def adopt(self, agent_id: str, session_key: str) -> None:
        """The agent's mail that is not in any context goes to this session from now on."""
        with self._database.write():
            self._database.run(
                f"""
                UPDATE delivery SET session_key = ? WHERE state NOT IN {_ENDED} AND id IN
                    (SELECT delivery_id FROM inbox WHERE agent_id = ? AND delivery_id IS NOT NULL)
                """,  # noqa: S608 - a constant
                (session_key, agent_id),
            )
            self._database.run(
                """
                UPDATE inbox SET session_key = ?
                WHERE agent_id = ? AND state IN ('received', 'offered', 'handed')
                """,
                (session_key, agent_id),
            )

    # --- deliveries ---

    def cut(self, delivery: DeliveryRow, now: float) -> None:
        """Keep a new delivery; its messages are offered from now on."""
        marks = ", ".join("?" * len(delivery.message_ids))
        sql = f"""
            UPDATE inbox SET state = ?, delivery_id = ?
            WHERE session_key = ? AND message_id IN ({marks}) AND state = 'received'
        """  # noqa: S608 - question marks
        with self._database.write():
            self._database.run(
                """
                INSERT INTO delivery (id, session_key, text, priority, state, since, cut_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET state = excluded.state, since = excluded.since,
                    cut_at = excluded.cut_at
                """,
                (
                    delivery.id,
                    delivery.session_key,
                    delivery.text,
                    delivery.priority.value,
                    delivery.state.value,
                    delivery.since,
                    now,
                ),
            )
            state = mail_state(delivery.state).value
            self._database.run(
                sql, (state, delivery.id, delivery.session_key, *delivery.message_ids)
            )

    def move(
        self, delivery: DeliveryRow, state: DeliveryState, now: float, via: str | None = None
    ) -> DeliveryRow:
        """A delivery's next state, and what it makes of its messages."""
        # Messages of a withdrawn delivery that travel in a newer one have its id, not this one.
        with self._database.write():
            self._database.run(
                "UPDATE delivery SET state = ?, since = ?, via = coalesce(?, via) WHERE id = ?",
                (state.value, now, via, delivery.id),
            )
            self._database.run(
                """
                UPDATE inbox SET state = ?, via = coalesce(?, via)
                WHERE delivery_id = ? AND state NOT IN ('in_context', 'read')
                """,
                (mail_state(state).value, via, delivery.id),
            )
        return replace(delivery, state=state, since=now)

    def open_deliveries(self, session_key: str) -> list[DeliveryRow]:
        """A session's deliveries that have not ended, oldest first."""
        sql = f"""
            SELECT * FROM delivery WHERE session_key = ? AND state NOT IN {_ENDED}
            ORDER BY rowid
        """  # noqa: S608 - a constant
        return [self._delivery(found) for found in self._database.rows(sql, (session_key,))]

    def find_delivery(self, delivery_id: str) -> DeliveryRow | None:
        """One delivery, ended or not."""
        rows = self._database.rows("SELECT * FROM delivery WHERE id = ?", (delivery_id,))
        return self._delivery(rows[0]) if rows else None

    # --- receipts ---

    def unreported(self, limit: int = 500) -> list[Receipt]:
        """What the relay has to be told."""
        sql = f"""
            SELECT agent_id, relay_id, state, via FROM inbox WHERE {_UNREPORTED}
            ORDER BY agent_id, relay_id LIMIT ?
        """  # noqa: S608 - a constant
        return [
            Receipt(found["agent_id"], found["relay_id"], MailState(found["state"]), found["via"])
            for found in self._database.rows(sql, (limit,))
        ]

    def reported(self, receipts: Sequence[Receipt]) -> None:
        """The relay knows these."""
        sql = "UPDATE inbox SET reported = ? WHERE agent_id = ? AND relay_id = ?"
        with self._database.write():
            for receipt in receipts:
                values = (receipt.state.value, receipt.agent_id, receipt.message_id)
                self._database.run(sql, values)

    def prune(self, before: float) -> None:
        """Forget what got through and was reported before that time, and what came before it for
        agents that have no session here any more: the relay does not keep it longer either."""
        # What the relay refused is never reported; what the outbox still remembers for receivers
        # here must be known as arrived.
        with self._database.write():
            self._database.run(
                """
                DELETE FROM inbox WHERE received_at < ?
                    AND (state IN ('in_context', 'read')
                             AND (state = reported OR relay_id IS NULL)
                         OR NOT EXISTS
                             (SELECT 1 FROM session WHERE session.key = inbox.session_key))
                    AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message_id = inbox.relay_id
                                    AND outbox.delivered = 0)
                    AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.seq = -inbox.message_id
                                    AND outbox.state = 'waiting')
                """,
                (before,),
            )
            self._database.run(
                f"""
                DELETE FROM delivery WHERE cut_at < ? AND NOT EXISTS
                    (SELECT 1 FROM inbox WHERE inbox.delivery_id = delivery.id)
                    AND (state IN {_ENDED} OR NOT EXISTS
                         (SELECT 1 FROM session WHERE session.key = delivery.session_key))
                """,  # noqa: S608 - a constant
                (before,),
            )

    def _taken(self, key: str) -> list[dict[str, Any]]:
        sql = "SELECT message_id, message FROM inbox WHERE taken_by = ? ORDER BY arrival"
        found = {
            row["message_id"]: json.loads(row["message"])
            for row in self._database.rows(sql, (key,))
        }
        return list(found.values())

    def _delivery(self, found: sqlite3.Row) -> DeliveryRow:
        sql = """
            SELECT message_id FROM inbox WHERE delivery_id = ?
            GROUP BY message_id ORDER BY min(arrival)
        """
        ids = tuple(row["message_id"] for row in self._database.rows(sql, (found["id"],)))
        return DeliveryRow(
            id=found["id"],
            session_key=found["session_key"],
            message_ids=ids,
            text=found["text"],
            priority=_priority(found["priority"]),
            state=DeliveryState(found["state"]),
            since=found["since"],
        )


def _priority(text: str) -> Priority:
    return Priority(text) if text in list(Priority) else Priority.NORMAL

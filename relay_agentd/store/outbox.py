"""The outbox table: messages on their way to the relay, in order."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay_agentd.store.database import Database


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message the relay has not confirmed."""

    seq: int
    idempotency_key: str
    message: Mapping[str, Any]
    attempts: int


class OutboxStore:
    """Reads and writes outbox rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, message: Mapping[str, Any], idempotency_key: str, now: float) -> bool:
        """Keep a message; False when one with this key is kept already."""
        sql = """
            INSERT INTO outbox (idempotency_key, message, queued_at) VALUES (?, ?, ?)
            ON CONFLICT (idempotency_key) DO NOTHING
        """
        with self._database.write():
            return self._database.run(sql, (idempotency_key, json.dumps(message), now)) == 1

    def first(self) -> OutboxRow | None:
        """The oldest one."""
        rows = self._database.rows("SELECT * FROM outbox ORDER BY seq LIMIT 1")
        if not rows:
            return None
        found = rows[0]
        return OutboxRow(
            found["seq"],
            found["idempotency_key"],
            json.loads(found["message"]),
            found["attempts"],
        )

    def count(self) -> int:
        """How many wait."""
        return int(self._database.rows("SELECT count(*) FROM outbox")[0][0])

    def failed(self, seq: int) -> None:
        """The relay answered, but not with a verdict."""
        with self._database.write():
            self._database.run("UPDATE outbox SET attempts = attempts + 1 WHERE seq = ?", (seq,))

    def remove(self, seq: int) -> None:
        """The relay has it, or refused it for good."""
        with self._database.write():
            self._database.run("DELETE FROM outbox WHERE seq = ?", (seq,))

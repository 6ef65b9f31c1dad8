"""Where outbox and inbox meet: messages whose sender and receiver are both on this machine.

Such a message may get into an inbox by itself while the relay is away, under a number of ours:
minus its outbox row's `seq`, which is never used twice. The relay's copy is recognised by the
mark that every message from our outbox carries in its payload (the stream may be faster than the
answer to the POST), and later by the relay's own number. All functions here run inside their
caller's transaction and decide nothing.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from relay_agentd.store.database import Database
from relay_server.wire import Priority

MARK: Final = "agentRelay"
"""The member of a message's payload that is ours: `{"key": its idempotency key}`."""

# How many messages that went through are remembered for receivers here that the relay may not
# have told yet when it went away.
_REMEMBERED: Final = 100


def marked(message: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The message with our mark."""
    return {**message, "payload": {**(message.get("payload") or {}), MARK: {"key": key}}}


def key_of(message: Mapping[str, Any]) -> str | None:
    """The idempotency key that its mark names; None when it has no mark."""
    payload = message.get("payload")
    mark = payload.get(MARK) if isinstance(payload, Mapping) else None
    key = mark.get("key") if isinstance(mark, Mapping) else None
    return key if isinstance(key, str) else None


def insert_mail(
    database: Database,
    agent_id: str,
    message: Mapping[str, Any],
    *,
    relay_id: int | None,
    session_key: str | None,
    now: float,
) -> bool:
    """A new row of the inbox, after all others; False when it is there already."""
    sql = """
        INSERT INTO inbox (agent_id, message_id, relay_id, session_key, message, priority, state,
                           reported, received_at, expires_at, arrival)
        VALUES (?, ?, ?, ?, ?, ?, 'received', 'received', ?, ?,
                (SELECT ifnull(max(arrival), 0) + 1 FROM inbox))
        ON CONFLICT (agent_id, message_id) DO NOTHING
    """
    priority = str(message.get("priority") or Priority.NORMAL.value)
    values = (
        *(agent_id, int(message["id"]), relay_id, session_key, json.dumps(message), priority),
        *(now, _seconds(message.get("expiresAt"))),
    )
    return database.run(sql, values) == 1


def settle(database: Database, seq: int, answer: Mapping[str, Any]) -> None:
    """The relay has it: what it is called there, and that its receipts can be reported."""
    # A message that it holds back is for nobody here, whatever becomes of the relay.
    is_held = 1 if answer.get("held") else 0
    database.run(
        """
        UPDATE outbox SET state = 'sent', message_id = ?, message = ?,
                          delivered = max(delivered, ?)
        WHERE seq = ? AND state = 'waiting'
        """,
        (answer["id"], json.dumps(answer), is_held, seq),
    )
    database.run(
        "UPDATE inbox SET relay_id = ? WHERE message_id = ? AND relay_id IS NULL",
        (answer["id"], -seq),
    )
    database.run(
        "DELETE FROM outbox WHERE state = 'sent' AND delivered = 0 AND seq <= ?",
        (seq - _REMEMBERED,),
    )


def came_back(database: Database, agent_id: str, message: Mapping[str, Any]) -> bool:
    """Is what the relay brings here already, under whatever number? Learns its number there."""
    number = int(message["id"])
    key = key_of(message)
    if key is not None:
        # Only of the sender whose message it is: others see the mark and could copy it.
        found = database.rows(
            "SELECT seq FROM outbox WHERE idempotency_key = ? AND sender = ? AND state = 'waiting'",
            (key, str(message.get("from"))),
        )
        for row in found:
            settle(database, row["seq"], message)
    sql = "SELECT 1 FROM inbox WHERE agent_id = ? AND relay_id = ?"
    return bool(database.rows(sql, (agent_id, number)))


def thread_of(database: Database, number: int) -> int:
    """The thread of a message, as far as this machine knows."""
    found = database.rows("SELECT message FROM inbox WHERE message_id = ? LIMIT 1", (number,))
    thread = json.loads(found[0]["message"]).get("threadId") if found else None
    return int(thread) if thread is not None else number


def _seconds(time: object) -> float | None:
    """A time of the API as seconds; None when it is none."""
    try:
        return datetime.fromisoformat(str(time)).timestamp() if time else None
    except ValueError:
        return None

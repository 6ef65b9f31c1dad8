"""Rows of callbacks and their attempts. They go when their task goes.

Of a task's pending callbacks only the first has a `next_attempt_at`; `insert` and `record` keep
it so, and who looks for work never sees the others.
"""

from typing import Final

from relay_server.domain.callback import Attempt, Callback, Verdict
from relay_server.store.database import Reader, Transaction
from relay_server.wire import CallbackStatus

_SELECT: Final = f"SELECT {', '.join(Callback._fields)} FROM callbacks"
_ATTEMPT: Final = ", ".join(Attempt._fields)
_FIRST_PENDING: Final = (
    "SELECT id FROM callbacks WHERE task_id = ? AND status = 'pending' ORDER BY id LIMIT 1"
)
# Steps from one integration to the next in the index instead of reading all that waits.
_WAITING: Final = """
    WITH RECURSIVE waiting (name) AS (
        SELECT min(integration) FROM callbacks WHERE next_attempt_at IS NOT NULL
        UNION ALL
        SELECT (
            SELECT min(integration) FROM callbacks
            WHERE next_attempt_at IS NOT NULL AND integration > name
        ) FROM waiting WHERE name IS NOT NULL
    )
    SELECT name FROM waiting WHERE name IS NOT NULL
"""


def insert(
    transaction: Transaction,
    *,
    delivery_id: str,
    task_id: int,
    integration: str,
    event: str,
    task: str,
    now: int,
) -> None:
    """Write one; it is due at once, or when those before it are over."""
    has_earlier = transaction.one(_FIRST_PENDING, (task_id,)) is not None
    transaction.run(
        "INSERT INTO callbacks (delivery_id, task_id, integration, event, task, status,"
        " created_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(delivery_id, task_id, integration, event, task, CallbackStatus.PENDING),
            *(now, None if has_earlier else now),
        ),
    )


def waiting_integrations(reader: Reader) -> list[str]:
    """Those that something is to be sent to, now or later."""
    return [row[0] for row in reader.all(_WAITING)]


def due(reader: Reader, integration: str, now: int, limit: int) -> list[Callback]:
    """What may be sent to it now, longest due first."""
    sql = (
        f"{_SELECT} WHERE integration = ? AND next_attempt_at <= ?"
        " ORDER BY next_attempt_at, id LIMIT ?"
    )
    return [Callback(*row) for row in reader.all(sql, (integration, now, limit))]


def next_due(reader: Reader, integration: str, after: int) -> int | None:
    """When the next one becomes due."""
    row = reader.one(
        "SELECT min(next_attempt_at) FROM callbacks WHERE integration = ? AND next_attempt_at > ?",
        (integration, after),
    )
    return row[0] if row else None


def record(
    transaction: Transaction, callback: Callback, attempt: Attempt, verdict: Verdict, now: int
) -> None:
    """Write an attempt and what it makes of its callback; when it is over, the next is due."""
    is_over = verdict.status is not CallbackStatus.PENDING
    is_there = transaction.run(
        "UPDATE callbacks SET status = ?, attempts = ?, next_attempt_at = ?, ended_at = ?"
        " WHERE id = ?",
        (
            *(verdict.status, attempt.number, verdict.next_attempt_at),
            *(now if is_over else None, callback.id),
        ),
    )
    # The task may have been removed meanwhile, and its callbacks with it.
    if not is_there:
        return
    transaction.run(
        f"INSERT INTO callback_attempts (callback_id, {_ATTEMPT}) VALUES (?, ?, ?, ?, ?, ?)",
        (callback.id, *attempt),
    )
    if is_over:
        transaction.run(
            f"UPDATE callbacks SET next_attempt_at = ? WHERE id = ({_FIRST_PENDING})",
            (now, callback.task_id),
        )


def of_task(reader: Reader, task_id: int, limit: int) -> list[Callback]:
    """The newest of a task, oldest first."""
    rows = reader.all(f"{_SELECT} WHERE task_id = ? ORDER BY id DESC LIMIT ?", (task_id, limit))
    return [Callback(*row) for row in reversed(rows)]


def attempts(reader: Reader, callback_id: int) -> list[Attempt]:
    """All of one callback, in order."""
    rows = reader.all(
        f"SELECT {_ATTEMPT} FROM callback_attempts WHERE callback_id = ? ORDER BY number",
        (callback_id,),
    )
    return [Attempt(*row) for row in rows]

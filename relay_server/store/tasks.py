"""Rows of tasks and of what happened to them."""

import json
from dataclasses import dataclass
from typing import Any, Final

from relay_server.domain.lease import Lease
from relay_server.domain.task import Task
from relay_server.store import tallies
from relay_server.store.database import Reader, Transaction
from relay_server.store.search import Listing, newest_first
from relay_server.wire import TaskStatus

COLUMNS: Final = tuple(Task.__dataclass_fields__)
_FIELDS: Final = ", ".join(f"t.{column}" for column in COLUMNS)
_LISTED: Final = ", ".join(f"m.{column}" for column in COLUMNS)
_SELECT: Final = f"SELECT {_FIELDS} FROM tasks t"
_INSERT: Final = (
    f"INSERT INTO tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
)
_UPDATE: Final = f"UPDATE tasks SET {', '.join(f'{c} = ?' for c in COLUMNS[1:])} WHERE id = ?"
_IN_JSON: Final = frozenset({"result", "metadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One entry of a task's history."""

    id: int = 0
    task_id: int
    type: str
    at: int
    actor: str | None
    status: TaskStatus
    detail: dict[str, Any]


def _task(row: tuple[Any, ...]) -> Task:
    values = dict(zip(COLUMNS, row, strict=True))
    values["status"] = TaskStatus(values["status"])
    values["metadata"] = json.loads(values["metadata"])
    values["result"] = None if values["result"] is None else json.loads(values["result"])
    return Task(**values)


def _row(task: Task) -> list[Any]:
    values: list[Any] = []
    for name in COLUMNS:
        value = getattr(task, name)
        if name in _IN_JSON and value is not None:
            value = json.dumps(value, ensure_ascii=False)
        values.append(value)
    return values


def next_id(reader: Reader) -> int:
    """One more than the highest id ever given; asked for in the transaction that uses it."""
    row = reader.one("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'")
    return int(row[0]) + 1 if row else 1


def insert(transaction: Transaction, task: Task) -> None:
    """Write a new one."""
    transaction.run(_INSERT, _row(task))


def save(transaction: Transaction, task: Task) -> None:
    """Write all of it again."""
    first, *rest = _row(task)
    transaction.run(_UPDATE, [*rest, first])


def get(reader: Reader, task_id: int) -> Task | None:
    """One task."""
    row = reader.one(f"{_SELECT} WHERE t.id = ?", (task_id,))
    return _task(row) if row else None


def of_message(reader: Reader, message_id: int) -> Task | None:
    """The task that a message offers."""
    row = reader.one(f"{_SELECT} WHERE t.message_id = ?", (message_id,))
    return _task(row) if row else None


def active_with_key(
    reader: Reader, source: str, dedupe_key: str, *, is_integration: bool
) -> Task | None:
    """The one that folds further events of this key."""
    sql = (
        f"{_SELECT} WHERE t.source = ? AND t.dedupe_key = ? AND (t.integration IS NULL) = ?"
        " AND t.ended_at IS NULL"
    )
    row = reader.one(sql, (source, dedupe_key, not is_integration))
    return _task(row) if row else None


def set_lease(
    transaction: Transaction, task_id: int, lease: Lease | None, status: TaskStatus, now: int
) -> None:
    """Who holds it now."""
    values = (lease.agent_id, lease.claimed_at, lease.expires_at) if lease else (None, None, None)
    transaction.run(
        "UPDATE tasks SET claimed_by = ?, claimed_at = ?, lease_expires_at = ?, status = ?,"
        " updated_at = ? WHERE id = ?",
        (*values, status, now, task_id),
    )


def find(reader: Reader, wanted: Listing) -> list[Task]:
    """Newest first."""
    return [_task(row) for row in newest_first(reader, "tasks", _LISTED, wanted)]


def count_by_status(reader: Reader) -> dict[str, int]:
    """Every status, also those that none has."""
    return tallies.by_word(reader, "tasks", TaskStatus)


def held_by(reader: Reader, agent_id: str) -> list[Task]:
    """What an agent has claimed and not ended."""
    sql = f"{_SELECT} WHERE t.claimed_by = ? AND t.ended_at IS NULL"
    return [_task(row) for row in reader.all(sql, (agent_id,))]


def expired_leases(reader: Reader, now: int, limit: int) -> list[Task]:
    """Unfinished claims whose time is over."""
    sql = (
        f"{_SELECT} WHERE t.claimed_by IS NOT NULL AND t.ended_at IS NULL"
        " AND t.lease_expires_at <= ? LIMIT ?"
    )
    return [_task(row) for row in reader.all(sql, (now, limit))]


def add_event(transaction: Transaction, event: TaskEvent) -> None:
    """One more entry of its history."""
    transaction.run(
        "INSERT INTO task_events (task_id, type, at, actor, status, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            event.task_id,
            event.type,
            event.at,
            event.actor,
            event.status,
            json.dumps(event.detail, ensure_ascii=False),
        ),
    )


def events(reader: Reader, task_id: int, limit: int) -> list[TaskEvent]:
    """Its newest entries, oldest of them first."""
    rows = reader.all(
        "SELECT id, task_id, type, at, actor, status, detail FROM (SELECT * FROM task_events"
        " WHERE task_id = ? ORDER BY id DESC LIMIT ?) ORDER BY id",
        (task_id, limit),
    )
    return [
        TaskEvent(
            id=row[0],
            task_id=row[1],
            type=row[2],
            at=row[3],
            actor=row[4],
            status=TaskStatus(row[5]),
            detail=json.loads(row[6]),
        )
        for row in rows
    ]

"""Rows of approvals. Whether a pending one is past its time is asked with the time."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from relay_server.domain.approval import Approval
from relay_server.store.database import Reader, Transaction
from relay_server.wire import ApprovalStatus, Decision

COLUMNS: Final = tuple(Approval.__dataclass_fields__)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM approvals"
# Written down as expired, and not yet: one query each, because together they find no index.
_STATUS_IS: Final = {
    ApprovalStatus.PENDING: ("status = 'pending' AND expires_at > :now",),
    ApprovalStatus.EXPIRED: (
        "status = 'expired'",
        "status = 'pending' AND expires_at <= :now",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list is narrowed to."""

    status: ApprovalStatus | None = None
    agent_id: str | None = None
    before: int | None = None


def _approval(row: Sequence[Any]) -> Approval:
    values = dict(zip(COLUMNS, row, strict=True))
    values["status"] = ApprovalStatus(values["status"])
    if values["decision"] is not None:
        values["decision"] = Decision(values["decision"])
    return Approval(**values)


def next_id(reader: Reader) -> int:
    """The id of the next one, asked for in the same transaction."""
    row = reader.one("SELECT seq FROM sqlite_sequence WHERE name = 'approvals'")
    return int(row[0]) + 1 if row else 1


def save(transaction: Transaction, approval: Approval) -> None:
    """Write all of it, new or changed."""
    marks = ", ".join("?" * len(COLUMNS))
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    transaction.run(
        f"INSERT INTO approvals ({', '.join(COLUMNS)}) VALUES ({marks})"
        f" ON CONFLICT (id) DO UPDATE SET {changes}",
        astuple(approval),
    )


def get(reader: Reader, approval_id: int) -> Approval | None:
    """One as it was written."""
    row = reader.one(f"{_SELECT} WHERE id = ?", (approval_id,))
    return _approval(row) if row else None


def find(reader: Reader, filters: Filters, now: int, limit: int) -> list[Approval]:
    """Those that match at that time, newest first."""
    conditions = ["1"]
    if filters.agent_id is not None:
        conditions.append("agent_id = :agent_id")
    if filters.before is not None:
        conditions.append("id < :before")
    values = {
        "status": filters.status,
        "agent_id": filters.agent_id,
        "before": filters.before,
        "now": now,
        "limit": limit,
    }
    if filters.status is None:
        alternatives: tuple[str, ...] = ("1",)
    else:
        alternatives = _STATUS_IS.get(filters.status, ("status = :status",))
    rows = [
        row
        for alternative in alternatives
        for row in reader.all(
            f"{_SELECT} WHERE {' AND '.join([*conditions, alternative])}"
            " ORDER BY id DESC LIMIT :limit",
            values,
        )
    ]
    found = sorted(map(_approval, rows), key=lambda approval: approval.id, reverse=True)
    return found[:limit]


def pending_of(reader: Reader, agent_id: str, now: int) -> list[Approval]:
    """What an agent still waits for."""
    sql = f"{_SELECT} WHERE agent_id = ? AND status = 'pending' AND expires_at > ?"
    return [_approval(row) for row in reader.all(sql, (agent_id, now))]


def overdue(reader: Reader, now: int, limit: int) -> list[Approval]:
    """Pending ones whose time is over, the longest due first."""
    sql = f"{_SELECT} WHERE status = 'pending' AND expires_at <= ? ORDER BY expires_at LIMIT ?"
    return [_approval(row) for row in reader.all(sql, (now, limit))]


def count_pending(reader: Reader, now: int) -> int:
    """How many wait for a person."""
    row = reader.one(
        "SELECT count(*) FROM approvals WHERE status = 'pending' AND expires_at > ?", (now,)
    )
    assert row
    return int(row[0])


def remove_older(transaction: Transaction, before: int, batch: int) -> int:
    """Delete those made before; how many went."""
    return transaction.run(
        "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals WHERE created_at < ? LIMIT ?)",
        (before, batch),
    )

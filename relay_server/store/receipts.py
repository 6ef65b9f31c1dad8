"""Rows of receipts: only for receivers that got somewhere."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from relay_server.domain.receipt import Receipt
from relay_server.store.database import Reader, Transaction
from relay_server.wire import ReceiptState

COLUMNS: Final = tuple(Receipt.__dataclass_fields__)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM receipts"
_UPSERT: Final = (
    f"INSERT INTO receipts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    f" ON CONFLICT (agent_id, message_id) DO UPDATE SET"
    f" {', '.join(f'{c} = excluded.{c}' for c in COLUMNS[2:])}"
)
_ROUTED: Final = (
    "INSERT INTO receipts (agent_id, message_id, state, routed_at, attempts)"
    " SELECT ?, ?, 'routed', ?, 1 WHERE EXISTS (SELECT 1 FROM messages WHERE id = ?)"
    " ON CONFLICT (agent_id, message_id) DO UPDATE SET attempts = attempts + 1,"
    " routed_at = coalesce(routed_at, excluded.routed_at),"
    " state = CASE state WHEN 'stored' THEN 'routed' ELSE state END"
)


def _receipt(row: tuple[Any, ...]) -> Receipt:
    message_id, agent_id, state, *rest = row
    return Receipt(message_id, agent_id, ReceiptState(state), *rest)


def of_message(reader: Reader, message_id: int) -> dict[str, Receipt]:
    """By agent."""
    rows = reader.all(f"{_SELECT} WHERE message_id = ?", (message_id,))
    return {row[1]: _receipt(row) for row in rows}


def of_agent(reader: Reader, agent_id: str, message_ids: Sequence[int]) -> dict[int, Receipt]:
    """By message."""
    marks = ", ".join("?" * len(message_ids))
    sql = f"{_SELECT} WHERE agent_id = ? AND message_id IN ({marks})"
    return {row[0]: _receipt(row) for row in reader.all(sql, (agent_id, *message_ids))}


def save(transaction: Transaction, receipts: Iterable[Receipt]) -> None:
    """Write them as they are."""
    transaction.run_many(
        _UPSERT, [[getattr(receipt, column) for column in COLUMNS] for receipt in receipts]
    )


def mark_routed(transaction: Transaction, marks: Iterable[tuple[str, int, int]]) -> None:
    """(agent, message, at): given to its machine or poll once more."""
    transaction.run_many(_ROUTED, [(agent, m, at, m) for agent, m, at in marks])

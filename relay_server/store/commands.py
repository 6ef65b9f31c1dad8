"""Rows of commands: what was asked of each machine."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Final

from relay_server.domain.command import Command
from relay_server.store.database import Reader, Transaction
from relay_server.wire import CommandKind, CommandStatus

COLUMNS: Final = tuple(Command.__dataclass_fields__)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM commands"


def _command(row: Sequence[Any]) -> Command:
    values = dict(zip(COLUMNS, row, strict=True))
    values["kind"] = CommandKind(values["kind"])
    values["status"] = CommandStatus(values["status"])
    return Command(**values)


def newest_id(reader: Reader) -> int:
    """The highest id ever given, also when that command is gone."""
    row = reader.one("SELECT seq FROM sqlite_sequence WHERE name = 'commands'")
    return int(row[0]) if row else 0


def save(transaction: Transaction, command: Command) -> None:
    """Write all of it; the id of a new one is `newest_id` + 1, asked for in the transaction."""
    marks = ", ".join("?" * len(COLUMNS))
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    transaction.run(
        f"INSERT INTO commands ({', '.join(COLUMNS)}) VALUES ({marks})"
        f" ON CONFLICT (id) DO UPDATE SET {changes}",
        astuple(command),
    )


def get(reader: Reader, command_id: int) -> Command | None:
    """One command."""
    row = reader.one(f"{_SELECT} WHERE id = ?", (command_id,))
    return _command(row) if row else None


def of_machine(
    reader: Reader, machine: str, status: CommandStatus | None, before: int | None, limit: int
) -> list[Command]:
    """A machine's commands, newest first."""
    conditions = ["machine = :machine"]
    if status is not None:
        conditions.append("status = :status")
    if before is not None:
        conditions.append("id < :before")
    sql = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"
    values = {"machine": machine, "status": status, "before": before, "limit": limit}
    return [_command(row) for row in reader.all(sql, values)]


def pending(reader: Reader, machine: str, after: int, upto: int, limit: int) -> list[Command]:
    """What a machine has not taken yet, oldest first."""
    sql = (
        f"{_SELECT} WHERE machine = ? AND status = 'pending' AND id > ? AND id <= ?"
        " ORDER BY id LIMIT ?"
    )
    return [_command(row) for row in reader.all(sql, (machine, after, upto, limit))]


def untaken(reader: Reader, before: int, limit: int) -> list[Command]:
    """Those made before that no machine took."""
    sql = f"{_SELECT} WHERE status = 'pending' AND created_at < ? ORDER BY created_at LIMIT ?"
    return [_command(row) for row in reader.all(sql, (before, limit))]


def remove_older(transaction: Transaction, before: int, batch: int) -> int:
    """Delete those made before; how many went."""
    return transaction.run(
        "DELETE FROM commands WHERE id IN (SELECT id FROM commands WHERE created_at < ? LIMIT ?)",
        (before, batch),
    )


def remove_old_logs(transaction: Transaction, before: int, batch: int) -> int:
    """Delete requests for output made before; how many went."""
    return transaction.run(
        "DELETE FROM commands WHERE id IN"
        " (SELECT id FROM commands WHERE kind = 'logs' AND created_at < ? LIMIT ?)",
        (before, batch),
    )

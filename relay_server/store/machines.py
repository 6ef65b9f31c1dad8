"""Rows of machines: what each daemon last reported."""

import json
from dataclasses import dataclass
from typing import Any, Final

from relay_server.store.database import Reader, Transaction


@dataclass(frozen=True, slots=True)
class Machine:
    """A host that runs a daemon; `report` is the contract's object as sent."""

    id: str
    report: dict[str, Any]
    online: bool
    registered_at: int
    last_seen_at: int


_SELECT: Final = "SELECT id, report, online, registered_at, last_seen_at FROM machines"


def _machine(row: tuple[Any, ...]) -> Machine:
    return Machine(row[0], json.loads(row[1]), bool(row[2]), row[3], row[4])


def get(reader: Reader, machine_id: str) -> Machine | None:
    """One machine."""
    row = reader.one(f"{_SELECT} WHERE id = ?", (machine_id,))
    return _machine(row) if row else None


def all_machines(reader: Reader) -> list[Machine]:
    """Every machine, by id."""
    return [_machine(row) for row in reader.all(f"{_SELECT} ORDER BY id")]


def counts(reader: Reader) -> tuple[int, int]:
    """How many there are, and how many of them are online."""
    row = reader.one("SELECT count(*), coalesce(sum(online), 0) FROM machines")
    assert row is not None
    return int(row[0]), int(row[1])


def save(transaction: Transaction, machine: Machine) -> None:
    """Write all of it."""
    transaction.run(
        "INSERT INTO machines (id, report, online, registered_at, last_seen_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET report = excluded.report,"
        " online = excluded.online, last_seen_at = excluded.last_seen_at",
        (
            machine.id,
            json.dumps(machine.report, ensure_ascii=False),
            int(machine.online),
            machine.registered_at,
            machine.last_seen_at,
        ),
    )


def silent_since(reader: Reader, before: int) -> list[Machine]:
    """Machines that are online but were last seen before."""
    rows = reader.all(f"{_SELECT} WHERE online = 1 AND last_seen_at < ?", (before,))
    return [_machine(row) for row in rows]

"""How many there are of what is too much to count, or belongs to no one table's module."""

from relay_server.store.database import Reader
from relay_server.wire import TaskStatus


def tasks_by_status(reader: Reader) -> dict[str, int]:
    """Each word of the contract; the schema's triggers keep the numbers."""
    found: dict[str, int] = dict(
        reader.all("SELECT name, value FROM tallies WHERE name LIKE 'tasks.%'")
    )
    return {status.value: found.get(f"tasks.{status}", 0) for status in TaskStatus}


def pending_approvals(reader: Reader) -> int:
    """How many wait for a person."""
    row = reader.one("SELECT count(*) FROM approvals WHERE status = 'pending'")
    assert row is not None
    return int(row[0])

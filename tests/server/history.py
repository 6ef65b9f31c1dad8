"""Rows written straight into a database, for tests that need more of them than they can send."""

from typing import Any

from relay_server.store.database import Database, Transaction


def add_messages(database: Database, rows: list[dict[str, Any]]) -> None:
    """Messages in the order of their ids; what is left out has a plain value."""
    with database.write() as transaction:
        for row in rows:
            add_message(transaction, **row)


def add_message(transaction: Transaction, **given: Any) -> None:
    """One message."""
    values = {
        "sender": "operator",
        "target": "a",
        "body": "hello",
        "thread_id": given.get("id", 1),
        "kind": "message",
        "priority": "normal",
        "claimable": 0,
        "recipients": 1,
        "created_at": 1,
        **given,
    }
    values.setdefault("addressed_to", values["target"])
    marks = ", ".join(f":{name}" for name in values)
    transaction.run(f"INSERT INTO messages ({', '.join(values)}) VALUES ({marks})", values)

"""Numbers that must never repeat, also after a crash: reserved in blocks before use."""

from relay_server.store.database import Database


def reserve(database: Database, name: str, count: int) -> int:
    """The first of `count` numbers that nobody was given before."""
    with database.write() as transaction:
        row = transaction.one("SELECT value FROM counters WHERE name = ?", (name,))
        last = int(row[0]) if row else 0
        transaction.run(
            "INSERT INTO counters VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, last + count),
        )
    return last + 1

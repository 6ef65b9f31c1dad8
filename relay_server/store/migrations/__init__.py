"""The schema as an ordered, append-only list of steps; `PRAGMA user_version` counts them.

Each step runs in one IMMEDIATE transaction together with its version, so a failure leaves the
database as it was and two processes starting at once apply each step once.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from relay_server.errors import StoreRefused
from relay_server.store.migrations import m0001_initial, m0002_tasks

MIGRATIONS: Final[tuple[Sequence[str], ...]] = (
    m0001_initial.STATEMENTS,
    m0002_tasks.STATEMENTS,
)

# "ARly": lets `file` and us tell a relay database from any other SQLite file.
APPLICATION_ID: Final = 0x41526C79


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> int:
    """Bring the database up to date; the version it had before.

    `connection` is in autocommit mode. Raises: StoreRefused for a newer database.
    """
    before = _version(connection)
    while (version := _version(connection)) < len(migrations):
        _apply(connection, migrations, version)
    if version > len(migrations):
        raise StoreRefused(
            f"the database has schema {version}, newer than this program's {len(migrations)};"
            " upgrade agent-relay"
        )
    return before


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(
    connection: sqlite3.Connection, migrations: Sequence[Sequence[str]], expected: int
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done this step while we waited for the lock.
        if _version(connection) == expected:
            for statement in migrations[expected]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {expected + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise

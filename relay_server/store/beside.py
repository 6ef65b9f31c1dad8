"""The database for a command that works beside a relay, which may or may not run."""

import sqlite3
from contextlib import closing
from pathlib import Path

from relay_server.store.database import Database
from relay_server.store.lockfile import DatabaseLock
from relay_server.store.migrations import MIGRATIONS


def open_beside(path: Path) -> Database:
    """Opened for reads and short writes. Raises: StoreRefused, AlreadyTaken."""
    if _is_current(path):
        return Database(path)
    # It must be made or upgraded, and that under no running relay.
    lock = DatabaseLock(path)
    try:
        return Database(path)
    finally:
        lock.release()


def _is_current(path: Path) -> bool:
    """Asked through SQLite: what the file's header says may be older than the log."""
    if not path.is_file():
        return False
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return True  # opening it says what is wrong
    return bool(version == len(MIGRATIONS))

"""Opens the SQLite file, migrates it, and runs transactions. Knows no table's meaning.

WAL with synchronous=NORMAL: what is committed survives the death of this process; after a power
cut the sessions are gone too, and the relay offers what was not acknowledged again.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relay_agentd.errors import StoreUnusable
from relay_agentd.store.migrations import MIGRATIONS

# Another process (a person with the sqlite3 shell) may hold the file for a moment.
_BUSY_SECONDS = 2.0


class Database:
    """One connection. Not for several threads."""

    def __init__(self, path: Path) -> None:
        """Open, create or upgrade. Raises: StoreUnusable."""
        self._path = path
        self.failed: Callable[[StoreUnusable], object] = lambda _: None
        """Told before `StoreUnusable` is raised, wherever that ends up."""
        try:
            # Ours alone from its first byte on; SQLite gives its -wal and -shm the same mode.
            path.touch(mode=0o600, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"{path} cannot be opened: {error}") from error
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except StoreUnusable:
            self._connection.close()
            raise

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction: all of it or nothing. Raises: StoreUnusable."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            # A full disk ends the transaction by itself.
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Carry out one statement; the number of rows it changed. Raises: StoreUnusable."""
        return self._execute(sql, values).rowcount

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What a query finds. Raises: StoreUnusable."""
        return self._execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.IntegrityError:
            # A caller's mistake, and not the file's fault.
            raise
        except sqlite3.Error as error:
            failure = StoreUnusable(f"{self._path} cannot be used: {error}")
            self.failed(failure)
            raise failure from error

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            self._execute(f"PRAGMA {pragma}")
        version = self._version()
        if version > len(MIGRATIONS):
            raise StoreUnusable(
                f"{self._path} was written by a newer version of this program "
                f"(schema {version}, this one knows {len(MIGRATIONS)})"
            )
        verdict = self.rows("PRAGMA quick_check(1)")[0][0]
        if verdict != "ok":
            raise StoreUnusable(f"{self._path} is damaged: {verdict}")
        while (version := self._version()) < len(MIGRATIONS):
            with self.write():
                # Read again under the lock: another process may have been faster.
                if self._version() == version:
                    for statement in MIGRATIONS[version]:
                        self._execute(statement)
                    self._execute(f"PRAGMA user_version = {version + 1}")

    def _version(self) -> int:
        return int(self.rows("PRAGMA user_version")[0][0])

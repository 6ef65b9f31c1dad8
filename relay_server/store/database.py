"""The one database: pooled connections that read, one connection that writes.

Writers of this process queue on an in-process lock, not on SQLite's busy handler, whose
sleeping would cost tens of milliseconds. After-commit callbacks run before that lock is let
go, so whoever is woken or fed by them sees changes in commit order. They must be short, and
they may not wait for anything.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from peewee import OperationalError
from playhouse.pool import PooledSqliteDatabase

from relay_server.errors import Unavailable
from relay_server.store import health
from relay_server.store.migrations import MIGRATIONS, migrate

_log = logging.getLogger(__name__)

Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]

# Another program (a backup, a shell) may hold the file for a moment; longer is an error.
_BUSY_SECONDS: Final = 5
_PRAGMAS: Final = {"journal_mode": "wal", "synchronous": "normal", "foreign_keys": 1}
_MAX_READERS: Final = 64
# 256 MB: the writer folds the log only when `store.checkpoints` cannot keep up.
_LONGEST_LOG_PAGES: Final = 64_000


class Reader:
    """Reads on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Every row."""
        return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row, if any."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row


class Transaction(Reader):
    """The write transaction. Reads in it see its own writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._after: list[Callable[[], None]] = []

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """Change rows; how many."""
        return self._connection.execute(sql, parameters).rowcount

    def run_many(self, sql: str, parameters: Sequence[Parameters]) -> None:
        """The same change for many."""
        self._connection.executemany(sql, parameters)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Run it once the change is durable, still in commit order."""
        self._after.append(callback)

    def tell(self) -> None:
        """Run the callbacks: the change is durable."""
        for callback in self._after:
            callback()


class Database:
    """Opened, checked and migrated on construction."""

    def __init__(self, path: Path) -> None:
        """Raises: StoreRefused."""
        self.path = path
        health.prepare(path)
        self._lock = threading.RLock()
        self._active: Transaction | None = None
        # Transactions so far; written under the lock, read as a hint by anyone.
        self.commits = 0
        try:
            self._writer = _connect(path)
        except sqlite3.Error as error:
            raise health.refused(path, error) from None
        self._pool = PooledSqliteDatabase(
            str(path),
            pragmas=_PRAGMAS,
            timeout=_BUSY_SECONDS,
            max_connections=_MAX_READERS,
            stale_timeout=300,
            autoconnect=False,
            # A reader that finds the pool empty waits for its turn instead of failing.
            check_same_thread=False,
        )
        self._slots = threading.BoundedSemaphore(_MAX_READERS - 1)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One IMMEDIATE transaction; nested use joins the outer one.

        Raises: Unavailable when another program holds the file, or the disk fails.
        """
        with self._lock:
            if self._active is not None:
                yield self._active
                return
            transaction = Transaction(self._writer)
            with _as_unavailable():
                self._writer.execute("BEGIN IMMEDIATE")
                self._active = transaction
                try:
                    yield transaction
                    self._writer.execute("COMMIT")
                    self.commits += 1
                except BaseException:
                    # A full disk fails the commit itself; the connection must stay usable.
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
                finally:
                    self._active = None
            transaction.tell()

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A pooled connection, for a moment: never held while waiting.

        Raises: Unavailable when the file cannot be read.
        """
        with self._slots, _as_unavailable():
            is_new = self._pool.connect(reuse_if_open=True)
            try:
                yield Reader(self._pool.connection())
            finally:
                if is_new:
                    self._pool.close()

    @contextmanager
    def exclusive(self) -> Iterator[Reader]:
        """Reads while no change can be committed: to take a place in the order of changes."""
        with self._lock:
            yield Reader(self._writer)

    def size(self) -> int:
        """How many bytes it has, what is still in the log included."""
        with self.read() as reader:
            row = reader.one(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )
        assert row is not None
        return int(row[0])

    def connect_again(self) -> sqlite3.Connection:
        """A connection of the caller's own, for work on the file itself."""
        return sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)

    def close(self) -> None:
        """Fold the log into the file and close every connection."""
        with self._lock:
            self._pool.close_all()
            self._writer.close()


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """The store's own failures, logged; clients learn no more than that it does not answer."""
    try:
        yield
    except (sqlite3.OperationalError, OperationalError) as error:
        _log.error("the database does not answer", exc_info=error)
        raise Unavailable("The database does not answer.", code="store_unavailable") from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        health.check_contents(connection, path)
        for name, value in _PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {value}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG_PAGES}")
        _back_up_before_upgrade(connection, path)
        migrate(connection)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def _back_up_before_upgrade(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if 0 < version < len(MIGRATIONS):
        backup = path.with_name(f"{path.name}.schema-{version}.bak")
        if not backup.exists():
            connection.execute("VACUUM INTO ?", (str(backup),))

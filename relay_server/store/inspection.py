"""A look at a database file for `doctor`: changes nothing, and takes no lock a relay would miss."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from relay_server.errors import StoreRefused
from relay_server.store import health
from relay_server.store.database import Reader


class Inspection(Reader):
    """Reads of an existing database; its tables may be older than this program."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection)
        self._raw = connection
        self._path = path

    def integrity(self) -> int:
        """The schema's version. Raises: StoreRefused; reads every page and index."""
        version = health.check_owner(self._raw, self._path)
        if self._raw.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise StoreRefused(f"the database {self._path} is corrupt")
        return version

    def newest_message_at(self) -> int | None:
        """When the newest message was stored."""
        row = self.one("SELECT created_at FROM messages ORDER BY id DESC LIMIT 1")
        return int(row[0]) if row else None


@contextmanager
def inspected(path: Path) -> Iterator[Inspection]:
    """Raises: StoreRefused."""
    health.check_file(path)
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = 1")
            yield Inspection(connection, path)
    except sqlite3.Error as error:
        raise health.refused(path, error) from None

"""Is this file a database we may use? Asked before it is opened for work; repairs nothing."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from relay_server.errors import StoreRefused
from relay_server.store.migrations import APPLICATION_ID

_HEADER: Final = b"SQLite format 3\0"
# quick_check reads every page; beyond this size it would make starting slow.
_CHECK_BELOW_BYTES: Final = 200 * 1024 * 1024


def prepare(path: Path) -> None:
    """Make an empty file (0600) where there is none; refuse one that cannot be ours.

    Raises: StoreRefused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _check_file(path)
    except OSError as error:
        raise StoreRefused(f"the database {path} cannot be made: {error.strerror}") from None


def _check_file(path: Path) -> None:
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise StoreRefused(f"the database {path} is not a file")
    # The superuser may write to it all the same, but whoever took the bit away meant it.
    if not info.st_mode & 0o222 or not os.access(path, os.W_OK | os.R_OK):
        raise StoreRefused(f"the database {path} is read-only")
    if not os.access(path.parent, os.W_OK):
        raise StoreRefused(f"the folder of the database {path} is read-only")
    if info.st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_HEADER):
        raise StoreRefused(f"the database {path} is corrupt or not a database")
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    has_log = path.with_name(path.name + "-wal").exists()
    if not has_log and info.st_size < page_size * pages:
        raise StoreRefused(f"the database {path} is truncated")


def check_contents(connection: sqlite3.Connection, path: Path) -> None:
    """Raises: StoreRefused when the pages are damaged or the tables are someone else's."""
    version, application = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("user_version", "application_id")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and (application != APPLICATION_ID or not version):
        raise StoreRefused(f"the database {path} belongs to another program")
    if path.stat().st_size < _CHECK_BELOW_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreRefused(f"the database {path} is corrupt")

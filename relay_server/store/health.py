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
        check_file(path)
    except OSError as error:
        raise StoreRefused(f"the database {path} cannot be made: {error.strerror}") from None


def check_file(path: Path) -> None:
    """Raises: StoreRefused when it cannot be used; an empty file can."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise StoreRefused(f"the database {path} is not a file")
    # The superuser may write to it all the same, but whoever took the bit away meant it.
    if not info.st_mode & 0o222 or not os.access(path, os.W_OK | os.R_OK):
        raise StoreRefused(f"the database {path} is read-only")
    if not os.access(path.parent, os.W_OK):
        raise StoreRefused(f"the folder of the database {path} is read-only")
    if info.st_size:
        check_header(path)


def check_header(path: Path) -> None:
    """Raises: StoreRefused when it is no database, or not all of one."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_HEADER):
        raise StoreRefused(f"the database {path} is corrupt or not a database")
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    has_log = path.with_name(path.name + "-wal").exists()
    if not has_log and path.stat().st_size < page_size * pages:
        raise StoreRefused(f"the database {path} is truncated")


def check_contents(connection: sqlite3.Connection, path: Path) -> None:
    """Raises: StoreRefused when the pages are damaged or the tables are someone else's."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables:
        check_owner(connection, path)
    if path.stat().st_size < _CHECK_BELOW_BYTES:
        check_pages(connection, path)


def check_owner(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version. Raises: StoreRefused when the tables are someone else's."""
    version, application = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("user_version", "application_id")
    )
    if application != APPLICATION_ID or not version:
        raise StoreRefused(f"the database {path} belongs to another program")
    return int(version)


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Raises: StoreRefused when they are damaged."""
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise StoreRefused(f"the database {path} is corrupt")


def refused(path: Path, error: sqlite3.Error) -> StoreRefused:
    """SQLite's failure as one line for people."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreRefused(f"the database {path} is locked by another program")
    if "readonly" in text or "read-only" in text:
        return StoreRefused(f"the database {path} is read-only")
    if "is full" in text:
        return StoreRefused(f"the disk of {path} is full")
    if isinstance(error, sqlite3.OperationalError) and "unable to open" in text:
        return StoreRefused(f"the database {path} cannot be opened")
    return StoreRefused(f"the database {path} is corrupt or not a database")

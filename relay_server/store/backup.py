"""The whole database as one file: copied while a relay uses it, and put back while none does.

What counts as a copy was checked after it was made, and takes its name in one step. Putting one
back keeps the present database beside it, and at every moment there is a whole one in its place.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from relay_server.errors import StoreRefused
from relay_server.store import health
from relay_server.store.lockfile import DatabaseLock
from relay_server.store.migrations import MIGRATIONS, migrate

# Told how many bytes are there of about how many, each second.
Progress = Callable[[int, int], None]

_STEPS_BETWEEN_LOOKS: Final = 50_000
_LOG_FILES: Final = ("-wal", "-shm")
# When nobody knows which ids were given since the backup: more than were.
_LEAP: Final = 1_000_000


def back_up(database: Path, target: Path, tell: Progress) -> None:
    """Copy to `target`, replacing what is there. Raises: StoreRefused."""
    if not database.is_file():
        raise StoreRefused(f"there is no database {database}")
    with _partial(target) as partial:
        _copy(database, "mode=rw", partial, tell)
        _keep(partial, target)


def restore(backup: Path, database: Path, stamp: str, tell: Progress) -> Path | None:
    """Put a backup in the database's place; where the present one is kept, if there was one.

    Raises: AlreadyTaken while a relay runs, StoreRefused.
    """
    if not backup.is_file():
        raise StoreRefused(f"there is no backup {backup}")
    if database.exists() and backup.samefile(database):
        raise StoreRefused(f"{backup} is the database itself")
    lock = DatabaseLock(database)
    try:
        with _partial(database) as partial:
            # Nobody writes to a backup, so it needs no log of its own; one copied by hand may.
            has_log = backup.with_name(backup.name + "-wal").exists()
            _copy(backup, "mode=ro" if has_log else "mode=ro&immutable=1", partial, tell)
            with _opened(partial, "mode=rw") as connection:
                migrate(connection)
                _let_no_id_return(connection, database)
            kept = _set_aside(database, stamp) if database.exists() else None
            _keep(partial, database)
        return kept
    finally:
        lock.release()


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """An empty file of ours (0600) beside the target, gone afterwards unless it was renamed."""
    try:
        # A name of its own: another backup to the same target may be on its way.
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".partial", dir=target.parent
        )
        os.close(descriptor)
    except OSError as error:
        raise StoreRefused(f"{target} cannot be made: {error.strerror}") from None
    path = Path(name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    try:
        uri = f"{path.absolute().as_uri()}?{how}"
        with closing(sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise health.refused(path, error) from None


def _copy(source: Path, how: str, partial: Path, tell: Progress) -> None:
    """A checked copy. One read transaction sees one state; writers go on meanwhile."""
    health.check_header(source)
    with _opened(source, how) as connection:
        version = health.check_owner(connection, source)
        if version > len(MIGRATIONS):
            raise StoreRefused(
                f"{source} has schema {version}, newer than this program's {len(MIGRATIONS)};"
                " upgrade agent-relay"
            )
        _watch(connection, partial, source.stat().st_size, tell)
        connection.execute("VACUUM INTO ?", (str(partial),))
    with _opened(partial, "mode=rw") as connection:
        _watch(connection, partial, partial.stat().st_size, tell)
        health.check_owner(connection, partial)
        health.check_pages(connection, partial)


def _watch(connection: sqlite3.Connection, file: Path, total: int, tell: Progress) -> None:
    told = time.monotonic()

    def look() -> int:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            tell(file.stat().st_size, total)
        return 0

    connection.set_progress_handler(look, _STEPS_BETWEEN_LOOKS)


def _keep(partial: Path, target: Path) -> None:
    """Durable first, then named: a power cut leaves a whole file or none."""
    try:
        _sync(partial, os.O_RDWR)
        partial.replace(target)
    except OSError as error:
        raise StoreRefused(f"{target} cannot be written: {error.strerror}") from None
    with suppress(OSError):  # a folder cannot be opened on Windows
        _sync(target.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _let_no_id_return(restored: sqlite3.Connection, present: Path) -> None:
    """Readers remember the newest id they saw: ids given since the backup are not given again."""
    given = _ids_given(present)
    restored.execute("BEGIN IMMEDIATE")
    for table, column, name, value in _numbers(restored):
        newest = value + _LEAP if given is None else max(value, given.get((table, name), 0))
        restored.execute(f"UPDATE {table} SET {column} = ? WHERE name = ?", (newest, name))
    for (table, name), value in (given or {}).items():
        # A table that was empty in the backup has no row yet.
        if table == "sqlite_sequence":
            restored.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT ?, ? WHERE NOT EXISTS"
                " (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (name, value, name),
            )
    # How many messages there are is known from the ids; an older schema counts at its upgrade.
    if restored.execute("SELECT 1 FROM sqlite_master WHERE name = 'tallies'").fetchone():
        restored.execute(
            "UPDATE tallies SET value = (SELECT seq FROM sqlite_sequence WHERE name = 'messages')"
            " - (SELECT count(*) FROM messages) WHERE name = 'messages.removed'"
        )
    restored.execute("COMMIT")


def _numbers(connection: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    return connection.execute(
        "SELECT 'sqlite_sequence', 'seq', name, seq FROM sqlite_sequence"
        " UNION ALL SELECT 'counters', 'value', name, value FROM counters WHERE name = 'events'"
    ).fetchall()


def _ids_given(present: Path) -> dict[tuple[str, str], int] | None:
    """None when it cannot be told."""
    if not present.is_file():
        return None
    try:
        health.check_header(present)  # SQLite would throw the log of a damaged one away
        with _opened(present, "mode=rw") as connection:
            return {(row[0], row[2]): row[3] for row in _numbers(connection)}
    except StoreRefused:
        return None


def _set_aside(database: Path, stamp: str) -> Path:
    kept = database.with_name(f"{database.name}.before-restore-{stamp}")
    if kept.exists():
        raise StoreRefused(f"{kept} is there already")
    _fold_log(database)
    try:
        try:
            os.link(database, kept)
        except OSError:  # a file system without links
            shutil.copy2(database, kept)
        for ending in _LOG_FILES:
            log = database.with_name(database.name + ending)
            # Left only when it could not be folded: a damaged database keeps what it had.
            if log.exists() and ending == "-wal":
                shutil.copy2(log, kept.with_name(kept.name + ending))
            log.unlink(missing_ok=True)
    except OSError as error:
        raise StoreRefused(f"{database} cannot be kept as {kept}: {error.strerror}") from None
    return kept


def _fold_log(database: Path) -> None:
    """So that the file alone is the database. Raises: StoreRefused when another has it open."""
    try:
        health.check_header(database)
    except StoreRefused:
        return  # there may be good pages in the log
    with suppress(sqlite3.DatabaseError):
        uri = f"{database.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA journal_mode = delete")
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise health.refused(database, error) from None
                raise

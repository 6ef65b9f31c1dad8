"""Folds the write-ahead log into the database file, beside the writer.

SQLite would do it inside whichever commit fills the log, and that commit, with everyone queued
behind it, would wait for the disk: 5-15 ms every hundred messages. A passive checkpoint from
another connection makes nobody wait.
"""

import logging
import sqlite3
import threading
from contextlib import closing
from typing import Final

from relay_server.store.database import Database

_log = logging.getLogger(__name__)

_FOLD: Final = "PRAGMA wal_checkpoint(PASSIVE)"
# 128 MB, as long work in the background fills it within seconds: holding up everyone for the disk
# costs milliseconds, so seldom.
_LONG_PAGES: Final = 32_000
_PAUSE_SECONDS: Final = 1.0
# Fewer changes are not worth a sync of the disk; the log is kept over a crash anyway.
_WORTH_IT: Final = 100


def _fold_log(database: Database) -> bool:
    """What is in the log and needed there no more; nobody waits for it but the caller.

    Others write meanwhile, so the log does not become empty and would grow for ever. When it is
    long, the last few pages are folded while nobody writes, and it begins anew.
    """
    try:
        with closing(database.connect_again()) as connection:
            _, pages, _ = connection.execute(_FOLD).fetchone()
            if pages > _LONG_PAGES:
                with database.exclusive():
                    connection.execute(_FOLD).fetchone()
    except sqlite3.Error:
        # The writer folds by itself once the log is long.
        _log.exception("folding the log failed")
        return False
    return True


class Checkpoints:
    """`run` is its thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._done = 0
        self._is_closed = threading.Event()

    def run(self) -> None:
        """Fold when it is worth it, until closed."""
        while not self._is_closed.wait(_PAUSE_SECONDS):
            commits = self._database.commits
            if commits - self._done >= _WORTH_IT and _fold_log(self._database):
                self._done = commits

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

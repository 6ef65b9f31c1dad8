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

_PAUSE_SECONDS: Final = 1.0
# Fewer changes are not worth a sync of the disk; the log is kept over a crash anyway.
_WORTH_IT: Final = 100


def fold_log(database: Database) -> bool:
    """What is in the log and needed there no more; nobody waits for it but the caller."""
    try:
        with closing(database.connect_again()) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
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
            if commits - self._done >= _WORTH_IT and fold_log(self._database):
                self._done = commits

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

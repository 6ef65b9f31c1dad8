"""Keeps the messages' text index behind the newest message: one thread, and whoever searches.

A sender never waits for it. A search first has done what is missing, so that it finds all that
was sent before; after an upgrade of a large database that takes longer than anyone waits, and the
oldest messages are found first.
"""

import logging
import threading
from typing import Final

from relay_server.services.batches import Batches
from relay_server.services.core import Core
from relay_server.store import messages, search

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0
# What a search waits for at most, and how many messages it does between two writers.
_PATIENCE_SECONDS: Final = 0.25
_AT_ONCE: Final = 200


class Indexer:
    """`run` is its thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._is_closed = threading.Event()
        self._batches = Batches(core.database, core.clock, self._is_closed)
        self._seen = -1

    def run(self) -> None:
        """Follow the messages until closed."""
        while not self._is_closed.is_set():
            try:
                self._follow()
            except Exception:  # noqa: BLE001 - a thread's main loop: log, go on
                _log.exception("indexing failed")
            self._is_closed.wait(_PAUSE_SECONDS)

    def _follow(self) -> None:
        commits = self._core.database.commits
        if commits == self._seen:
            return
        self._seen = commits
        newest = self._missing_up_to()
        if newest is not None:
            self._batches.run(
                lambda transaction, most: search.index_more(transaction, most, newest)
            )

    def catch_up(self) -> None:
        """Before a search, in its thread."""
        newest = self._missing_up_to()
        if newest is None:
            return
        deadline = self._core.clock.monotonic() + _PATIENCE_SECONDS
        has_more = True
        while has_more and self._core.clock.monotonic() < deadline:
            with self._core.database.write() as transaction:
                has_more = search.index_more(transaction, _AT_ONCE, newest)
            # The lock is not fair; a moment without it lets the others in.
            if has_more and self._is_closed.wait(0.001):
                return

    def _missing_up_to(self) -> int | None:
        with self._core.database.read() as reader:
            newest = messages.newest_id(reader)
            return newest if search.indexed_up_to(reader) < newest else None

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

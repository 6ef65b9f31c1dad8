"""The bounded queue between whoever commits a change and the one thread that streams it.

A reader that does not keep up is cut: it reconnects and catches up from the database.
"""

import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

# About a minute of a busy relay, and what a stuck reader may cost in memory.
MAX_QUEUED: Final = 5000
MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024


class Feed(Generic[Item]):
    """Many writers, one reader, bounded, can be closed from any side.

    `cut` ends the reader's connection: its thread may be stuck in a write to it.
    """

    def __init__(self, cut: Callable[[], None] = lambda: None) -> None:
        self._cut = cut
        self._queue: queue.SimpleQueue[tuple[Item, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self.is_closed = False

    def put(self, item: Item, size: int = 0) -> None:
        """Add one of `size` bytes; a full queue closes the feed and cuts its reader."""
        if self.is_closed:
            return
        with self._lock:
            self._bytes += size
        if self._bytes > MAX_QUEUED_BYTES or self._queue.qsize() >= MAX_QUEUED:
            self.close()
            self._cut()
            return
        self._queue.put((item, size))

    def close(self) -> None:
        """No more items; the reader wakes at once."""
        self.is_closed = True
        self._queue.put(None)

    def take(self, timeout: float) -> list[Item]:
        """All that is there, waiting for the first; empty after `timeout` or when closed."""
        items: list[Item] = []
        taken = 0
        try:
            entry = self._queue.get(timeout=timeout)
            while entry is not None and not self.is_closed:
                items.append(entry[0])
                taken += entry[1]
                entry = self._queue.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            self._bytes -= taken
        return items

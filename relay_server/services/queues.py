"""The bounded queue between whoever commits a change and the one thread that streams it.

A reader that does not keep up is cut: it reconnects and catches up from the database.
"""

import queue
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

# About a minute of a busy relay; each item is a reference to bytes shared by all streams.
MAX_QUEUED: Final = 5000


class Feed(Generic[Item]):
    """Many writers, one reader, bounded, can be closed from any side."""

    def __init__(self, limit: int = MAX_QUEUED) -> None:
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._limit = limit
        self.is_closed = False

    def put(self, item: Item) -> None:
        """Add one; a full queue closes the feed."""
        if self.is_closed:
            return
        if self._queue.qsize() >= self._limit:
            self.close()
            return
        self._queue.put(item)

    def close(self) -> None:
        """No more items; the reader wakes at once."""
        self.is_closed = True
        self._queue.put(None)

    def take(self, timeout: float) -> list[Item]:
        """All that is there, waiting for the first; empty after `timeout` or when closed."""
        items: list[Item] = []
        try:
            item = self._queue.get(timeout=timeout)
            while item is not None and not self.is_closed:
                items.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        return items

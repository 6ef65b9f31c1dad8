"""The bounded queue between whoever commits a change and the one reader that streams it.

A reader that does not keep up is cut: it reconnects and catches up from the database.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, Generic, Self, TypeVar

Item = TypeVar("Item")

# About a minute of a busy relay, and what a stuck reader may cost in memory.
MAX_QUEUED: Final = 5000
MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024


class Feed(Generic[Item]):
    """Many writers, one reader, bounded, can be closed from any side.

    `cut` ends the reader's connection: a feed that overflows is of no more use to it.
    """

    def __init__(self, cut: Callable[[], None] = lambda: None) -> None:
        self._cut = cut
        self._wake: Callable[[], None] = lambda: None
        self._items: list[Item] = []
        self._lock = threading.Lock()
        self._bytes = 0
        self.is_closed = False

    def put(self, item: Item, size: int = 0) -> None:
        """Add one of `size` bytes; a full queue closes the feed and cuts its reader."""
        with self._lock:
            if self.is_closed:
                return
            self._items.append(item)
            self._bytes += size
            is_full = self._bytes > MAX_QUEUED_BYTES or len(self._items) > MAX_QUEUED
        if is_full:
            self.close()
            self._cut()
        else:
            self._wake()

    def close(self) -> None:
        """No more items; what is queued is dropped, and the reader is told at once."""
        self.is_closed = True
        self.take()
        self._wake()

    def take(self) -> list[Item]:
        """All that is there."""
        with self._lock:
            items, self._items, self._bytes = self._items, [], 0
        return items

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever there is something to take or nothing more will come.

        It is called by whoever puts, under their locks: it may only note that it was called.
        """
        self._wake = wake
        if self._items or self.is_closed:
            wake()


class Pause(bytes):
    """An empty piece of a stream: nothing to send before `feed` has something.

    Or before `until`, by the relay's monotonic clock. What carries the stream need not keep a
    thread for it meanwhile.
    """

    feed: Feed[Any]
    until: float

    def __new__(cls, feed: Feed[Any], until: float) -> Self:
        pause = super().__new__(cls)
        pause.feed = feed
        pause.until = until
        return pause

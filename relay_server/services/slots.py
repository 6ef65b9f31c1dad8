"""How many streams may be open and how many long polls may wait, so that others are served too.

A long poll occupies a server thread that does nothing, a stream only its connection. `watch`
tells the thread pool.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from relay_server.errors import Unavailable

# Long polls come from clients that could not get a stream, and from people who wait.
MAX_LONG_POLLS: Final = 256
_RETRY_SECONDS: Final = 5


class Slots:
    """Counts what is parked."""

    def __init__(self, max_streams: int) -> None:
        self.max_streams = max_streams
        self._lock = threading.Lock()
        self._streams = 0
        self._polls = 0
        self._on_park: Callable[[], None] = lambda: None

    def watch(self, on_park: Callable[[], None]) -> None:
        """Call `on_park` each time one more request occupies a thread without running."""
        self._on_park = on_park

    @property
    def parked(self) -> int:
        """Requests that occupy a thread without running."""
        return self._polls

    @property
    def streams(self) -> int:
        """Open streams."""
        return self._streams

    def take_stream(self) -> None:
        """Raises: Unavailable when all are taken."""
        with self._lock:
            if self._streams >= self.max_streams:
                raise Unavailable(
                    "Too many streams are open; poll instead.",
                    _RETRY_SECONDS,
                    code="too_many_streams",
                )
            self._streams += 1

    def free_stream(self) -> None:
        """Give one back."""
        with self._lock:
            self._streams -= 1

    @contextmanager
    def long_poll(self) -> Iterator[None]:
        """Raises: Unavailable when too many wait already."""
        with self._lock:
            if self._polls >= MAX_LONG_POLLS:
                raise Unavailable(
                    "Too many requests are waiting.", _RETRY_SECONDS, code="too_many_waits"
                )
            self._polls += 1
        self._on_park()
        try:
            yield
        finally:
            with self._lock:
                self._polls -= 1

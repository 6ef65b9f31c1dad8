"""The log of everything that happens, for dashboards and scripts: the last 10,000, in memory.

Ids grow strictly, also across restarts, because they are reserved in durable blocks. Written
only by after-commit callbacks, so its order is the commit order.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from relay_server.clock import Clock, to_rfc3339
from relay_server.services.queues import Feed
from relay_server.services.render import dumps

KEPT: Final = 10_000
# Fewer are kept when they are large: bodies may have 64 KiB each.
KEPT_BYTES: Final = 64 * 1024 * 1024
_BLOCK: Final = 100_000


@dataclass(frozen=True, slots=True)
class Event:
    """One entry; `frame` is its ready server-sent event."""

    id: int
    type: str
    frame: bytes


@dataclass(slots=True)
class Subscription:
    """One reader of the log."""

    types: frozenset[str]
    feed: Feed[bytes] = field(default_factory=Feed)

    def wants(self, event: Event) -> bool:
        """No types: all; `task` or `task.*` stand for all of that family."""
        return not self.types or event.type in self.types or event.type.split(".")[0] in self.types


class EventLog:
    """Thread-safe. `reserve(count)` gives the first of a block of ids never used before."""

    def __init__(self, clock: Clock, reserve: Callable[[int], int]) -> None:
        self._clock = clock
        self._reserve = reserve
        self._next = reserve(_BLOCK)
        self._last_reserved = self._next + _BLOCK - 1
        # Ids up to here were another process's: whoever saw only those has missed events.
        self._floor = self._next - 1
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def add(self, event_type: str, **data: Any) -> None:
        """Append and hand to every reader that wants it."""
        self._append(event_type, dumps(data)[1:-1])

    def add_rendered(self, event_type: str, name: str, rendered: bytes) -> None:
        """The same for one thing whose JSON exists already."""
        self._append(event_type, b'"%s":%s' % (name.encode(), rendered))

    def _append(self, event_type: str, members: bytes) -> None:
        if self._next > self._last_reserved:
            self._next = self._reserve(_BLOCK)
            self._last_reserved = self._next + _BLOCK - 1
        with self._lock:
            number = self._next
            self._next += 1
            at = to_rfc3339(self._clock.now_ms())
            name = event_type.encode()
            frame = b'id: %d\nevent: %s\ndata: {"id":%d,"type":"%s","at":"%s",%s}\n\n' % (
                *(number, name, number, name),
                *(at.encode(), members),
            )
            event = Event(number, event_type, frame)
            self._keep(event)
            for subscription in self._subscriptions:
                if subscription.wants(event):
                    subscription.feed.put(frame, len(frame))

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._bytes += len(event.frame)
        while len(self._events) > KEPT or self._bytes > KEPT_BYTES:
            oldest = self._events.popleft()
            self._bytes -= len(oldest.frame)
            self._floor = oldest.id

    def subscribe(
        self, types: frozenset[str], last_id: int | None, cut: Callable[[], None] = lambda: None
    ) -> Subscription:
        """A reader that first gets what it missed, or `reset` when that is not known any more."""
        subscription = Subscription(types, Feed(cut))
        with self._lock:
            newest = self._next - 1
            if last_id is not None:
                if last_id < self._floor or last_id > newest:
                    subscription.feed.put(b"id: %d\nevent: reset\ndata: {}\n\n" % newest)
                else:
                    missed = [e for e in self._events if e.id > last_id and subscription.wants(e)]
                    if missed:
                        subscription.feed.put(b"".join(event.frame for event in missed))
            if self._is_closed:
                subscription.feed.close()
            self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """The reader is gone."""
        with self._lock:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every reader."""
        with self._lock:
            self._is_closed = True
            for subscription in self._subscriptions:
                subscription.feed.close()

"""The log of everything that happens, for dashboards and scripts: the last 10,000, in memory.

Ids grow strictly, also across restarts, because they are reserved in durable blocks. Written
only by after-commit callbacks, so its order is the commit order.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relay_server.clock import Clock, to_rfc3339
from relay_server.services.queues import Feed
from relay_server.services.render import dumps
from relay_server.wire import EVENT_TYPES

KEPT: Final = 10_000
# Fewer are kept when they are large: bodies may have 64 KiB each.
KEPT_BYTES: Final = 64 * 1024 * 1024
_BLOCK: Final = 100_000
# What an entry costs besides its data, and the data of one that `add_small` takes.
_OVERHEAD: Final = 100
_SMALL: Final = 200


@dataclass(slots=True)
class Event:
    """One entry, as the data it was made of or as its JSON without braces."""

    id: int
    type: str
    at: int
    data: bytes | Mapping[str, Any]

    @property
    def frame(self) -> bytes:
        """The server-sent event."""
        if not isinstance(self.data, bytes):
            self.data = dumps(self.data)[1:-1]
        name = self.type.encode()
        return b'id: %d\nevent: %s\ndata: {"id":%d,"type":"%s","at":"%s",%s}\n\n' % (
            *(self.id, name, self.id, name),
            *(to_rfc3339(self.at).encode(), self.data),
        )


@dataclass(slots=True)
class Subscription:
    """One reader of the log."""

    types: frozenset[str]
    feed: Feed[bytes] = field(default_factory=Feed)

    def wants(self, event_type: str) -> bool:
        """No types: all; `task` or `task.*` stand for all of that family."""
        return (
            not self.types
            or event_type in self.types
            or event_type.split(".", maxsplit=1)[0] in self.types
        )


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
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def add(self, event_type: str, **data: Any) -> None:
        """Append and hand to every reader that wants it."""
        members = dumps(data)[1:-1]
        self._append(event_type, [members], len(members))

    def add_rendered(self, event_type: str, name: str, rendered: bytes) -> None:
        """The same for one thing whose JSON exists already."""
        members = b'"%s":%s' % (name.encode(), rendered)
        self._append(event_type, [members], len(members))

    def add_small(self, event_type: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """The same for many at once, each small: rendered only for those who read them."""
        self._append(event_type, entries, _SMALL)

    def _append(
        self, event_type: str, entries: Sequence[bytes | Mapping[str, Any]], size: int
    ) -> None:
        # A word that no document has is a fault of ours; any test that runs into it fails.
        assert event_type in EVENT_TYPES, event_type
        size += _OVERHEAD
        if self._next + len(entries) - 1 > self._last_reserved:
            self._next = self._reserve(max(_BLOCK, len(entries)))
            self._last_reserved = self._next + max(_BLOCK, len(entries)) - 1
        at = self._clock.now_ms()
        with self._lock:
            first, self._next = self._next, self._next + len(entries)
            events = [Event(first + n, event_type, at, entry) for n, entry in enumerate(entries)]
            self._keep(events, size)
            for subscription in self._subscriptions:
                if subscription.wants(event_type):
                    frames = b"".join(event.frame for event in events)
                    subscription.feed.put(frames, len(frames))

    def _keep(self, events: Sequence[Event], size: int) -> None:
        self._events.extend(events)
        self._sizes.extend([size] * len(events))
        self._bytes += size * len(events)
        while len(self._events) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= self._sizes.popleft()
            self._floor = self._events.popleft().id

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
                    missed = [
                        e for e in self._events if e.id > last_id and subscription.wants(e.type)
                    ]
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

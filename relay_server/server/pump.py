"""One thread writes all streams: it wakes when a feed has something and never waits for a client.

A thread for each stream would cost its memory, and for each broadcast a turn of the interpreter's
lock. A stream's first pieces (its backlog) are written by the thread that served its request.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from relay_server.clock import Clock
from relay_server.services.queues import Feed, Pause

_log = logging.getLogger(__name__)

# How late a pause may end that nothing else has ended.
_TICK_SECONDS: Final = 1.0


class Sink(Protocol):
    """The connection a stream is written to; no call waits."""

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""

    @property
    def has_room(self) -> bool:
        """Whether the client keeps up. Once it does again, the flow's `wake` is called."""

    def write(self, piece: bytes) -> None:
        """Send it, or keep it for the client."""

    def end(self) -> None:
        """Nothing more comes."""


class Flow:
    """One stream on its way. Advanced by one thread at a time, woken by any."""

    def __init__(
        self, pieces: Iterator[bytes], sink: Sink, on_end: Callable[[], None], pump: "Pump"
    ) -> None:
        self._pieces = pieces
        self._sink = sink
        self._on_end = on_end
        self._pump = pump
        self._feed: Feed[object] | None = None
        self.due = math.inf
        # Until its first pieces are written it belongs to the thread that does so.
        self.is_scheduled = True

    def wake(self) -> None:
        """Have it advanced soon. Twice is harmless."""
        if not self.is_scheduled:
            self.is_scheduled = True
            self._pump.schedule(self)

    def advance(self) -> bool:
        """Write until it pauses or its client is full; False when it is over."""
        while self._sink.is_open:
            if not self._sink.has_room:
                return True
            piece = next(self._pieces, None)
            if piece is None:
                return False
            if isinstance(piece, Pause):
                self.due = piece.until
                if self._feed is not piece.feed:
                    self._feed = piece.feed
                    piece.feed.wake_with(self.wake)
                return True
            self._sink.write(piece)
        return False

    def end(self) -> None:
        """Give its place back and let go of its connection."""
        try:
            self._on_end()
        finally:
            self._sink.end()


class Pump:
    """`start` and `close` bracket its thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: queue.SimpleQueue[Flow | None] = queue.SimpleQueue()
        self._flows: set[Flow] = set()
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End every stream and the thread."""
        self._queue.put(None)
        self._thread.join(timeout=5)

    def adopt(self, flow: Flow) -> None:
        """Write its first pieces in this thread, and all others in the pump's."""
        self._flows.add(flow)
        self._advance(flow)
        # What happened meanwhile has woken nobody.
        flow.is_scheduled = False
        flow.wake()

    def schedule(self, flow: Flow) -> None:
        """For `Flow.wake`."""
        self._queue.put(flow)

    def _run(self) -> None:
        look_at = 0.0
        while True:
            try:
                flow = self._queue.get(timeout=_TICK_SECONDS if self._flows else None)
                if flow is None:
                    break
                flow.is_scheduled = False
                self._advance(flow)
            except queue.Empty:
                pass
            now = self._clock.monotonic()
            if now >= look_at:
                look_at = now + _TICK_SECONDS
                self._wake_due(now)
        for flow in list(self._flows):
            self._end(flow)

    def _wake_due(self, now: float) -> None:
        for flow in list(self._flows):
            if flow.due <= now:
                flow.wake()

    def _advance(self, flow: Flow) -> None:
        try:
            if flow.advance():
                return
        except Exception:  # noqa: BLE001 - one stream's trouble must not end the others
            _log.exception("a stream broke off")
        self._end(flow)

    def _end(self, flow: Flow) -> None:
        if flow not in self._flows:
            return
        self._flows.discard(flow)
        try:
            flow.end()
        except Exception:  # noqa: BLE001 - likewise
            _log.exception("a stream did not end well")

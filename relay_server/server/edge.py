"""The listening socket: who gets in, how many, and who has to go. Runs in the loop's thread.

Nobody can lock others out: when all connections are taken, those for which nothing runs are cut:
first who never asked for anything, then who is idle, then who does not read, the oldest first.
A request must be complete within a time, and what waits in memory for slow clients is bounded.
"""

import errno
import socket
import threading
from contextlib import suppress
from time import monotonic
from types import ModuleType
from typing import Any, Final, cast

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from relay_server.clock import Clock
from relay_server.server.channel import MAX_UNSENT, Channel, hand_over_streams
from relay_server.server.loop import Loop
from relay_server.server.pump import Pump
from relay_server.wire import MAX_REQUEST_BYTES

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None

# Ours is checked in the application; this only bounds what a hostile client may send.
_MAX_BODY: Final = 8 * MAX_REQUEST_BYTES
_MAX_HEADERS: Final = 64 * 1024
# Of all requests that are not complete.
_MAX_HELD: Final = 64 * 1024 * 1024
# Of all answers that their clients do not take, in memory and in temporary files.
_MAX_UNSENT_ALL: Final = 256 * 1024 * 1024

# From its first byte to its last; for the first request of a connection from its start.
REQUEST_SECONDS: Final = 20
# How long a client may not take anything of what waits for it. Streams send at least their pings.
STALLED_SECONDS: Final = 60
IDLE_SECONDS: Final = 300
_LOOK_SECONDS: Final = 1
# How long the loop may sleep; it wakes for each socket and for the trigger anyway.
_LOOP_SECONDS: Final = 5

# A burst comes in at once; others have their turn after so many.
_ACCEPTS: Final = 64
_CUTS: Final = 32
_PAUSE_SECONDS: Final = 0.1
_BACKLOG: Final = 4096
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The database, the log, the loop's own; a connection has at most one file besides its socket.
_OWN_DESCRIPTORS: Final = 200
_DESCRIPTORS_EACH: Final = 2


class Edge(TcpWSGIServer):
    """waitress' server with its own rules on connections."""

    channel_class = Channel
    active_channels: dict[int, Channel]  # type: ignore[assignment]

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        *,
        threads: Any,
        pump: Pump,
        clock: Clock,
        connections: int,
    ) -> None:
        self.pump = pump
        self.clock = clock
        self._most = _affordable(connections)
        self._leaving: list[Channel] = []
        self._held = 0
        # Reentrant: a signal's handler wakes the loop in the loop's own thread.
        self._end = threading.RLock()
        self._is_shut = False
        self._accept_at = 0.0
        self._look_at = 0.0
        self._map: dict[int, Any] = {}
        self.loop = Loop(self._map)
        adjustments = Adjustments(
            sockets=[listener],
            ident=None,
            channel_request_lookahead=1,
            backlog=_BACKLOG,
            max_request_header_size=_MAX_HEADERS,
            max_request_body_size=_MAX_BODY,
            inbuf_overflow=_MAX_BODY,
            outbuf_high_watermark=MAX_UNSENT,
            clear_untrusted_proxy_headers=True,
            channel_timeout=IDLE_SECONDS,
            log_socket_errors=False,
        )
        super().__init__(
            hand_over_streams(app),
            self._map,
            _sock=listener,
            dispatcher=threads,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )
        self.loop.look_at(self.trigger)

    def turn(self) -> None:
        """One round of the loop."""
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + _LOOK_SECONDS
            self.maintenance(self.clock.now_ms() / 1000)
        leaving, self._leaving = self._leaving, []
        for channel in leaving:
            channel.handle_close()
        self.loop.look_at(self)
        self.loop.turn(_PAUSE_SECONDS if self._is_pausing else _LOOP_SECONDS)

    def shut(self) -> None:
        """Close all connections and the door."""
        with self._end:
            self._is_shut = True
        self.asyncore.close_all(self._map)
        self.loop.close()

    def readable(self) -> bool:
        """Whether somebody may come in now."""
        # Those that were told to go are still counted: they leave in the loop's next turn.
        is_full = len(self.active_channels) >= self._most + _CUTS
        return bool(self.accepting) and not self._is_pausing and not is_full

    @property
    def _is_pausing(self) -> bool:
        return monotonic() < self._accept_at

    def changed(self, channel: Channel) -> None:
        """Something happened to it in another thread."""
        if not self.loop.is_right_about(channel):
            self.loop.look_at(channel)
            self.wake()

    def wake(self) -> None:
        """Begin the loop's next turn."""
        with self._end:
            # Once shut, the trigger's descriptor is another file's.
            if not self._is_shut:
                cast("Any", self.trigger).pull_trigger()

    def pull_trigger(self) -> None:
        """Where waitress wakes its loop after every answer; ours is woken by `changed`."""

    def handle_accept(self) -> None:
        """Let in who waits at the door."""
        listener = cast("socket.socket", self.socket)
        for _ in range(_ACCEPTS):
            if len(self.active_channels) >= self._most and not self._make_room():
                return
            try:
                connection, address = listener.accept()
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    # The door stays ready, so looking at once again would spin.
                    self._accept_at = monotonic() + _PAUSE_SECONDS
                    self._make_room()
                return
            try:
                self.set_socket_options(connection)
                Channel(self, connection, address, self.adj, map=self._map)
            except OSError:  # macOS, when the client has left already
                connection.close()

    def _channels(self) -> list[Channel]:
        """Copied, because one may be closed by a thread that cannot write to it."""
        return list(self.active_channels.values())

    def _make_room(self) -> bool:
        """Cut some that only wait; whether there is room for another."""
        if not self._leaving:
            idle = [c for c in self._channels() if c.is_dispensable]
            idle.sort(key=_worth)
            for channel in idle[:_CUTS]:
                self._dismiss(channel)
        return len(self.active_channels) < self._most + len(self._leaving)

    def maintenance(self, now: float) -> None:
        """Cut who is too slow."""
        deadline = self.clock.monotonic() - REQUEST_SECONDS
        for channel in self._channels():
            silent = now - channel.last_activity
            if channel.total_outbufs_len:
                is_over = silent > STALLED_SECONDS
            elif channel.requests:
                is_over = False
            else:
                is_over = (channel.waits_since or deadline) < deadline or silent > IDLE_SECONDS
            if is_over:
                self._dismiss(channel)
        self._bound_unsent()

    def _bound_unsent(self) -> None:
        """Many that do not read cost as little as one: who took nothing for longest has to go."""
        behind = [c for c in self._channels() if c.total_outbufs_len]
        unsent = sum(channel.total_outbufs_len for channel in behind)
        if unsent <= _MAX_UNSENT_ALL:
            return
        for channel in sorted(behind, key=lambda channel: channel.last_activity):
            self._dismiss(channel)
            unsent -= channel.total_outbufs_len
            if unsent <= _MAX_UNSENT_ALL:
                return

    def _dismiss(self, channel: Channel) -> None:
        """Not closed here: who comes next would get its number while the loop has events for it."""
        channel.will_close = True
        self._leaving.append(channel)

    def hold(self, count: int) -> None:
        """So much more (or less) is kept of requests that are not complete."""
        self._held += count
        if self._held > _MAX_HELD:
            slow = [c for c in self._channels() if c.held and not c.will_close]
            if slow:
                self._dismiss(min(slow, key=lambda channel: channel.waits_since or 0))


def _worth(channel: Channel) -> tuple[bool, bool, float]:
    """Who is lowest goes first. A drip does not make one younger that never asked."""
    age = channel.last_activity if channel.has_asked else channel.creation_time
    return channel.has_asked, channel.total_outbufs_len > 0, age


def _affordable(connections: int) -> int:
    """So many connections, or as many as there are descriptors for; raises the limit up to that."""
    if resource is None:
        return connections
    wanted = connections * _DESCRIPTORS_EACH + _OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return connections
    affordable: int = (soft - _OWN_DESCRIPTORS) // _DESCRIPTORS_EACH
    return min(connections, max(1, affordable))

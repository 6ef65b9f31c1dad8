"""One connection: what is read from it and written to it. waitress' channel, that never waits.

Reading and flushing run in the loop's thread, a request in one of the pool's, a stream in the
pump's. No thread waits for a client: what it does not take stays in its buffer, and it gets no more
answers before that is gone.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask, WSGITask

from relay_server import __version__
from relay_server.ids import new_request_id
from relay_server.server.parser import Parser
from relay_server.server.pump import Flow
from relay_server.services.render import dumps
from relay_server.wire import VERSION_HEADER

if TYPE_CHECKING:
    from relay_server.server.edge import Edge

# What may wait in a connection's buffer before its client gets no more answers.
MAX_UNSENT: Final = 1024 * 1024


class _Handover(BaseException):
    """Leaves waitress' code with a request that is not finished: its answer is a stream."""

    task: "_Task"

    def __init__(self, pieces: Iterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__()
        self.pieces = pieces
        self.on_end = on_end


def hand_over_streams(app: Any) -> Any:
    """An application whose streams leave their thread; all other answers are one piece."""

    def call(environ: Any, start_response: Any) -> Iterable[bytes]:
        answer = app(environ, start_response)
        if isinstance(answer, list | ReadOnlyFileBasedBuffer):
            return cast("Iterable[bytes]", answer)
        raise _Handover(iter(answer), answer.close)

    return call


class _Task(WSGITask):
    """Header and first piece of the body leave in one write.

    Two small segments would meet delayed acknowledgements: 40 ms on every kept connection.
    """

    def execute(self) -> None:
        try:
            super().execute()
        except _Handover as handover:
            handover.task = self
            raise

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["relay.cut"] = cast("Channel", self.channel).cut
        # `GET http://host/path`: the Host header must say the same (RFC 9112 3.2), or is none.
        if cast("Any", self.request).proxy_netloc not in ("", environ.get("HTTP_HOST")):
            environ["HTTP_HOST"] = ""
        return environ

    def write(self, data: bytes) -> None:
        if self.wrote_header or not self.complete:
            super().write(data)
            return
        channel = self.channel
        gather = _Gather(channel)
        self.channel = cast("HTTPChannel", gather)
        try:
            super().write(data)
        finally:
            self.channel = channel
        channel.write_soon(b"".join(gather.pieces))


class _Gather:
    """Takes the place of a channel while header and body are put together."""

    def __init__(self, channel: HTTPChannel) -> None:
        self.server = channel.server
        self.pieces: list[bytes] = []

    def write_soon(self, data: bytes) -> int:
        self.pieces.append(data)
        return len(data)


class _ErrorTask(ErrorTask):
    """What is refused before the application sees it, as a problem."""

    def execute(self) -> None:
        error: Any = cast("Any", self.request).error
        body = dumps(
            {
                "type": "about:blank",
                "title": error.reason,
                "status": error.code,
                "detail": f"{error.reason}.",
                "code": "payload_too_large" if error.code == 413 else "malformed_request",
            }
        )
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [
            ("Content-Type", "application/problem+json"),
            ("Connection", "close"),
            (VERSION_HEADER, __version__),
            ("X-Request-Id", new_request_id()),
        ]
        self.close_on_finish = True
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """See the module."""

    task_class = _Task
    error_task_class = _ErrorTask
    parser_class = Parser
    server: "Edge"
    request: Parser | None
    requests_lock: threading.Lock
    _fileno: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_asked = False
        """Whether it ever sent a whole request."""
        self._opened_at = self._began_at = self.server.clock.monotonic()
        self.held = 0
        """Bytes of a request that is not complete."""
        self._is_deferred = False
        self._flow: Flow | None = None

    # -- the loop's thread

    @property
    def is_dispensable(self) -> bool:
        """Nothing runs for it, or its client does not read: cutting it loses little."""
        return not self.will_close and (not self.requests or self.total_outbufs_len > 0)

    @property
    def waits_since(self) -> float | None:
        """Since when a request is due: the first from the start, others from their first byte."""
        if not self.has_asked:
            return self._opened_at
        return self._began_at if self.request is not None else None

    def received(self, data: bytes) -> bool:
        """Bytes have come."""
        before = self.request
        result: bool = super().received(data)
        request = self.request
        if request is not before:
            self._began_at = self.server.clock.monotonic()
        self._hold(request.held if request is not None else 0)
        return result

    def _hold(self, held: int) -> None:
        if held != self.held:
            before, self.held = self.held, held
            self.server.hold(held - before)

    def handle_write(self) -> None:
        """The client takes more, or has to go."""
        super().handle_write()
        if self.total_outbufs_len > MAX_UNSENT:
            return
        if self._flow is not None:
            self._flow.wake()
        if self._is_deferred and self.connected:
            self._is_deferred = False
            self.server.add_task(cast("Any", self))

    def add_channel(self, map: Any = None) -> None:  # noqa: A002 - waitress' name
        """It begins."""
        super().add_channel(map)
        self.server.loop.look_at(self)

    def del_channel(self, map: Any = None) -> None:  # noqa: A002 - waitress' name
        """It ends."""
        self.server.loop.forget(self._fileno)
        super().del_channel(map)

    def handle_close(self) -> None:
        """The connection is gone."""
        self._hold(0)
        super().handle_close()
        if self._flow is not None:
            self._flow.wake()

    # -- the pool's threads

    def service(self) -> None:
        """Run one request, unless the client has not read what it got before."""
        self.has_asked = True
        with self.outbuf_lock:
            is_behind = self.connected and self.total_outbufs_len > MAX_UNSENT
            self._is_deferred = is_behind
        if is_behind:
            self.server.changed(self)
            return
        try:
            super().service()
        except _Handover as stream:
            pump = self.server.pump
            sink = StreamSink(self, stream.task)
            self._flow = Flow(stream.pieces, sink, stream.on_end, pump)
            pump.adopt(self._flow)
        finally:
            self.server.changed(self)

    def write_soon(self, data: bytes | ReadOnlyFileBasedBuffer) -> int:
        """Send it at once as far as the client takes it; only the rest needs waitress' buffers."""
        if not isinstance(data, bytes) or not data:
            return int(super().write_soon(cast("bytes", data)))
        sent = 0
        with self.outbuf_lock:
            if self.connected and not self.total_outbufs_len:
                with suppress(OSError):  # waitress tries again and draws its conclusions
                    sent = cast("socket.socket", self.socket).send(data)
                    self.last_activity = time.time()
            if sent < len(data):
                super().write_soon(data[sent:])
                self.server.changed(self)
        return len(data)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Where waitress waits for the client."""

    # -- any thread

    def cut(self) -> None:
        """End the connection."""
        connection = self.socket
        if connection is not None:
            with suppress(OSError):  # it ends by itself
                connection.shutdown(socket.SHUT_RDWR)

    def finish_stream(self) -> None:
        """Close once everything is sent."""
        with self.requests_lock:
            self.close_when_flushed = True
            for request in self.requests:
                request.close()
            self.requests = []
        self.server.changed(self)


class StreamSink:
    """A stream's connection, for the pump."""

    def __init__(self, channel: Channel, task: _Task) -> None:
        self._channel = channel
        self._task = task

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return bool(self._channel.connected)

    @property
    def has_room(self) -> bool:
        """Whether the client keeps up."""
        return bool(self._channel.total_outbufs_len <= MAX_UNSENT)

    def write(self, piece: bytes) -> None:
        """Send it, or keep it for the client."""
        with suppress(ClientDisconnected):
            self._task.write(piece)

    def end(self) -> None:
        """Nothing more comes."""
        with suppress(ClientDisconnected):
            self._task.finish()
        self._channel.finish_stream()

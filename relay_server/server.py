"""The process: socket, waitress, threads, signals, the order of starting and stopping.

waitress' loop runs in the calling thread; each request in one of the pool's. A parked request
(stream, long poll) does not count against the pool, so ordinary ones always find a thread.
"""

import errno
import logging
import signal
import socket
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Final, cast

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from relay_server import __version__
from relay_server.errors import AlreadyTaken
from relay_server.host import port_holder
from relay_server.http.app import App
from relay_server.ids import new_request_id
from relay_server.services.render import dumps
from relay_server.services.slots import MAX_LONG_POLLS, Slots
from relay_server.settings import Settings
from relay_server.wire import MAX_REQUEST_BYTES, VERSION_HEADER
from relay_server.wiring import Relay

_log = logging.getLogger(__name__)

# Threads that may run at once: more only take turns on the interpreter's lock.
_RUNNING: Final = 8
# How long the loop may sleep; it wakes for each socket and for the trigger anyway.
_LOOP_SECONDS: Final = 5.0
# Ours is checked in the application; this only keeps a hostile body off the disk.
_MAX_BODY: Final = 8 * MAX_REQUEST_BYTES
# What may wait in a socket's buffer before its writer waits too: slow readers cost little.
_MAX_UNSENT: Final = 1024 * 1024


class _Task(WSGITask):
    """Header and first piece of the body leave in one write.

    Two small segments would meet delayed acknowledgements: 40 ms on every kept connection.
    """

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["relay.cut"] = cast("_Channel", self.channel).cut
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
    """What waitress refuses by itself (a broken request line, a huge body), as a problem."""

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


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _ErrorTask

    def cut(self) -> None:
        """End the connection from any thread; one that is stuck in a write to it wakes."""
        with suppress(OSError):  # it has ended by itself
            cast("socket.socket", self.socket).shutdown(socket.SHUT_RDWR)


class _Threads(ThreadedTaskDispatcher):
    """Grows by one thread for each parked request, up to all that may park."""

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self._slots = slots
        self._most = _RUNNING + slots.max_streams + MAX_LONG_POLLS
        self.set_thread_count(_RUNNING)
        slots.watch(self.grow)

    def grow(self) -> None:
        """Make sure that enough threads are not parked."""
        wanted = min(self._most, _RUNNING + self._slots.parked)
        with self.lock:
            running = len(self.threads) - self.stop_count
            is_stopping = self.stop_count > 0
        if running < wanted and not is_stopping:
            self.set_thread_count(wanted)


class Server:
    """A relay behind a socket. `run` returns after `stop` or a signal."""

    def __init__(self, relay: Relay, settings: Settings) -> None:
        """Raises: AlreadyTaken when the port is."""
        self._relay = relay
        self._map: dict[int, Any] = {}
        self._is_stopping = threading.Event()
        self._threads = _Threads(relay.core.slots)
        try:
            listener = _listen(settings.host, settings.port)
        except BaseException:
            self._threads.shutdown(timeout=1)
            raise
        self._waitress = _create_server(
            relay.app,
            map=self._map,
            _dispatcher=self._threads,
            sockets=[listener],
            ident=None,
            channel_request_lookahead=1,
            asyncore_use_poll=True,
            max_request_body_size=_MAX_BODY,
            outbuf_high_watermark=_MAX_UNSENT,
            clear_untrusted_proxy_headers=True,
            connection_limit=settings.max_streams + MAX_LONG_POLLS + 1000,
            channel_timeout=300,
            log_socket_errors=False,
        )
        self._waitress.channel_class = _Channel
        self.host, self.port = listener.getsockname()[:2]

    @property
    def url(self) -> str:
        """Where people reach it."""
        host = "localhost" if self.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self) -> None:
        """Serve until stopped, then end everything in order."""
        self._relay.start()
        loop = self._waitress.asyncore
        try:
            while not self._is_stopping.is_set():
                loop.loop(_LOOP_SECONDS, use_poll=True, map=self._map, count=1)
        finally:
            # Parked requests end, running ones are answered by their own threads.
            self._relay.wake_all()
            self._threads.shutdown(timeout=5)
            loop.close_all(self._map)
            self._relay.stop()

    def stop(self) -> None:
        """End `run`, from another thread or a signal handler; again is harmless."""
        if self._is_stopping.is_set():
            return
        self._is_stopping.set()
        self._waitress.trigger.pull_trigger()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end `run`. For the main thread."""

        def leave(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, leave)


def _create_server(app: App, **adjustments: Any) -> Any:
    """waitress' own function; its result depends on the number of sockets, and ours is one."""
    return create_server(app, **adjustments)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AlreadyTaken(f"port {port} on {host} is in use by {port_holder(port)}") from None
        raise AlreadyTaken(f"{host}:{port} cannot be bound: {error.strerror}") from None
    except BaseException:
        listener.close()
        raise
    return listener

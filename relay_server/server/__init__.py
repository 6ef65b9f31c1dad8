"""The process: socket, waitress, threads, signals, the order of starting and stopping.

The loop (`loop.py`) runs in the calling thread; each request in one of the pool's (`threads.py`);
all streams in one (`pump.py`). `edge.py` decides who gets in, `channel.py` is one connection.
"""

import errno
import signal
import socket
import threading
from types import FrameType
from typing import Final

from relay_server.clock import Clock, SystemClock
from relay_server.errors import AlreadyTaken
from relay_server.host import port_holder
from relay_server.server.edge import Edge
from relay_server.server.pump import Pump
from relay_server.server.threads import Threads
from relay_server.services.slots import MAX_LONG_POLLS
from relay_server.settings import Settings
from relay_server.wiring import Relay

# Connections that are no streams or long polls: ordinary requests, and who keeps one open.
_ORDINARY: Final = 1000


class Server:
    """A relay behind a socket. `run` returns after `stop` or a signal."""

    def __init__(self, relay: Relay, settings: Settings, clock: Clock | None = None) -> None:
        """`clock` measures connections, which live in real time whatever time the relay has.

        Raises: AlreadyTaken when the port is.
        """
        self._relay = relay
        self._is_stopping = threading.Event()
        self._threads = Threads(relay.core.slots)
        self._pump = Pump(relay.core.clock)
        try:
            listener = _listen(settings.host, settings.port)
        except BaseException:
            self._threads.shutdown(timeout=1)
            raise
        self._edge = Edge(
            relay.app,
            listener,
            threads=self._threads,
            pump=self._pump,
            clock=clock or SystemClock(),
            connections=settings.max_streams + MAX_LONG_POLLS + _ORDINARY,
        )
        self.host, self.port = listener.getsockname()[:2]

    @property
    def url(self) -> str:
        """Where people reach it."""
        host = "localhost" if self.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self) -> None:
        """Serve until stopped, then end everything in order."""
        self._relay.start()
        self._pump.start()
        try:
            while not self._is_stopping.is_set():
                self._edge.turn()
        finally:
            # Parked requests end, running ones are answered by their own threads.
            self._relay.wake_all()
            self._threads.shutdown(timeout=5)
            self._pump.close()
            self._edge.shut()
            self._relay.stop()

    def stop(self) -> None:
        """End `run`, from another thread or a signal handler; again is harmless."""
        if self._is_stopping.is_set():
            return
        self._is_stopping.set()
        self._edge.wake()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end `run`. For the main thread."""

        def leave(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, leave)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
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

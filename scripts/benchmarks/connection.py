"""A client so thin that what it measures is the server: raw sockets, requests rendered before."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def render(self, method: str, path: str, body: Any = None) -> bytes:
        """The bytes of a request."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a rendered request; answers status and body."""
        self.send(request)
        return self.receive()

    def send(self, request: bytes) -> None:
        """The first half of an exchange."""
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes]:
        """The second half."""
        head = self._until(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return status, self._exactly(int(line.split(b":")[1]))
        return status, b""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Exchange and parse; raises RuntimeError on anything but a success."""
        status, content = self.exchange(self.render(method, path, body))
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content.decode(errors='replace')}")
        return json.loads(content) if content else None

    def stream(self, path: str) -> Iterator[bytes]:
        """Open an event stream; yields its lines as they arrive (chunk sizes included)."""
        self._socket.sendall(self.render("GET", path))
        while True:
            yield self._until(b"\n")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def _fill(self) -> None:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the server hung up")
        self._buffer += received

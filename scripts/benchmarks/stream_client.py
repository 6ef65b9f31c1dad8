"""Hundreds of event streams held by one thread, so that what is measured is the server."""

import selectors
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

_HELLO = b"event: hello"


class Streams:
    """Open streams, each for an agent of its own. Not thread-safe."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._selector = selectors.DefaultSelector()
        self._seen: dict[socket.socket, bytes] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def open(self, path: str) -> None:
        """One more; `wait_for` tells when it is really there."""
        stream = socket.create_connection(self._address)
        host = f"{self._address[0]}:{self._address[1]}"
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        stream.setblocking(False)
        self._selector.register(stream, selectors.EVENT_READ)
        self._seen[stream] = b""

    def wait_until_open(self) -> None:
        """Each has said hello."""
        self.wait_for(_HELLO)

    def wait_for(self, mark: bytes, *, within: float = 20) -> list[float]:
        """When `mark` arrived on each stream. Raises TimeoutError, ConnectionError."""
        arrived: list[float] = []
        waiting = {stream for stream, seen in self._seen.items() if mark not in seen}
        deadline = time.perf_counter() + within
        while waiting:
            ready = self._selector.select(1)
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(waiting)} streams have not got {mark!r}")
            for key, _ in ready:
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                seen = self._read(stream)
                if stream in waiting and mark in seen:
                    waiting.discard(stream)
                    arrived.append(time.perf_counter())
        return arrived

    def _read(self, stream: socket.socket) -> bytes:
        with suppress(BlockingIOError):
            data = stream.recv(65536)
            if not data:
                raise ConnectionError("the server ended a stream")
            # A mark may arrive in two pieces, never spread over more than this.
            self._seen[stream] = self._seen[stream][-4096:] + data
        return self._seen[stream]

    def close(self) -> None:
        """Hang up."""
        for stream in self._seen:
            self._selector.unregister(stream)
            stream.close()
        self._seen.clear()
        self._selector.close()

"""An HTTP server on loopback that takes callbacks, in threads, and remembers them in order.

    with WebhookReceiver() as receiver:
        ... receiver.url ...
        receiver.wait_for(2)

`answer` decides on each request: a status; or pieces of a raw answer, none for a connection that
ends without one. It runs in the request's own thread and may wait. It and `received` may be
replaced at any time.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.wait import eventually


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def delivery(self) -> str:
        return self.headers["x-agent-relay-delivery"]

    @property
    def step(self) -> tuple[int, str]:
        """Which task, and what happened to it."""
        return self.json["task"]["id"], self.json["event"]

    def is_signed_with(self, secret: str) -> bool:
        digest = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers.get("x-agent-relay-signature") == f"sha256={digest}"


Answer = Callable[[Received], int | Iterable[bytes]]


def accept(_: Received) -> int:
    return 204


class WebhookReceiver:
    """Listens from its construction; use it as a context manager, or `close` it."""

    def __init__(self, answer: Answer = accept) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                length = int(headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:  # its sender died while it sent
                    self.close_connection = True
                    return
                received = Received(self.path, headers, body)
                receiver.received.append(received)
                with suppress(OSError):  # the sender may have gone meanwhile
                    self._reply(receiver.answer(received))

            def _reply(self, answer: int | Iterable[bytes]) -> None:
                self.close_connection = True
                if isinstance(answer, int):
                    self.send_response(answer)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                for piece in answer:
                    self.wfile.write(piece)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler

    def wait_for(self, count: int, within: float = 5.0) -> list[Received]:
        """The first `count` requests, once they are there."""
        eventually(
            lambda: len(self.received) >= count,
            within,
            message=lambda: f"{count} callbacks; got {[r.step for r in self.received]}",
        )
        return self.received[:count]

    @property
    def steps(self) -> list[tuple[int, str]]:
        """(task, event) of all requests in order."""
        return [received.step for received in self.received]

    def close(self) -> None:
        """End it; requests that are still being answered are waited for."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "WebhookReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

"""The server both stand-in models share: it records requests and asks the script what to answer.

Owns its listening socket, its connections and the threads that serve them; all of them end with
`close`. Loopback only. A subclass knows one provider's wire format and nothing of scripting.
"""

import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support.script import Conversation, Fail, Say, Step, message_ids, next_step


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request a provider made. `received_at` is `time.monotonic()`, the machine's one clock."""

    number: int
    received_at: float
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    main: bool
    """False for a provider's own errands, such as finding a title for the session."""
    step: Step
    texts: tuple[str, ...]
    """What the model sees from people and messages in the whole conversation, oldest first."""

    def message_ids(self) -> list[int]:
        """The relay messages in the model's context, in order, repeats included."""
        return message_ids(self.texts)


class StandIn(ABC):
    """A model server on a free port of the loopback interface."""

    name: ClassVar[str]
    base_path: ClassVar[str] = ""

    def __init__(self, port: int = 0, *, on_message: str | None = None) -> None:
        self.on_message = on_message
        self._changed = threading.Condition()
        self._requests: list[Recorded] = []
        self._queued: list[Step] = []
        self._released: set[str] = set()
        self._closing = False
        self._server = _Server(("127.0.0.1", port), _handler_for(self))
        self._thread = threading.Thread(target=self._serve, name=f"stand-in {self.name}")
        self._thread.start()

    @property
    def url(self) -> str:
        """What a provider takes as its base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.base_path}"

    @property
    def requests(self) -> list[Recorded]:
        """Every model request so far, errands included, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def main_requests(self) -> list[Recorded]:
        """The requests of the conversation itself."""
        return [request for request in self.requests if request.main]

    def user_texts(self) -> list[str]:
        """What the model saw from people and messages when it was asked last."""
        requests = self.main_requests
        return list(requests[-1].texts) if requests else []

    def message_ids(self) -> list[int]:
        """The relay messages in the model's context when it was asked last."""
        return message_ids(self.user_texts())

    def queue(self, *steps: Step) -> None:
        """Answers that go before whatever the texts ask for, one for each main request."""
        with self._changed:
            self._queued.extend(steps)

    def release(self, name: str) -> None:
        """Lets answers go that wait for `[[hold: name]]`, now and later."""
        with self._changed:
            self._released.add(name)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[Recorded], object], within: float = 20.0) -> Recorded:
        """The first recorded request that fits, or an error that lists what came instead."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: next((each for each in self._requests if predicate(each)), None), within
            )
            if found is None:
                seen = "\n".join(f"  {_summary(each)}" for each in self._requests) or "  nothing"
                message = (
                    f"no fitting request at {self.name} within {within} s; there came:\n{seen}"
                )
                raise AssertionError(message)
            return found

    def close(self) -> None:
        """Ends every connection and thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def is_model_path(self, path: str) -> bool:
        """Whether a POST to this path asks the model."""

    @abstractmethod
    def is_main(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        """Whether a request belongs to the conversation rather than to an errand."""

    def is_scripted(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        """Whether the texts decide the answer: in the conversation, and where else it matters."""
        return self.is_main(headers, body)

    @abstractmethod
    def conversation(self, body: dict[str, Any]) -> Conversation:
        """What happened since the last final answer."""

    @abstractmethod
    def texts(self, body: dict[str, Any]) -> Iterator[str]:
        """All texts of people and messages in the conversation."""

    @abstractmethod
    def events(self, body: dict[str, Any], step: Step, number: int) -> Iterator[Mapping[str, Any]]:
        """The events of a streamed answer; each has a `type`."""

    def other(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """The answer to anything that is not a model request."""
        if path.startswith("/healthz"):
            return HTTPStatus.OK, {"ok": True}
        if "/models" in path:
            return HTTPStatus.OK, {"object": "list", "data": [], "models": [], "has_more": False}
        if method == "HEAD":
            return HTTPStatus.OK, {}
        return HTTPStatus.NOT_FOUND, {"error": {"message": f"stand-in: no such path {path}"}}

    def take(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Recorded:
        """Records a request together with the answer it gets."""
        main = self.is_main(headers, body)
        with self._changed:
            if main and self._queued:
                step = self._queued.pop(0)
            elif self.is_scripted(headers, body):
                step = next_step(self.conversation(body), self.on_message)
            else:
                step = Step(Say("A title"))
            texts = tuple(self.texts(body))
            recorded = Recorded(
                len(self._requests) + 1, time.monotonic(), path, headers, body, main, step, texts
            )
            self._requests.append(recorded)
            self._changed.notify_all()
        return recorded

    def pause(self, seconds: float) -> None:
        """Waits, unless the server is closed meanwhile."""
        if seconds > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, seconds)

    def pause_for(self, hold: str | None) -> None:
        """Waits until the test releases the name."""
        if hold is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or hold in self._released)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)


class _Server(ThreadingHTTPServer):
    """Knows its open connections, so that closing does not wait for a client to hang up."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
            super().shutdown_request(request)

    def end_connections(self) -> None:
        """Cuts every open connection."""
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was quicker

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A provider that hangs up in the middle of an answer is no error of the test."""


def _handler_for(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    """The request handler bound to one stand-in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """The recorded requests are the log."""

        def do_HEAD(self) -> None:
            self._answer(*stand_in.other("HEAD", self.path))

        def do_GET(self) -> None:
            self._answer(*stand_in.other("GET", self.path))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            if not stand_in.is_model_path(path):
                self._answer(*stand_in.other("POST", self.path))
                return
            body = json.loads(raw)
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorded = stand_in.take(self.path, headers, body)
            stand_in.pause(recorded.step.delay)
            stand_in.pause_for(recorded.step.hold)
            if isinstance(recorded.step.action, Fail):
                error = {"type": "error", "error": {"type": "api_error", "message": "scripted"}}
                self._answer(recorded.step.action.status, error)
            else:
                self._stream(body, recorded)

        def _answer(self, status: int, content: Mapping[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _stream(self, body: dict[str, Any], recorded: Recorded) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", "text/event-stream")
            self.send_header("cache-control", "no-cache")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            for event in stand_in.events(body, recorded.step, recorded.number):
                line = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
                self.wfile.write(line.encode())
                self.wfile.flush()

    return Handler


def _summary(request: Recorded) -> str:
    """One line about a request, for a failing test."""
    newest = request.texts[-1][-120:] if request.texts else ""
    return f"{request.number} {'main' if request.main else 'errand'} {newest!r} -> {request.step}"

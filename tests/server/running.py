"""A relay in this process: the real application on a real socket, in threads.

Whatever it answers to `client` or to a client of `new_client` is judged by the published OpenAPI
page; an answer that the page does not promise fails the test that asked.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from relay_server.clock import Clock, SystemClock
from relay_server.server import Server
from relay_server.settings import from_sources
from relay_server.wiring import build
from tests.server.conformance import judged_client
from tests.support.wait import eventually

Json = dict[str, Any]


class LaterClock(SystemClock):
    """The machine's clock, set forward by a test."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def advance(self, seconds: float) -> None:
        self.ahead_ms += int(seconds * 1000)

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_ms / 1000


class RunningRelay:
    """Started on construction; `stop` ends every thread and socket of it.

    `clock` is the relay's, `edge_clock` that of its connections.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock | None = None,
        edge_clock: Clock | None = None,
        /,
        **environment: str,
    ) -> None:
        values = {"AGENT_RELAY_DB": str(folder / "relay.db"), "PORT": "0", **environment}
        self.settings = from_sources([values])
        self.relay = build(self.settings, clock)
        self.server = Server(self.relay, self.settings, edge_clock)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        self.client = self.new_client()

    def new_client(self, **options: Any) -> httpx.Client:
        """One more client whose answers are judged."""
        return judged_client(self.url, self.settings.token, **options)

    def stop(self) -> None:
        """Again is harmless."""
        self.client.close()
        if self._thread.is_alive():
            self.server.stop()
        self._thread.join(timeout=15)
        assert not self._thread.is_alive()

    # -- short forms of what most tests do

    def agent(self, agent_id: str, **fields: Any) -> Json:
        answer = self.client.post("/api/agents", json={"id": agent_id, **fields})
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def send(self, sender: str, to: str, body: str = "hello", **fields: Any) -> Json:
        given = {"from": sender, "to": to, "body": body, **fields}
        answer = self.client.post("/api/messages", json=given)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def inbox(self, agent_id: str, **query: Any) -> list[int]:
        answer = self.client.get("/api/messages", params={"for": agent_id, **query})
        assert answer.status_code == 200, answer.text
        return [message["id"] for message in answer.json()["messages"]]

    def ack(self, agent_id: str, message_id: int, state: str, **fields: Any) -> Json:
        receipt = {"messageId": message_id, "state": state, **fields}
        answer = self.client.post(f"/api/agents/{agent_id}/ack", json={"receipts": [receipt]})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def receipt(self, message_id: int, agent_id: str) -> Json:
        receipts = self.client.get(f"/api/messages/{message_id}").json()["receipts"]
        found: Json = next(r for r in receipts if r["agentId"] == agent_id)
        return found

    @contextmanager
    def stream(self, path: str, headers: dict[str, str] | None = None) -> Iterator["Followed"]:
        """Follow a stream in a thread while the block runs."""
        with self.new_client() as client, client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            followed = Followed()
            thread = threading.Thread(target=followed.follow, args=(answer,))
            thread.start()
            try:
                yield followed
            finally:
                shut_down(answer)
                thread.join(timeout=10)
                assert not thread.is_alive()


def shut_down(answer: httpx.Response) -> None:
    """End the connection under a thread that reads from it."""
    with suppress(OSError):  # the server was faster
        stream = answer.extensions["network_stream"]
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _lines(answer: httpx.Response) -> Iterator[str]:
    """Only \\n ends a line of a stream; httpx would also split where Unicode ends one."""
    rest = b""
    for piece in answer.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


@dataclass(slots=True)
class Event:
    type: str
    id: int | None
    data: Json


@dataclass(slots=True)
class Followed:
    """What a stream has sent so far."""

    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    has_ended: bool = False

    def follow(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        try:
            for line in _lines(answer):
                if line.startswith(":"):
                    self.comments.append(line[1:].strip())
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    number = int(fields["id"]) if "id" in fields else None
                    self.events.append(Event(fields["event"], number, json.loads(fields["data"])))
                    fields = {}
        except (httpx.HTTPError, OSError):
            pass  # the test ended the connection, or killed the server
        self.has_ended = True

    def of_type(self, event_type: str) -> list[Event]:
        return [event for event in self.events if event.type == event_type]

    def wait_for(self, event_type: str, count: int = 1) -> list[Event]:
        """The first `count` events of a type, once they are there."""
        return (
            eventually(
                lambda: found[:count] if len(found := self.of_type(event_type)) >= count else None,
                message=lambda: f"{count} of {event_type}; got {[e.type for e in self.events]}",
            )
            or []
        )

    def messages(self, count: int) -> list[tuple[str, int]]:
        """(agent, message id) of the first `count` messages."""
        events = self.wait_for("message", count)
        return [(event.data["agentId"], event.data["message"]["id"]) for event in events]

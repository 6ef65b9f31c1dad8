"""Those who watch a relay while something drives it; what they saw is judged at the end.

One polls everyone's messages and an inbox, one follows the events, one an agent's stream.
"""

import contextlib
import threading
from collections.abc import Callable

import httpx

from tests.server.model import Model
from tests.server.plain import PlainClient
from tests.server.running import Followed, shut_down

_PAUSE_SECONDS = 0.02
Sightings = list[list[int]]


class Onlookers:
    """Started on construction; `pause` and `go_on` bracket a restart of the relay."""

    def __init__(self, port: int, followed: str) -> None:
        self._followed = followed
        self.lists: Sightings = []
        self.inbox: list[int] = []
        self._inbox_cursor = 0
        self._events: list[Followed] = []
        self._streams: list[Followed] = []
        self._stops: list[Callable[[], None]] = []
        self._start(port)

    def _start(self, port: int) -> None:
        is_over = threading.Event()
        poller = threading.Thread(target=self._poll, args=(port, is_over))
        poller.start()

        def stop_polling() -> None:
            is_over.set()
            poller.join()

        self._stops.append(stop_polling)
        self._events.append(self._follow(port, "/api/events"))
        self._streams.append(self._follow(port, f"/api/stream?agent={self._followed}"))

    def _follow(self, port: int, path: str) -> Followed:
        followed = Followed()
        stack = contextlib.ExitStack()
        base = f"http://127.0.0.1:{port}"
        client = stack.enter_context(httpx.Client(base_url=base, trust_env=False, timeout=20))
        answer = stack.enter_context(client.stream("GET", path))
        thread = threading.Thread(target=followed.follow, args=(answer,))
        thread.start()

        def stop() -> None:
            shut_down(answer)
            thread.join(timeout=10)
            assert not thread.is_alive()
            stack.close()

        self._stops.append(stop)
        return followed

    def _poll(self, port: int, is_over: threading.Event) -> None:
        client = PlainClient(port)
        while not is_over.wait(_PAUSE_SECONDS):
            found = client.get("/api/messages?limit=500").body["messages"]
            self.lists.append([message["id"] for message in found])
            path = f"/api/messages?for=operator&since={self._inbox_cursor}&limit=3"
            page = client.get(path).body
            self.inbox += [message["id"] for message in page["messages"]]
            self._inbox_cursor = page["cursor"]
        client.close()

    def pause(self) -> None:
        while self._stops:
            self._stops.pop()()

    stop = pause

    def go_on(self, port: int) -> None:
        self._start(port)

    @property
    def streamed(self) -> set[int]:
        """Every message that the followed agent was shown."""
        return {
            event.data["message"]["id"]
            for stream in self._streams
            for event in list(stream.events)
            if event.type == "message"
        }

    def check(self, model: Model) -> None:
        """Nobody saw a new id that is not newer than all that he had seen."""
        del model
        seen: set[int] = set()
        for listed in self.lists:
            assert listed == sorted(listed, reverse=True)
            new = set(listed) - seen
            assert not seen or not new or min(new) > max(seen)
            seen |= new
        assert self.inbox == sorted(set(self.inbox))
        events = [event for followed in self._events for event in followed.events]
        ids = [event.id or 0 for event in events]
        assert ids == sorted(set(ids))
        created = [e.data["message"]["id"] for e in events if e.type == "message.created"]
        assert created == sorted(set(created))

"""As much of a relay as an outbox sees, on paper: it can be away, lose an answer, forget keys.

The rules are the contract's: a key is answered as the first time, with another body it is a
mismatch, `replyTo` must exist. What the daemon gets wrong about that shows here.
"""

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

import httpx

from relay_agentd.clock import timestamp
from relay_agentd.relay_client import AsyncRelayClient


class PaperRelay:
    """Messages in the order in which they came."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.messages: list[dict[str, Any]] = []
        self.is_away = False
        self.loses_answers = 0
        """How many of the next messages are taken without anybody being told."""
        self.slowed: set[str] = set()
        self.refuses: Callable[[Mapping[str, Any]], bool] = lambda _: False
        self.lookups = 0
        self.guard: Callable[[], None] = lambda: None
        """Called before anything is taken: raises when nobody is there to send it."""
        self._answers: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}

    def client(self) -> AsyncRelayClient:
        """A daemon's connection to it."""
        return AsyncRelayClient("http://relay", transport=httpx.MockTransport(self._handle))

    def forget_keys(self) -> None:
        """A day has passed."""
        self._answers.clear()

    def bodies(self, sender: str | None = None) -> list[str]:
        """What was said, oldest first."""
        return [m["body"] for m in self.messages if sender in (None, m["from"])]

    def post(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Take a message."""
        number = 10 * (len(self.messages) + 1)
        answered = next((m for m in self.messages if m["id"] == message.get("replyTo")), None)
        left = message.get("expiresInSeconds")
        stored = {
            "id": number,
            "to": answered["from"] if answered else None,
            "threadId": answered["threadId"] if answered else number,
            "held": None,
            "recipients": 1,
            "createdAt": timestamp(self._time()),
            "expiresAt": timestamp(self._time() + left) if left else None,
            **{name: value for name, value in message.items() if name != "expiresInSeconds"},
        }
        self.messages.append(stored)
        return stored

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.guard()
        if self.is_away:
            raise httpx.ConnectError("nobody there", request=request)
        answer = self._look(request) if request.method == "GET" else self._take(request)
        answer.headers["Date"] = formatdate(self._time(), usegmt=True)
        return answer

    def _look(self, request: httpx.Request) -> httpx.Response:
        self.lookups += 1
        asked = request.url.params
        before = int(asked.get("before", "1000000000"))
        found = [m for m in self.messages if m["from"] == asked["from"] and m["id"] < before]
        return httpx.Response(200, json={"messages": found[::-1][: int(asked["limit"])]})

    def _take(self, request: httpx.Request) -> httpx.Response:
        message = json.loads(request.content)
        body = request.content.decode()
        key = (message["from"], request.headers["Idempotency-Key"])
        if message["from"] in self.slowed:
            answer = _problem(429, "rate_limited")
            answer.headers["Retry-After"] = "30"
            return answer
        if key in self._answers:
            first, stored = self._answers[key]
            if first != body:
                return _problem(422, "idempotency_mismatch")
            return httpx.Response(201, json=stored)
        if self.refuses(message):
            return _problem(404, "agent_not_found")
        known = {each["id"] for each in self.messages}
        if message.get("replyTo") is not None and message["replyTo"] not in known:
            return _problem(404, "message_not_found")
        stored = self.post(message)
        self._answers[key] = (body, stored)
        if self.loses_answers:
            self.loses_answers -= 1
            raise httpx.ReadError("the connection broke", request=request)
        return httpx.Response(201, json=stored)


def _problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "status": status, "detail": code})

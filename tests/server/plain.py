"""A client as plain as can be, for tests that call the relay very often: one kept connection.

Not for more than one thread at a time.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str | None:
        """The problem's, if it is one."""
        return self.body.get("code") if isinstance(self.body, dict) else None


class PlainClient:
    """`headers` go with every call."""

    def __init__(self, port: int, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {**self._headers, **{n.replace("_", "-"): v for n, v in headers.items()}}
        raw = None
        if body is not None:
            raw = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        self._connection.request(method, path, raw, sent)
        answer = self._connection.getresponse()
        data = answer.read()
        found = dict(answer.getheaders())
        is_json = found.get("Content-Type", "").endswith("json")
        return Answer(answer.status, json.loads(data) if is_json and data else None, found)

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, {} if body is None else body, **headers)

    def close(self) -> None:
        self._connection.close()

"""Short forms of what the tests of commands do."""

from typing import Any, Final

import httpx

from tests.server.running import Json, RunningRelay

REPORT: Final = {
    "hostname": "box",
    "launchRoots": ["/w"],
    "providers": [{"name": "codex"}, "claude"],
}
LAUNCH: Final = {"provider": "codex", "cwd": "/w/project"}


def launch(relay: RunningRelay, machine: str = "m", **fields: Any) -> httpx.Response:
    return relay.client.post(f"/api/machines/{machine}/sessions", json={**LAUNCH, **fields})


def launched(relay: RunningRelay, **fields: Any) -> Json:
    answer = launch(relay, **fields)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def get(relay: RunningRelay, command: Json, **query: Any) -> Json:
    answer = relay.client.get(f"/api/commands/{command['id']}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def report(relay: RunningRelay, command: Json, status: str, **fields: Any) -> httpx.Response:
    path = f"/api/commands/{command['id']}"
    return relay.client.patch(path, json={"status": status, **fields})


def pending(relay: RunningRelay, machine: str = "m") -> list[Json]:
    path = f"/api/machines/{machine}/commands?status=pending"
    return list(relay.client.get(path).json()["commands"])

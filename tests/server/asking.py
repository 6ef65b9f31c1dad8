"""Short forms of what the tests of approvals do."""

from typing import Any

import httpx

from tests.server.running import Json, RunningRelay


def ask(relay: RunningRelay, agent_id: str = "a", **fields: Any) -> Json:
    given = {"agentId": agent_id, "tool": "Bash", "summary": "rm -r build", **fields}
    answer = relay.client.post("/api/approvals", json=given)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def get(relay: RunningRelay, approval: Json, **query: Any) -> Json:
    answer = relay.client.get(f"/api/approvals/{approval['id']}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def decide(relay: RunningRelay, approval: Json, decision: str, **fields: Any) -> httpx.Response:
    path = f"/api/approvals/{approval['id']}/decision"
    return relay.client.post(path, json={"decision": decision, **fields})


def cancel(relay: RunningRelay, approval: Json, **fields: Any) -> httpx.Response:
    return relay.client.post(f"/api/approvals/{approval['id']}/cancel", json=fields)


def ids(relay: RunningRelay, **query: Any) -> list[int]:
    answer = relay.client.get("/api/approvals", params=query)
    assert answer.status_code == 200, answer.text
    return [approval["id"] for approval in answer.json()["approvals"]]

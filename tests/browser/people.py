"""Agents and messages made over HTTP, with defaults, and where the page shows them."""

from typing import Any

import httpx
from playwright.sync_api import Locator, Page


def register(api: httpx.Client, agent_id: str, **fields: Any) -> dict[str, Any]:
    """An idle agent in project `shop` on machine `laptop`."""
    defaults = {"machine": "laptop", "provider": "claude", "project": "shop"}
    body = defaults | {"reachability": "push"} | fields | {"id": agent_id}
    answer: dict[str, Any] = api.post("/api/agents", json=body).raise_for_status().json()
    set_status(api, agent_id, "idle")
    return answer


def set_status(api: httpx.Client, agent_id: str, status: str, detail: str | None = None) -> None:
    """What the agent's daemon reports."""
    body = {"status": status} | ({} if detail is None else {"statusDetail": detail})
    api.patch(f"/api/agents/{agent_id}/status", json=body).raise_for_status()


def post(api: httpx.Client, sender: str, to: str, body: str, **fields: Any) -> dict[str, Any]:
    """A message, as any script posts it."""
    message = {"from": sender, "to": to, "body": body, **fields}
    answer: dict[str, Any] = api.post("/api/messages", json=message).raise_for_status().json()
    return answer


def report(api: httpx.Client, agent_id: str, message_id: int, state: str) -> None:
    """A receipt, as the agent's daemon reports it."""
    receipts = [{"messageId": message_id, "state": state}]
    path = f"/api/agents/{agent_id}/ack"
    api.post(path, json={"receipts": receipts}).raise_for_status()


def inbox(api: httpx.Client, agent_id: str) -> list[dict[str, Any]]:
    """What the agent would read, waiting a moment for it."""
    query: dict[str, str | int] = {"for": agent_id, "wait": 5}
    found: list[dict[str, Any]] = api.get("/api/messages", params=query).json()["messages"]
    return found


def agent_row(page: Page, agent_id: str) -> Locator:
    """The agent in the list at the left."""
    return page.locator(f'[data-agent="{agent_id}"]')


def message_row(page: Page, message_id: int) -> Locator:
    """The message in the stream."""
    return page.locator(f'[data-message="{message_id}"]')


def target_field(page: Page) -> Locator:
    """The composer's To field."""
    return page.get_by_role("combobox", name="To")


def body_field(page: Page) -> Locator:
    """The composer's text."""
    return page.get_by_label("Message", exact=True)

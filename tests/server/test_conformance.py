"""The judge of answers sees what it is there to see; and the page itself is sound."""

import json
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from relay_server import __version__
from relay_server.errors import CODES
from tests.server.conformance import Page, published_page
from tests.server.running import RunningRelay

_HEADERS = {"X-Request-Id": "r", "X-Agent-Relay-Version": __version__}
_PROBLEM = {"type": "about:blank", "title": "t", "detail": "d"}


@pytest.fixture
def page(relay_server: RunningRelay) -> Page:
    """As published."""
    return published_page(relay_server.url)


def _answer(
    method: str,
    path: str,
    status: int,
    body: Any,
    media: str = "application/json",
    headers: dict[str, str] = _HEADERS,
) -> httpx.Response:
    return httpx.Response(
        status,
        headers={"Content-Type": media, **headers},
        content=json.dumps(body),
        request=httpx.Request(method, f"http://relay{path}"),
    )


def _problem(status: int, code: str) -> httpx.Response:
    body = {**_PROBLEM, "status": status, "code": code}
    return _answer("GET", "/api/agents/x", status, body, "application/problem+json")


def test_answers_as_promised_pass(page: Page) -> None:
    health = {"status": "ok", "version": "1"}

    assert page.fault_of(_answer("GET", "/healthz", 200, health)) is None
    assert page.fault_of(_problem(404, "agent_not_found")) is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (_answer("GET", "/healthz", 202, {}), "not documented"),
        (_answer("GET", "/healthz", 200, {"status": "ok"}), "required"),
        (_answer("GET", "/healthz", 200, {"status": "ok", "version": "1", "x": 1}), "x"),
        (_answer("GET", "/healthz", 200, {}, "text/html"), "text/html"),
        (_answer("GET", "/healthz", 200, {}, headers={}), "X-Request-Id"),
        (_answer("DELETE", "/api/messages/1", 204, "x"), "no body"),
        (_answer("PUT", "/api/messages/1", 200, {}), "405"),
        (_problem(404, "no_such_code"), "no_such_code"),
        (_problem(404, "conflict"), "conflict"),
        (_problem(404, "task_not_found"), "task_not_found"),
    ],
)
def test_what_is_not_promised_is_named(page: Page, answer: httpx.Response, fault: str) -> None:
    assert fault in (page.fault_of(answer) or "")


def test_the_page_is_valid_openapi_31(relay_server: RunningRelay) -> None:
    document = relay_server.client.get("/api/openapi.json").json()

    errors = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]

    assert (document["openapi"][:3], errors) == ("3.1", [])


def test_the_page_knows_every_code_and_no_other_with_its_status(
    relay_server: RunningRelay,
) -> None:
    paths = relay_server.client.get("/api/openapi.json").json()["paths"]
    problems = [
        (int(status), code)
        for path in paths.values()
        for operation in path.values()
        for status, answer in operation["responses"].items()
        for code in _codes(answer)
    ]

    never = {"not_found", "method_not_allowed"}  # of what is on no page
    assert {(known.status, code) for code, known in CODES.items() if code not in never} <= set(
        problems
    )
    assert {status for status, code in problems if CODES[code].status != status} == set()


def _codes(answer: Any) -> list[str]:
    schema = answer.get("content", {}).get("application/problem+json", {}).get("schema")
    return list(schema["allOf"][1]["properties"]["code"]["enum"]) if schema else []


def test_no_two_operations_share_a_name(relay_server: RunningRelay) -> None:
    paths = relay_server.client.get("/api/openapi.json").json()["paths"]
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]

    assert len(set(names)) == len(names) > 40


# Written by hand from the contract page.
CONTRACT = """
GET /healthz
GET /api/stats
GET /metrics
GET /api/openapi.json
POST /api/login
POST /api/logout
POST /api/agents
GET /api/agents status tag capability machine provider project label q
GET /api/agents/{agentId}
PATCH /api/agents/{agentId}
PATCH /api/agents/{agentId}/status
POST /api/agents/{agentId}/heartbeat
POST /api/heartbeats
DELETE /api/agents/{agentId}
POST /api/messages
GET /api/messages for since sinceId limit channel unread wait
GET /api/messages from to thread channel q claimable before after limit
GET /api/messages/{messageId} wait for
GET /api/messages/{messageId}/explain
GET /api/route to channel
GET /api/messages/{messageId}/thread
POST /api/messages/{messageId}/claim
POST /api/messages/{messageId}/release
POST /api/messages/{messageId}/complete
POST /api/messages/{messageId}/read
POST /api/agents/{agentId}/ack
POST /api/messages/{messageId}/deliver
DELETE /api/messages/{messageId}
GET /api/stream agent machine
PUT /api/stream/{streamId}
GET /api/events types
POST /api/integrations/events
POST /api/tasks
GET /api/tasks status target channel source claimedBy q before limit
GET /api/tasks/{taskId}
GET /api/tasks/{taskId}/events
GET /api/tasks/{taskId}/callbacks
POST /api/tasks/{taskId}/claim
POST /api/tasks/{taskId}/release
PATCH /api/tasks/{taskId}/status
POST /api/approvals
POST /api/approvals/{approvalId}/cancel
GET /api/approvals status
GET /api/approvals/{approvalId} wait
POST /api/approvals/{approvalId}/decision
PUT /api/machines/{machineId}
GET /api/machines
GET /api/machines/{machineId}
POST /api/machines/{machineId}/sessions
POST /api/agents/{agentId}/stop
GET /api/agents/{agentId}/logs lines
GET /api/machines/{machineId}/commands status
PATCH /api/commands/{commandId}
GET /api/commands/{commandId} wait
POST /api/tokens
GET /api/tokens
DELETE /api/tokens/{tokenId}
"""


def test_an_encoded_slash_in_a_name_is_another_path(relay_server: RunningRelay) -> None:
    answer = relay_server.client.get("/api/machines/a%2Fb/commands")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("row", CONTRACT.strip().splitlines())
def test_every_row_of_the_contract_is_there(page: Page, row: str) -> None:
    method, template, *parameters = row.split()

    found = page.document["paths"].get(template, {}).get(method.lower())

    assert found is not None
    declared = {p["name"] for p in found["parameters"] if p["in"] == "query"}
    assert set(parameters) <= declared

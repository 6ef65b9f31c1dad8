"""No request, however odd, is a server error or an answer that is not a problem."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_server.http import schemas
from relay_server.http.fields import Schema
from relay_server.settings import from_sources
from relay_server.wiring import build
from tests.server.conformance import Page

_ROUTES: tuple[tuple[str, str, Schema], ...] = (
    ("POST", "/api/agents", schemas.REGISTER),
    ("PATCH", "/api/agents/a", schemas.PATCH_AGENT),
    ("PATCH", "/api/agents/a/status", schemas.STATUS),
    ("POST", "/api/agents/a/ack", schemas.ACK),
    ("POST", "/api/heartbeats", schemas.HEARTBEATS),
    ("POST", "/api/messages", schemas.SEND),
    ("POST", "/api/messages/1/claim", schemas.CLAIM),
    ("POST", "/api/messages/1/complete", schemas.COMPLETE),
    ("POST", "/api/messages/1/read", schemas.BY_AGENT),
    ("PUT", "/api/machines/m", schemas.MACHINE),
    ("PUT", "/api/stream/s", schemas.STREAM_AGENTS),
)
_KNOWN: dict[str, Any] = {
    "from": "a",
    "to": "tag:t",
    "body": "x",
    "agentId": "a",
    "id": "a",
    "status": "busy",
    "agents": [{"id": "a"}],
    "receipts": [{"messageId": 1, "state": "read"}],
    "replyTo": 1,
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_PROFILE = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """The application without a socket, with an agent and a claimable message."""
    relay = build(from_sources([{"AGENT_RELAY_DB": str(tmp_path / "relay.db")}]))
    transport = httpx.WSGITransport(relay.app)
    with httpx.Client(transport=transport, base_url="http://localhost") as made:
        made.post("/api/agents", json={"id": "a", "tags": ["t"]})
        given = {"from": "operator", "to": "a", "body": "x", "claimable": True}
        made.post("/api/messages", json=given)
        page = Page(made.get("/api/openapi.json").json())

        def judge(answer: httpx.Response) -> None:
            assert page.fault_of(answer) is None

        made.event_hooks = {"response": [judge]}
        yield made
    relay.stop()


def _is_answer_of_the_contract(answer: httpx.Response) -> bool:
    if answer.status_code < 400:
        return True
    problem = answer.json()
    return answer.status_code < 500 and problem["status"] == answer.status_code


@pytest.mark.parametrize(("method", "path", "schema"), _ROUTES, ids=lambda v: str(v)[:30])
@_PROFILE
@given(data=st.data())
def test_odd_bodies(
    client: httpx.Client, method: str, path: str, schema: Schema, data: st.DataObject
) -> None:
    body = {name: _KNOWN[name] for name in schema.fields if name in _KNOWN}
    changed = data.draw(st.lists(st.sampled_from(sorted(schema.fields)), max_size=3))
    body |= {name: data.draw(_JSON) for name in changed}

    raw = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, path, content=raw, headers=headers)

    assert _is_answer_of_the_contract(answer)


@_PROFILE
@given(raw=st.binary())
def test_bodies_that_are_no_json(client: httpx.Client, raw: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = client.post("/api/messages", content=raw, headers=headers)

    assert answer.status_code in (400, 422)


@_PROFILE
@given(
    path=st.sampled_from(["/api/messages", "/api/agents", "/api/route", "/api/messages/1"]),
    query=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *("for", "from", "to", "thread", "q", "before", "after", "limit", "since"),
                    *("channel", "unread", "status", "tag", "label", "claimable", "x"),
                ]
            ),
            st.text(alphabet=st.characters(codec="utf-8")) | st.sampled_from(["a", "1", "tag:t"]),
        ),
        max_size=3,
    ),
)
def test_odd_queries(client: httpx.Client, path: str, query: list[tuple[str, str]]) -> None:
    assert _is_answer_of_the_contract(client.get(f"{path}?{urlencode(query)}"))


@pytest.mark.parametrize("query", ["q=%ff", "q=%00", "for=%ED%A0%80", "limit=%C2%B2", "q=%"])
def test_broken_percent_encoding(client: httpx.Client, query: str) -> None:
    assert client.get(f"/api/messages?{query}").status_code in (200, 404, 422)

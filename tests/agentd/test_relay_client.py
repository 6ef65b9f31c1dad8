"""The relay client: problems become errors with a code, streams become events."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_agentd import relay_calls as calls
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import RelayClient
from relay_agentd.sse import EventParser, ServerEvent


def _client(handler: Any) -> RelayClient:
    return RelayClient("http://relay", "secret", transport=httpx.MockTransport(handler))


def test_answer_is_its_json_and_the_token_goes_along() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.url.raw_path == b"/api/agents?q=a+b"
        return httpx.Response(200, json={"agents": []})

    with _client(answer) as client:
        assert client.request(calls.agents(q="a b", tag=None)) == {"agents": []}


def test_id_in_a_path_cannot_leave_its_place() -> None:
    assert calls.agent("../x?y").path == "/api/agents/..%2Fx%3Fy"


def test_problem_object_becomes_a_refusal_with_its_code() -> None:
    problem = {"code": "agent_not_found", "detail": "no such agent", "suggestions": ["b"]}

    with (
        _client(lambda _: httpx.Response(404, json=problem)) as client,
        pytest.raises(RelayRefused, match="no such agent") as caught,
    ):
        client.request(calls.agent("a"))

    assert caught.value.code == "agent_not_found"
    assert caught.value.problem["suggestions"] == ["b"]
    assert not caught.value.may_pass


@pytest.mark.parametrize("status", [200, 302, 404, 502])
def test_other_program_on_the_port_is_told_apart_from_a_relay(status: int) -> None:
    with (
        _client(lambda _: httpx.Response(status, text="<html>")) as client,
        pytest.raises(RelayRefused) as caught,
    ):
        client.request(calls.stats())

    assert caught.value.code == "not_a_relay"


def test_answer_that_is_no_object_is_not_a_relays() -> None:
    with (
        _client(lambda _: httpx.Response(200, json=["x"])) as client,
        pytest.raises(RelayRefused) as caught,
    ):
        client.request(calls.health())

    assert caught.value.code == "not_a_relay"


def test_connection_that_fails_is_an_unreachable_relay() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with _client(fail) as client, pytest.raises(RelayUnreachable, match="http://relay"):
        client.request(calls.stats())


def test_refused_stream_is_a_refusal() -> None:
    problem = {"code": "too_many_streams", "detail": "full"}

    with (
        _client(lambda _: httpx.Response(503, json=problem)) as client,
        pytest.raises(RelayRefused) as caught,
        client.stream(calls.events()),
    ):
        raise AssertionError

    assert caught.value.code == "too_many_streams"


def test_stream_gives_its_events() -> None:
    body = b': ping\n\nevent: hello\ndata: {"streamId": "s"}\n\nid: 7\ndata: x\ndata: y\n\n'

    with (
        _client(lambda _: httpx.Response(200, content=body)) as client,
        client.stream(calls.events(["a", "b"])) as events,
    ):
        received = list(events)

    assert received == [
        ServerEvent("hello", '{"streamId": "s"}'),
        ServerEvent("message", "x\ny", "7"),
    ]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_events_survive_any_cut_and_any_unicode_line_end(texts: list[str], size: int) -> None:
    bodies = [json.dumps({"t": text}, ensure_ascii=False) for text in texts]
    stream = "".join(f"event: message\ndata: {body}\n\n" for body in bodies).encode()
    parser = EventParser()

    events = [
        event
        for start in range(0, len(stream), size)
        for event in parser.feed(stream[start : start + size])
    ]

    assert [event.object()["t"] for event in events] == texts

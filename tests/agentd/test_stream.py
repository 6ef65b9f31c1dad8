"""The stream against a relay that says odd things: the daemon takes what is a message."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
import pytest

from relay_agentd.errors import RelayRefused
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_stream import LinkState, RelayStream
from tests.agentd.harness import until

AGENT = "box-memory-x-00000000"


class _Listener:
    def __init__(self) -> None:
        self.messages: list[int] = []

    def mail(self, agent_id: str, message: Mapping[str, Any]) -> None:
        self.messages.append(message["id"])

    def agent_changed(self, agent_id: str, agent: Mapping[str, Any]) -> None:
        raise AssertionError

    def approval_decided(self, approval: Mapping[str, Any]) -> None:
        raise AssertionError

    def commanded(self, command: Mapping[str, Any]) -> None:
        raise AssertionError

    def superseded(self, agent_id: str) -> None:
        raise AssertionError


class _Owner:
    def agents(self) -> frozenset[str]:
        return frozenset({AGENT})

    async def announce(self) -> None:
        """Nobody has to know."""

    def connected(self) -> None:
        """Nobody waits for it."""

    def refused(self, agent_id: str, refusal: RelayRefused) -> None:
        raise AssertionError


class _Body(httpx.AsyncByteStream):
    """What the relay says, and then nothing more."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body
        await asyncio.Event().wait()


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def _mail(number: Any, **fields: Any) -> str:
    message = {"id": number, "from": "b", "body": "x", **fields}
    return _event("message", {"agentId": AGENT, "message": message})


ODD = [
    _event("message", "no json"),
    _event("message", []),
    _event("message", {"agentId": AGENT}),
    _event("message", {"agentId": "somebody-else", "message": {"id": 7}}),
    _event("agent", {"agentId": AGENT, "agent": None}),
    _event("what", {"agentId": AGENT}),
    _event("command", {"command": None}),
    _event("command", {"command": {"kind": "stop"}}),
    _mail("7"),
    _mail(7, body=None),
    _mail(7, **{"from": None}),
]


@pytest.mark.parametrize("odd", ODD)
def test_event_that_is_no_message_is_passed_over(odd: str) -> None:
    body = (_event("hello", {"streamId": "s"}) + odd + _mail(8)).encode()

    async def scenario() -> None:
        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=_Body(body))

        listener = _Listener()
        transport = httpx.MockTransport(answer)
        async with AsyncRelayClient("http://relay", transport=transport) as client:
            stream = RelayStream(client, "box", _Owner())
            running = asyncio.create_task(stream.run(listener))
            await until(lambda: listener.messages)
            assert stream.state is LinkState.CONNECTED
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert listener.messages == [8]

    asyncio.run(scenario())


def test_stream_that_falls_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay_agentd.relay_client.STREAM_SILENCE_SECONDS", 0.3)

    async def scenario() -> None:
        opened: list[asyncio.StreamWriter] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """A relay's host that goes away without a word: the connection just looks open."""
            opened.append(writer)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            writer.write(b'event: hello\ndata: {"streamId":"s"}\n\n')
            await writer.drain()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with AsyncRelayClient(f"http://127.0.0.1:{port}") as client:
            stream = RelayStream(client, "box", _Owner())
            running = asyncio.create_task(stream.run(_Listener()))
            await until(lambda: len(opened) >= 3)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        server.close()
        for writer in opened:
            writer.close()
            # Our own end may have been reset: the client gave it up with something unread.
            with suppress(ConnectionError):
                await writer.wait_closed()

    asyncio.run(scenario())

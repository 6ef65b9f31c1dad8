"""The daemon's MCP end: what clients are told, and that it lives and dies with one connection."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from relay_agentd.session_tools import idempotency_key
from relay_launchers.frame import frame_batch, introduction
from tests.mcp.support import PIPE, MemoryRelay, daemon_end, pipe_environment, raw_client


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_the_sdk_s_own_client_works_through_the_pipe(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-I", "-S", str(PIPE)],
            env=pipe_environment(tmp_path / "c"),
        )
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            stdio_client(parameters) as streams,
            ClientSession(*streams) as session,
        ):
            hands = await session.initialize()
            assert hands.capabilities.tools is not None
            assert hands.capabilities.tools.list_changed is True
            tools = (await session.list_tools()).tools
            await daemon.kill()
            await daemon.start()
            sent = await session.call_tool("relay_send", {"to": "backend", "body": "hello"})

            assert hands.server_info.name == "agent-relay"
            assert [tool.name for tool in tools] == [
                "relay_send",
                "relay_reply",
                "relay_inbox",
                "relay_agents",
                "relay_claim",
                "relay_complete",
                "relay_task_update",
                "relay_ask_operator",
            ]
            assert sent.is_error is False
            assert len(relay.sent) == 1

    run(scenario())


def test_only_the_tool_that_changes_nothing_is_marked_read_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            daemon_end(tmp_path / "c", MemoryRelay()),
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            tools = (await client.call("tools/list"))["tools"]

            hints = {tool["name"]: tool["annotations"]["readOnlyHint"] for tool in tools}
            assert [name for name, read_only in hints.items() if read_only] == ["relay_agents"]
            assert not any(tool["annotations"]["destructiveHint"] for tool in tools)

    run(scenario())


def test_schemas_and_standing_text_stay_in_their_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with (
            daemon_end(tmp_path / "c", MemoryRelay()),
            raw_client(tmp_path / "c") as client,
        ):
            instructions = (await client.shake_hands())["instructions"]
            tools = (await client.call("tools/list"))["tools"]
            # What a provider sends on: name, description, schema.
            schemas = json.dumps([{**tool, "annotations": None} for tool in tools])
            told = introduction(
                "laptop-claude-agent-relay-1a2b3c4d",
                "http://localhost:4850",
                server_version="0.2.0",
                client_version="0.1.0",
                approval="read-only",
            )
            frame = frame_batch([{"id": 42, "from": "backend", "body": ""}], agent_id="me")
            standing = sum(len(text.encode()) for text in (instructions, told, frame))
            with capsys.disabled():
                print(f"\nMCP schemas: {len(schemas)} bytes; standing text: {standing} bytes")

            assert len(schemas) < 4000
            assert standing < 1200

    run(scenario())


def test_an_unknown_tool_and_a_wrong_argument_are_errors_the_model_can_read(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            daemon_end(tmp_path / "c", MemoryRelay()),
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()

            assert await client.tool("relay_shout", body="x") == (
                "There is no tool relay_shout.",
                True,
            )
            assert await client.tool("relay_reply", message_id="x", body="y") == (
                "message_id must be the number N of a message [msg:N].",
                True,
            )
            assert await client.call("ping") == {}

    run(scenario())


def test_a_pipe_that_goes_takes_its_connection_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with daemon_end(tmp_path / "c", MemoryRelay()) as daemon:
            async with raw_client(tmp_path / "c") as client:
                await client.shake_hands()
                assert daemon.open_connections == 1
            async with asyncio.timeout(5):
                while daemon.open_connections:
                    await asyncio.sleep(0.01)

    run(scenario())


def test_two_pipes_of_one_session_do_not_share_keys() -> None:
    assert idempotency_key("a", 1) == idempotency_key("a", 1)
    keys = {idempotency_key("a", 1), idempotency_key("a", "1"), idempotency_key("b", 1)}
    assert len(keys) == 3
    assert idempotency_key("a", "x" * 999).isascii()
    assert len(idempotency_key("a", "x" * 999)) < 64

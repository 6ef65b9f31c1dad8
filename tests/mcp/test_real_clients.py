"""The real providers as MCP clients of the pipe, with a daemon that restarts under them."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mcp.support import PIPE, MemoryRelay, daemon_end, pipe_environment
from tests.support.providers import CliName, IsolatedHome, find_cli
from tests.support.standin import StandIn
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]

PROMPT = (
    '[[hold: restarted]] [[mcp: relay relay_send {"to": "backend", "body": "hello"}]] [[say: done]]'
)


async def end_of(
    argv: Sequence[str], home: IsolatedHome, model: StandIn, relay: MemoryRelay, control: Path
) -> None:
    """Run a provider to its end; the daemon is another one before its model calls the tool."""
    async with daemon_end(control, relay) as daemon:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=home.project,
            env=home.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await asyncio.to_thread(model.wait_for, lambda request: request.main, 40)
            await daemon.kill()
            await daemon.start()
            model.release("restarted")
            output, _ = await asyncio.wait_for(process.communicate(), 40)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, output.decode()
        assert len(daemon.hellos) == 2


def test_codex_calls_a_tool_across_a_restart_of_the_daemon(
    home: IsolatedHome, openai: StandInOpenAI
) -> None:
    relay, control = MemoryRelay(), home.runtime / "c"
    environment = ", ".join(
        f"{name}={json.dumps(value)}" for name, value in pipe_environment(control).items()
    )
    argv = [
        str(find_cli("codex")),
        "exec",
        "--skip-git-repo-check",
        *("-c", f"mcp_servers.relay.command={json.dumps(sys.executable)}"),
        *("-c", f"mcp_servers.relay.args={json.dumps(['-I', '-S', str(PIPE)])}"),
        *("-c", f"mcp_servers.relay.env={{{environment}}}"),
        *("-c", 'mcp_servers.relay.default_tools_approval_mode="approve"'),
        PROMPT,
    ]

    asyncio.run(end_of(argv, home, openai, relay, control))

    assert [sent["body"] for sent in relay.sent.values()] == ["hello"]
    answered = json.dumps(openai.main_requests[-1].body)
    assert "Sent as message 42 to backend (idle, push)." in answered


@pytest.mark.parametrize("version", ["claude-2.1.197", "claude-2.1.330"])
def test_claude_code_calls_a_tool_across_a_restart_of_the_daemon(
    home: IsolatedHome, anthropic: StandInAnthropic, version: CliName
) -> None:
    relay, control = MemoryRelay(), home.runtime / "c"
    server = {
        "command": sys.executable,
        "args": ["-I", "-S", str(PIPE)],
        "env": pipe_environment(control),
        "alwaysLoad": True,
    }
    argv = [
        str(find_cli(version)),
        "-p",
        PROMPT,
        *("--mcp-config", json.dumps({"mcpServers": {"relay": server}})),
        *("--allowedTools", "mcp__relay__*"),
    ]

    asyncio.run(end_of(argv, home, anthropic, relay, control))

    assert [sent["body"] for sent in relay.sent.values()] == ["hello"]
    answered = json.dumps(anthropic.main_requests[-1].body)
    assert "Sent as message 42 to backend (idle, push)." in answered

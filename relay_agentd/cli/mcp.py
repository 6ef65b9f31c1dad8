"""`mcp`: the tools of an agent, for a client inside its session that speaks MCP over stdio."""

import os
import sys
from pathlib import Path

import click

import relay_agentd

_PIPE = Path(relay_agentd.__file__).with_name("mcp_pipe.py")


@click.command("mcp", short_help="Serve the relay's tools to an MCP client on stdin and stdout.")
def mcp_command() -> None:
    """Serve the relay's tools to an MCP client on stdin and stdout.

    Sessions that `relay-agentd run` starts have the tools already. This is for another MCP client
    inside such a session; it finds the session by its environment (AGENT_RELAY_SESSION).

    \b
    relay-agentd mcp
    {"mcpServers": {"relay": {"command": "relay-agentd", "args": ["mcp"]}}}
    """
    # Replaced, not started: the pipe is a tenth of this program's size and lives for hours.
    os.execv(sys.executable, [sys.executable, "-I", str(_PIPE)])  # noqa: S606

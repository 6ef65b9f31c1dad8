"""`mcp`: the tools of an agent, for any client that speaks MCP over stdio."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

import relay_agentd

_PIPE = Path(relay_agentd.__file__).with_name("mcp_pipe.py")


@click.command("mcp", short_help="Put an MCP client (Cursor, Gemini CLI, ...) on the relay.")
@click.option("--no-autostart", is_flag=True, help="Do not start a relay or daemon.")
def mcp_command(no_autostart: bool) -> None:
    """Serve the relay's tools to an MCP client on stdin and stdout.

    The client starts it, by an entry in its own settings as below. It is an agent that looks for
    its mail itself, until it closes the pipe; AGENT_RELAY_LABEL, _TAGS, _CAPS, _CHANNELS and _RIG
    describe it. The relay and the daemon are started when they are not there. Inside a session
    that `relay-agentd run` started, that session gets the tools.

    \b
    {"mcpServers": {"relay": {"command": "relay-agentd", "args": ["mcp"]}}}
    """
    from relay_launchers.base import CONTROL_VARIABLE, SESSION_VARIABLE

    environment = dict(os.environ)
    if not (environment.get(SESSION_VARIABLE) and environment.get(CONTROL_VARIABLE)):
        environment |= _as_a_session(autostart=not no_autostart)
    # Replaced, not started: the pipe is a tenth of this program's size and lives for hours.
    argv = [sys.executable, "-I", "-S", str(_PIPE)]
    os.execve(sys.executable, argv, environment)  # noqa: S606


def _as_a_session(*, autostart: bool) -> dict[str, str]:
    """What makes the pipe a session of its own; sees to it that there will be a daemon."""
    import json
    import secrets

    from relay_agentd.cli import machine
    from relay_launchers.base import CONTROL_VARIABLE, JOIN_VARIABLE, SESSION_VARIABLE

    here = machine.here()
    if autostart:
        _bring_up(here)
    return {
        SESSION_VARIABLE: secrets.token_hex(8),
        CONTROL_VARIABLE: str(here.paths.control_socket),
        JOIN_VARIABLE: json.dumps(_description(here.settings)),
    }


def _bring_up(here: Any) -> None:
    """Start what is missing, and do not wait: the pipe does, and answers the client meanwhile."""
    from relay_agentd.autostart import bring_up
    from relay_agentd.control_client import ControlClient
    from relay_agentd.errors import AgentdError

    try:
        if ControlClient(here.paths.control_socket).call("ping")["relay"] == "connected":
            return
    except AgentdError:
        pass
    # An ignored SIGCHLD survives the exec: the pipe knows no children and waits for none.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    bring_up(here)


def _description(settings: Any) -> dict[str, Any]:
    """The fields of `session.join` but for the key."""
    from dataclasses import asdict

    from relay_agentd import __version__
    from relay_agentd.process import ProcessId

    process = ProcessId.of(os.getpid())
    return {
        "provider": "mcp",
        "providerVersion": __version__,
        "cwd": str(_folder()),
        **settings.described(),
        "arguments": [],
        "process": asdict(process) if process else None,
    }


def _folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        return Path.home()

"""`run --background`: asks the daemon for a session without a terminal."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.output import one_line, print_json, progress
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import DaemonUnreachable
from relay_launchers.environment import without_session

if TYPE_CHECKING:
    from relay_agentd.autostart import Machine

# The program is looked for, started, and asked for its conversation.
_START_SECONDS = 60.0


def run_background(
    here: "Machine",
    *,
    provider: str,
    arguments: tuple[str, ...],
    cwd: Path,
    prompt: str | None,
    may_start: bool,
    as_json: bool,
) -> None:
    """Start it, and say how to follow it. Raises: AgentdError."""
    from relay_agentd.autostart import ensure_running
    from relay_launchers.registry import UnknownProvider, find_provider

    try:
        find_provider(provider)  # as `run` in a terminal says it
    except UnknownProvider as error:
        raise click.UsageError(str(error)) from error
    settings = here.settings
    request = {
        "key": secrets.token_hex(8),
        "provider": provider,
        "cwd": str(cwd),
        **settings.described(),
        "arguments": list(arguments),
        "prompt": prompt,
        "environment": without_session(here.environment),
    }
    with progress(f"starting {provider}"):
        ensure_running(here, may_start=may_start)
        client = ControlClient(here.paths.control_socket)
        try:
            started = client.call("session.start", timeout=_START_SECONDS, **request)
        except DaemonUnreachable:
            # It died in between, perhaps after it began: under this key the session begins once.
            ensure_running(here, may_start=may_start)
            started = client.call("session.start", timeout=_START_SECONDS, **request)
    if as_json:
        print_json(started)
    else:
        _say(started)


def _say(started: dict[str, Any]) -> None:
    name = started["agentId"] or started["key"]
    click.echo(name)
    lines = [
        f"relay-agentd logs -f {name}",
        f"relay-agentd attach {name}",
        f"relay-agentd stop {name}",
    ]
    if started["agentId"] is None:
        problem = started.get("problem") or "`relay-agentd ps` shows when it is"
        lines.insert(0, f"It runs, but is not on the relay yet: {one_line(problem)}")
    click.echo("\n".join(lines), err=True)

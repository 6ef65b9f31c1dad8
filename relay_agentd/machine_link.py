"""Which relay this machine belongs to: tried, written down, and taken into use.

Run by `relay-agentd join`. The env file is replaced whole, so that a crash leaves the old or the
new one. Only a daemon that was started from here is restarted, and none that has sessions: they
are on the old relay, and their launchers would start a daemon for that again.
"""

import asyncio
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from relay_agentd import relay_calls
from relay_agentd.autostart import DAEMON, Machine, ensure_daemon, started
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import AgentdError, DaemonUnreachable, RelayRefused, RelayUnreachable
from relay_agentd.paths import Paths, make_private
from relay_agentd.process import terminate
from relay_agentd.relay_client import RelayClient
from relay_agentd.settings import with_settings
from relay_server.wire import OPERATOR

_END_SECONDS = 10.0


class Restart(StrEnum):
    """What became of the daemon."""

    NOT_RUNNING = "not running"
    RESTARTED = "restarted"
    HAS_SESSIONS = "has sessions"
    """It goes on with the relay it had."""
    NOT_OURS = "not started from here"
    """A service manager's, or one in the foreground."""


class LinkFailed(AgentdError):
    """Nobody answers where the code says that the relay is."""

    exit_status = 3


class LinkRefused(AgentdError):
    """The relay does not take the token of the code."""

    exit_status = 4


class EnvFileUnusable(AgentdError):
    """The env file cannot be read or written."""

    exit_status = 3


def try_link(url: str, token: str) -> str:
    """The version of the relay there, which takes that token.

    Raises: LinkFailed, RelayUnreachable, RelayRefused.
    """
    with RelayClient(url, token or None) as client:
        try:
            health: dict[str, Any] = client.request(relay_calls.health())
        except RelayUnreachable as error:
            raise LinkFailed(
                f"{error}. Is the relay running there, and does this machine reach that address"
                " (VPN, firewall)? `relay-server invite --url URL` prints a code with another one"
            ) from error
        try:
            # Its health is anybody's to see, an agent is not.
            client.request(relay_calls.agent(OPERATOR))
        except RelayRefused as error:
            if error.status != 401:
                raise
            detail = f"the relay at {url} does not take the token of this code (any more):"
            detail += " ask for a new one, `relay-server invite` prints it"
            raise LinkRefused(detail) from error
    return str(health.get("version", "?"))


def write_link(paths: Paths, url: str, token: str) -> Path:
    """Have every command and daemon of this user use that relay. Raises: EnvFileUnusable."""
    try:
        make_private(paths.config)
        # A link to a file somewhere else stays one.
        file = paths.env_file.resolve()
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        _replace(file, with_settings(text, {"url": url, "token": token}))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EnvFileUnusable(f"{paths.env_file} cannot be written: {reason}") from error
    return paths.env_file


def restart_daemon(machine: Machine, url: str, token: str) -> Restart:
    """Let the daemon serve that relay. Raises: AgentdError when it does not come up again."""
    client = ControlClient(machine.paths.control_socket)
    try:
        pid = client.call("ping", timeout=3.0)["pid"]
        sessions = client.call("ps")["sessions"]
    except DaemonUnreachable:
        return Restart.NOT_RUNNING
    if sessions:
        return Restart.HAS_SESSIONS
    ours = [
        process
        for module, process in started(machine.paths)
        if module == DAEMON and process.pid == pid
    ]
    if not ours:
        return Restart.NOT_OURS
    asyncio.run(terminate(ours, grace=_END_SECONDS))
    settings = replace(machine.settings, url=url, token=token or None)
    ensure_daemon(replace(machine, settings=settings))
    return Restart.RESTARTED


def _replace(file: Path, text: str) -> None:
    """Raises: OSError."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".agentd-")  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(file)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise

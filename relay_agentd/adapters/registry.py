"""Which transport serves which provider. Imported adapters load only when a session needs one.

Another installed package adds its provider's by an entry point in the group
``agent_relay.transports`` that names a `Transport`; a built-in one cannot be taken over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from relay_agentd import __version__
from relay_agentd.adapters.base import Adapter, SessionPort
from relay_agentd.errors import ControlRefused


@dataclass(frozen=True, slots=True)
class Connection:
    """What an adapter is told about where its session can be reached."""

    helper_socket: Path | None
    """Where the helper listens, or the host of a background session."""
    is_background: bool = False
    """There is no terminal: the adapter begins the conversation itself."""
    is_joined: bool = False
    """Started by a person: there is no helper of ours."""
    conversation: str | None = None
    """The one to go on with, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Transport:
    """How to build a provider's adapter, and from when on."""

    build: Callable[[SessionPort, Connection], Adapter]
    needs_helper: bool
    """Start it when the helper listens; else as soon as the session is planned."""
    pushes: bool = True
    """False: the session fetches its mail itself."""


def _claude(port: SessionPort, connection: Connection) -> Adapter:
    if connection.helper_socket is not None:
        from relay_agentd.adapters.claude_stream import ClaudeStreamAdapter

        return ClaudeStreamAdapter(port, connection.helper_socket)

    from relay_agentd.adapters.claude import ClaudeAdapter

    return ClaudeAdapter(port)


def _codex(port: SessionPort, connection: Connection) -> Adapter:
    if connection.is_joined:
        from relay_agentd.adapters.codex_plain import PlainCodexAdapter

        return PlainCodexAdapter(port)
    from relay_agentd.adapters.codex import CodexAdapter

    assert connection.helper_socket is not None
    return CodexAdapter(
        port,
        connection.helper_socket,
        client_version=__version__,
        is_background=connection.is_background,
        conversation=connection.conversation,
    )


def _mcp(port: SessionPort, _connection: Connection) -> Adapter:
    from relay_agentd.adapters.polled import PolledAdapter

    return PolledAdapter(port)


def _command(port: SessionPort, _connection: Connection) -> Adapter:
    from relay_agentd.adapters.polled import ProgramAdapter

    return ProgramAdapter(port)


BUILT_IN = {
    "claude": Transport(_claude, needs_helper=False),
    "codex": Transport(_codex, needs_helper=True),
}
# Agents that no provider stands behind.
_OTHERS = {
    "mcp": Transport(_mcp, needs_helper=False, pushes=False),
    "command": Transport(_command, needs_helper=False, pushes=False),
}


ENTRY_POINT_GROUP = "agent_relay.transports"


def find_transport(provider: str, transports: dict[str, Transport] = BUILT_IN) -> Transport:
    """The provider's transport. Raises: ControlRefused."""
    if provider in transports:
        return transports[provider]
    if provider in _OTHERS:
        return _OTHERS[provider]
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=provider):
        added: Transport = entry.load()
        return added
    known = ", ".join(transports)
    detail = f"no adapter for provider {provider!r}; there are: {known}"
    raise ControlRefused("unknown_provider", detail)

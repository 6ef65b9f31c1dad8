"""Which transport serves which provider. Imported adapters load only when a session needs one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay_agentd import __version__
from relay_agentd.adapters.base import Adapter, SessionPort
from relay_agentd.errors import ControlRefused


@dataclass(frozen=True, slots=True)
class Connection:
    """What an adapter is told about where its session can be reached."""

    helper_socket: Path | None


@dataclass(frozen=True, slots=True)
class Transport:
    """How to build a provider's adapter, and from when on."""

    build: Callable[[SessionPort, Connection], Adapter]
    needs_helper: bool
    """Start it when the helper listens; else as soon as the session is planned."""


def _claude(port: SessionPort, _connection: Connection) -> Adapter:
    from relay_agentd.adapters.claude import ClaudeAdapter

    return ClaudeAdapter(port)


def _codex(port: SessionPort, connection: Connection) -> Adapter:
    from relay_agentd.adapters.codex import CodexAdapter

    assert connection.helper_socket is not None
    return CodexAdapter(port, connection.helper_socket, client_version=__version__)


BUILT_IN = {
    "claude": Transport(_claude, needs_helper=False),
    "codex": Transport(_codex, needs_helper=True),
}


def find_transport(provider: str, transports: dict[str, Transport] = BUILT_IN) -> Transport:
    """The provider's transport. Raises: ControlRefused."""
    try:
        return transports[provider]
    except KeyError:
        known = ", ".join(transports)
        detail = f"no adapter for provider {provider!r}; there are: {known}"
        raise ControlRefused("unknown_provider", detail) from None

"""What a provider is to the relay: the shapes of a launch.

A provider plans and parses; it never spawns, connects or writes. The launcher process
(`relay_agentd.launch`) and the daemon carry the plan out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

ApprovalMode = Literal["open", "guarded", "read-only"]

# Set in the environment of everything a session starts: finds the session's own hooks and MCP
# pipes, and marks its processes in the process table.
SESSION_VARIABLE = "AGENT_RELAY_SESSION"
# Absolute path of the daemon's control socket.
CONTROL_VARIABLE = "AGENT_RELAY_CONTROL"
# Absolute path of the session's private folder (0700), gone when the session ends.
FOLDER_VARIABLE = "AGENT_RELAY_SESSION_DIR"
# Of an MCP pipe that is a session by itself: what it is, as the control socket takes it.
JOIN_VARIABLE = "AGENT_RELAY_JOIN"


class ProviderNotFound(Exception):
    """No usable binary; the message says how to mend it."""


class ProviderAbsent(ProviderNotFound):
    """It is not installed, as opposed to not usable."""


class ArgumentsRefused(Exception):
    """The arguments for the provider make no sense here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A provider's program as found on this machine."""

    path: Path
    """Absolute path of what to execute (the native binary, not a wrapper, where there is one)."""
    version: str
    """As the program prints it, e.g. ``2.1.330``."""
    lacks: str | None = None
    """What is lost by its age, for a person; None: nothing."""
    update: str | None = None
    """The command that mends that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """All a provider needs to plan one session."""

    session_key: str
    """Names this process run: 16 hex digits, chosen by the launcher."""
    folder: Path
    """The session's private folder (0700), made by the daemon."""
    cwd: Path
    approval: ApprovalMode
    arguments: Sequence[str]
    """What the person wrote after ``--``; goes to the provider unchanged."""
    binary: Binary
    control_socket: Path
    python: Path
    """Interpreter that runs our hooks and pipes."""
    pipe: Path
    """Absolute path of `relay_agentd/mcp_pipe.py`."""
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One process to start."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """How to start a session. `helper` (if any) is started first, in a session of its own, and
    must have `helper_socket` listening before `provider` takes over the terminal."""

    provider: Command
    helper: Command | None = None
    helper_socket: Path | None = None
    provider_session_id: str | None = None
    """Known in advance when the launcher chose it; else the adapter discovers it."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """Files to write (0600) before the start, all under the session's folder."""
    approval_overrides: tuple[str, ...] = ()
    """The provider's own approval or sandbox flags in `arguments`: they win over the mode's."""
    on_relay: bool = True
    """False for invocations that are no session (``codex login``): run untouched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundPlan:
    """How to start, or start again, a session without a terminal. One process, the *host*: it
    listens on `socket`, lives as long as the conversation, and ends with everything it started
    on SIGTERM."""

    host: Command
    socket: Path
    """Under the session's folder; the adapter connects to it, again after each daemon restart."""
    provider_session_id: str | None = None
    """Known in advance; else the adapter discovers it."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """Files to write (0600) before the start, all under the session's folder."""
    approval_overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One thing that happened in a conversation, as `logs` and `attach` show it."""

    at: str | None
    """RFC 3339, where the provider recorded it."""
    kind: Literal["user", "agent", "tool", "result", "notice"]
    text: str
    """As the provider recorded it: whoever shows it makes it fit for a terminal."""


class Provider(Protocol):
    """What `relay_launchers.registry` holds for each provider."""

    name: str

    def find(self, environment: Mapping[str, str]) -> Binary:
        """Find the program. Raises ProviderNotFound."""
        ...

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Decide how to start it."""
        ...


class BackgroundProvider(Provider, Protocol):
    """A provider whose sessions can run without a terminal."""

    def plan_background(self, request: LaunchRequest, *, resume: str | None) -> BackgroundPlan:
        """Decide how to start it; with `resume` the same conversation goes on. Raises
        ArgumentsRefused for arguments that make no sense without a terminal."""
        ...

    def read_log(self, lines: Sequence[str]) -> list[LogEntry]:
        """Entries of the provider's own record (JSON lines, possibly cut at both ends)."""
        ...

    def attach_command(
        self, request: LaunchRequest, socket: Path, conversation: str
    ) -> Command | None:
        """The provider's own terminal on a running background session; None: it has none, the
        log is followed instead."""
        ...

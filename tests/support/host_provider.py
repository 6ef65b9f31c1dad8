"""A provider whose background hosts are small real processes, and a record of what was planned."""

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay_launchers.base import (
    ArgumentsRefused,
    BackgroundPlan,
    Binary,
    Command,
    LaunchPlan,
    LaunchRequest,
    LogEntry,
    ProviderNotFound,
)

MARKER = "TEST_OF_HOSTS"
"""In the environment of every host of a test: what is left behind is found by it."""

TIRED = signal.SIGUSR1
"""Makes a host end by itself."""

_HOST = """
import signal, socket, sys
socket_path, lives = sys.argv[1], sys.argv[2]
signal.signal(signal.SIGUSR1, lambda *_: sys.exit("the host is tired"))
with socket.socket(socket.AF_UNIX) as listener:
    if lives == "deaf":
        signal.pause()
    if lives == "broken":
        sys.exit("the host has no mind to start")
    listener.bind(socket_path)
    listener.listen()
    signal.pause()
"""


@dataclass
class HostProvider:
    """As `relay_launchers.registry` would hold it."""

    name: str = "memory"
    lives: str = "long"
    """`long`, `deaf` (never listens) or `broken` (ends at once)."""
    is_missing: bool = False
    plans: list[tuple[LaunchRequest, str | None]] = field(default_factory=list)

    def find(self, environment: Mapping[str, str]) -> Binary:
        if self.is_missing:
            raise ProviderNotFound("memory is not installed; install it")
        return Binary(path=Path(sys.executable), version="7")

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        raise NotImplementedError

    def plan_background(self, request: LaunchRequest, *, resume: str | None) -> BackgroundPlan:
        if "--nonsense" in request.arguments:
            raise ArgumentsRefused("--nonsense makes no sense")
        self.plans.append((request, resume))
        socket = request.folder / "h.sock"
        return BackgroundPlan(
            host=Command(
                argv=(sys.executable, "-c", _HOST, str(socket), self.lives),
                environment=request.environment,
                cwd=request.cwd,
            ),
            socket=socket,
            files={request.folder / "plan.txt": request.approval},
        )

    def read_log(self, lines: Sequence[str]) -> list[LogEntry]:
        return [LogEntry(at=None, kind="agent", text=line) for line in lines if line]

    def attach_command(
        self, request: LaunchRequest, socket: Path, conversation: str
    ) -> Command | None:
        raise NotImplementedError

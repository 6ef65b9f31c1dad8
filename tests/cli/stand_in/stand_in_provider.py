"""A provider of the tests' own, as another package would add one: by an entry point.

Its program (`stand_in_program.py`) takes the terminal and does what its arguments say. With
``with-helper`` as the first argument a helper process is planned too, as Codex needs one. In the
background the helper alone is the session.
"""

from collections.abc import Mapping, Sequence
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

_HERE = Path(__file__).parent


class StandIn:
    """The provider's rules."""

    name = "stand-in"

    def find(self, environment: Mapping[str, str]) -> Binary:
        """The program lies beside this file, unless a test takes it away."""
        if "STAND_IN_MISSING" in environment:
            raise ProviderNotFound("the stand-in is not installed; unset STAND_IN_MISSING")
        return Binary(path=_HERE / "stand_in_program.py", version="1.0")

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The program with the person's arguments; `plain` is an invocation off the relay."""
        arguments = list(request.arguments)
        helper = None
        socket = request.folder / "helper.sock"
        if arguments[:1] == ["with-helper"]:
            arguments = arguments[1:]
            helper = self._command(request, "stand_in_helper.py", str(socket), *arguments[:1])
        return LaunchPlan(
            provider=self._command(request, "stand_in_program.py", *arguments),
            helper=helper,
            helper_socket=socket if helper else None,
            files={request.folder / "plan.txt": request.approval},
            on_relay=arguments[:1] != ["plain"],
        )

    def plan_background(self, request: LaunchRequest, *, resume: str | None) -> BackgroundPlan:
        """The helper, with the behaviour the arguments name."""
        if "plain" in request.arguments:
            raise ArgumentsRefused("the stand-in is not plain in the background")
        socket = request.folder / "helper.sock"
        arguments = (str(socket), *request.arguments[:1], *([resume] if resume else []))
        return BackgroundPlan(
            host=self._command(request, "stand_in_helper.py", *arguments), socket=socket
        )

    def read_log(self, lines: Sequence[str]) -> list[LogEntry]:
        """A line is an entry."""
        return [LogEntry(at=None, kind="agent", text=line) for line in lines if line]

    def attach_command(
        self, request: LaunchRequest, socket: Path, conversation: str
    ) -> Command | None:
        """It has no terminal of its own."""

    def _command(self, request: LaunchRequest, script: str, *arguments: str) -> Command:
        return Command(
            argv=(str(request.python), "-I", "-S", str(_HERE / script), *arguments),
            environment=request.environment,
            cwd=request.cwd,
        )


PROVIDER = StandIn()

"""Any program as an agent: `relay-agentd run -- COMMAND`. Plans; starts nothing.

The program is started as it is, with the session's marks in its environment: by them
`relay-agentd inbox` and `relay-agentd send` inside it speak for its agent.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay_launchers.base import (
    ArgumentsRefused,
    Binary,
    Command,
    LaunchPlan,
    LaunchRequest,
)
from relay_launchers.environment import session_environment

NAME: Final = "command"


class AnyCommand:
    """A provider whose program is the first of its arguments."""

    name = NAME

    def find(self, environment: Mapping[str, str]) -> Binary:  # noqa: ARG002 - the protocol's
        """There is nothing to find before the arguments are known."""
        return Binary(path=Path("/"), version="-")

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The command, found as a shell would. Raises: ArgumentsRefused."""
        if not request.arguments:
            raise ArgumentsRefused("name a command: relay-agentd run -- COMMAND")
        program, *rest = request.arguments
        found = shutil.which(program, path=request.environment.get("PATH"))
        environment = session_environment(request)
        return LaunchPlan(
            provider=Command(
                argv=(found or program, *rest), environment=environment, cwd=request.cwd
            )
        )


PROVIDER = AnyCommand()

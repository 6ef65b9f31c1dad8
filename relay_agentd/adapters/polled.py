"""The transport of sessions that fetch their mail themselves: MCP clients and plain programs.

Nothing is pushed into them, so there is no ladder and no proof: what a session asked for counts
as read (`MailStore.take`). Runs on the daemon's event loop.
"""

import asyncio

from relay_agentd.adapters.base import AdapterDefaults, Delivery, Outcome, SessionPort
from relay_server.wire import AgentStatus, Reachability


class PolledAdapter(AdapterDefaults):
    """An MCP client (`relay-agentd mcp`): its name becomes known with its first request."""

    _status = AgentStatus.IDLE

    def __init__(self, port: SessionPort) -> None:
        self._port = port

    async def run(self) -> None:
        """There is nothing to follow."""
        self._port.reachable(Reachability.POLL)
        self._port.status(self._status)
        await asyncio.Event().wait()

    async def push(self, delivery: Delivery) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """It will ask."""
        return Outcome.NOT_NOW

    async def find_evidence(self, delivery: Delivery) -> bool | None:  # noqa: ARG002
        """Nothing was handed over."""
        return False


class ProgramAdapter(PolledAdapter):
    """Any program (`relay-agentd run -- COMMAND`): it works as long as it runs."""

    _status = AgentStatus.BUSY

    async def run(self) -> None:
        """It is one conversation from its start to its end."""
        self._port.opened(self._port.key, cwd=self._port.cwd)
        await super().run()

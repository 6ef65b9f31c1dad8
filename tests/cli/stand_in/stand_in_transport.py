"""The stand-in's transport: a session that has every message in its context at once."""

import asyncio

from relay_agentd.adapters.base import AdapterDefaults, Delivery, Outcome, SessionPort
from relay_agentd.adapters.registry import Connection, Transport
from relay_server.wire import AgentStatus, Reachability


class StandInAdapter(AdapterDefaults):
    """Registers the session under its key and takes whatever is pushed."""

    def __init__(self, port: SessionPort) -> None:
        self._port = port
        self._record = port.cwd / f"record-of-{port.key}.log"

    async def run(self) -> None:
        """The conversation is known from the start."""
        self._port.opened(f"stand-in-{self._port.key}", cwd=self._port.cwd)
        self._port.records(self._record)
        self._port.reachable(Reachability.PUSH)
        self._port.status(AgentStatus.IDLE)
        await asyncio.Event().wait()

    async def push(self, delivery: Delivery) -> Outcome:
        """Taken and seen, and written down."""
        with self._record.open("a", encoding="utf-8") as record:
            record.write(f"{delivery.text}\n")
        self._port.proved(delivery.id, via="stand-in")
        return Outcome.HANDED

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Nothing is ever in doubt."""
        return True


def _build(port: SessionPort, _connection: Connection) -> StandInAdapter:
    return StandInAdapter(port)


TRANSPORT = Transport(_build, needs_helper=False)

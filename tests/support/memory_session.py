"""A provider without a program: a session in memory that keeps its context, and its adapter.

The session outlives the adapter, as a real one outlives the daemon. It takes deliveries in every
way the real ones do: at once, not now, by the doorbell, and over a connection that breaks before
or after the text got through.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from relay_agentd.adapters.base import AdapterDefaults, Answer, Delivery, Outcome, SessionPort
from relay_agentd.adapters.registry import Connection, Transport
from relay_server.wire import AgentStatus, ApprovalMode, Reachability

How = Literal["at once", "not now", "bell", "breaks before", "breaks after"]


@dataclass(slots=True)
class MemorySession:
    """The conversation."""

    id: str = "a-conversation"
    way: How = "at once"
    proves: bool = True
    """Does it show what is in its context?"""
    context: list[Delivery] = field(default_factory=list)
    adapter: "MemoryAdapter | None" = None
    introduction: str = ""

    @property
    def message_ids(self) -> list[int]:
        """What the model has seen, in order."""
        return [message_id for each in self.context for message_id in each.message_ids]

    def transport(self, *, needs_helper: bool = False) -> Transport:
        """How a supervisor reaches this session."""

        def build(port: SessionPort, _connection: Connection) -> "MemoryAdapter":
            return MemoryAdapter(port, self)

        return Transport(build, needs_helper=needs_helper)

    def enter(self, delivery: Delivery) -> None:
        """It is in the context now."""
        self.context.append(delivery)
        if self.adapter is not None:
            self.adapter.changed.set()


class MemoryAdapter(AdapterDefaults):
    """The transport into a `MemorySession`."""

    def __init__(self, port: SessionPort, session: MemorySession) -> None:
        self.port = port
        self.changed = asyncio.Event()
        self.rings = 0
        self._session = session
        self._outstanding: list[Delivery] = []
        self.answers: dict[str, Answer] = {}
        self.modes: list[ApprovalMode] = []
        session.adapter = self

    async def run(self) -> None:
        """Open the conversation, then report proof."""
        self.open()
        while True:
            await self.changed.wait()
            self.changed.clear()
            self._prove()

    def open(self) -> None:
        """The conversation is known."""
        self.port.opened(self._session.id, cwd=self.port.cwd)
        self.port.reachable(Reachability.PUSH)
        self.port.status(AgentStatus.IDLE)
        self._session.introduction = self.port.introduction()
        self.port.ready()
        self.changed.set()

    async def push(self, delivery: Delivery) -> Outcome:
        """As the session's `way` says."""
        await asyncio.sleep(0)
        match self._session.way:
            case "at once":
                self._session.enter(delivery)
                return Outcome.HANDED
            case "not now":
                return Outcome.NOT_NOW
            case "bell":
                self.rings += 1
                return Outcome.RINGING
            case "breaks before":
                self._session.way = "at once"
                return Outcome.UNKNOWN
            case "breaks after":
                self._session.way = "at once"
                self._session.enter(delivery)
                return Outcome.UNKNOWN

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is it in the context?"""
        return any(each.text == delivery.text for each in self._session.context)

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """Says what it was told."""
        return {"event": event, **payload}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """Look for these."""
        self._outstanding = deliveries
        self.changed.set()

    def answer(self, ask_id: str, answer: Answer) -> None:
        """Keeps it for the test."""
        self.answers[ask_id] = answer
        self.port.settled(ask_id)

    def approval_changed(self, mode: ApprovalMode) -> None:
        """Keeps it for the test."""
        self.modes.append(mode)

    def _prove(self) -> None:
        if not self._session.proves:
            return
        seen = {each.text for each in self._session.context}
        for delivery in self._outstanding:
            if delivery.text in seen:
                self.port.proved(delivery.id, via="memory")

"""Hearing from the relay: one stream for all agents of the machine, or long polls.

Opens the stream, passes on what it brings, opens it again when it ends; polls for a while when
the relay has no place for it. Owns the connection and which agents it serves; who they are is the
link's. Runs on the daemon's loop.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final, Protocol

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.sse import ServerEvent

log = logging.getLogger(__name__)

RECONNECT: Final = (0.1, 5.0)
_POLL_WAIT_SECONDS: Final = 10.0
# How long to poll before asking for a place on the stream again.
_POLL_PHASE_SECONDS: Final = 30.0


class LinkState(StrEnum):
    """How the machine hears of its mail."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    POLLING = "polling"


class CommandListener(Protocol):
    """Who is told what the relay asks of this machine."""

    def commanded(self, command: Mapping[str, Any]) -> None:
        """May come more than once."""


class LinkListener(CommandListener, Protocol):
    """Who is told what comes from the relay."""

    def mail(self, agent_id: str, message: Mapping[str, Any]) -> None:
        """A message for one of our agents; may come more than once."""

    def agent_changed(self, agent_id: str, agent: Mapping[str, Any]) -> None:
        """Somebody changed it at the relay."""

    def approval_decided(self, approval: Mapping[str, Any]) -> None:
        """A question of one of our agents was answered, expired or canceled."""

    def superseded(self, agent_id: str) -> None:
        """A newer instance took the id over; it is off the link."""


class StreamOwner(Protocol):
    """What the stream needs of the link."""

    def agents(self) -> frozenset[str]:
        """Whom to serve."""

    async def announce(self) -> None:
        """Called before each connection. Raises: RelayUnreachable, RelayRefused."""

    def connected(self) -> None:
        """The stream is up, or polling began."""

    def refused(self, agent_id: str, refusal: RelayRefused) -> None:
        """The relay will not have this agent polled."""


class RelayStream:
    """See the module."""

    def __init__(self, client: AsyncRelayClient, machine: str, owner: StreamOwner) -> None:
        self._client = client
        self._machine = machine
        self._owner = owner
        self._id: str | None = None
        self._served: frozenset[str] = frozenset()
        self.state = LinkState.CONNECTING
        self.problem: str | None = None
        """Why there is no connection, for people."""

    def serves(self, agent_id: str) -> bool:
        """Would mail for a registered agent arrive now?"""
        is_streamed = self.state is LinkState.CONNECTED and agent_id in self._served
        return is_streamed or self.state is LinkState.POLLING

    async def run(self, listener: LinkListener) -> None:
        """Keep listening until cancelled."""
        backoff = Backoff(*RECONNECT)
        while True:
            try:
                await self._owner.announce()
                await self._listen(listener, backoff)
                self._lost("the relay ended the stream")
            except RelayUnreachable as error:
                self._lost(str(error))
            except RelayRefused as refusal:
                self._lost(f"{refusal} ({refusal.code})")
                if refusal.status == 503:
                    with suppress(RelayUnreachable):
                        await self._poll(listener)
            self._id = None
            self.state = LinkState.CONNECTING
            await asyncio.sleep(backoff.next_delay(random.random()))  # noqa: S311 - jitter

    async def change(self) -> None:
        """Serve whom the owner has now. Raises: RelayUnreachable, RelayRefused."""
        agents = self._owner.agents()
        if self._id is None or agents == self._served:
            return
        try:
            await self._client.request(calls.change_stream(self._id, sorted(agents)))
            self._served = agents
        except RelayRefused as refusal:
            if refusal.may_pass:
                raise
            # The stream broke; the next one starts with the new set.
            log.debug("stream not changed: %s", refusal)

    async def _listen(self, listener: LinkListener, backoff: Backoff) -> None:
        agents = self._owner.agents()
        call = calls.stream(sorted(agents), machine=self._machine)
        async with self._client.stream(call) as events:
            async for event in events:
                if event.type == "hello":
                    self._id = str(event.object().get("streamId"))
                    self._served = agents
                    self.state = LinkState.CONNECTED
                    self.problem = None
                    log.info("connected to %s for %d agents", self._client.url, len(agents))
                    backoff.reset()
                    self._owner.connected()
                else:
                    self._pass_on(event, listener)

    def _pass_on(self, event: ServerEvent, listener: LinkListener) -> None:
        data = event.object()
        if event.type == "command":
            hand_on_command(data.get("command"), listener)
            return
        agent_id = str(data.get("agentId"))
        if agent_id not in self._owner.agents():
            return
        if event.type == "message":
            _hand_on(agent_id, data.get("message"), listener)
        elif event.type == "agent" and isinstance(data.get("agent"), dict):
            listener.agent_changed(agent_id, data["agent"])
        elif event.type == "approval" and isinstance(data.get("approval"), dict):
            listener.approval_decided(data["approval"])

    async def _poll(self, listener: LinkListener) -> None:
        """Mail without a stream, for a while. Raises: RelayUnreachable."""
        self.state = LinkState.POLLING
        self._owner.connected()
        seen: dict[str, int] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_PHASE_SECONDS):
                while True:
                    agents = self._owner.agents()
                    if not agents:
                        await asyncio.sleep(_POLL_WAIT_SECONDS / 10)
                    await asyncio.gather(*(self._poll_one(a, seen, listener) for a in agents))

    async def _poll_one(self, agent_id: str, seen: dict[str, int], listener: LinkListener) -> None:
        # What was not handed yet would be answered at once, again and again, without `since`.
        call = calls.inbox(agent_id, since=seen.get(agent_id), wait=_POLL_WAIT_SECONDS)
        try:
            page = await self._client.request(call)
        except RelayRefused as refusal:
            self._owner.refused(agent_id, refusal)
            await asyncio.sleep(1.0)
            return
        for message in page.get("messages", ()):
            _hand_on(agent_id, message, listener)
        if isinstance(page.get("cursor"), int):
            seen[agent_id] = page["cursor"]

    def _lost(self, reason: str) -> None:
        # Once for each loss, not for each try.
        if reason != self.problem:
            log.warning("no stream: %s", reason)
        self.problem = reason


def hand_on_command(command: Any, listener: CommandListener) -> None:
    """Only what is a command."""
    if isinstance(command, dict) and isinstance(command.get("id"), int):
        listener.commanded(command)
    else:
        log.error("the relay sent no proper command: %.200r", command)


def _hand_on(agent_id: str, message: Any, listener: LinkListener) -> None:
    """Only what is a message: one that is none must not cost the others' mail."""
    is_one = isinstance(message, dict) and isinstance(message.get("id"), int)
    if is_one and all(isinstance(message.get(name), str) for name in ("from", "body")):
        listener.mail(agent_id, message)
    else:
        log.error("the relay sent %s no proper message: %.200r", agent_id, message)

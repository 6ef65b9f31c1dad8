"""The machine's one link to the relay: a stream for all sessions, one reporter, one heartbeat.

    follow   open the stream, pass mail on, reconnect; long-poll when the relay has no place
    report   registrations, statuses, receipts, the stream's set: whatever is due, in that order
    beat     one heartbeat for the whole machine

Owns which agents are on the link and what the relay has to be told of them; receipts wait in the
store, so that they outlive the daemon. Nothing is reported from anywhere else, so what happens
to one agent reaches the relay in order. Runs on the daemon's loop.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any, Final, Protocol

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.sse import ServerEvent
from relay_agentd.store.mail import MailStore, Receipt
from relay_server.wire import AgentStatus

log = logging.getLogger(__name__)

# What happens together is reported together: a delivery of many messages is one call.
_COALESCE_SECONDS: Final = 0.02
_RECONNECT: Final = (0.1, 5.0)
_POLL_WAIT_SECONDS: Final = 10.0
# How long to poll before asking for a place on the stream again.
_POLL_PHASE_SECONDS: Final = 30.0


class LinkState(StrEnum):
    """How the machine hears of its mail."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    POLLING = "polling"


class LinkListener(Protocol):
    """Who is told what comes from the relay."""

    def mail(self, agent_id: str, message: Mapping[str, Any]) -> None:
        """A message for one of our agents; may come more than once."""

    def agent_changed(self, agent_id: str, agent: Mapping[str, Any]) -> None:
        """Somebody changed it at the relay."""

    def superseded(self, agent_id: str) -> None:
        """A newer instance took the id over; it is off the link."""


@dataclass(slots=True)
class _Member:
    """An agent on the link, and what the relay has to be told of it."""

    instance: str
    description: dict[str, Any]
    """All of it: for a relay that does not know the agent."""
    status: AgentStatus
    detail: str | None = None
    news: dict[str, Any] = field(default_factory=dict)
    """What changed of the description."""
    is_known: bool = False
    is_status_due: bool = False
    gone: "asyncio.Future[None] | None" = None


class RelayLink:
    """See the module."""

    def __init__(
        self,
        client: AsyncRelayClient,
        mail: MailStore,
        *,
        machine: str,
        facts: Callable[[], Mapping[str, Any]],
        heartbeat_seconds: float,
    ) -> None:
        self._client = client
        self._mail = mail
        self._machine = machine
        self._facts = facts
        self._heartbeat_seconds = heartbeat_seconds
        self._members: dict[str, _Member] = {}
        self._stream_id: str | None = None
        self._streamed: frozenset[str] = frozenset()
        self._due = asyncio.Event()
        self._retry = asyncio.Event()
        self._listener: LinkListener
        self._connected: Callable[[], None]
        self.state = LinkState.CONNECTING
        self.server_version: str | None = None

    # --- what the supervisor says; all of it returns at once ---

    def join(self, description: Mapping[str, Any], *, instance: str, is_known: bool) -> None:
        """Serve this agent. `is_known`: it was registered before a restart of ours."""
        status = AgentStatus(description["status"])
        self._members[description["id"]] = _Member(
            instance, dict(description), status, is_known=is_known
        )
        self._due.set()

    def describe(self, agent_id: str, *, instance: str, **news: Any) -> None:
        """Something in an agent's description changed."""
        member = self._member(agent_id, instance)
        if member is not None:
            member.description.update(news)
            member.news.update(news)
            self._due.set()

    def set_status(
        self, agent_id: str, status: AgentStatus, detail: str | None, *, instance: str
    ) -> None:
        """Busy, idle or waiting."""
        member = self._member(agent_id, instance)
        if member is not None and (member.status, member.detail) != (status, detail):
            member.status, member.detail = status, detail
            member.is_status_due = True
            self._due.set()

    def serves(self, agent_id: str) -> bool:
        """Would mail for this agent arrive now?"""
        member = self._members.get(agent_id)
        on_stream = agent_id in self._streamed and self.state is LinkState.CONNECTED
        return (
            member is not None
            and member.is_known
            and (on_stream or self.state is LinkState.POLLING)
        )

    def receipts_changed(self) -> None:
        """The store has receipts to report."""
        self._due.set()

    async def leave(self, agent_id: str, *, instance: str, within: float) -> None:
        """Report an agent offline; returns when the relay knows, or after `within` seconds (it
        is told later then)."""
        member = self._member(agent_id, instance)
        if member is None:
            return
        if member.gone is None:
            member.gone = asyncio.get_running_loop().create_future()
        self._due.set()
        self._retry.set()
        await asyncio.wait([member.gone], timeout=within)

    def _member(self, agent_id: str, instance: str) -> _Member | None:
        """The agent, unless another session here goes on under its id."""
        member = self._members.get(agent_id)
        return member if member is not None and member.instance == instance else None

    # --- the three tasks ---

    async def run(self, listener: LinkListener, connected: Callable[[], None]) -> None:
        """Keep the link up until cancelled; `connected` is called each time it comes up."""
        self._listener, self._connected = listener, connected
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="relay stream")
            tasks.create_task(self._report(), name="relay reporter")
            tasks.create_task(self._beat(), name="relay heartbeat")

    async def _follow(self) -> None:
        backoff = Backoff(*_RECONNECT)
        while True:
            try:
                await self._announce()
                await self._stream(backoff)
            except RelayUnreachable as error:
                self._log_loss(str(error))
            except RelayRefused as refusal:
                self._log_loss(f"{refusal} ({refusal.code})")
                if refusal.status == 503:
                    with suppress(RelayUnreachable):
                        await self._poll()
            self._stream_id = None
            self.state = LinkState.CONNECTING
            await asyncio.sleep(backoff.next_delay(random.random()))  # noqa: S311 - jitter

    async def _report(self) -> None:
        backoff = Backoff(*_RECONNECT)
        while True:
            await self._due.wait()
            await asyncio.sleep(_COALESCE_SECONDS)
            self._due.clear()
            try:
                await self._report_due()
                backoff.reset()
            except (RelayUnreachable, RelayRefused) as error:
                log.debug("cannot report now: %s", error)
                self._due.set()
                self._retry.clear()
                delay = backoff.next_delay(random.random())  # noqa: S311 - jitter
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._retry.wait(), delay)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self._heartbeat()
            except (RelayUnreachable, RelayRefused) as error:
                log.debug("heartbeat failed: %s", error)

    # --- the stream ---

    async def _announce(self) -> None:
        """Say that the machine is there, and find out what the relay still knows of it."""
        health = await self._client.request(calls.health())
        self.server_version = str(health.get("version"))
        await self._client.request(calls.put_machine(self._machine, self._facts()))
        await self._heartbeat()

    async def _stream(self, backoff: Backoff) -> None:
        agents = frozenset(self._members)
        call = calls.stream(sorted(agents), machine=self._machine)
        async with self._client.stream(call) as events:
            async for event in events:
                if event.type == "hello":
                    self._stream_id = str(event.object().get("streamId"))
                    self._streamed = agents
                    self.state = LinkState.CONNECTED
                    log.info("connected to %s for %d agents", self._client.url, len(agents))
                    backoff.reset()
                    self._retry.set()
                    self._due.set()
                    self._connected()
                else:
                    self._take(event)
        self._log_loss("the relay ended the stream")

    def _take(self, event: ServerEvent) -> None:
        data = event.object()
        agent_id = str(data.get("agentId"))
        if agent_id not in self._members:
            return
        if event.type == "message" and isinstance(data.get("message"), dict):
            self._listener.mail(agent_id, data["message"])
        elif event.type == "agent" and isinstance(data.get("agent"), dict):
            self._listener.agent_changed(agent_id, data["agent"])

    async def _poll(self) -> None:
        """Mail without a stream, for a while."""
        self.state = LinkState.POLLING
        self._due.set()
        seen: dict[str, int] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_PHASE_SECONDS):
                while True:
                    polls = [self._poll_agent(agent_id, seen) for agent_id in self._members]
                    if not polls:
                        await asyncio.sleep(_POLL_WAIT_SECONDS / 10)
                    await asyncio.gather(*polls)

    async def _poll_agent(self, agent_id: str, seen: dict[str, int]) -> None:
        call = calls.inbox(agent_id, since=seen.get(agent_id), wait=_POLL_WAIT_SECONDS)
        try:
            page = await self._client.request(call)
        except RelayRefused as refusal:
            self._refused(agent_id, refusal)
            await asyncio.sleep(1.0)
            return
        for message in page["messages"]:
            self._listener.mail(agent_id, message)
        seen[agent_id] = page["cursor"]

    # --- reporting ---

    async def _heartbeat(self) -> None:
        beats = [
            {"id": agent_id, "status": member.status, "statusDetail": member.detail}
            for agent_id, member in self._members.items()
            if member.is_known and member.gone is None
        ]
        answer = await self._client.request(calls.heartbeats(beats, machine=self._machine))
        for agent_id in answer.get("unknown", ()):
            if agent_id in self._members:
                self._members[agent_id].is_known = False
                self._due.set()

    async def _report_due(self) -> None:
        for agent_id, member in list(self._members.items()):
            try:
                await self._report_member(agent_id, member)
            except RelayRefused as refusal:
                if refusal.may_pass:
                    raise
                self._refused(agent_id, refusal)
        await self._report_receipts()
        await self._change_stream()

    async def _report_member(self, agent_id: str, member: _Member) -> None:
        if member.gone is not None:
            await self._report_gone(agent_id, member)
            return
        if not member.is_known:
            body = {**member.description, "status": member.status, "statusDetail": member.detail}
            member.news, member.is_status_due = {}, False
            await self._client.request(calls.register(body, instance=member.instance))
            member.is_known = True
            log.info("registered %s", agent_id)
        if member.news:
            news, member.news = member.news, {}
            body = {"id": agent_id, "instanceId": member.instance, **news}
            try:
                await self._client.request(calls.register(body, instance=member.instance))
            except RelayUnreachable:
                member.news = {**news, **member.news}
                raise
        if member.is_status_due:
            status, detail = member.status, member.detail
            call = calls.set_status(agent_id, status, detail, instance=member.instance)
            await self._client.request(call)
            member.is_status_due = (member.status, member.detail) != (status, detail)

    async def _report_gone(self, agent_id: str, member: _Member) -> None:
        call = calls.set_status(agent_id, AgentStatus.OFFLINE, instance=member.instance)
        try:
            if member.is_known:
                await self._client.request(call)
        except RelayRefused as refusal:
            if refusal.may_pass:
                raise
        # A session that joined meanwhile under the same id stays.
        if self._members.get(agent_id) is member:
            del self._members[agent_id]
        if member.gone is not None and not member.gone.done():
            member.gone.set_result(None)

    async def _report_receipts(self) -> None:
        receipts = self._mail.unreported()
        for agent_id, group in groupby(receipts, key=lambda receipt: receipt.agent_id):
            await self._report_group(agent_id, list(group))
        if receipts:
            # There may be more than one page, and states that moved on meanwhile.
            self._due.set()

    async def _report_group(self, agent_id: str, group: list[Receipt]) -> None:
        bodies = [
            {
                "messageId": receipt.message_id,
                "state": receipt.state.value,
                **({"via": receipt.via} if receipt.via else {}),
            }
            for receipt in group
        ]
        member = self._members.get(agent_id)
        try:
            await self._client.request(
                calls.ack(agent_id, bodies, instance=member.instance if member else None)
            )
        except RelayRefused as refusal:
            if refusal.may_pass:
                raise
            if member is not None and refusal.status == 404:
                self._refused(agent_id, refusal)
                return
            log.warning("receipts of %s were refused: %s", agent_id, refusal)
        self._mail.reported(group)

    async def _change_stream(self) -> None:
        agents = frozenset(self._members)
        if self._stream_id is None or agents == self._streamed:
            return
        try:
            call = calls.change_stream(self._stream_id, sorted(agents))
            await self._client.request(call)
            self._streamed = agents
        except RelayRefused as refusal:
            # The stream broke; the next one starts with the new set.
            log.debug("stream not changed: %s", refusal)

    def _refused(self, agent_id: str, refusal: RelayRefused) -> None:
        """A refusal that repeating will not mend."""
        member = self._members.get(agent_id)
        if member is None:
            return
        if refusal.code == "stale_instance":
            log.warning("%s was taken over by a newer instance", agent_id)
            del self._members[agent_id]
            self._listener.superseded(agent_id)
        elif refusal.status == 404 and member.is_known:
            member.is_known = False
            self._due.set()
        else:
            log.error("the relay refused %s: %s (%s)", agent_id, refusal, refusal.code)
            member.is_status_due = False

    def _log_loss(self, reason: str) -> None:
        level = logging.WARNING if self.state is not LinkState.CONNECTING else logging.DEBUG
        log.log(level, "link to the relay: %s", reason)

"""The machine's one link to the relay: who is on it, and what the relay is told of them.

    stream   brings mail and changes (`relay_stream`)
    report   registrations, statuses, receipts, the stream's set: whatever is due, in that order
    beat     one heartbeat for the whole machine
    sleep    after a suspend of the machine all connections are made anew

Owns which agents are on the link and what the relay has to be told of them; receipts wait in the
store, so that they outlive the daemon. Nothing is reported from anywhere else, so what happens
to one agent reaches the relay in order. Runs on the daemon's loop.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.clock import boottime, monotonic
from relay_agentd.delivery import MailState
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_stream import RECONNECT, LinkListener, LinkState, RelayStream
from relay_agentd.store.mail import TAKEN_BY_TOOL, MailStore, Receipt
from relay_server.wire import AgentStatus

log = logging.getLogger(__name__)

# What happens together is reported together: a delivery of many messages is one call.
_COALESCE_SECONDS: Final = 0.02
_SLEEP_CHECK_SECONDS: Final = 2.0
_SLEPT_SECONDS: Final = 1.0


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

    def is_gone(self) -> None:
        """Whoever waits for its end may go on."""
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(None)


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
        self._due = asyncio.Event()
        self._retry = asyncio.Event()
        self._listener: LinkListener
        self._on_connected: Callable[[], None]
        self._stream = RelayStream(client, machine, self)
        self.server_version: str | None = None

    async def run(self, listener: LinkListener, connected: Callable[[], None]) -> None:
        """Keep the link up until cancelled; `connected` is called each time it comes up."""
        self._listener, self._on_connected = listener, connected
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stream.run(listener), name="relay stream")
            tasks.create_task(self._report(), name="relay reporter")
            tasks.create_task(self._beat(), name="relay heartbeat")
            tasks.create_task(self._watch_sleep(), name="relay after sleep")

    # --- what the supervisor says; all of it returns at once ---

    def join(self, description: Mapping[str, Any], *, instance: str, is_known: bool) -> None:
        """Serve this agent. `is_known`: it was registered before a restart of ours."""
        agent_id = description["id"]
        replaced = self._members.get(agent_id)
        if replaced is not None:
            replaced.is_gone()
        status = AgentStatus(description["status"])
        self._members[agent_id] = _Member(instance, dict(description), status, is_known=is_known)
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

    # --- how it stands ---

    @property
    def state(self) -> LinkState:
        """How mail arrives."""
        return self._stream.state

    @property
    def problem(self) -> str | None:
        """Why there is no connection."""
        return self._stream.problem

    def relay_time(self) -> float:
        """What time it is at the relay, whatever this machine's clock says."""
        return self._client.relay_time()

    def has(self, agent_id: str) -> bool:
        """Is this agent one of this machine's?"""
        return agent_id in self._members

    def serves(self, agent_id: str) -> bool:
        """Would mail for this agent arrive now?"""
        member = self._members.get(agent_id)
        return member is not None and member.is_known and self._stream.serves(agent_id)

    # --- for the stream (`StreamOwner`) ---

    def agents(self) -> frozenset[str]:
        """Whom to serve."""
        return frozenset(self._members)

    async def announce(self) -> None:
        """Say that the machine is there, and find out what the relay still knows of it."""
        health = await self._client.request(calls.health())
        self.server_version = str(health.get("version"))
        await self._client.request(calls.put_machine(self._machine, self._facts()))
        await self._heartbeat()

    def connected(self) -> None:
        """What could not be reported can be now."""
        self._retry.set()
        self._due.set()
        self._on_connected()

    def refused(self, agent_id: str, refusal: RelayRefused) -> None:
        """A refusal that repeating will not mend."""
        member = self._members.get(agent_id)
        if member is None:
            return
        if refusal.code == "stale_instance":
            log.warning("%s was taken over by a newer instance", agent_id)
            del self._members[agent_id]
            member.is_gone()
            self._due.set()
            self._listener.superseded(agent_id)
        elif refusal.status == 404 and member.is_known:
            member.is_known = False
            self._due.set()
        else:
            log.error("the relay refused %s: %s (%s)", agent_id, refusal, refusal.code)
            member.is_status_due = False

    # --- reporting ---

    async def _report(self) -> None:
        backoff = Backoff(*RECONNECT)
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

    async def _watch_sleep(self) -> None:
        """A machine that was suspended has connections that look alive and are dead."""
        asleep = boottime() - monotonic()
        while True:
            await asyncio.sleep(_SLEEP_CHECK_SECONDS)
            before, asleep = asleep, boottime() - monotonic()
            if asleep - before > _SLEPT_SECONDS:
                log.info("the machine was suspended for %.0f s: connecting again", asleep - before)
                await self._client.renew()
                self._retry.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self._heartbeat()
            except (RelayUnreachable, RelayRefused) as error:
                log.debug("heartbeat failed: %s", error)

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
                self.refused(agent_id, refusal)
        await self._report_receipts()
        await self._stream.change()

    async def _report_member(self, agent_id: str, member: _Member) -> None:
        if member.gone is not None:
            await self._report_gone(agent_id, member)
            return
        if not member.is_known:
            await self._register(agent_id, member)
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

    async def _register(self, agent_id: str, member: _Member) -> None:
        member.news, member.is_status_due = {}, False
        body = {**member.description, "status": member.status, "statusDetail": member.detail}
        await self._client.request(calls.register(body, instance=member.instance))
        member.is_known = True
        log.info("registered %s", agent_id)

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
        member.is_gone()

    async def _report_receipts(self) -> None:
        receipts = self._mail.unreported()
        for agent_id, group in groupby(receipts, key=lambda receipt: receipt.agent_id):
            await self._report_group(agent_id, list(group))
        if receipts:
            # There may be more than one page, and states that moved on meanwhile.
            self._due.set()

    async def _report_group(self, agent_id: str, group: list[Receipt]) -> None:
        bodies = [body for receipt in group for body in _bodies(receipt)]
        member = self._members.get(agent_id)
        try:
            await self._client.request(
                calls.ack(agent_id, bodies, instance=member.instance if member else None)
            )
        except RelayRefused as refusal:
            if refusal.may_pass:
                raise
            if member is not None and refusal.status == 404:
                self.refused(agent_id, refusal)
                return
            log.warning("receipts of %s were refused: %s", agent_id, refusal)
        self._mail.reported(group)

    def _member(self, agent_id: str, instance: str) -> _Member | None:
        """The agent, unless another session here goes on under its id."""
        member = self._members.get(agent_id)
        return member if member is not None and member.instance == instance else None


def _bodies(receipt: Receipt) -> Iterator[dict[str, str | int]]:
    """What the relay is told: a delivery that was read meanwhile was in the context before."""
    states = [receipt.state]
    if receipt.state is MailState.READ and receipt.via != TAKEN_BY_TOOL:
        states.insert(0, MailState.IN_CONTEXT)
    for state in states:
        body: dict[str, str | int] = {"messageId": receipt.message_id, "state": state.value}
        yield {**body, "via": receipt.via} if receipt.via else body

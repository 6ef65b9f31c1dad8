"""Who is alive: status changes, going offline, being pruned, and what that releases.

Called inside a write transaction; tells listeners after its commit.
"""

from dataclasses import replace

from relay_server.domain.agent import Agent
from relay_server.services import render
from relay_server.services.approvals import ApprovalService
from relay_server.services.core import Core
from relay_server.services.leases import Leases
from relay_server.store import agents, machines
from relay_server.store.database import Transaction
from relay_server.wire import AgentStatus


class Presence:
    """Used by the agent service and the sweeper."""

    def __init__(self, core: Core, leases: Leases, approvals: ApprovalService) -> None:
        self._clock = core.clock
        self._events = core.events
        self._listeners = core.listeners
        self._leases = leases
        self._approvals = approvals

    def seen(self, transaction: Transaction, before: Agent | None, agent: Agent, now: int) -> Agent:
        """The agent with its times set; when it goes offline, nothing of its stays open."""
        if not agent.is_offline:
            return replace(agent, last_seen_at=now, offline_since=None)
        went = before is None or not before.is_offline
        if went:
            self._leases.release_all(transaction, agent.id, now, "its owner went offline")
        # By its own word its session has ended. One that is only silent may still be asking.
        self._approvals.cancel_of_agent(transaction, agent.id, now)
        since = now if went or agent.offline_since is None else agent.offline_since
        return replace(agent, last_seen_at=now, offline_since=since)

    def report(
        self, transaction: Transaction, before: Agent, status: str, detail: str | None, now: int
    ) -> Agent:
        """It says what it is doing."""
        agent = replace(before, status=status, status_detail=detail)
        agent = self.seen(transaction, before, agent, now)
        agents.save(transaction, agent)
        if (before.status, before.status_detail) != (agent.status, agent.status_detail):
            self._tell_status(transaction, agent)
        return agent

    def alive(self, transaction: Transaction, before: Agent, now: int) -> Agent:
        """It says no more than that it lives: from offline it comes back idle."""
        if before.is_offline:
            return self.report(transaction, before, AgentStatus.IDLE, None, now)
        agents.touch(transaction, [before.id], now)
        return replace(before, last_seen_at=now)

    def went_silent(self, transaction: Transaction, before: Agent, now: int) -> None:
        """Nothing was heard of it for too long."""
        agent = replace(before, status=AgentStatus.OFFLINE, status_detail=None, offline_since=now)
        agents.save(transaction, agent)
        self._leases.release_all(transaction, agent.id, now, "its owner fell silent")
        self._tell_status(transaction, agent)

    def remove(self, transaction: Transaction, agent: Agent) -> None:
        """It leaves the relay; its messages stay."""
        now = self._clock.now_ms()
        self._leases.release_all(transaction, agent.id, now, "its owner was removed")
        self._approvals.cancel_of_agent(transaction, agent.id, now)
        agents.remove(transaction, agent.id)

        def tell() -> None:
            self._listeners.agent_removed(agent.id)
            self._events.add("agent.removed", agentId=agent.id)

        transaction.on_commit(tell)

    def machine_seen(self, transaction: Transaction, machine_id: str, now: int) -> None:
        """Its daemon spoke."""
        before = machines.get(transaction, machine_id)
        machine = (
            replace(before, online=True, last_seen_at=now)
            if before
            else machines.Machine(machine_id, {}, True, now, now)
        )
        machines.save(transaction, machine)
        if before is None or not before.online:
            self.tell_machine(transaction, machine)

    def machine_silent(self, transaction: Transaction, before: machines.Machine) -> None:
        """Its daemon was not heard for too long."""
        machine = replace(before, online=False)
        machines.save(transaction, machine)
        self.tell_machine(transaction, machine)

    def tell_machine(self, transaction: Transaction, machine: machines.Machine) -> None:
        """After the commit."""
        name = "machine.online" if machine.online else "machine.offline"
        rendered = render.machine_json(machine)
        transaction.on_commit(lambda: self._events.add(name, machine=rendered))

    def _tell_status(self, transaction: Transaction, agent: Agent) -> None:
        rendered = render.agent_json(agent, 0)
        # A status says nothing about mail; counting it for each event would be wasted.
        del rendered["unread"]

        def tell() -> None:
            self._events.add("agent.status", agent=rendered)
            if agent.is_offline:
                self._events.add("agent.offline", agent=rendered)

        transaction.on_commit(tell)

"""An agent as the relay knows it, and what makes it stale or prunable."""

from dataclasses import dataclass, field
from typing import Any, Final

from relay_server.domain.routing import Card, addresses_of
from relay_server.wire import AgentStatus, ApprovalMode, Reachability


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One addressable participant. `inbox_start`: only newer messages are in its inbox."""

    id: str
    name: str
    label: str | None = None
    label_by_person: bool = False
    machine: str | None = None
    provider: str | None = None
    rig: str | None = None
    project: str | None = None
    session_id: str | None = None
    cwd: str | None = None
    pid: int | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    status: str = AgentStatus.IDLE
    status_detail: str | None = None
    approval_mode: str = ApprovalMode.OPEN
    reachability: str = Reachability.POLL
    last_proof_at: int | None = None
    instance_id: str | None = None
    epoch: int = 1
    version: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    built_in: bool = False
    inbox_start: int = 0
    cursor: int = 0
    registered_at: int = 0
    last_seen_at: int = 0
    offline_since: int | None = None

    @property
    def card(self) -> Card:
        """What routing needs to know of it. Built-in agents take direct messages only."""
        direct = frozenset({self.id})
        every = addresses_of(self.id, self.tags, self.capabilities, self.label)
        return Card(
            agent_id=self.id,
            addresses=direct if self.built_in else every,
            channels=frozenset(self.channels),
            inbox_start=self.inbox_start,
            built_in=self.built_in,
        )

    @property
    def is_offline(self) -> bool:
        return self.status == AgentStatus.OFFLINE


def default_name(agent_id: str, project: str | None, rig: str | None, machine: str | None) -> str:
    """`project (rig @ machine)`, as far as known; else the id."""
    if not project:
        return agent_id
    place = " @ ".join(part for part in (rig, machine) if part)
    return f"{project} ({place})" if place else project


_STRICTNESS: Final = tuple(ApprovalMode)


def stricter(one: str, other: str) -> ApprovalMode:
    """The approval mode of the two that lets less happen."""
    return max(ApprovalMode(one), ApprovalMode(other), key=_STRICTNESS.index)

"""What the relay's objects look like in Python: frozen, named as Python names things.

Fields are those of the contract; one that a newer relay adds is in `raw`. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from relay_server.wire import AgentStatus, ApprovalMode, Decision

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who has taken a message, and until when."""

    agent_id: str
    claimed_at: datetime
    expires_at: datetime
    completed_at: datetime | None = None
    raw: Json = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message, as its receivers see it."""

    id: int
    sender: str = field(metadata={"wire": "from"})
    to: str
    body: str
    subject: str | None = None
    channel: str | None = None
    reply_to: int | None = None
    thread_id: int
    kind: str
    priority: str
    claimable: bool
    claim: Claim | None = field(default=None, metadata={"kind": Claim})
    payload: Json | None = None
    recipients: int = 0
    """How many agents matched when it was sent."""
    held: Json | None = None
    """Why it waits for a person; None when it does not."""
    created_at: datetime
    expires_at: datetime | None = None
    raw: Json = field(repr=False, default_factory=dict)

    @property
    def task_id(self) -> int | None:
        """The task that this message offers, if it does."""
        return (self.payload or {}).get("taskId") if self.kind == "task" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent, as the relay shows it."""

    id: str
    name: str
    label: str | None = None
    machine: str | None = None
    provider: str | None = None
    rig: str | None = None
    project: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    status: str
    status_detail: str | None = None
    approval_mode: str
    reachability: str
    unread: int = 0
    last_seen_at: datetime | None = None
    last_proof_at: datetime | None = None
    meta: Json = field(default_factory=dict)
    raw: Json = field(repr=False, default_factory=dict)

    @property
    def is_online(self) -> bool:
        """Is it there now?"""
        return self.status != AgentStatus.OFFLINE

    @property
    def must_ask(self) -> bool:
        """Must it ask a person before anything with side effects?"""
        return self.approval_mode != ApprovalMode.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work that an outside system, a person or an agent has reported."""

    id: int
    title: str
    body: str | None = None
    target: str
    channel: str | None = None
    source: str
    severity: str | None = None
    status: str
    claimed_by: str | None = None
    lease_expires_at: datetime | None = None
    progress: int | None = None
    result: Any = None
    external_url: str | None = None
    metadata: Json = field(default_factory=dict)
    occurrence_count: int = 1
    message_id: int | None = None
    created_at: datetime
    updated_at: datetime
    raw: Json = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to a person, and the answer."""

    id: int
    agent_id: str
    tool: str
    summary: str
    status: str
    decision: str | None = None
    reason: str | None = None
    decided_by: str | None = None
    created_at: datetime
    expires_at: datetime
    raw: Json = field(repr=False, default_factory=dict)

    @property
    def allowed(self) -> bool:
        """Did a person say yes? Everything else means no."""
        return self.decision == Decision.ALLOW


def read(kind: type[T], told: Json) -> T:
    """An object of the wire as one of ours. Raises: KeyError, when it lacks what it must have."""
    values: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        name = item.metadata.get("wire") or _camel(item.name)
        if item.name == "raw":
            values["raw"] = told
        elif name in told:
            values[item.name] = _value(told[name], item.name, item.metadata.get("kind"))
    try:
        return kind(**values)
    except TypeError as error:
        raise KeyError(f"{kind.__name__}: {error}") from error


def _value(value: Any, name: str, kind: type[Any] | None) -> Any:
    if value is None:
        return None
    if kind is not None:
        return read(kind, value)
    if name.endswith("_at"):
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

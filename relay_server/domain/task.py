"""A task: work that came from outside or from an agent, with an owner and an end.

    open ──claim──▶ claimed ──▶ in_progress ⇄ blocked
      ▲               │              │           │
      └── release, expiry, owner gone ───────────┘
    from each of them ──▶ done | failed | canceled, for good

`open` and `claimed` are reached by release and claim, never by a status update. Pure: the caller
makes it atomic.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_server.domain.lease import Lease
from relay_server.errors import Conflict
from relay_server.wire import OPERATOR, Priority
from relay_server.wire import TaskStatus as S

ENDED: Final = frozenset({S.DONE, S.FAILED, S.CANCELED})
HELD: Final = frozenset({S.CLAIMED, S.IN_PROGRESS, S.BLOCKED})
RESOLVED: Final = "resolved"

# What a status update may do; an update without a change of status reports progress.
TRANSITIONS: Final[Mapping[S, frozenset[S]]] = {
    S.OPEN: ENDED,
    S.CLAIMED: ENDED | {S.IN_PROGRESS},
    S.IN_PROGRESS: ENDED | {S.IN_PROGRESS, S.BLOCKED},
    S.BLOCKED: ENDED | {S.IN_PROGRESS, S.BLOCKED},
    S.DONE: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
}
_PRIORITIES: Final = {
    "critical": Priority.HIGH,
    "high": Priority.HIGH,
    "error": Priority.HIGH,
    "low": Priority.LOW,
    "info": Priority.LOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row of `tasks`. `integration` names the one that made it, `target` is folded."""

    id: int
    source: str
    integration: str | None
    dedupe_key: str | None
    title: str
    body: str | None
    severity: str | None
    target: str
    addressed_to: str
    channel: str | None
    status: S
    claimed_by: str | None
    claimed_at: int | None
    lease_expires_at: int | None
    progress: int | None
    result: Any
    external_url: str | None
    metadata: dict[str, Any]
    occurrence_count: int
    message_id: int | None
    created_at: int
    first_seen_at: int
    last_seen_at: int
    updated_at: int
    ended_at: int | None

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def lease(self) -> Lease | None:
        """Who works on it; None for an ended one, which nobody can hold any more."""
        if self.claimed_by is None or self.is_ended:
            return None
        assert self.claimed_at is not None
        assert self.lease_expires_at is not None
        return Lease(self.claimed_by, self.claimed_at, self.lease_expires_at)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who updates a task: an agent, the operator, or the integration by its own token."""

    name: str
    is_integration: bool = False

    @property
    def is_operator(self) -> bool:
        return not self.is_integration and self.name == OPERATOR


def require_may_update(task: Task, actor: Actor, now: int) -> None:
    """Only its owner, the operator, or the integration that made it. Raises: Conflict."""
    if actor.is_operator:
        return
    if actor.is_integration:
        if task.integration == actor.name:
            return
    elif owner(task, now) == actor.name or (task.is_ended and task.claimed_by == actor.name):
        return
    raise Conflict(
        f"{actor.name} neither holds task {task.id} nor made it.",
        code="not_owner",
        extra={"claimedBy": owner(task, now)},
    )


def require_transition(task: Task, wanted: S) -> None:
    """Raises: Conflict `invalid_transition`."""
    if wanted in TRANSITIONS[task.status]:
        return
    ways = ", ".join(sorted(TRANSITIONS[task.status])) or "none: it has ended"
    hint = {S.OPEN: "; release it instead", S.CLAIMED: "; claim it instead"}.get(wanted, "")
    raise Conflict(
        f"Task {task.id} is {task.status}; from there an update leads to: {ways}{hint}.",
        code="invalid_transition",
        extra={"from": task.status, "to": wanted},
    )


def require_claimable(task: Task) -> None:
    """Raises: Conflict `invalid_transition`: an ended task changes no more."""
    if task.is_ended:
        raise Conflict(
            f"Task {task.id} is {task.status}: it has ended.",
            code="invalid_transition",
            extra={"from": task.status},
        )


def owner(task: Task, now: int) -> str | None:
    """Who holds it now."""
    lease = task.lease
    return lease.agent_id if lease is not None and lease.is_active(now) else None


def priority(severity: str | None) -> Priority:
    """The message's; never urgent, which would break into a running turn."""
    return _PRIORITIES.get((severity or "").lower(), Priority.NORMAL)


def message_body(task: Task) -> str:
    """What the agents that may claim it read."""
    parts = [task.title]
    if task.body:
        parts += ["", task.body]
    if task.external_url:
        parts += ["", task.external_url]
    return "\n".join(parts)


def message_payload(task: Task) -> dict[str, Any]:
    """What programs read. `external`: it comes from outside, not from an agent or a person."""
    return {
        "taskId": task.id,
        "source": task.source,
        "external": task.integration is not None,
        "severity": task.severity,
        "dedupeKey": task.dedupe_key,
        "externalUrl": task.external_url,
    }


def result_text(result: Any) -> str:
    """A result as people read it."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)

"""What a session asks a person, and the one answer it gets.

    pending ──decide──▶ allowed | denied
      ├──its time is over──▶ expired        (an answer too: deny)
      └──cancel──▶ canceled                 (answered at the terminal, or the session has ended)

Nothing leads out of the ended ones. Pure: the caller makes it atomic.
"""

from dataclasses import dataclass, replace
from typing import Final

from relay_server.errors import Conflict
from relay_server.wire import ApprovalStatus as S
from relay_server.wire import Decision

NEXT: Final = {
    S.PENDING: frozenset({S.ALLOWED, S.DENIED, S.EXPIRED, S.CANCELED}),
    S.ALLOWED: frozenset[S](),
    S.DENIED: frozenset[S](),
    S.EXPIRED: frozenset[S](),
    S.CANCELED: frozenset[S](),
}
_DECIDED: Final = {Decision.ALLOW: S.ALLOWED, Decision.DENY: S.DENIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One question. `input` is the tool's own JSON, `remember` how long the answer holds."""

    id: int
    agent_id: str
    tool: str
    summary: str
    input: str | None = None
    status: S = S.PENDING
    decision: Decision | None = None
    reason: str | None = None
    remember: str | None = None
    decided_by: str | None = None
    created_at: int
    expires_at: int
    decided_at: int | None = None


def as_of(approval: Approval, now: int) -> Approval:
    """The approval at that time: one that nobody answered in time is expired, swept or not."""
    if approval.status is not S.PENDING or approval.expires_at > now:
        return approval
    return replace(
        approval, status=S.EXPIRED, decision=Decision.DENY, decided_at=approval.expires_at
    )


def decide(
    approval: Approval,
    decision: Decision,
    by: str,
    now: int,
    *,
    reason: str | None = None,
    remember: str | None = None,
) -> Approval:
    """A person's answer. Raises: Conflict `already_decided`."""
    status = _DECIDED[decision]
    return replace(
        _pending(approval, status, now),
        status=status,
        decision=decision,
        reason=reason,
        remember=remember,
        decided_by=by,
        decided_at=now,
    )


def cancel(approval: Approval, now: int) -> Approval:
    """Nobody needs the answer any more. Raises: Conflict `already_decided`."""
    return replace(_pending(approval, S.CANCELED, now), status=S.CANCELED, decided_at=now)


def _pending(approval: Approval, wanted: S, now: int) -> Approval:
    current = as_of(approval, now)
    if wanted not in NEXT[current.status]:
        raise Conflict(
            f"Approval {current.id} is {current.status} already.",
            code="already_decided",
            extra={"decision": current.decision, "decidedBy": current.decided_by},
        )
    return current

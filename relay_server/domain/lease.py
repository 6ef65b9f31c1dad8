"""The right of one agent to work on a claimable message, for a time.

    open ──claim──▶ leased ──complete──▶ completed
      ▲               │  └─claim by owner: renewed
      └──release, expiry

Pure: the caller makes it atomic.
"""

from dataclasses import dataclass, replace

from relay_server.errors import Conflict


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds it and until when; `completed_at` ends it for good."""

    agent_id: str
    claimed_at: int
    expires_at: int
    completed_at: int | None = None

    def is_active(self, now: int) -> bool:
        """Whether it still keeps others out."""
        return self.completed_at is not None or self.expires_at > now


def claim(current: Lease | None, agent_id: str, now: int, lease_ms: int) -> Lease:
    """A new lease, or the owner's renewed one.

    Raises: Conflict `already_claimed` with `claimedBy`.
    """
    if current is None or not current.is_active(now):
        return Lease(agent_id, now, now + lease_ms)
    if current.agent_id != agent_id or current.completed_at is not None:
        state = "completed" if current.completed_at is not None else "claimed"
        raise Conflict(
            f"It was {state} by {current.agent_id}.",
            code="already_claimed",
            extra={"claimedBy": current.agent_id},
        )
    return replace(current, expires_at=now + lease_ms)


def require_owner(current: Lease | None, agent_id: str, now: int) -> Lease:
    """The lease, when `agent_id` holds it. Raises: Conflict `not_owner`."""
    if current is None or not current.is_active(now) or current.agent_id != agent_id:
        owner = current.agent_id if current and current.is_active(now) else None
        raise Conflict(
            f"{agent_id} does not hold the claim.",
            code="not_owner",
            extra={"claimedBy": owner},
        )
    return current


def complete(current: Lease | None, agent_id: str, now: int) -> Lease:
    """The lease, ended. Completing again is harmless for its owner."""
    lease = require_owner(current, agent_id, now)
    return lease if lease.completed_at is not None else replace(lease, completed_at=now)

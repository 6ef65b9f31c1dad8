"""A message: immutable but for its claim and its being held."""

from typing import NamedTuple

from relay_server.domain.lease import Lease
from relay_server.wire import MAX_BODY_BYTES


class Message(NamedTuple):
    """One row of `messages`, in the columns' order: a tuple, because each costs the hot path."""

    id: int
    sender: str
    target: str
    addressed_to: str
    body: str
    subject: str | None
    channel: str | None
    reply_to: int | None
    thread_id: int
    kind: str
    priority: str
    claimable: bool
    payload: str | None
    recipients: int
    held_reason: str | None
    released_at: int | None
    idempotency_key: str | None
    idempotency_hash: str | None
    claim_agent: str | None
    claimed_at: int | None
    claim_expires_at: int | None
    completed_at: int | None
    created_at: int
    expires_at: int | None

    @property
    def is_held(self) -> bool:
        return self.held_reason is not None and self.released_at is None

    @property
    def lease(self) -> Lease | None:
        if self.claim_agent is None:
            return None
        assert self.claimed_at is not None
        assert self.claim_expires_at is not None
        return Lease(self.claim_agent, self.claimed_at, self.claim_expires_at, self.completed_at)

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_open(self, now: int) -> bool:
        """Claimable, and nobody holds it."""
        lease = self.lease
        is_free = lease is None or not lease.is_active(now)
        return bool(self.claimable) and self.completed_at is None and is_free


def fitting_body(text: str) -> str:
    """As much of it as a message may hold."""
    data = text.encode()
    if len(data) <= MAX_BODY_BYTES:
        return text
    return data[: MAX_BODY_BYTES - 4].decode(errors="ignore") + "…"

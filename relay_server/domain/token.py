"""A token's fingerprint and form. Pure: made by `ids`, kept by `store/tokens.py`.

Tokens are long and random, so one plain SHA-256 keeps them as well as a slow hash would keep a
password, and costs each request a microsecond.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from relay_server.wire import TokenScope

SCOPED_PREFIX: Final = "art_"
INTEGRATION_PREFIX: Final = "ari_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One scoped token; its secret is known only to whoever holds it."""

    id: int
    name: str
    scope: TokenScope
    machine: str | None
    hash: str = field(repr=False)
    created_at: int
    expires_at: int | None
    last_used_at: int | None

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def fingerprint(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(as_bytes(token)).hexdigest()


def as_bytes(token: str) -> bytes:
    """Any text has its own bytes, also one that a hostile client made."""
    return token.encode("utf-8", "surrogatepass")


def has_our_form(token: str) -> bool:
    """Made by a relay: where it is not known it was revoked, or belongs to another relay."""
    return token.startswith((SCOPED_PREFIX, INTEGRATION_PREFIX))
